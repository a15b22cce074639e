"""How well a scan finds what is out of place: planted payloads among real files.

Draws 500 real files of repositories and plants 20 payloads into some of them or beside them: five
base64 blobs, five pieces of packed or minified JavaScript, five hex arrays and five keys. All
files are then ranked by the suspicion of what is out of place in them. The bar: all 20 among the
first 25. Every draw takes other files and other payloads; the headline is the worst draw.
"""

import argparse
import base64
import random
import re
import string
import subprocess
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from report import Check, Report, parser, range_of

from codebyte.indexer.filters import skip_content, skip_path
from codebyte.indexer.languages import language_of
from codebyte.tasks.payloads import find_payloads

FILES, PLANTED, TOP = 500, 20, 25
LARGEST = 256 << 10  # bytes of a real file
KINDS = ("base64", "packed", "array", "key")

Drawn = tuple[str, bytes]  # path and content


@dataclass(frozen=True, slots=True)
class Case:
    """One planted payload."""

    kind: str  # of KINDS
    path: str
    data: bytes


def main() -> None:
    """Runs the benchmark."""
    made = parser(__doc__)
    made.add_argument("--repos", type=Path, nargs="+", required=True, help="git repositories")
    made.add_argument("--draws", type=int, default=20)
    made.add_argument("--checkpoint", help="a checkpoint's folder; the packaged model if not given")
    made.add_argument("--no-model", action="store_true", help="judge by the bytes alone")
    options = made.parse_args()
    report = Report("payloads", quick=options.quick)
    measure(report, options)


def measure(report: Report, options: argparse.Namespace) -> None:
    """Draws, plants, ranks and reports."""
    real = [file for repo in options.repos for file in _files(repo)]
    sources = [file for file in real if skip_path(file[0]) is None and _is_source(file)]
    judge = _judge(options)
    rows, worst = [], {}
    for name, pool, draws in (
        ("source files", sources, 3 if options.quick else options.draws),
        ("all text files", real, 0 if options.quick else options.draws),
    ):
        found, missed, above = [], [], []
        for seed in range(draws):
            ranks, strangers = rank(pool, seed, judge)
            found.append(sum(place <= TOP for place in ranks.values()) / PLANTED)
            missed += [case.kind for case, place in ranks.items() if place > TOP]
            above.append(len(strangers))
        if not found:
            continue
        worst[name] = min(found)
        kinds = ", ".join(f"{kind} {missed.count(kind)}" for kind in KINDS if kind in missed)
        mean = sum(found) / len(found)
        rows.append((name, len(pool), draws, mean, min(found), kinds or "none", max(above)))
        if name == "source files":
            spread = range_of(found)
    head = ("planted among", "files", "draws", "mean found", "worst draw", "missed", "real above")
    report.table(head, rows)
    report.note("real above: the most real files that rank above the last planted one of a draw")
    report.finish(
        {"planted payloads in the top 25": Check(worst["source files"], 1.0)},
        unit="share of 20, worst draw",
        spread=spread,
        worst=worst,
    )


def rank(
    pool: list[Drawn], seed: int, judge: Callable[[Drawn], float]
) -> tuple[dict[Case, int], list[Drawn]]:
    """Plants payloads among files and ranks all of them.

    Args:
        pool: real files, to draw 500 from.
        seed: of the draw and of the payloads.
        judge: how much out of place the content of a file is.

    Returns:
        The place of each case, from 1; and the real files that rank above the last of them.
    """
    rng = random.Random(seed)
    drawn = rng.sample(pool, min(FILES, len(pool)))
    cases = list(plant(drawn, rng))
    hosts = {case.path for case in cases}
    others = [file for file in drawn if file[0] not in hosts]
    scored = sorted(((judge((c.path, c.data)), c) for c in cases), key=lambda item: -item[0])
    real = sorted(((judge(file), file) for file in others), key=lambda item: -item[0])
    ranks = {}
    for i, (score, case) in enumerate(scored):
        # Ties go against us; what is not flagged at all has no place.
        ahead = sum(other >= score for other, _ in real)
        ranks[case] = i + 1 + ahead if score > 0 else len(real) + PLANTED
    last = min(score for score, _ in scored)
    return ranks, [file for score, file in real if score >= last]


def plant(files: list[Drawn], rng: random.Random) -> Iterator[Case]:
    """Yields payloads of each kind: some in the middle of a real file, some in a new one."""
    python = [file for file in files if file[0].endswith(".py")] or files
    script = [file for file in files if file[0].endswith((".js", ".ts"))] or files
    clike = [file for file in files if file[0].endswith((".c", ".cc", ".h", ".py"))] or files
    hosts = {"base64": python, "packed": script, "array": clike, "key": files}
    used: set[str] = set()
    for i in range(PLANTED):
        kind = KINDS[i % len(KINDS)]
        left = [file for file in hosts[kind] if file[0] not in used]
        path, data = rng.choice(left or [file for file in files if file[0] not in used])
        used.add(path)
        made = _MAKERS[kind](rng, path)
        if i % 3 == 2 and kind != "key":
            folder = path.rpartition("/")[0]
            ending = {"base64": "py", "packed": "js", "array": "c"}[kind]
            yield Case(kind, f"{folder}/support_{i}.{ending}", made)
        else:
            lines = data.splitlines(keepends=True)
            at = rng.randrange(len(lines) + 1)
            yield Case(kind, path, b"".join([*lines[:at], made, *lines[at:]]))


def _base64(rng: random.Random, path: str) -> bytes:
    size = rng.choice((180, 300, 600, 1200, 3000))
    raw = rng.choice((rng.randbytes(size), zlib.compress(rng.randbytes(size)), _words(rng, size)))
    text = base64.b64encode(raw)
    if rng.random() < 0.5:
        return b'DATA = "' + text + b'"\n'
    lines = [text[i : i + 76] for i in range(0, len(text), 76)]
    return b"DATA = (\n" + b"".join(b'    "' + line + b'"\n' for line in lines) + b")\n"


def _packed(rng: random.Random, path: str) -> bytes:
    names = [f"_0x{rng.randrange(1 << 20):x}" for _ in range(12)]
    style = rng.randrange(3)
    if style == 0:
        words = "|".join("".join(rng.choices(string.ascii_lowercase, k=6)) for _ in range(60))
        code = "".join(f"{rng.choice('abcdef')}.{rng.choice('ghij')}({n});" for n in range(40))
        return (
            "eval(function(p,a,c,k,e,d){while(c--)if(k[c])p=p.replace(new RegExp('\\\\b'+c"
            f"+'\\\\b','g'),k[c]);return p}}('{code}',62,60,'{words}'.split('|')))\n"
        ).encode()
    if style == 1:
        body = "".join(
            f"var {rng.choice(names)}={rng.choice(names)}[0x{rng.randrange(256):x}];"
            for _ in range(30)
        )
        return f"(function({names[0]},{names[1]}){{{body}}}({names[2]},0x1f));\n".encode()
    letters = string.ascii_letters
    body = "".join(
        rng.choice(
            (
                "function {0}({1},{2}){{return {1}.{0}?{2}:{1}[{2}]}}",
                "var {0}={1}({2}),{1}=!{0}&&{2};",
                "if({0}>{1}){{{2}={0}({1});}}else{{{1}.{2}={0}}}",
            )
        ).format(*rng.sample(letters, 3))
        for _ in range(rng.choice((20, 40, 80)))
    )
    return f"!function(){{{body}}}();\n".encode()


def _array(rng: random.Random, path: str) -> bytes:
    size = rng.choice((96, 160, 256, 512, 1024))
    raw = rng.choice((rng.randbytes(size), b"\x7fELF\x02\x01\x01" + rng.randbytes(size)))
    width = rng.choice((12, 16, 1 << 20))
    gap = rng.choice((", ", ","))
    rows = [
        gap.join(f"0x{byte:02x}" for byte in raw[i : i + width]) for i in range(0, len(raw), width)
    ]
    body = (",\n    ").join(rows)
    if path.endswith(".py"):
        return f"BLOB = bytes([\n    {body}\n])\n".encode()
    return f"static const unsigned char blob[] = {{\n    {body}\n}};\n".encode()


def _key(rng: random.Random, path: str) -> bytes:
    def drawn(alphabet: str, count: int) -> str:
        return "".join(rng.choices(alphabet, k=count))

    alphanumeric = string.ascii_letters + string.digits
    style = rng.randrange(5)
    if style == 0:
        return f'aws_access_key_id = "AKIA{drawn(string.ascii_uppercase, 16)}"\n'.encode()
    if style == 1:
        return f'TOKEN = "ghp_{drawn(alphanumeric, 36)}"\n'.encode()
    if style == 2:
        return f'api_key = "{drawn(alphanumeric, 32)}"\n'.encode()
    if style == 3:
        return f'aws_secret_access_key = "{drawn(alphanumeric + "+/", 40)}"\n'.encode()
    body = base64.b64encode(rng.randbytes(1190)).decode()
    lines = "\n".join(body[i : i + 64] for i in range(0, len(body), 64))
    return f"-----BEGIN RSA PRIVATE KEY-----\n{lines}\n-----END RSA PRIVATE KEY-----\n".encode()


_MAKERS: dict[str, Callable[[random.Random, str], bytes]] = {
    "base64": _base64,
    "packed": _packed,
    "array": _array,
    "key": _key,
}


def _words(rng: random.Random, size: int) -> bytes:
    words = ("import", "os", "socket", "connect", "while", "True", "recv", "exec", "data", "host")
    return " ".join(rng.choices(words, k=size // 5)).encode()


def _judge(options: argparse.Namespace) -> Callable[[Drawn], float]:
    known: dict[int, float] = {}  # of real files, which come up in many draws
    model = None
    if not options.no_model and not options.quick:
        import codebyte

        model = codebyte.load(options.checkpoint)

    def judge(file: Drawn) -> float:
        path, data = file
        key = hash((path, data))
        if key not in known:
            bits = None
            # As a scan does: only code goes through the model.
            if model is not None and skip_path(path) is None and _is_source(file):
                import codebyte

                bits = codebyte.surprisal(model, data)
            found = find_payloads(data, path, bits)
            known[key] = max((finding.suspicion for finding in found), default=0.0)
        return known[key]

    return judge


def _is_source(file: Drawn) -> bool:
    return skip_content(file[1], language_of(file[0])) is None


def _files(repo: Path) -> Iterator[Drawn]:
    """Yields the text files of a repository's HEAD."""
    git = ["git", "-C", str(repo)]
    listing = subprocess.run(
        [*git, "ls-tree", "-r", "-z", "-l", "HEAD"], check=True, capture_output=True
    ).stdout
    wanted = []
    for entry in listing.split(b"\0"):
        match = re.fullmatch(rb"100\d{3} blob (\w+) +(\d+)\t(.*)", entry, re.DOTALL)
        if match is not None and 64 <= int(match[2]) <= LARGEST:
            wanted.append((match[1], int(match[2]), match[3].decode("utf-8", "replace")))
    contents = subprocess.run(
        [*git, "cat-file", "--batch=%(objectsize)"],
        check=True,
        capture_output=True,
        input=b"".join(oid + b"\n" for oid, _, _ in wanted),
    ).stdout
    at = 0
    for _, size, path in wanted:
        at = contents.index(b"\n", at) + 1
        data = contents[at : at + size]
        at += size + 1
        if b"\0" not in data:
            yield f"{repo.name}/{path}", data


if __name__ == "__main__":
    main()
