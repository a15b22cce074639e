"""Bits per byte beside a context-mixing compressor, the best of what is no neural network.

zpaq at its best (-m5: orders 1 to 6 and words, matches, mixing) must be on the PATH; Debian has it
as a package. Its archives have heads and checksums that say nothing of it, so a file's size is what
it adds: cold to an archive of one byte, primed to an archive of 10 MB of training Python. Those
10 MB take zpaq some forty seconds for every file: --primed of them are tried, of the same sample as
in bits_per_byte.py.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from bits_per_byte import training_text
from contenders import fail, load_ours
from report import Check, Report, held_out_parser, interval, parse_held_out
from texts import by_language, draw, validation_files

import codebyte
from codebyte.corpus import Corpus
from codebyte.errors import CodebyteError, InputError


def archive_size(data: bytes) -> int:
    """Bytes of an archive of one file."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "file").write_bytes(data)
        how = ["-method", "5", "-noattributes", "-threads", "1"]
        command = ["zpaq", "add", "out.zpaq", "file", *how]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        return Path(folder, "out.zpaq").stat().st_size


def main() -> None:
    """Runs the benchmark."""
    options = held_out_parser(__doc__)
    options.add_argument("--bytes", type=int, default=1_000_000, help="of Python")
    options.add_argument("--primed", type=int, default=20, help="files that are tried primed")
    options.add_argument("--seed", type=int, default=1)
    args = parse_held_out(options)
    if shutil.which("zpaq") is None:
        fail(InputError("zpaq is not on the PATH: apt-get install zpaq"))
    report = Report("context_mixing", quick=args.quick)
    try:
        shard = validation_files(args.corpus)
    except CodebyteError as error:
        fail(error)
    model, name = load_ours(args.checkpoint)
    report.note(f"the model is {name}")
    rng = np.random.default_rng(args.seed)
    indices = by_language(shard)["python"]
    files = draw(shard, indices, 16_000 if args.quick else args.bytes, rng)
    few = [] if args.quick or args.corpus is None else files[: args.primed]
    lengths = np.array([len(data) for data in files])
    ours = np.array([codebyte.surprisal(model, data).sum(dtype=np.float64) for data in files])
    head = archive_size(b"x") - 1
    cold = 8.0 * np.array([archive_size(data) - head for data in files])
    rows = [[len(files), lengths.sum(), "cold", ours.sum(), cold.sum()]]
    if few:
        text = training_text(Corpus(args.corpus))
        before = archive_size(text)
        primed = sum(8.0 * (archive_size(text + data) - before) for data in few)
        rows.append([len(few), lengths[: len(few)].sum(), "primed", ours[: len(few)].sum(), primed])
    table = [[n, size, how, own / size, other / size] for n, size, how, own, other in rows]
    report.table(["files", "bytes", "zpaq", "codebyte", "zpaq -m5"], table)
    worst = float(max(row[3] / row[4] for row in table))
    report.finish(
        {"codebyte over zpaq": Check(worst, 1.0, at_most=True)},
        unit="ratio of bits",
        spread=interval(ours / cold, np.ones(len(files))),
        ours=table[0][3],
        theirs={how: other for _, _, how, _, other in table},
        model=name,
        seed=args.seed,
    )


if __name__ == "__main__":
    main()
