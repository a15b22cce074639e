"""HumanEval infilling: a line or a random span is taken out of short Python functions.

Data: https://github.com/openai/human-eval-infilling (MIT), its `data` folder. Single-line tasks ask
for a whole line; random-span tasks for any stretch of characters, half of them inside words. pass@1
counts programs that pass the task's own tests (benchmarks/sandbox.py). The model completes greedily
and by the best of eight texts or ends (codebyte.tasks.best_line, best_span). Beside it: copying
what followed the longest match in the same function. A seeded sample of the tasks is taken.
"""

import gzip
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from completion import edits, mean
from contenders import fail, load_ours
from copying import copied_line, copied_span
from report import Check, Report, interval, parser
from sandbox import network_is_off, passes

from codebyte.errors import InputError
from codebyte.tasks.completion import Completer

FILES = {
    "single line": "HumanEval-SingleLineInfilling.jsonl.gz",
    "random span": "HumanEval-RandomSpanInfilling.jsonl.gz",
}
TASKS = 300
LONGEST = 256  # bytes
BEST = "best of 8"
OURS = {"greedy": 1, BEST: 8}  # tries
EXAMPLE = {
    "task_id": "example",
    "entry_point": "add",
    "prompt": "def add(one, other):\n",
    "suffix": "\n",
    "canonical_solution": "    return one + other\n",
    "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of one answer."""

    exact: bool
    similarity: float
    passed: bool


def main() -> None:
    """Runs the benchmark."""
    options = parser(__doc__)
    options.add_argument("--data", type=Path, help="the folder with the .jsonl.gz files")
    options.add_argument("--checkpoint", help="a model's folder (default: the packaged model)")
    options.add_argument("--tasks", type=int, default=TASKS, help="of each kind; 0 for all")
    options.add_argument("--seed", type=int, default=1)
    args = options.parse_args()
    if args.data is None and not args.quick:
        options.error("give the --data; only --quick goes without")
    report = Report("infilling", quick=args.quick)
    model, name = load_ours(args.checkpoint)
    report.note(f"the model is {name}")
    if not network_is_off():
        report.note("programs had no network of their own; an audit hook refused sockets")
    rows, figures, exact = [], {}, {}
    for kind, file in FILES.items():
        tasks = read_tasks(args.data, file, 4 if args.quick else args.tasks, args.seed)
        line = kind == "single line"
        found: dict[str, list[Outcome]] = {}
        for contender, tries in OURS.items():
            completer, milliseconds, found[contender] = Completer(model), [], []
            for task in tasks:
                start = time.perf_counter()
                text = answer(completer, task, line=line, tries=tries)
                milliseconds.append((time.perf_counter() - start) * 1000)
                found[contender].append(judge(task, text))
            middle = statistics.median(milliseconds)
            print(f"{kind}, {contender}: {len(tasks)} tasks, {middle:.0f} ms each (median)")
        found["copying"] = [judge(task, copy(task, line=line)) for task in tasks]
        for contender, outcomes in found.items():
            values = {
                "exact": mean(it.exact for it in outcomes),
                "similarity": mean(it.similarity for it in outcomes),
                "pass@1": mean(it.passed for it in outcomes),
            }
            rows.append([f"{kind}, {contender}", len(tasks), *values.values()])
            figures[f"{kind}, {contender}"] = {"tasks": len(tasks), **values}
        exact[kind] = [float(it.exact) for it in found[BEST]]
    report.table(["", "tasks", "exact", "similarity", "pass@1"], rows)
    best_line, span = (figures[f"{kind}, {BEST}"] for kind in FILES)
    theirs = figures["single line, copying"]
    report.finish(
        {
            "single line, exact, above copying": Check(best_line["exact"], theirs["exact"]),
            "random span, exact, above copying": Check(
                span["exact"], figures["random span, copying"]["exact"]
            ),
        },
        unit="share",
        spread=interval(exact["single line"], np.ones(len(exact["single line"]))),
        ours=best_line["exact"],
        theirs=theirs["exact"],
        model=name,
        seed=args.seed,
        figures=figures,
    )


def read_tasks(folder: Path | None, name: str, wanted: int, seed: int) -> list[dict[str, Any]]:
    """A seeded sample of the tasks, in their order."""
    if folder is None:
        return [EXAMPLE] * min(wanted, 2)
    try:
        with gzip.open(folder / name, "rt", encoding="utf-8") as file:
            tasks = [json.loads(line) for line in file]
    except (OSError, ValueError) as error:
        fail(InputError(f"{folder / name} cannot be read ({error}); see this benchmark's --help"))
    if not wanted or wanted >= len(tasks):
        return tasks
    chosen = np.random.default_rng(seed).choice(len(tasks), wanted, replace=False)
    return [tasks[i] for i in sorted(chosen)]


def answer(completer: Completer, task: dict[str, Any], *, line: bool, tries: int) -> str:
    """What the model puts in."""
    prefix, suffix = task["prompt"].encode(), task["suffix"].encode()
    if line:  # its newline is given, as an editor's caret on an empty line has it
        done = completer.complete(
            prefix, b"\n" + suffix, max_new_bytes=LONGEST, multiline=False, tries=tries
        )
        return done.text.decode("utf-8", "replace") + "\n"
    done = completer.complete(prefix, suffix, max_new_bytes=LONGEST, raw=True, tries=tries)
    return done.text.decode("utf-8", "replace")


def copy(task: dict[str, Any], *, line: bool) -> str:
    """What followed the longest match: up to a newline, or to where the suffix begins."""
    prefix, suffix = task["prompt"].encode(), task["suffix"].encode()
    if line:
        return copied_line(prefix, suffix, LONGEST).decode("utf-8", "replace") + "\n"
    text = copied_span(prefix, suffix, LONGEST)
    return text.decode("utf-8", "replace")


def judge(task: dict[str, Any], text: str) -> Outcome:
    """Compares with the solution and runs the tests."""
    wanted = task["canonical_solution"]
    program = "\n".join(
        [task["prompt"] + text + task["suffix"], task["test"], f"check({task['entry_point']})"]
    )
    one, other = text.rstrip().encode(), wanted.rstrip().encode()
    longer = max(len(one), len(other), 1)
    return Outcome(
        exact=one == other, similarity=1 - edits(one, other) / longer, passed=passes(program)
    )


if __name__ == "__main__":
    main()
