"""Files whose wrong lines are known: bugs put in, and lines that later commits fixed.

Lists of fixes are in data/: repository, commit, path and line, each read by eye but for those that
`mine_fixes.py` found, which are only learned from. The texts come from bare clones (`--repos`, one
folder for each repository, named owner+name) and a corpus.
"""

import json
import random
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import git
import numpy as np

from codebyte.corpus import Corpus
from codebyte.indexer.languages import is_test
from codebyte.tasks.injection import KINDS, Case, inject
from codebyte.tasks.known import Known, Wrong
from codebyte.tasks.usage import Usage

DATA = Path(__file__).parent / "data"
MINED = DATA / "fixes_mined.json"
SMALLEST, LARGEST = 900, 14_000  # bytes of a file that bugs are put into
CROPPED = 5000  # bytes kept around a fixed line for fitting; whole files are measured on
APART = 4  # lines between two bugs of a file
BUG_BYTES = 1100  # bytes of code for each bug put into a file to fit on
TRIES = 6
FIXED = ("aio-libs/aiohttp", "psf/requests", "pytest-dev/pytest")  # have fixes to fit on
USED_BYTES = 2 << 20  # of a repository that are counted

_TOP = re.compile(rb"(?:async )?def |class |@|\S")
_DEF = re.compile(rb"\s*(?:async )?def |class |@|\S")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """A commit that fixed one line."""

    repo: str
    path: str
    kind: str  # substitution, missing, extra or rewritten
    line: int  # 1-based, in old
    old: bytes
    new: bytes


def fixes(split: str, repos: Path) -> list[Fix]:
    """The fixes of "train" or "valid" that were read by eye and whose clones are there."""
    return _with_texts(_listed(DATA / f"fixes_{split}.json"), repos)


def mined_fixes(repos: Path, *, first_pass: bool) -> list[Fix]:
    """The fixes that nobody read, of one half of the training repositories."""
    listed = [one for one in _listed(MINED) if for_first_pass(one["repo"]) == first_pass]
    return _with_texts(listed, repos)


def _listed(path: Path) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["fixes"]
    return listed


def _with_texts(listed: list[dict[str, Any]], repos: Path) -> list[Fix]:
    """Fixes with the files before and after; those whose clones are not there are left out."""
    opened: dict[str, git.Repo | None] = {}
    found = []
    for entry in listed:
        name = entry["repo"]
        if name not in opened:
            opened[name] = _open(repos, name)
        repo = opened[name]
        if repo is None:
            continue
        try:
            old, new = (
                repo.git.cat_file(
                    "blob",
                    f"{revision}:{entry['path']}",
                    stdout_as_string=False,
                    strip_newline_in_stdout=False,
                )
                for revision in (entry["commit"] + "^", entry["commit"])
            )
        except git.GitCommandError:
            continue
        fix = {key: entry[key] for key in ("repo", "path", "kind", "line")}
        found.append(Fix(**fix, old=old, new=new))
    return found


def _open(repos: Path, name: str) -> git.Repo | None:
    folder = repos / name.replace("/", "+")
    for place in (folder, folder / "repo"):
        if (place / "HEAD").is_file():
            repo = git.Repo(place)
            repo.git.update_environment(GIT_DIR=str(place))
            return repo
    return None


def for_first_pass(repo: str) -> bool:
    """Whether the first look is fitted on a training repository, or what comes after it."""
    return repo not in FIXED and zlib.crc32(repo.encode()) % 2 == 0


def injected(
    corpus: Corpus,
    split: str,
    count: int,
    *,
    seed: int,
    largest: int = LARGEST,
    first_pass: bool | None = None,
) -> list[tuple[str, Case]]:
    """One bug each in Python files that are no tests, the five kinds in turn, with repositories.

    `first_pass` says which half of the repositories they come from; None for all.
    """
    shard, rng = corpus.shard(split), random.Random(seed)
    names = [entry["name"] for entry in corpus.info["repositories"]]
    sizes = np.diff(shard.ends, prepend=0)
    chosen = [
        i
        for i, path in enumerate(shard.paths)
        if path.endswith(".py") and not is_test(path) and SMALLEST <= sizes[i] <= largest
        if first_pass is None or for_first_pass(names[shard.repos[i]]) == first_pass
    ]
    rng.shuffle(chosen)
    cases: list[tuple[str, Case]] = []
    taken: Counter[str] = Counter()
    for i in chosen:
        repo = names[shard.repos[i]]
        if len(cases) == count:
            break
        if taken[repo] >= max(1, count // 2):
            continue
        kind = KINDS[len(cases) % len(KINDS)]
        case = inject(shard.document(i).tobytes(), shard.paths[i], kind, rng)
        if case is not None:
            cases.append((repo, case))
            taken[repo] += 1
    return cases


def known_files(
    corpus: Corpus, repos: Path, count: int, *, seed: int
) -> list[tuple[Known, bytes | None]]:
    """Files to fit on: half around listed fixes, as far as there are any, with bugs put in too.

    Beside each is what it was before, where it is a whole file of the corpus.
    """
    rng = random.Random(seed)
    found: list[tuple[Known, bytes | None]] = []
    listed = mined_fixes(repos, first_pass=False)
    rng.shuffle(listed)
    for fix in [*fixes("train", repos), *listed][: count // 2]:
        cut = crop(fix.old, fix.line, rng)
        if cut is not None:
            found.append((with_bugs(fixed(fix, *cut), rng), None))
    for repo, case in injected(
        corpus, "train", count - len(found), seed=seed, largest=6000, first_pass=False
    ):
        clean = case.source[: case.start] + case.fix + case.source[case.end :]
        known = with_bugs(Known(repo=repo, path=case.path, source=clean, wrong=()), rng)
        found.append((known, clean))
    return found


def crop(source: bytes, line: int, rng: random.Random) -> tuple[bytes, int] | None:
    """Whole definitions around a line, about CROPPED bytes, and the line's number there."""
    lines = source.split(b"\n")
    offsets = np.concatenate([[0], np.cumsum([len(text) + 1 for text in lines])])
    if offsets[-1] <= CROPPED:
        return source, line
    row, back = line - 1, rng.randrange(200, 3200)
    heads = [i for i in range(row + 1) if _TOP.match(lines[i])]
    near = [i for i in heads if offsets[row] - offsets[i] <= CROPPED * 3 // 4]
    head: list[bytes] = []
    if near:
        first = min([i for i in near if offsets[row] - offsets[i] <= back] or near[-1:])
    else:
        methods = [i for i in range(row + 1) if re.match(rb" {4}(?:async )?def ", lines[i])]
        classes = [i for i in heads if lines[i].startswith(b"class ") and lines[i].endswith(b":")]
        if not methods or not classes or methods[-1] < classes[-1]:
            return None
        first = min([i for i in methods if offsets[row] - offsets[i] <= back] or methods[-1:])
        head = [lines[classes[-1]]]
    last = row + 1
    while last < len(lines) and offsets[last] - offsets[first] < CROPPED:
        last += 1
    while row + 1 < last < len(lines) and not _DEF.match(lines[last]):
        last -= 1
    return b"\n".join([*head, *lines[first:last], b""]), row - first + len(head) + 1


def fixed(fix: Fix, source: bytes, line: int) -> Known:
    """A cropped file before its fix; the repair is known where it keeps the line one line."""
    old, new = fix.old.split(b"\n"), fix.new.split(b"\n")
    mended = new[fix.line - 1] if len(old) == len(new) else None
    start = sum(len(text) + 1 for text in source.split(b"\n")[: line - 1])
    end = start + len(old[fix.line - 1])
    wrong = Wrong(line, start, end, mended, False)
    return Known(repo=fix.repo, path=fix.path, source=source, wrong=(wrong,))


def with_bugs(known: Known, rng: random.Random) -> Known:
    """Puts several bugs in, away from each other and from the line that was fixed."""
    source = known.source
    wrong = list(known.wrong)
    for i in range(max(1, min(5, len(source) // BUG_BYTES))):
        for _ in range(TRIES):
            case = inject(source, known.path, KINDS[(len(source) + i) % len(KINDS)], rng)
            if case is None:
                break
            if all(abs(case.line - other.line) >= APART for other in wrong):
                grown = case.end - case.start - len(case.fix)
                wrong = [other.moved(case.start, grown) for other in wrong]
                wrong.append(Wrong(case.line, case.start, case.end, case.fix, True))
                source = case.source
                break
    return replace(known, source=source, wrong=tuple(wrong))


class Repository:
    """What is counted of a repository of a corpus, as a scan of it would count."""

    def __init__(self, corpus: Corpus, split: str, name: str) -> None:
        shard = corpus.shard(split)
        names = [entry["name"] for entry in corpus.info["repositories"]]
        self.usage, self._texts = Usage(), set()
        documents = np.flatnonzero(shard.repos == names.index(name)).tolist()
        random.Random(name).shuffle(documents)
        for i in documents:
            text = shard.document(i).tobytes()
            if shard.paths[i].endswith(".py") and self.usage.bytes + len(text) <= USED_BYTES:
                self.usage.add(text)
                self._texts.add(hash(text))

    @contextmanager
    def instead(self, old: bytes, new: bytes) -> Iterator[Usage]:
        """The counts with one file's text in the place of what it was."""
        was = hash(old) in self._texts
        if was:
            self.usage.add(old, -1)
        self.usage.add(new)
        yield self.usage
        self.usage.add(new, -1)
        if was:
            self.usage.add(old)
