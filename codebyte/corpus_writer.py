"""Writes a corpus: duplicates dropped, validation split off, everything in one atomic step."""

import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from codebyte.dedup import Deduplicator
from codebyte.errors import CorpusError

FORMAT = 1  # of a corpus folder
VALID_SHARE = 0.05  # of the bytes, where no validation repositories are named
_LISTED = 8  # repositories, at most, in an error


class DocumentLike(Protocol):
    """What a corpus is written from: anything with these four attributes."""

    @property
    def repo(self) -> str:
        """The repository's name; documents of one repository stay on one side of the split."""

    @property
    def path(self) -> str:
        """The path inside the repository."""

    @property
    def language(self) -> str:
        """A language's name, for the statistics, or ""."""

    @property
    def data(self) -> bytes:
        """The content, any bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """One text to train on."""

    repo: str
    path: str
    data: bytes
    language: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    repo: str
    path: str
    language: str
    start: int  # in the spool
    size: int
    digest: bytes


def write_corpus(
    documents: Iterable[DocumentLike],
    out: str | os.PathLike[str],
    *,
    valid: Collection[str] | None = None,
    valid_share: float = VALID_SHARE,
    dedup: bool = True,
    skips: MutableMapping[str, int] | None = None,
    failures: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Writes documents as a corpus folder, replacing the folder if there is one.

    The split is by repository: those named in `valid`, else as many, in an order by hash, as come
    near `valid_share` of the bytes. A single repository is split by file, in an order by hash of
    the path; a single document by position, its end held out. corpus.json says which.

    Args:
        documents: read once; of like ones the first stays, so give validation repositories first.
        out: the folder to write.
        valid: names of the validation repositories.
        valid_share: of the bytes, where `valid` is None.
        dedup: whether to leave out duplicates and near-duplicates.
        skips: counts of files left out so far; those left out here are added.
        failures: source -> what was wrong with it, for corpus.json; may be filled meanwhile.

    Returns:
        What was written to corpus.json.

    Raises:
        CorpusError: no document was left, none of a repository named in `valid`, or the folder
            cannot be written.
    """
    out = Path(out)
    skips = Counter() if skips is None else skips
    ours = (out / "corpus.json").is_file()
    if out.exists() and not ours and (not out.is_dir() or any(out.iterdir())):
        raise CorpusError(f"{out} exists and is not a corpus: name a new folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as temporary:
            folder = Path(temporary, "corpus")
            folder.mkdir()
            with open(Path(temporary, "spool"), "w+b") as spool:
                entries = _spool(documents, spool, skips, dedup)
                if not entries:
                    raise CorpusError("no document is left to train on: give more sources")
                info = _write(folder, spool, entries, valid, valid_share)
            info |= {"skips": dict(sorted(skips.items())), "failures": dict(failures or {})}
            (folder / "corpus.json").write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8")
            _replace(folder, out, Path(temporary, "old"))
    except OSError as error:
        raise CorpusError(f"{out} cannot be written: {error}") from error
    return info


def _spool(
    documents: Iterable[DocumentLike], spool: BinaryIO, skips: MutableMapping[str, int], dedup: bool
) -> list[_Entry]:
    """Copies the documents worth keeping to one file; only what describes them stays in memory."""
    entries: list[_Entry] = []
    seen = Deduplicator()
    at = 0
    for document in documents:
        data = document.data
        reason = "empty" if not data else seen.reason(data) if dedup else None
        if reason is not None:
            skips[reason] = skips.get(reason, 0) + 1
            continue
        key = f"{document.repo}/{document.path}".encode("utf-8", "surrogateescape")
        entries.append(
            _Entry(
                repo=document.repo,
                path=document.path.replace("\n", " "),
                language=document.language,
                start=at,
                size=spool.write(data),
                digest=hashlib.sha1(key, usedforsecurity=False).digest(),
            )
        )
        at += len(data)
    return sorted(entries, key=lambda entry: (entry.repo, entry.path))


def _write(
    folder: Path,
    spool: BinaryIO,
    entries: list[_Entry],
    valid: Collection[str] | None,
    valid_share: float,
) -> dict[str, Any]:
    names = sorted({entry.repo for entry in entries})
    split_by, sides = _split(entries, spool, valid, valid_share)
    info: dict[str, Any] = {"format": FORMAT, "split_by": split_by}
    summaries = {name: _Summary() for name in names}
    number = {name: index for index, name in enumerate(names)}
    for split, listed in sides.items():
        total = _Summary()
        with open(folder / f"{split}.bin", "wb") as file:
            for entry in listed:
                spool.seek(entry.start)
                file.write(spool.read(entry.size))
                total.add(entry)
                summaries[entry.repo].add(entry)
                summaries[entry.repo].splits.add(split)
            file.flush()
            os.fsync(file.fileno())
        sizes = [entry.size for entry in listed]
        np.save(folder / f"{split}.ends.npy", np.cumsum(sizes, dtype=np.int64))
        repos = np.array([number[entry.repo] for entry in listed], np.int32)
        np.save(folder / f"{split}.repos.npy", repos)
        paths = "".join(f"{entry.repo}/{entry.path}\n" for entry in listed)
        (folder / f"{split}.paths.txt").write_bytes(paths.encode("utf-8", "surrogateescape"))
        info[split] = total.to_json()
    info["repositories"] = [
        {"name": name, "splits": sorted(summary.splits), **summary.to_json()}
        for name, summary in summaries.items()
    ]
    return info


class _Summary:
    """Counts of some documents."""

    def __init__(self) -> None:
        self.splits: set[str] = set()
        self.documents = 0
        self.languages: Counter[str] = Counter()  # bytes

    def add(self, entry: _Entry) -> None:
        self.documents += 1
        self.languages[entry.language or "other"] += entry.size

    def to_json(self) -> dict[str, Any]:
        languages = dict(self.languages.most_common())
        total = self.languages.total()
        return {"documents": self.documents, "bytes": total, "languages": languages}


def _split(
    entries: list[_Entry], spool: BinaryIO, valid: Collection[str] | None, share: float
) -> tuple[str, dict[str, list[_Entry]]]:
    """How the split was made, and the entries of each side."""
    sizes: Counter[str] = Counter()
    for entry in entries:
        sizes[entry.repo] += entry.size
    if missing := sorted(set(valid or ()) - set(sizes)):
        known = ", ".join(sorted(sizes)[:_LISTED]) + ", ..." * (len(sizes) > _LISTED)
        raise CorpusError(f"no text of {', '.join(missing)} to hold out; there is of: {known}")
    if valid is not None or len(sizes) > 1:
        chosen = set(valid) if valid is not None else _choose_repositories(sizes, share)
        held_out = [entry for entry in entries if entry.repo in chosen]
        split_by = "repository"
    elif len(entries) > 1:
        held_out = _choose_files(entries, share)
        split_by = "file"
    else:
        (entry,) = entries
        spool.seek(entry.start)
        cut = spool.read(entry.size).rfind(b"\n", 0, round(entry.size * (1 - share))) + 1
        cut = cut or entry.size
        held_out = [replace(entry, start=entry.start + cut, size=entry.size - cut)]
        held_out = held_out if cut < entry.size else []
        return "position", {"train": [replace(entry, size=cut)], "valid": held_out}
    left = set(map(id, held_out))
    train = [entry for entry in entries if id(entry) not in left]
    return split_by, {"train": train, "valid": held_out}


def _choose_repositories(sizes: Mapping[str, int], share: float) -> set[str]:
    """Whole repositories, in order of hash, up to twice the share; else the smallest one."""
    if share <= 0:
        return set()
    wanted = share * sum(sizes.values())
    chosen: set[str] = set()
    total = 0
    for name in sorted(
        sizes, key=lambda name: hashlib.sha1(name.encode("utf-8", "surrogateescape")).digest()
    ):
        if total < wanted and total + sizes[name] <= 2 * wanted:
            chosen.add(name)
            total += sizes[name]
    return chosen or {min(sizes, key=lambda name: (sizes[name], name))}


def _choose_files(entries: list[_Entry], share: float) -> list[_Entry]:
    """Files in order of hash until the share is reached: at least one of two, never all."""
    wanted = share * sum(entry.size for entry in entries)
    chosen: list[_Entry] = []
    total = 0
    for entry in sorted(entries, key=lambda entry: entry.digest)[: len(entries) - 1]:
        if total >= wanted:
            break
        chosen.append(entry)
        total += entry.size
    return sorted(chosen, key=lambda entry: entry.path)


def _replace(folder: Path, out: Path, old: Path) -> None:
    if not out.exists():
        os.rename(folder, out)
        return
    os.rename(out, old)  # a folder cannot be renamed over one that is not empty
    try:
        os.rename(folder, out)
    except OSError:
        os.rename(old, out)
        raise
