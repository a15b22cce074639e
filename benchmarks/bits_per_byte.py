"""Bits per byte of whole held-out files, each cold, beside general compressors on the same files.

A seeded sample of the files that a corpus keeps for validation, from repositories that no training
saw: 1 MB of Python and 0.1 MB of each other language that there is. A figure is all bits over all
bytes. codebyte's bits are those that an arithmetic coder would need, its model given; the
compressors know nothing before a file, and their small headers count. "primed" ones have read 10 MB
of training Python before each Python file; only what the file adds counts.
"""

import bz2
import gzip
import lzma
import multiprocessing
import time
from collections.abc import Callable, Sequence

import brotli
import numpy as np
import pyppmd
import zstandard
from contenders import fail, load_ours
from report import Check, Report, held_out_parser, interval, parse_held_out
from texts import by_language, draw, validation_files

import codebyte
from codebyte.corpus import Corpus
from codebyte.errors import CodebyteError
from codebyte.megabyte import Megabyte

BAR = 1.22
MODEL = "codebyte"
PPMD_MEMORY = 64 << 20
PRIMED_MEMORY = 1 << 30
PRIME = 10_000_000  # bytes
Compress = Callable[[bytes], bytes]


def ppmd(order: int) -> Compress:
    """PPMd variant H, as in 7-Zip."""

    def compress(data: bytes) -> bytes:
        encoder = pyppmd.Ppmd7Encoder(order, PPMD_MEMORY)
        return encoder.encode(data) + encoder.flush()

    return compress


COMPRESSORS: dict[str, Compress] = {
    "gzip -9": lambda data: gzip.compress(data, 9),
    "bz2 -9": lambda data: bz2.compress(data, 9),
    "xz -9e": lambda data: lzma.compress(data, preset=9 | lzma.PRESET_EXTREME),
    "zstd -22": lambda data: zstandard.ZstdCompressor(level=22).compress(data),
    "brotli -11": lambda data: brotli.compress(data, quality=11),
    "PPMd o6": ppmd(6),
    "PPMd o16": ppmd(16),
}


class Primed:
    """PPMd that has read a text before: each file is compressed by a fork of the same process."""

    def __init__(self, order: int, text: bytes) -> None:
        self._encoder = pyppmd.Ppmd7Encoder(order, PRIMED_MEMORY)
        self._encoder.encode(text)

    def size(self, data: bytes) -> int:
        """Bytes that the file adds; can be asked once."""
        return len(self._encoder.encode(data)) + len(self._encoder.flush())

    def sizes(self, files: Sequence[bytes]) -> list[int]:
        """Bytes that each file adds, the others not known."""
        context = multiprocessing.get_context("fork")
        sizes = []
        for data in files:
            receiver, sender = context.Pipe(duplex=False)
            child = context.Process(target=lambda d=data, s=sender: s.send(self.size(d)))
            child.start()
            sizes.append(int(receiver.recv()))
            child.join()
        return sizes


def training_text(corpus: Corpus) -> bytes:
    """Whole Python files of the training split in random order, 10 MB of them."""
    shard = corpus.shard("train")
    files = by_language(shard)["python"]
    return b"".join(draw(shard, files, PRIME, np.random.default_rng(1)))[:PRIME]


def main() -> None:
    """Runs the benchmark."""
    options = held_out_parser(__doc__)
    options.add_argument("--bytes", type=int, default=1_000_000, help="of Python")
    options.add_argument("--other-bytes", type=int, default=100_000, help="of other languages")
    options.add_argument("--seed", type=int, default=1)
    args = parse_held_out(options)
    report = Report("bits_per_byte", quick=args.quick, packages=("brotli", "pyppmd", "zstandard"))
    try:
        shard = validation_files(args.corpus)
    except CodebyteError as error:
        fail(error)
    model, name = load_ours(args.checkpoint)
    report.note(f"the model is {name}")
    if args.corpus is None:
        report.note("without a corpus the files are those of Python's own library")
    most = (16_000, 2_000) if args.quick else (args.bytes, args.other_bytes)
    rows, languages, spread = [], {}, [float("nan")] * 2
    primed: dict[str, float] = {}
    for language, indices in by_language(shard).items():
        rng = np.random.default_rng(args.seed)
        files = draw(shard, indices, most[language != "python"], rng)
        bits, seconds = measure(model, files)
        lengths = [len(data) for data in files]
        if language == "python" and args.corpus is not None and not args.quick:
            text = training_text(Corpus(args.corpus))
            for order in (6, 16):
                sizes = Primed(order, text).sizes(files)
                primed[f"PPMd o{order} primed"] = 8 * sum(sizes) / sum(lengths)
        found = {name: sum(values) / sum(lengths) for name, values in bits.items()}
        if language == "python":
            spread = interval(bits[MODEL], lengths)
        languages[language] = {"files": len(files), "bytes": sum(lengths), **found}
        rows.append([language, len(files), sum(lengths), *found.values()])
        speed = sum(lengths) / seconds
        print(f"{language}: {found[MODEL]:.4f}, {speed:,.0f} bytes/s", flush=True)
    report.table(["bits per byte", "files", "bytes", MODEL, *COMPRESSORS], rows)
    python = languages.get("python", {})
    value = python.get(MODEL, float("nan"))
    best = min(COMPRESSORS, key=lambda name: python.get(name, float("inf")))
    for label, figure in primed.items():
        print(f"{label} with {PRIME:,} bytes of training Python: {figure:.4f} on the Python files")
    print(f"95 % of samples of as many Python files give {spread[0]:.3f} to {spread[1]:.3f}")
    report.finish(
        {"bits per byte of Python": Check(value, BAR, at_most=True)},
        unit="bits per byte",
        spread=spread,
        ours=value,
        theirs=python.get(best, float("nan")),
        theirs_is=best,
        ratio=value / python[best] if python else float("nan"),
        languages=languages,
        primed=primed,
        model=name,
        seed=args.seed,
    )


def measure(model: Megabyte, files: Sequence[bytes]) -> tuple[dict[str, list[float]], float]:
    """Bits of each file under the model and each compressor; the seconds that the model took."""
    start = time.perf_counter()
    bits = {MODEL: [float(codebyte.surprisal(model, data).sum(dtype=np.float64)) for data in files]}
    seconds = time.perf_counter() - start
    for name, compress in COMPRESSORS.items():
        bits[name] = [8.0 * len(compress(data)) for data in files]
    return bits, seconds


if __name__ == "__main__":
    main()
