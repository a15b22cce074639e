"""Reports of files scanned before, kept in one SQLite file in the user's cache folder.

A report is found again by all that it depends on: the model, the code of the scan, the place whose
tokens were counted, the file's path and content, and what it was compared with. A cache that
cannot be used is as good as an empty one.
"""

import hashlib
import json
import os
import sqlite3
import time
import zlib
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import platformdirs
import tree_sitter

import codebyte
import codebyte.indexer
from codebyte.errors import CheckpointError
from codebyte.tasks.findings import FileReport, Finding, Repair

LARGEST = 512 << 20  # bytes of the file; what was unused for longest goes first
_TOUCH = 86400  # seconds after which a use is noted again
_BITS = 16.0  # steps per bit of surprise in a kept report
_SCHEMA = """
CREATE TABLE IF NOT EXISTS reports (
    key BLOB PRIMARY KEY, used INTEGER NOT NULL, report BLOB NOT NULL) WITHOUT ROWID;
"""


class ScanCache:
    """Keeps reports between scans; a context manager that closes the file."""

    def __init__(self, model_id: str, folder: str | os.PathLike[str] | None = None) -> None:
        """Opens the cache.

        Args:
            model_id: what tells this model from any other.
            folder: where the file lies; None for the user's cache folder.
        """
        self.problem: str | None = None  # why it is not used, for people
        self._scan_id = hashlib.sha256(f"{model_id} {_code_id()}".encode()).digest()
        self._folder = platformdirs.user_cache_path("codebyte") if folder is None else Path(folder)
        self._connection: sqlite3.Connection | None = None
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._connection = self._open()
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)

    def __enter__(self) -> "ScanCache":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._connection is not None:
            try:
                self._connection.commit()
                self._make_room(self._connection)
            except sqlite3.Error as problem:
                self.problem = str(problem)
            self._connection.close()
            self._connection = None

    def get(self, scope: str, path: str, oid: str, compared: str) -> FileReport | None:
        """The report of this content under this path of a place, if it is there."""
        if self._connection is None:
            return None
        key = self._key(scope, path, oid, compared)
        try:
            found = self._connection.execute(
                "SELECT report, used FROM reports WHERE key = ?", (key,)
            ).fetchone()
            if found is None:
                return None
            if time.time() - found[1] > _TOUCH:
                update = "UPDATE reports SET used = ? WHERE key = ?"
                self._connection.execute(update, (int(time.time()), key))
        except sqlite3.Error as error:
            self._give_up(error)
            return None
        return unpack(found[0])

    def put(self, scope: str, path: str, oid: str, compared: str, report: FileReport) -> None:
        """Keeps a report; it is on disk once this returns."""
        if self._connection is None:
            return
        values = (self._key(scope, path, oid, compared), int(time.time()), pack(report))
        try:
            self._connection.execute("INSERT OR REPLACE INTO reports VALUES (?, ?, ?)", values)
            self._connection.commit()
        except sqlite3.Error as error:
            self._give_up(error)

    def _key(self, *parts: str) -> bytes:
        digest = hashlib.sha256(self._scan_id)
        for part in parts:
            raw = os.fsencode(part)
            digest.update(b"%d:" % len(raw) + raw)
        return digest.digest()

    def _open(self) -> sqlite3.Connection:
        file = self._folder / "scan.sqlite3"
        try:
            return _connect(file)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # locked, or not to be written
                raise
            file.unlink()  # no database, or a damaged one: all in it can be computed again
            return _connect(file)

    def _make_room(self, connection: sqlite3.Connection) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        if pages * size <= LARGEST:
            return
        (count,) = connection.execute("SELECT count(*) FROM reports").fetchone()
        oldest = "SELECT key FROM reports ORDER BY used LIMIT ?"
        connection.execute(f"DELETE FROM reports WHERE key IN ({oldest})", (count // 2,))
        connection.commit()
        connection.execute("VACUUM")

    def _give_up(self, error: Exception) -> None:
        self.problem = f"{self._folder}: {error}"
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def pack(report: FileReport) -> bytes:
    """A report as bytes; surprise is rounded to a sixteenth of a bit and cut off at 16."""
    plain: dict[str, Any] = {
        "path": report.path,
        "language": report.language,
        "suspicion": report.suspicion,
        "bits_per_byte": report.bits_per_byte,
        "skipped": report.skipped,
        "findings": [_plain(finding) for finding in report.findings],
        "lines": len(report.lines),
        "bits": None if report.bits is None else len(report.bits),
    }
    text = json.dumps(plain).encode("ascii")
    arrays = report.lines.astype("<f4").tobytes()
    if report.bits is not None:
        arrays += np.clip(np.rint(report.bits * _BITS), 0, 255).astype(np.uint8).tobytes()
    return zlib.compress(b"%d\n" % len(text) + text + arrays, 1)


def unpack(packed: bytes) -> FileReport | None:
    """The report that `pack` was given, or None if the bytes are damaged."""
    try:
        head, _, rest = zlib.decompress(packed).partition(b"\n")
        plain = json.loads(rest[: int(head)])
        arrays = rest[int(head) :]
        size = 4 * plain["lines"]
        lines = np.frombuffer(arrays[:size], "<f4").astype(np.float32)
        bits = None
        if plain["bits"] is not None:
            bits = np.frombuffer(arrays[size:], np.uint8).astype(np.float32) / np.float32(_BITS)
        findings = tuple(_finding(entry) for entry in plain["findings"])
    except (zlib.error, ValueError, KeyError, TypeError):
        return None
    return FileReport(**(plain | {"lines": lines, "bits": bits, "findings": findings}))


def _plain(finding: Finding) -> dict[str, Any]:
    plain = asdict(finding)
    if finding.repair is not None:
        plain["repair"]["replacement"] = finding.repair.replacement.decode("latin-1")
    return plain


def _finding(plain: dict[str, Any]) -> Finding:
    repair = plain["repair"]
    if repair is not None:
        repair = Repair(**(repair | {"replacement": repair["replacement"].encode("latin-1")}))
    return Finding(**(plain | {"reasons": tuple(plain["reasons"]), "repair": repair}))


def _connect(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=5)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(_SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _code_id() -> str:
    """Tells the code of this installation from any other, by its content."""
    digest = hashlib.sha256(codebyte.__version__.encode())
    package, indexer = (Path(str(m.__file__)).parent for m in (codebyte, codebyte.indexer))
    for top in (package, package / "weights", Path(__file__).parent, indexer):
        for file in sorted(top.iterdir()):
            if file.suffix in (".py", ".json", ".npz"):
                content = file.read_bytes()
                digest.update(f"{file.name} {len(content)};".encode() + content)
    # The grammars' folders of metadata are named by their versions.
    installed = Path(tree_sitter.__file__).parents[1].glob("tree_sitter*-info")
    digest.update(" ".join(sorted(folder.name for folder in installed)).encode())
    return digest.hexdigest()


def model_id(checkpoint: str | os.PathLike[str] | None = None) -> str:
    """Tells a checkpoint from any other, by its content; nothing is loaded.

    Args:
        checkpoint: as for `codebyte.load`.

    Raises:
        CheckpointError: there is none.
    """
    folder = Path(str(files("codebyte") / "weights")) if checkpoint is None else Path(checkpoint)
    weights = folder.expanduser()
    if weights.suffix.lower() != ".safetensors":
        weights = weights / "model.safetensors"
    digest = hashlib.sha256()
    try:
        for path in (weights, weights.with_name("config.json")):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        codebyte.load(checkpoint)  # says what is wrong with it
        raise CheckpointError(f"{weights} cannot be read: {error.strerror}") from error
    return digest.hexdigest()
