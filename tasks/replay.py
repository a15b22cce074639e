"""Text of other repositories that comes with the package, so that adaptation does not forget it.

`replay.xz` holds pieces of files that the packaged model was trained on (NOTICE names the
repositories, replay.LICENSE has their licences): most are replayed while adapting, the rest tell
how much was forgotten.
"""

import json
import lzma
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from codebyte.corpus import Shard
from codebyte.errors import CheckpointError
from codebyte.indexer.languages import language_of

REPLAY_NAME = "replay.xz"
PIECE = 6144  # bytes of a file that are taken at most
HELD_EVERY = 12  # one piece of so many is held out
_UNPACKED = 16 << 20  # bytes of the largest file that is read


@dataclass(frozen=True, slots=True)
class Replay:
    """Pieces of files."""

    paths: tuple[str, ...]
    texts: tuple[bytes, ...]

    def split(self) -> tuple["Replay", list[bytes]]:
        """What is replayed, and what is held out."""
        held = [i % HELD_EVERY == 0 for i in range(len(self.texts))]
        kept = [i for i, out in enumerate(held) if not out]
        rest = Replay(tuple(self.paths[i] for i in kept), tuple(self.texts[i] for i in kept))
        return rest, [text for text, out in zip(self.texts, held, strict=True) if out]


def shard_of(paths: Sequence[str], texts: Sequence[bytes]) -> Shard:
    """Files in memory in the form that rows are filled from."""
    return Shard(
        data=np.frombuffer(b"".join(texts), np.uint8),
        ends=np.cumsum([len(text) for text in texts], dtype=np.int64),
        repos=np.zeros(len(texts), np.int32),
        paths=tuple(paths),
    )


def read_replay(path: str | os.PathLike[str] | None = None) -> Replay:
    """Reads pieces; None for the packaged ones.

    Raises:
        CheckpointError: if the file is missing or damaged.
    """
    packaged = str(files("codebyte") / "weights" / REPLAY_NAME)
    file = Path(packaged if path is None else path)
    try:
        with lzma.open(file) as stream:
            head, _, body = stream.read(_UNPACKED).partition(b"\n")
        listed = [(str(name), int(size)) for name, size in json.loads(head)]
        ends = np.cumsum([size for _, size in listed]).tolist()
        if not listed or ends[-1] != len(body):
            raise ValueError(f"{len(body)} bytes of text")
        texts = tuple(body[end - size : end] for end, (_, size) in zip(ends, listed, strict=True))
    except (OSError, EOFError, ValueError, TypeError, lzma.LZMAError) as error:
        raise CheckpointError(
            f"{file} holds no replay text ({error}); install codebyte again"
        ) from error
    return Replay(tuple(name for name, _ in listed), texts)


def write_replay(shard: Shard, path: str | os.PathLike[str], num_bytes: int, seed: int = 1) -> None:
    """Draws pieces of files, about four fifths of their bytes Python, and packs them.

    Args:
        shard: of training text.
        path: the file to write.
        num_bytes: of the pieces together.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    python = np.array([language_of(name) == "python" for name in shard.paths])
    head, body, total = [], [], [0, 0]
    for index in rng.permutation(shard.num_documents):
        kind = int(python[index])
        if total[kind] >= num_bytes * (0.2, 0.8)[kind]:
            continue
        data = shard.document(int(index)).tobytes()
        first = data.rfind(b"\n", 0, int(rng.integers(max(1, len(data) - PIECE)))) + 1
        end = data.rfind(b"\n", first, first + PIECE) + 1
        piece = data[first : end or first + PIECE]
        head.append((shard.paths[index], len(piece)))
        body.append(piece)
        total[kind] += len(piece)
    packed = lzma.compress(
        json.dumps(head).encode() + b"\n" + b"".join(body), preset=9 | lzma.PRESET_EXTREME
    )
    file = Path(path)
    fresh = file.with_name(f".{file.name}.{os.getpid()}.new")
    fresh.write_bytes(packed)
    fresh.replace(file)
