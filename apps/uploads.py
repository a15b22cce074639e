"""What is uploaded to the page: how much is kept and how long; archives, which are not trusted."""

import stat
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from codebyte.errors import InputError

if TYPE_CHECKING:
    import gradio as gr

UPLOADS = "/gradio_api/upload"  # where gradio takes them
MOST_KEPT = 256 << 20  # bytes of all uploads, but for those that are just arriving
KEPT_SECONDS, LOOKED_AFTER = 24 * 3600, 3600  # how long, and how often gradio looks
MOST_FILES, MOST_UNPACKED = 5000, 64 << 20  # of an archive: files, and bytes in all


class KeptUploads:
    """ASGI middleware that makes room for each upload: the oldest ones go.

    Args:
        app: what it wraps.
        page: whose uploads these are.
    """

    def __init__(self, app: ASGIApp, *, page: "gr.Blocks") -> None:
        self._app = app
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102
        if scope["type"] == "http" and scope["path"] == UPLOADS:
            kept = {path for held in self._page.temp_file_sets for path in held}
            await run_in_threadpool(drop_oldest, kept, MOST_KEPT)
        await self._app(scope, receive, send)


def drop_oldest(paths: Iterable[str], most: int) -> None:
    """Deletes the oldest of some files until the others have `most` bytes together."""
    found = [(file.stat(), file) for file in map(Path, paths) if file.is_file()]
    total = 0
    for about, file in sorted(found, key=lambda it: it[0].st_mtime_ns, reverse=True):
        total += about.st_size
        if total > most:
            file.unlink(missing_ok=True)


def unpack(upload: Path, folder: Path) -> Path:
    """Puts an uploaded file, or the files of a .zip, into a folder; gives what to scan.

    Raises:
        InputError: the upload is gone, or an archive is damaged, leads out of the folder, or is
            too large.
    """
    if not upload.is_file():
        raise InputError(f"{upload.name} is no longer kept: upload it again")
    if upload.suffix.lower() != ".zip":
        target = folder / upload.name
        target.write_bytes(upload.read_bytes())
        return target
    top = folder.resolve()
    left = MOST_UNPACKED
    try:
        with zipfile.ZipFile(upload) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            if len(entries) > MOST_FILES:
                raise InputError(
                    f"the archive has {len(entries):,} files, more than {MOST_FILES:,}"
                )
            for entry in entries:
                target = (top / entry.filename).resolve()
                if not target.is_relative_to(top) or target == top:
                    raise InputError(f"the archive's {entry.filename!r} leads out of its folder")
                if stat.S_ISLNK(entry.external_attr >> 16):
                    continue
                with archive.open(entry) as file:
                    data = file.read(left + 1)  # what the archive says of its size may be a lie
                left -= len(data)
                if left < 0:
                    raise InputError(f"the archive unpacks to more than {MOST_UNPACKED:,} bytes")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, EOFError) as error:
        raise InputError(f"the archive cannot be unpacked: {error}") from error
    return folder
