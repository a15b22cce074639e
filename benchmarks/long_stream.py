"""A stream of a billion bytes through one state: memory, speed, exactness, bits by position.

    --run DIR    holds the model and the log; a run that was cut off goes on from its last entry
    --bytes N    of the stream: the text files under --folder (default: this Python's installation),
                 one after the other and again from the first, as many times as it takes

The model is of the preset "stream", trained for --minutes on --corpus (or on Python's library)
unless DIR holds one or --checkpoint names one. One core reads some 75 KB/s, a billion bytes in 3.7
hours; with --lean, a model of a quarter of the products, some 155 KB/s, in 1.8 hours.

Every --every bytes the log gets: the position, seconds, this process's own seconds, its resident
memory, the mean bits of a byte since the last entry, and the largest difference between the last
2,048 bytes' bits and those of one forward pass over the end of the stream, which begins far enough
back for all that the model can see; that pass is another process's, so that its memory does not
count. Someone else's use of the machine slows the clock and not the
process's own seconds, by which KB/s are given.

Then recall: an identifier of 24 random letters is planted in a stretch of the stream and read again
at a distance. What counts is the bits of its last 16 letters, given the first 8; 4.7 bits each is
knowing nothing, and each distance has --needles of them. This is what is remembered; the rest is
bounded-memory streaming and no understanding of a gigabyte.
"""

import json
import multiprocessing
import random
import resource
import string
import subprocess
import sys
import sysconfig
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from report import Check, Report, parser, range_of
from texts import library_files

import codebyte
from codebyte.config import TrainConfig
from codebyte.corpus import Corpus
from codebyte.corpus_writer import Document, write_corpus
from codebyte.megabyte import Megabyte
from codebyte.memory import keep_freed_memory
from codebyte.presets import PRESETS
from codebyte.streaming import Stream, bounded
from codebyte.training import train

STRETCH = 2048  # bytes of each sample that is compared with the reference
FIELD = 24_576  # bytes before them that the reference reads too, besides what matches reach
DISTANCES = tuple(4**i for i in range(3, 11))  # 64 to 1,048,576
LETTERS, CUE = 24, 8
FLAT_MEMORY, FLAT_SPEED, MOST_DIFFERENCE = 1.05, 1.15, 0.01
_READ = 1 << 16
_BYTES, _PATCHES = PRESETS["stream"].levels
LEAN = replace(  # half as wide, and no deeper than it must be to alternate its two patterns
    PRESETS["stream"],
    levels=(replace(_BYTES, dim=32), replace(_PATCHES, dim=64, layers=2, head_dim=32)),
)


class Source:
    """The bytes of many files, one after the other and again from the first, without end."""

    def __init__(self, folder: Path, listing: Path) -> None:
        """Lists the files once, so that a run that goes on reads the same stream.

        Args:
            folder: what holds the files; those that are no text, or compiled, are left out.
            listing: where the list is kept.
        """
        if not listing.exists():
            found = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
            sizes = [(str(path), path.stat().st_size) for path in sorted(found)]
            kept = [(n, size) for n, size in sizes if 0 < size < 1 << 27 and is_text(Path(n))]
            listing.write_text(json.dumps(kept))
        self._files = [(Path(path), size) for path, size in json.loads(listing.read_text())]
        self._starts = np.cumsum([0, *(size for _, size in self._files)])
        if not self._files:
            raise SystemExit(f"{folder} holds no files")

    @property
    def size(self) -> int:
        """Bytes before it begins again."""
        return int(self._starts[-1])

    def read(self, start: int, length: int) -> bytes:
        """The bytes from a place of the stream on."""
        out = bytearray()
        while len(out) < length:
            place = (start + len(out)) % self.size
            index = int(np.searchsorted(self._starts, place, side="right")) - 1
            path, size = self._files[index]
            wanted = min(int(self._starts[index]) + size - place, length - len(out))
            data = b""
            if path.exists():
                with path.open("rb") as file:
                    file.seek(place - int(self._starts[index]))
                    data = file.read(wanted)
            out += data.ljust(wanted, b"\0")  # of a file that has shrunk or gone meanwhile
        return bytes(out)


def is_text(path: Path) -> bool:
    """Whether a file begins as text does: without a zero byte."""
    with path.open("rb") as file:
        return b"\0" not in file.read(_READ)


def main() -> None:
    """Runs the benchmark."""
    options = parser(__doc__)
    options.add_argument("--run", type=Path, default=Path("build/long_stream"))
    options.add_argument("--bytes", type=int, default=1_000_000_000)
    options.add_argument("--every", type=int, default=5_000_000, help="bytes between log entries")
    options.add_argument("--folder", type=Path, default=Path(sysconfig.get_paths()["data"]))
    options.add_argument("--checkpoint", help="a model's folder")
    options.add_argument("--corpus", type=Path, help="to train on")
    options.add_argument("--minutes", type=float, default=20, help="of training")
    options.add_argument("--lean", action="store_true", help="a model of a quarter of the work")
    options.add_argument("--needles", type=int, default=16)
    options.add_argument("--train", action="store_true", help="only train the run's model")
    args = options.parse_args()
    if args.quick:
        args.bytes, args.every, args.minutes, args.needles = 400_000, 100_000, 0.2, 1
    torch.set_num_threads(1)
    if args.train:
        train_here(args)
        return
    keep_freed_memory()  # so that what is held does not depend on when the C library gives it back
    report = Report("long_stream", quick=args.quick)
    args.run.mkdir(parents=True, exist_ok=True)
    model, folder = load_model(args, report)
    source = Source(args.folder, args.run / "files.json")
    print(f"{source.size:,} bytes of files, {args.bytes:,} to read", flush=True)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, begin, (folder,)) as reference:
        entries = stream(model, source, args, report, reference)
    recalled = recall(model, source, args)
    show(report, entries, recalled, args)


def load_model(args: Any, report: Report) -> tuple[Megabyte, str]:
    """The model named, that of the run, or a new one; and its folder."""
    folder = args.checkpoint
    if folder is None:
        folder = str(args.run / "training" / "latest")
        if not Path(folder).exists():  # by another process, whose memory is not counted
            subprocess.run([sys.executable, __file__, "--train", *sys.argv[1:]], check=True)
        report.note(f"the model was trained here for at most {args.minutes:g} minutes")
    model = codebyte.load(folder)
    if not bounded(model.config):
        raise SystemExit("the model must be of sparse attention and matches of a limited reach")
    return model.eval(), folder


def train_here(args: Any) -> None:
    """Trains the run's model."""
    config = TrainConfig(
        steps=100_000, rows=4, length=4096, decay=0.0, validate_every=100_000, fim_rate=0.0
    )
    folder = args.run / "training"
    shape = LEAN if args.lean else PRESETS["stream"]
    train(corpus_of(args), folder, shape, config, minutes=args.minutes)


def corpus_of(args: Any) -> Corpus:
    """The corpus named, or one of Python's library in the run's folder."""
    if args.corpus is not None:
        return Corpus(args.corpus)
    folder = args.run / "corpus"
    files = library_files().items()
    write_corpus((Document(repo="python", path=name, data=data) for name, data in files), folder)
    return Corpus(folder)


def stream(
    model: Megabyte, source: Source, args: Any, report: Report, reference: ProcessPoolExecutor
) -> list[dict[str, Any]]:
    """Reads to the end, from where the log ends; gives the log."""
    log = args.run / "log.jsonl"
    entries = logged(log)
    position = entries[-1]["position"] if entries else 0
    reader = Stream(model)
    back = FIELD + model.config.match_reach
    if position:
        report.note(f"the stream goes on from byte {position:,}, {back:,} bytes read again")
        reader.read(source.read(max(0, position - back), min(position, back)))
    part, began, own = len(entries), time.monotonic(), time.process_time()
    while position < args.bytes:
        end = min(position + args.every, args.bytes)
        total, last = 0.0, np.empty(0, np.float32)
        for start in range(position, end, _READ):
            bits = reader.read(source.read(start, min(_READ, end - start)))
            total += float(bits.sum(dtype=np.float64))
            last = np.concatenate([last, bits])[-STRETCH:]
        seconds, used = time.monotonic() - began, time.process_time() - own
        data = source.read(max(0, end - back), back) if end >= back else b""
        entries.append(
            {
                "position": end,
                "seconds": seconds,
                "own_seconds": used,
                "bytes": end - position,
                "resident_mb": resident() / 1e6,
                "bits_per_byte": total / (end - position),
                "difference": reference.submit(difference, data, last).result() if data else 0.0,
                "part": part,
            }
        )
        with log.open("a") as file:
            file.write(json.dumps(entries[-1]) + "\n")
        entry = entries[-1]
        print(
            f"{end:>13,}  {entry['bytes'] / used / 1e3:6.1f} KB/s  "
            f"{entry['resident_mb']:6.0f} MB  {entry['bits_per_byte']:.3f} bits/byte  "
            f"difference {entry['difference']:.1e}",
            flush=True,
        )
        position, began, own = end, time.monotonic(), time.process_time()
    return entries


def logged(log: Path) -> list[dict[str, Any]]:
    """The entries of a log; what a crash left of a last line is cut off."""
    text = log.read_text() if log.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        log.write_text(whole)
    return [json.loads(line) for line in whole.splitlines()]


_reference: dict[str, Megabyte] = {}  # what another process passes texts through


def begin(folder: str) -> None:
    """Starts the process that passes whole texts through the model."""
    torch.set_num_threads(1)
    _reference["model"] = codebyte.load(folder).eval()


@torch.inference_mode()
def difference(data: bytes, bits: np.ndarray) -> float:
    """Largest difference of the last bits from those of one forward pass over the data."""
    ids = torch.frombuffer(bytearray(data), dtype=torch.uint8)[None]
    wanted = _reference["model"].losses(ids)[0, -len(bits) :].numpy() / np.log(2)
    return float(np.abs(wanted - bits).max())


def resident() -> int:
    """Bytes of memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def recall(model: Megabyte, source: Source, args: Any) -> dict[int, list[float]]:
    """Bits of a letter of identifiers read again, by the distance in bytes."""
    rng = random.Random(1)
    found: dict[int, list[float]] = {}
    for distance in DISTANCES[: 3 if args.quick else None]:
        found[distance] = []
        for _ in range(args.needles):
            name = "".join(rng.choices(string.ascii_lowercase, k=LETTERS)).encode()
            reader = Stream(model)
            reader.read(source.read(rng.randrange(source.size), 4096) + b"\n" + name + b" = 1\n")
            gap = max(0, distance - LETTERS - 6)
            start = rng.randrange(source.size)
            for at in range(0, gap, _READ):
                reader.read(source.read(start + at, min(_READ, gap - at)))
            bits = reader.read(b"\n" + name)[1:]
            found[distance].append(float(bits[CUE:].mean()))
    return found


def show(
    report: Report, entries: list[dict[str, Any]], recalled: dict[int, list[float]], args: Any
) -> None:
    """Prints the tables and the result."""
    settled = [entry for entry in entries if entry["position"] >= min(1e7, args.bytes / 4)]
    tenths = [settled[i * len(settled) // 10 : (i + 1) * len(settled) // 10] for i in range(10)]
    speeds, rows = [], []
    for entry_group in filter(None, tenths):
        size = sum(entry["bytes"] for entry in entry_group)
        speeds.append(size / sum(entry["own_seconds"] for entry in entry_group) / 1e3)
        bits = sum(entry["bits_per_byte"] * entry["bytes"] for entry in entry_group) / size
        memory = range_of([entry["resident_mb"] for entry in entry_group])
        rows.append([f"{entry_group[-1]['position']:,}", speeds[-1], *memory, bits])
    report.table(["to byte", "KB/s", "least MB", "most MB", "bits per byte"], rows)
    report.table(
        ["distance", "bits a letter", "least", "most"],
        [[f"{far:,}", float(np.mean(bits)), *range_of(bits)] for far, bits in recalled.items()],
    )
    # another process starts with other memory: each part is held to its own
    parts: dict[int, list[float]] = {}
    for entry in settled:
        parts.setdefault(entry["part"], []).append(entry["resident_mb"])
    growth = max(max(memory) / memory[0] for memory in parts.values())
    report.finish(
        {
            "largest growth of memory": Check(growth, FLAT_MEMORY, at_most=True),
            "fastest tenth over slowest": Check(
                max(speeds) / min(speeds), FLAT_SPEED, at_most=True
            ),
            "largest difference in bits from the reference": Check(
                max(entry["difference"] for entry in entries), MOST_DIFFERENCE, at_most=True
            ),
            "bytes": Check(entries[-1]["position"], args.bytes),
        },
        unit="times",
        spread=range_of([max(memory) / memory[0] for memory in parts.values()]),
        kb_per_second=range_of(speeds),
        resident_mb=range_of([entry["resident_mb"] for entry in settled]),
        hours=sum(entry["seconds"] for entry in entries) / 3600,
        own_hours=sum(entry["own_seconds"] for entry in entries) / 3600,
        bits_by_position=[[row[0], row[-1]] for row in rows],
        recall={str(far): float(np.mean(bits)) for far, bits in recalled.items()},
        processes=len(parts),
    )


if __name__ == "__main__":
    main()
