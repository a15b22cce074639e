"""Bits per byte over a repository's files in order: the model alone, the mixer alone, and both.

Of each repository that a corpus keeps for validation, a run of files in order of path, from its
first one on. The mixer begins with nothing and learns each file after it was scored, as somebody
who reads the repository from the beginning; its weights begin as they are shipped. "Mixer alone"
mixes with an even distribution over bytes. "Rest known" is the same for a few files when all other
files of the repository are known from the start: what a scan or an editor has.
"""

import time
from collections.abc import Sequence

import numpy as np
from contenders import fail, load_ours
from numpy.typing import NDArray
from report import Check, Report, held_out_parser, interval, parse_held_out
from texts import validation_files

from codebyte import mixing
from codebyte.contexts import REACH
from codebyte.corpus import Corpus, Shard
from codebyte.errors import CodebyteError
from codebyte.megabyte import Megabyte
from codebyte.mixing import Mixer, log_probabilities

BAR = 0.08  # fewer bits, as a share
BAR_SPEED = 50_000  # bytes a second, besides the model
BAR_STEP = 0.3  # milliseconds for a byte that is decoded
KINDS = ("model", "mixer alone", "both")


def main() -> None:
    """Runs the benchmark."""
    options = held_out_parser(__doc__)
    options.add_argument("--bytes", type=int, default=150_000, help="of each repository, in order")
    options.add_argument("--repositories", type=int, help="so many of them (default: all)")
    args = parse_held_out(options)
    report = Report("mixing", quick=args.quick)
    try:
        shard = validation_files(args.corpus)
        names = ["python's library"]
        if args.corpus is not None:
            names = [entry["name"] for entry in Corpus(args.corpus).info["repositories"]]
    except CodebyteError as error:
        fail(error)
    model, name = load_ours(args.checkpoint)
    report.note(f"the model is {name}")
    most = 12_000 if args.quick else args.bytes
    rows, bits, lengths, seconds = [], [], [], 0.0
    for number in np.unique(shard.repos)[: 2 if args.quick else args.repositories]:
        documents = np.flatnonzero(shard.repos == number)
        files = run_of_files(shard, documents, most)
        found, took = in_order(model, files)
        size = sum(map(len, files))
        bits.append(found.sum(axis=1))
        lengths.append(size)
        seconds += took
        row = [float(total / size) for total in bits[-1]]
        known = rest_known(model, shard, documents, most // 5)
        rows.append([names[number], len(files), size, *row, 1 - row[2] / row[0], *known])
        print(f"{rows[-1][0]}: {row[0]:.4f} -> {row[2]:.4f}", flush=True)
    totals = np.array(bits)
    mean = totals.sum(axis=0) / sum(lengths)
    gain = float(1 - mean[2] / mean[0])
    rows.append(["all", "", sum(lengths), *map(float, mean), gain, "", ""])
    head = ["bits per byte", "files", "bytes", *KINDS, "fewer", "rest known: model", "its both"]
    report.table(head, rows)
    step, propose, saved = speeds(files)
    print(f"a byte decoded takes {step:.3f} ms more, a draft {propose:.3f} ms")
    print(f"a file of 50 KB is saved in {saved * 1000:.0f} ms")
    ratios = interval(totals[:, 2], totals[:, 0])
    report.finish(
        {
            "fewer bits with the mixer": Check(gain, BAR),
            "bytes a second besides the model": Check(sum(lengths) / seconds, BAR_SPEED),
            "milliseconds a decoded byte": Check(step, BAR_STEP, at_most=True),
            "seconds to take in a saved file of 50 KB": Check(saved, 1.0, at_most=True),
        },
        unit="share",
        spread=[1 - ratios[1], 1 - ratios[0]],
        model=name,
        bits_per_byte=dict(zip(KINDS, map(float, mean), strict=True)),
        repositories={
            row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows[: len(lengths)]
        },
        propose_ms=propose,
    )


def run_of_files(shard: Shard, documents: NDArray[np.int64], most: int) -> list[bytes]:
    """The first files, until they have so many bytes together."""
    files: list[bytes] = []
    for index in documents:
        if sum(map(len, files)) < most:
            files.append(shard.document(int(index)).tobytes())
    return files


def in_order(model: Megabyte, files: Sequence[bytes]) -> tuple[NDArray[np.float64], float]:
    """Bits of each file, (kinds, files), and the processor's seconds that mixing took."""
    both, alone = Mixer(), Mixer()
    found = np.zeros((len(KINDS), len(files)))
    seconds = 0.0
    for i, data in enumerate(files):
        own = np.concatenate([part for _, part in log_probabilities(model, data)])
        ids = np.frombuffer(data, np.uint8)
        found[0, i] = -own[np.arange(len(ids)), ids].sum(dtype=np.float64) / np.log(2)
        even = np.full_like(own, -np.log(256))
        found[1, i] = scored(alone, even, data)
        start = time.process_time()
        found[2, i] = scored(both, own, data)
        both.recall.add(str(i), data)
        seconds += time.process_time() - start
        alone.recall.add(str(i), data)
    return found, seconds


def scored(mixer: Mixer, own: NDArray[np.float32], data: bytes) -> float:
    """Bits of a file by mixing what the model gave, as `mixed_surprisal` does."""
    padded = np.frombuffer(b"\0" * REACH + data, np.uint8)
    mixer.recall.add("now", b"")
    total = 0.0
    for first in range(0, len(data), mixing.CHUNK):
        last = min(first + mixing.CHUNK, len(data))
        ids, before = padded[REACH + first : REACH + last], padded[first : REACH + first]
        total += float(mixer.score(own[first:last], ids, before).sum(dtype=np.float64))
        mixer.recall.extend("now", data[first:last])
    mixer.recall.remove("now")
    return total


def rest_known(
    model: Megabyte, shard: Shard, documents: NDArray[np.int64], most: int
) -> tuple[float, float]:
    """Bits per byte of some files, by the model and with every other file of the repository."""
    mixer = Mixer()
    for index in documents:
        mixer.recall.add(str(index), shard.document(int(index)).tobytes())
    chosen = np.random.default_rng(1).permutation(documents)
    size, alone, both = 0, 0.0, 0.0
    for index in chosen:
        if size >= most:
            break
        data = shard.document(int(index)).tobytes()
        own = np.concatenate([part for _, part in log_probabilities(model, data)])
        ids = np.frombuffer(data, np.uint8)
        alone -= float(own[np.arange(len(ids)), ids].sum(dtype=np.float64)) / np.log(2)
        with mixer.recall.hidden(str(index)):
            both += scored(mixer, own, data)
        size += len(data)
    return alone / size, both / size


def speeds(files: Sequence[bytes]) -> tuple[float, float, float]:
    """Milliseconds of a decoded byte and of a draft; seconds to take in a changed file of 50 KB."""
    mixer = Mixer()
    for i, data in enumerate(files):
        mixer.recall.add(str(i), data)
    text = b"".join(files)[:50_000]
    logits = np.random.default_rng(1).normal(size=(1, 272)).astype(np.float32)
    places = range(40, 540)
    times = []
    for call in (lambda i: mixer.logits(logits, text[:i]), lambda i: mixer.propose(text[:i], 32)):
        start = time.process_time()
        for i in places:
            call(i)
        times.append((time.process_time() - start) / len(places) * 1000)
    mixer.recall.add("saved", text)
    start = time.process_time()
    mixer.recall.add("saved", text[::-1])
    return times[0], times[1], time.process_time() - start


if __name__ == "__main__":
    main()
