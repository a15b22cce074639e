"""schemathesis over the OpenAPI document of a running server: no answer may be a 500.

`codebyte serve` runs in a process of its own; schemathesis (package of that name, not among the
dependencies: `pip install schemathesis`, in any environment) reads its /openapi.json and asks every
route with bodies that fit the document and with bodies that do not. The server must still answer
at the end.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
from report import Check, Report, parser
from serve import checkpoint, server


def main() -> None:
    """Runs it."""
    options = parser(__doc__)
    options.add_argument("--checkpoint", help="a model's folder (default: the packaged model)")
    options.add_argument("--examples", type=int, default=50, help="for each route and phase")
    options.add_argument("--schemathesis", default="schemathesis", help="the command to run")
    args = options.parse_args()
    command = shutil.which(args.schemathesis)
    if command is None:
        sys.exit(f"{args.schemathesis} is not here: pip install schemathesis, or name the command")
    report = Report("fuzz_api", quick=args.quick, packages=("fastapi", "pydantic"))
    with (
        checkpoint(args.checkpoint, report) as folder,
        server(folder, page=False) as (address, _),
        tempfile.TemporaryDirectory() as scratch,
    ):
        found = Path(scratch) / "found.ndjson"
        done = subprocess.run(
            [
                command,
                "run",
                f"{address}openapi.json",
                "--checks=not_a_server_error",
                f"--max-examples={5 if args.quick else args.examples}",
                "--seed=1",
                "--request-timeout=30",
                "--report=ndjson",
                f"--report-ndjson-path={found}",
            ],
            cwd=scratch,
            capture_output=True,
            text=True,
        )
        print(done.stdout[-3000:])
        statuses = [int(it) for it in re.findall(r'"status_code": ?(\d+)', found.read_text())]
        alive = httpx.get(f"{address}health", timeout=10).json()
    errors = sum(status >= 500 and status != 501 for status in statuses)
    by_class = {f"{k}xx": sum(status // 100 == k for status in statuses) for k in range(2, 6)}
    print(f"answers: {json.dumps(by_class)}; afterwards: {alive}")
    report.finish(
        {
            "answers of 500 and more": Check(float(errors), 0.0, at_most=True),
            "schemathesis' own verdict (0 is good)": Check(float(done.returncode), 0, at_most=True),
            "requests still under way": Check(float(alive["requests"]), 0.0, at_most=True),
        },
        unit="answers",
        spread=[errors, errors],
        answers=len(statuses),
        **by_class,
    )


if __name__ == "__main__":
    main()
