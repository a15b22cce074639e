"""Lists commits that fixed one line of code, from the histories of the training repositories.

A fix says so in its message and changes one line of one Python file that is no test into another,
in more than comments, strings, spaces and versions. Nobody has read these, unlike the other lists
in data/: they are to learn from, not to measure on.
"""

import argparse
import csv
import difflib
import json
import random
import re
import subprocess
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from scan_cases import FIXED, MINED

from codebyte.indexer.languages import is_test
from codebyte.tasks.syntax import parse, tree_kinds

MOST = 120  # fixes of one repository
MOST_COMMITS = 4000  # that are looked at, of those that say that they fix something
LARGEST = 200_000  # bytes of a file
SOURCES = Path(__file__).parent.parent / "scripts" / "corpus.csv"

_SAYS_FIX = r"\b(fix(e[sd])?|bug|correct(s|ed)?|wrong|crash(es)?|regression|broken)\b"
_SAYS_OTHER = re.compile(
    r"typo|docs?\b|docstring|comment|lint|pep ?8|flake8|mypy|typing|spelling|version|release|test",
    re.IGNORECASE,
)
_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+\d+(?:,(\d+))? @@")
_UNSAID = re.compile(r"""[rbfu]*("[^"]*"|'[^']*')|#.*|\s+|\d+\.\d+\.\d+""")
_HEADS = ("---", "+++")  # of a file in a patch
_TOKEN = re.compile(r"\w+|[^\w\s]")


def mined(repo: str, folder: Path, revision: str) -> Iterator[dict[str, str | int]]:
    """All fixes of a repository that are found."""
    log = subprocess.run(
        [
            *("git", "-C", str(folder), "log", revision, "--no-merges", "-i", "-E", "-U0", "-p"),
            *("--grep", _SAYS_FIX, "-n", str(MOST_COMMITS), "--format=%x01%H%n%s", "--", "*.py"),
        ],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout.decode("utf-8", "replace")
    for entry in log.split("\x01")[1:]:
        head, _, patch = entry.partition("\n\n")
        commit, _, subject = head.partition("\n")
        if _SAYS_OTHER.search(subject):
            continue
        files = [part for part in patch.split("diff --git ")[1:] if not is_test(_path(part))]
        if len(files) != 1 or (found := _line(files[0])) is None:
            continue
        line, old, new = found
        if _UNSAID.sub("", old) != _UNSAID.sub("", new):
            path, kind = _path(files[0]), kind_of(old, new)
            yield {"repo": repo, "commit": commit, "path": path, "line": line, "kind": kind}


def kind_of(old: str, new: str) -> str:
    """Whether a fix puts one token for another, adds some, takes some out, or does more."""
    before, after = _TOKEN.findall(old), _TOKEN.findall(new)
    steps = [
        step
        for step in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
        if step[0] != "equal"
    ]
    tags = {step[0] for step in steps}
    if tags == {"insert"}:
        return "missing"
    if tags == {"delete"}:
        return "extra"
    single = [(a, b, c, d) for _, a, b, c, d in steps if b - a == d - c == 1]
    return "substitution" if len(steps) == len(single) == 1 else "rewritten"


def _path(part: str) -> str:
    """The file of a patch; one that was renamed, made or named oddly counts as a test."""
    found = re.match(r"a/(\S+) b/\1\n", part)
    return found[1] if found else "tests"


def _line(part: str) -> tuple[int, str, str] | None:
    """The one line that a file's patch changes, and what it becomes."""
    hunks = _HUNK.findall(part)
    changed = [
        text
        for text in part.split("\n")
        if text.startswith(("+", "-")) and not text.startswith(_HEADS)
    ]
    if (
        len(hunks) != 1
        or hunks[0][1]
        or hunks[0][2]
        or [text[:1] for text in changed] != ["-", "+"]
    ):
        return None
    return int(hunks[0][0]), changed[0][1:], changed[1][1:]


def _is_code(folder: Path, fix: dict[str, str | int]) -> bool:
    """Whether the line holds code: no part of a docstring."""
    source = subprocess.run(
        ["git", "-C", str(folder), "cat-file", "blob", f"{fix['commit']}^:{fix['path']}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ).stdout
    if not 0 < len(source) <= LARGEST or (tree := parse(source, str(fix["path"]))) is None:
        return False
    kinds, row = tree_kinds(tree, source.count(b"\n") + 1), int(fix["line"]) - 1
    return row < len(kinds) and kinds[row] is not None


def main() -> None:
    """Writes the list."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--repos", type=Path, required=True, help="a folder of clones, owner+name")
    options.add_argument("--seed", type=int, default=1)
    args = options.parse_args()
    rng, listed = random.Random(args.seed), []
    for row in csv.DictReader(SOURCES.open(encoding="utf-8")):
        folder = args.repos / row["repository"].replace("/", "+")
        if row["split"] != "train" or row["repository"] in FIXED:
            continue
        places = (it for it in (folder, folder / "repo") if (it / "HEAD").is_file())
        if (folder := next(places, None)) is None:
            raise SystemExit(f"--repos has no bare clone of {row['repository']}: add it")
        found = list(mined(row["repository"], folder, row["commit"]))
        rng.shuffle(found)
        kept = [*islice((fix for fix in found if _is_code(folder, fix)), MOST)]
        print(f"{row['repository']}: {len(found)} fixes, {len(kept)} kept", flush=True)
        listed += kept
    note = "Single-line fixes found by benchmarks/mine_fixes.py, not read by eye, to learn from."
    lines = ",\n".join(json.dumps(fix, separators=(",", ":")) for fix in listed)
    new = MINED.with_suffix(".new")
    new.write_text(f'{{"note":{json.dumps(note)},"fixes":[\n{lines}\n]}}\n', encoding="utf-8")
    new.replace(MINED)
    print(f"{len(listed)} fixes: {MINED}")


if __name__ == "__main__":
    main()
