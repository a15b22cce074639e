"""The packaged model's training text: which files of which repositories, and how much of each.

Left to themselves a few large repositories, and tests, would be most of the text. So each
repository gives at most so many bytes of Python and of everything else, and half of its Python
tests. Validation repositories come first, so that of two like files theirs stays and the other is
dropped from training.
"""

import csv
import random
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from codebyte.dedup import Deduplicator
from codebyte.errors import CorpusError, RepoError
from codebyte.indexer.languages import is_test, language_of
from codebyte.indexer.repo import SourceFile, open_repo, read_blobs

PYTHON_BYTES = 12_000_000  # of a training repository, at most
OTHER_BYTES = 2_000_000  # of its other text
VALID_BYTES = 3_000_000  # of a validation repository, of which other text
VALID_OTHER_BYTES = 500_000
TESTS_KEPT = 0.5  # share of Python test files
MARKUP = {"html", "css", "sql"}  # left out
# These share passages with text that is kept for evaluation, or are under other licences than the
# code around them.
LEFT_OUT = {
    "numba/numba": ("numba/cpython/hashing.py",),
    "jax-ml/jax": ("jax/_src/nn/functions.py",),
    "libuv/libuv": ("docs/",),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A repository to take text from."""

    name: str  # "owner/name"
    split: str  # "train" or "valid"
    licence: str
    commit: str

    @property
    def url(self) -> str:
        """Where it is published."""
        return f"https://github.com/{self.name}"


def read_sources(path: Path) -> list[Source]:
    """Reads the list of repositories, a CSV file with a head.

    Raises:
        CorpusError: if it is missing, or lacks a column.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [
                Source(
                    name=row["repository"],
                    split=row["split"],
                    licence=row["licence"],
                    commit=row["commit"],
                )
                for row in csv.DictReader(file)
            ]
    except (OSError, KeyError, csv.Error) as error:
        raise CorpusError(
            f"{path} is no list of repositories ({error!r}); "
            "it needs the columns repository, split, licence and commit"
        ) from error


def mixture(
    sources: Sequence[Source],
    mirror: Path | None = None,
    *,
    skips: MutableMapping[str, int],
    failures: MutableMapping[str, str],
) -> Iterator[SourceFile]:
    """Gives the files to train and to validate on; the same ones each time.

    Args:
        sources: from `read_sources`.
        mirror: a folder of clones named owner+name; without it repositories are cloned.
        skips: counts each file left out under its reason.
        failures: repository -> what was wrong with it.
    """
    seen = Deduplicator()
    for source in sorted(sources, key=lambda source: source.split != "valid"):
        place = source.url if mirror is None else in_mirror(mirror, source.name)
        try:
            repo = replace(open_repo(place, source.commit), name=source.name)
            files = []
            for blob in read_blobs(repo, skips=skips):
                language = language_of(blob.path) or ""
                if blob.path.startswith(LEFT_OUT.get(source.name, ())) or language in MARKUP:
                    skips["left out of the mixture"] += 1
                elif reason := seen.reason(blob.data):
                    skips[reason] += 1
                else:
                    file = SourceFile(
                        repo=source.name, path=blob.path, language=language, data=blob.data
                    )
                    files.append(file)
        except (RepoError, OSError) as error:
            failures[source.name] = str(error)
            continue
        yield from _chosen(source, files, skips)


def _chosen(
    source: Source, files: Sequence[SourceFile], skips: MutableMapping[str, int]
) -> list[SourceFile]:
    rng = random.Random(source.name)
    python = [file for file in files if file.language == "python"]
    other = [file for file in files if file.language != "python"]
    if source.split == "valid":
        chosen = _capped(python, VALID_BYTES, rng)
        room = VALID_BYTES - sum(len(file.data) for file in chosen)
        return chosen + _capped(other, min(room, VALID_OTHER_BYTES), rng)
    kept = [file for file in python if not is_test(file.path) or rng.random() < TESTS_KEPT]
    skips["test sampled out"] += len(python) - len(kept)
    return _capped(kept, PYTHON_BYTES, rng) + _capped(other, OTHER_BYTES, rng)


def _capped(files: Sequence[SourceFile], limit: int, rng: random.Random) -> list[SourceFile]:
    """Files in random order, as many as fit."""
    shuffled = rng.sample(files, len(files))
    chosen, total = [], 0
    for file in shuffled:
        if total + len(file.data) <= limit:
            chosen.append(file)
            total += len(file.data)
    return chosen


def in_mirror(mirror: Path, name: str) -> Path:
    """The clone of a repository, bare or not, in the folder owner+name or in its folder `repo`."""
    folder = mirror / name.replace("/", "+")
    return folder / "repo" if (folder / "repo").is_dir() else folder
