"""What a repository's history says of its files: the words of the commits that changed them.

A commit says in a person's words what a file is about, which its code may never say. Each word of
a commit's first line counts for each file it changed, the less the more files there were; commits
of many files, merges and chores say nothing. Read by one `git log` that asks for names alone, and
after that only for the commits that are new. Scored by BM25 over the files of one repository.

Axes: t terms, ascending; m files; p postings, by term.
"""

import io
import math
import os
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Timer
from zipfile import BadZipFile

import numpy as np
from git import GitCommandError, Repo
from numpy.typing import NDArray

from codebyte.errors import StaleIndexError
from codebyte.indexer.arrays import REMEDY
from codebyte.indexer.skips import shown_path
from codebyte.indexer.words import split_words, terms_of

MOST_COMMITS = 20_000  # the newest
MOST_FILES = 8  # of a commit
UNIT = 64  # what a word of a commit of one file counts: whole numbers add up in any order
SATURATED, SHARE = 1.5, 0.75  # BM25's k1, in commits, and b

_SECONDS = 60  # that git may take
_MOST_BYTES = 1 << 27  # that it may say
_LONGEST = 512  # bytes of a first line that are read
_CHORE = re.compile(
    r"(?:merge|revert|bump|release|prepare|wip|fixup|squash|typo|lint|black|isort|pre-commit"
    r"|\[pre-commit|chore\(deps|build\(deps|changelog|update[sd]? (?:changelog|version|deps))\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\(?#\d+\)?")
# Nothing that the repository's settings name is run, no content is read, nothing is fetched.
_QUIET = ("--no-merges", "--no-show-signature", "--no-renames", "--no-ext-diff", "--name-only")


@dataclass(frozen=True, slots=True)
class History:
    """The words of commits, by file."""

    heads: tuple[str, ...]  # the commits that it goes back from
    num: int  # commits that count
    terms: tuple[str, ...]  # (t,)
    files: tuple[str, ...]  # (m,)
    commits: NDArray[np.int64]  # (t,), that say each term
    term_of: NDArray[np.int64]  # (p,)
    file_of: NDArray[np.int64]  # (p,)
    counts: NDArray[np.int64]  # (p,), in UNITs

    @classmethod
    def of(cls, heads: Sequence[str], told: Sequence[tuple[str, Sequence[str]]]) -> "History":
        """From the first line and the files of each commit."""
        counts: Counter[tuple[str, str]] = Counter()
        commits: Counter[str] = Counter()
        num = 0
        for line, paths in told:
            if not 0 < len(paths) <= MOST_FILES or _CHORE.match(line):
                continue
            words = split_words(_NUMBER.sub("", line))
            said = Counter(term for word in words for term in terms_of(word))
            num += 1
            commits.update(said.keys())
            unit = round(UNIT / math.sqrt(len(paths)))
            for path in paths:
                for term, often in said.items():
                    counts[term, path] += often * unit
        terms = {term: i for i, term in enumerate(sorted(commits))}
        files = {path: i for i, path in enumerate(sorted({path for _, path in counts}))}
        table = np.array(
            [(terms[term], files[path], count) for (term, path), count in counts.items()], np.int64
        ).reshape(-1, 3)
        table = table[np.lexsort((table[:, 1], table[:, 0]))]
        have = np.array([commits[term] for term in terms], np.int64)
        return cls(tuple(heads), num, tuple(terms), tuple(files), have, *table.T.copy())

    def joined(self, newer: "History") -> "History":
        """This and what came after it, as if read at once."""
        terms = {it: i for i, it in enumerate(sorted({*self.terms, *newer.terms}))}
        files = {it: i for i, it in enumerate(sorted({*self.files, *newer.files}))}
        commits = np.zeros(len(terms), np.int64)
        rows = []
        for one in (self, newer):
            places = np.array([terms[it] for it in one.terms], np.int64)
            commits[places] += one.commits
            named = np.array([files[it] for it in one.files], np.int64)
            if len(one.counts):
                rows.append(places[one.term_of] * len(files) + named[one.file_of])
        keys, where = np.unique(np.concatenate([*rows, np.empty(0, np.int64)]), return_inverse=True)
        sums = np.zeros(len(keys), np.int64)
        np.add.at(sums, where, np.concatenate([self.counts, newer.counts]))
        width = max(len(files), 1)
        return History(
            newer.heads,
            self.num + newer.num,
            tuple(terms),
            tuple(files),
            commits,
            keys // width,
            keys % width,
            sums,
        )

    def scores(self, query: Mapping[str, float]) -> NDArray[np.float64]:
        """BM25 of each file's commits for terms with weights, (m,)."""
        total = np.zeros(len(self.files))
        if not len(total):
            return total
        counts = self.counts / UNIT
        lengths = np.bincount(self.file_of, counts, len(self.files))
        norms = SATURATED * (1 - SHARE + SHARE * lengths / lengths.mean())
        for term in sorted(query):
            place = bisect_left(self.terms, term)
            if self.terms[place : place + 1] != (term,):
                continue
            first, last = np.searchsorted(self.term_of, [place, place + 1])
            files, said = self.file_of[first:last], counts[first:last]
            have = int(self.commits[place])
            rarity = math.log1p((self.num - have + 0.5) / (have + 0.5))
            total[files] += query[term] * rarity * said / (said + norms[files])
        return total

    def pack(self) -> bytes:
        """As bytes, for `unpack`."""
        output = io.BytesIO()
        names = {
            name: np.frombuffer("\0".join(getattr(self, name)).encode(), np.uint8)
            for name in ("heads", "terms", "files")
        }
        np.savez_compressed(
            output,
            num=np.array([self.num]),
            commits=self.commits,
            term_of=self.term_of.astype(np.int32),
            file_of=self.file_of.astype(np.int32),
            counts=self.counts.astype(np.int32),
            heads=names["heads"],
            terms=names["terms"],
            files=names["files"],
        )
        return output.getvalue()

    @classmethod
    def unpack(cls, data: bytes) -> "History":
        """Reads what `pack` wrote.

        Raises:
            StaleIndexError: it is damaged.
        """
        try:
            return cls._unpacked(data)
        except (ValueError, KeyError, EOFError, OSError, BadZipFile, IndexError) as error:
            raise StaleIndexError(
                f"the history in the index is damaged ({error}): {REMEDY}"
            ) from error

    @classmethod
    def _unpacked(cls, data: bytes) -> "History":
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            names = [arrays[name].tobytes().decode() for name in ("heads", "terms", "files")]
            heads, terms, files = (tuple(it.split("\0")) if it else () for it in names)
            numbers = [
                arrays[name].astype(np.int64)
                for name in ("commits", "term_of", "file_of", "counts")
            ]
            return cls(heads, int(arrays["num"][0]), terms, files, *numbers)


def read_history(repo: Repo, heads: Sequence[str], known: History | None = None) -> History:
    """The history of a repository up to some commits; empty where git cannot tell it.

    Args:
        repo: a clone, of any depth.
        heads: full ids of commits.
        known: an earlier history of the same repository: only what is new is read.
    """
    wanted = tuple(sorted(set(heads)))
    if known is not None and known.heads == wanted:
        return known
    if not wanted:  # nothing is committed yet
        return History.of(wanted, [])
    try:
        if known is not None and known.heads and _all_behind(repo, known.heads, wanted):
            return known.joined(History.of(wanted, _log(repo, wanted, known.heads)))
        return History.of(wanted, _log(repo, wanted, ()))
    except GitCommandError:
        return History.of((), [])  # without heads, so that the next update asks again


def _all_behind(repo: Repo, older: Sequence[str], newer: Sequence[str]) -> bool:
    """Whether all that the older commits reach is reached by the newer ones."""
    try:
        rest = repo.git.rev_list("--max-count=1", *older, "--not", *newer, env=_offline())
    except GitCommandError:  # one of them is gone
        return False
    return not rest.strip()


def _log(
    repo: Repo, heads: Sequence[str], without: Sequence[str]
) -> list[tuple[str, Sequence[str]]]:
    excluded = ("--not", *without) if without else ()
    process = repo.git.log(
        *_QUIET,
        "-z",
        f"--max-count={MOST_COMMITS}",
        "--format=%x02%s",
        *heads,
        *excluded,
        "--",
        as_process=True,
        env=_offline(),
    )
    watch = Timer(_SECONDS, process.proc.kill)
    watch.start()
    try:
        output: bytes = process.stdout.read(_MOST_BYTES)
        if len(output) < _MOST_BYTES:
            process.wait()  # raises where git failed, or took too long
    finally:
        watch.cancel()
        process.proc.kill()
        process.proc.wait()
        process.stdout.close()
        process.stderr.close()
    told: list[tuple[str, Sequence[str]]] = []
    for commit in output.split(b"\x02")[1:]:
        line, _, names = commit.partition(b"\0")
        if names.count(b"\0") > MOST_FILES:  # says nothing, and may be long
            continue
        paths = [shown_path(os.fsdecode(it)) for it in names.lstrip(b"\n").split(b"\0") if it]
        told.append((line[:_LONGEST].decode("utf-8", "replace"), paths))
    return told


def _offline() -> dict[str, str]:
    return {"GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0"}
