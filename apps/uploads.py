"""What is uploaded to be scanned: a file, or the files of an archive, which is not trusted."""

import stat
import zipfile
from pathlib import Path

from codebyte.errors import InputError

MOST_FILES, MOST_UNPACKED = 5000, 64 << 20  # of an archive: files, and bytes in all


def unpack(upload: Path, folder: Path) -> Path:
    """Puts an uploaded file, or the files of a .zip, into a folder; gives what to scan.

    Raises:
        InputError: the archive is damaged, leads out of the folder, or is too large.
    """
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
