"""What the Scan tab scans and draws: a repository of the library or an upload, nothing else."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from codebyte.apps.library import Library
from codebyte.apps.uploads import unpack
from codebyte.errors import InputError

if TYPE_CHECKING:
    from codebyte.tasks.scan_targets import Tree

UPLOADED = "an upload"


@contextmanager
def open_source(
    library: Library, place: str, upload: str | None, *, history: bool = False
) -> Iterator["Tree"]:
    """Lists the files of a repository by its name, or of an upload, which is unpacked meanwhile.

    Args:
        library: of the repositories.
        place: a repository's name, or UPLOADED.
        upload: the file that was uploaded.
        history: whether it is to be compared with an older revision.

    Raises:
        CodebyteError: there is no such repository or upload, or it cannot be opened.
    """
    from codebyte.tasks.scan_targets import open_tree

    if place == UPLOADED and upload is None:
        raise InputError("there is no upload yet: choose a file or a .zip")
    with tempfile.TemporaryDirectory() if place == UPLOADED else nullcontext("") as folder:
        if upload is not None and place == UPLOADED:
            where = str(unpack(Path(upload), Path(folder)))
        else:
            where = library.source(place)
        tree = open_tree(where, history=history, fetch=False)
        tree.name = place
        yield tree
