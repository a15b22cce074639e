"""How long a scan takes: the first look alone, a whole tree, and a tree after one file changed."""

import multiprocessing
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from report import cores

from codebyte.corpus import Corpus
from codebyte.tasks.first_pass import load_first_pass
from codebyte.tasks.scan_cache import ScanCache
from codebyte.tasks.scan_targets import open_tree
from codebyte.tasks.scan_workers import Scorer
from codebyte.tasks.scanning import scan_tree
from codebyte.tasks.usage import Usage


def looked_at(files: Sequence[tuple[str, bytes]]) -> int:
    """What a process of the speed test does: the first look at a share of a tree's files."""
    usage, first_pass = Usage(), load_first_pass()
    for _, source in files:
        usage.add(source)
    for path, source in files:
        first_pass.look(source, path, usage)
    return sum(len(source) for _, source in files)


def first_pass_speed(files: Sequence[tuple[str, bytes]]) -> tuple[float, float]:
    """KB/s of the first look on all cores, and KB per second of processor time."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(cores()) as pool:
        pool.map(looked_at, [files[:1]] * cores(), chunksize=1)
        start = time.perf_counter()
        done = sum(pool.map(looked_at, [files[i :: cores()] for i in range(cores())], chunksize=1))
        wall = time.perf_counter() - start
    start = time.process_time()
    alone = looked_at(files[:: cores()])
    return done / 1000 / wall, alone / 1000 / (time.process_time() - start)


def scan_times(args: Any, files: Sequence[tuple[str, bytes]]) -> tuple[float, float, int]:
    """Seconds of a scan of a tree, and again after one file changed; peak MB of this process."""
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder, "tree")
        for path, source in files:
            (top / path).parent.mkdir(parents=True, exist_ok=True)
            (top / path).write_bytes(source)
        times = []
        for _ in range(2):
            start = time.perf_counter()
            with ScanCache("speed", Path(folder, "cache")) as cache:
                scorer = Scorer(checkpoint=args.checkpoint, jobs=cores())
                scan_tree(open_tree(top), scorer, cache=cache)
            times.append(time.perf_counter() - start)
            changed = top / min(files, key=lambda file: abs(len(file[1]) - 6000))[0]
            changed.write_bytes(changed.read_bytes() + b"\n\nLAST = 1\n")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    return times[0], times[1], peak


def tree_of(args: Any, size: int) -> list[tuple[str, bytes]]:
    """Python files of repositories kept for validation, so many bytes."""
    shard, listed, total = Corpus(args.corpus).shard("valid"), [], 0
    for i in np.random.default_rng(args.seed).permutation(len(shard.paths)).tolist():
        path, text = shard.paths[i], shard.document(i).tobytes()
        if path.endswith(".py") and 200 < len(text) < 100_000 and total < size:
            listed.append((f"{i}/{path}", text))
            total += len(text)
    return listed
