"""A server goes over to what is written to its checkpoint, such as by `codebyte adapt`."""

import logging
import threading
from pathlib import Path

from codebyte.apps.session import Session
from codebyte.checkpoint import CONFIG_NAME, WEIGHTS_NAME, load
from codebyte.errors import CodebyteError

EVERY = 2.0  # seconds between two looks at the files

_log = logging.getLogger(__name__)


def follow(session: Session, every: float = EVERY) -> threading.Event:
    """Lets a session use its checkpoint anew whenever that was written, in a thread of its own.

    One that cannot be loaded is logged, and the model in use stays.

    Args:
        session: what to keep up to date; of the packaged model there is nothing to follow.
        every: seconds between two looks; files that changed since the last one are not read yet.

    Returns:
        An event; set it to end this.
    """
    ended = threading.Event()
    if session.checkpoint is not None:
        files = _files(Path(session.checkpoint).expanduser())
        following = (session, files, _stamps(files), every, ended)
        threading.Thread(target=_follow, args=following, daemon=True).start()
    return ended


def _follow(
    session: Session,
    files: list[Path],
    used: list[object],
    every: float,
    ended: threading.Event,
) -> None:
    last = used
    while not ended.wait(every):
        now = _stamps(files)
        if now == last and now != used:
            used = now
            try:
                session.use(load(session.checkpoint))
            except CodebyteError as error:
                _log.warning("the model in use stays: %s", error)
        last = now


def _files(checkpoint: Path) -> list[Path]:
    if checkpoint.is_dir():
        return [checkpoint / CONFIG_NAME, checkpoint / WEIGHTS_NAME]
    return [checkpoint.parent / CONFIG_NAME, checkpoint]


def _stamps(files: list[Path]) -> list[object]:
    """What differs once a file was written; None of one that is not there."""
    stamps: list[object] = []
    for file in files:
        try:
            found = file.stat()
        except OSError:
            stamps.append(None)
        else:
            stamps.append((found.st_mtime_ns, found.st_ino, found.st_size))
    return stamps
