"""Cuts (first sentence of the documentation, function without it) pairs from repositories.

Every function of a repository is a candidate, documented or not, tests included; what is asked are
the documented ones outside tests. A function inside another belongs to that one.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from codebyte.indexer.definitions import Definition, definitions
from codebyte.indexer.languages import is_test, language_of
from codebyte.indexer.repo import open_repo, read_blobs

LANGUAGES = {"python", "javascript", "typescript", "go", "rust", "java", "c", "cpp"}
_LEAST_WORDS, _MOST_WORDS = 3, 60  # of a query
_NOISE = re.compile(r"</?\w+[^<>]*>|\{@\w+\s*([^}]*)\}|``?|\[`?([^\]`]*)`?\](?:\([^)]*\))?")
_STOP = re.compile(r"(?<=[.!?])\s|\n\s*\n|\n\s*(?:@|:\w+|#|-\s|\*\s|\\|>>>|Args:|Parameters)")


@dataclass(frozen=True, slots=True)
class Function:
    """One candidate; `query` is "" where its documentation cannot be asked for."""

    path: str
    code: bytes  # without its documentation
    query: str


def cut_repository(folder: str | os.PathLike[str], revision: str | None = None) -> list[Function]:
    """The functions of a repository, in order of path and place; of equal ones the first.

    Args:
        folder: a bare repository, a working copy or a plain folder.
        revision: a commit; None for what HEAD names.
    """
    found: dict[tuple[str, bytes], Function] = {}
    for blob in read_blobs(open_repo(folder, revision)):
        language = language_of(blob.path) or ""
        if language in LANGUAGES:
            for function in cut_file(blob.path, blob.data, language):
                found.setdefault((function.path, function.code), function)
    return list(found.values())


def cut_file(path: str, data: bytes, language: str) -> Iterator[Function]:
    """The functions of one file."""
    asked, end = not is_test(path), 0
    for it in definitions(path, data, language):
        if it.kind in ("function", "method") and it.start >= end:
            end = it.end
            yield Function(path, _without_doc(it, data), first_sentence(it.doc) if asked else "")


def first_sentence(doc: str) -> str:
    """The first sentence of documentation in plain words, or "" where it is too short or long."""
    text = _NOISE.sub(lambda match: match[1] or match[2] or "", doc.strip())
    sentence = " ".join(_STOP.split(text, maxsplit=1)[0].split())
    num_words, letters = len(sentence.split()), sum(it.isalpha() for it in sentence)
    usable = _LEAST_WORDS <= num_words <= _MOST_WORDS and letters > len(sentence) / 2
    return sentence if usable else ""


def find_repository(repos: str | os.PathLike[str], name: str) -> Path | None:
    """The clone of "owner/name" in a folder of clones: owner+name, owner/name or name."""
    for label in (name.replace("/", "+"), name, name.partition("/")[2]):
        for path in (Path(repos, label, "repo"), Path(repos, label), Path(repos, f"{label}.git")):
            if (path / "HEAD").is_file() or (path / ".git").exists():
                return path
    return None


def _without_doc(it: Definition, data: bytes) -> bytes:
    if it.doc_end <= it.doc_start:
        return data[it.start : it.end]
    before, after = data[it.start : it.doc_start].rstrip(b" \t"), data[it.doc_end : it.end]
    if not before.strip():
        return after.lstrip()
    return before + (after.lstrip(b" \t").removeprefix(b"\n") if after.strip() else b"    pass\n")
