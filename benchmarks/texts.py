"""Code to measure on: Python's own library, which is on every machine, or files of a corpus."""

import functools
import sysconfig
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codebyte.corpus import Corpus, Shard
from codebyte.corpus_writer import Document, write_corpus
from codebyte.indexer.languages import is_test, language_of

LIBRARY_HELD = 0.1  # of the library's bytes


@functools.cache
def library_files() -> dict[str, bytes]:
    """The modules of Python's library that are one file in ASCII, by name."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    files = {path.name: path.read_bytes() for path in sorted(folder.glob("*.py"))}
    return {name: data for name, data in files.items() if data.isascii()}


def library_code(num_bytes: int, start: int = 0) -> bytes:
    """So many bytes of Python's library from a place in it on, which wraps around."""
    whole = b"".join(library_files().values())
    start %= len(whole)
    part = whole[start : start + num_bytes]
    while len(part) < num_bytes:
        part += whole[: num_bytes - len(part)]
    return part


@contextmanager
def corpus_or_library(folder: Path | None) -> Iterator[Corpus]:
    """A corpus, or one of Python's library, split by top-level module, tests left out.

    The library is one project's code: enough to see that something is learned, no more.
    """
    if folder is not None:
        yield Corpus(folder)
        return
    library = Path(sysconfig.get_paths()["stdlib"])
    documents = []
    for path in sorted(library.rglob("*.py")):
        inner = path.relative_to(library)
        top = inner.parts[0].removesuffix(".py")
        if top not in ("site-packages", "test") and not is_test(inner.as_posix()):
            documents.append(Document(repo=top, path=inner.as_posix(), data=path.read_bytes()))
    with tempfile.TemporaryDirectory() as made:
        write_corpus(documents, Path(made) / "corpus", valid_share=LIBRARY_HELD)
        yield Corpus(Path(made) / "corpus")


def validation_files(corpus: str | None) -> Shard:
    """The held-out files of a corpus; without one, some of Python's library for a smoke test."""
    if corpus is not None:
        return Corpus(corpus).shard("valid")
    files = {name: data for name, data in library_files().items() if data}
    return Shard(
        data=np.frombuffer(b"".join(files.values()), np.uint8),
        ends=np.cumsum([len(data) for data in files.values()]),
        repos=np.zeros(len(files), np.int32),
        paths=tuple(files),
    )


def by_language(shard: Shard) -> dict[str, NDArray[np.int64]]:
    """The documents of each language; the one with most bytes first."""
    found: dict[str, list[int]] = defaultdict(list)
    for index, path in enumerate(shard.paths):
        found[language_of(path) or "other"].append(index)
    lengths = np.diff(shard.ends, prepend=0)
    ordered = sorted(found, key=lambda language: -lengths[found[language]].sum())
    return {language: np.array(found[language]) for language in ordered}


def draw(
    shard: Shard, indices: NDArray[np.int64], most_bytes: int, rng: np.random.Generator
) -> list[bytes]:
    """Whole documents in random order, until they have so many bytes together."""
    drawn: list[bytes] = []
    total = 0
    for index in rng.permutation(indices):
        if total >= most_bytes:
            break
        drawn.append(shard.document(int(index)).tobytes())
        total += len(drawn[-1])
    return drawn
