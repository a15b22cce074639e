"""Fits the search head to repositories: `python -m codebyte.tasks.fit_heads SOURCE... --work DIR`.

A source is a repository or a folder, with @REVISION behind it where another than HEAD is meant, or
a file that lists sources, one a line. What is cut from each is kept in the working folder, so a
second run, or one that goes on after a stop, starts training at once.
"""

import argparse
import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from codebyte.errors import CodebyteError, InputError
from codebyte.indexer.repo import documents, open_repo
from codebyte.tasks.contrastive import FitConfig, fit, new_head
from codebyte.tasks.heads import Bags, SearchHead, save_head
from codebyte.tasks.pairs import Pieces, cut_pieces, numbered, read_pieces, write_pieces


@dataclass(frozen=True, slots=True)
class Source:
    """A repository at a revision; None for HEAD."""

    path: str
    revision: str | None

    @classmethod
    def parse(cls, text: str) -> "Source":
        """From "path" or "path@revision"."""
        path, at, revision = text.rpartition("@")
        known = at and not os.path.exists(text)
        return cls(path, revision) if known else cls(text, None)


def listed(sources: Sequence[str]) -> list[Source]:
    """Sources, with files among them replaced by the sources that they list."""
    found = []
    for text in sources:
        if os.path.isfile(text):
            lines = Path(text).read_text(encoding="utf-8").splitlines()
            found += [Source.parse(line.strip()) for line in lines if line.strip()]
        else:
            found.append(Source.parse(text))
    return found


def gather(sources: Sequence[Source], work: Path, words: dict[bytes, int]) -> Iterator[Pieces]:
    """Cuts sources into pieces, or reads what was cut before; numbers go by `words`, which grows.

    Raises:
        CodebyteError: a source cannot be read.
    """
    folder = work / "pieces"
    folder.mkdir(parents=True, exist_ok=True)
    for source in sources:
        key = hashlib.sha256(f"{os.path.abspath(source.path)}@{source.revision}".encode())
        path = folder / f"{key.hexdigest()[:16]}.npz"
        if not path.exists():
            own: dict[bytes, int] = {}
            files = documents([open_repo(source.path, source.revision)])
            write_pieces(path, numbered(cut_pieces(files), own), list(own))
        pieces, texts = read_pieces(path)
        numbers = [words.setdefault(text, len(words)) for text in texts]
        _say(f"{source.path}: {len(pieces):,} pieces")
        yield pieces.renumbered(np.array(numbers, np.int32))


@torch.no_grad()
def mean_reciprocal_rank(head: SearchHead, pieces: Pieces, words: Sequence[bytes]) -> float:
    """How well first sentences find their pieces among all, up to the tenth place."""
    rows = np.flatnonzero((pieces.first.lengths >= 3) & ~pieces.test)[:1000]
    known = head.featured(words)
    vectors, weights = head.word_vectors(known), head.word_weights[known.weighed]
    code = {name: Bags.of(getattr(pieces, name)) for name in ("symbol", "signature", "body")}
    scores = (
        head({"query": Bags.of(pieces.first.take(rows))}, vectors, weights)
        @ head(code, vectors, weights).T
    )
    own = scores[torch.arange(len(rows)), torch.from_numpy(rows)]
    ranks = (scores > own[:, None]).sum(dim=1) + 1
    return float(torch.where(ranks <= 10, 1 / ranks, 0.0).mean())


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; gives the exit code: 0 done, 1 an error."""
    args = _parser().parse_args(arguments)
    try:
        return _run(args)
    except CodebyteError as error:
        sys.stderr.write(f"fit_heads: {error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    defaults = FitConfig()
    parser = argparse.ArgumentParser(
        prog="python -m codebyte.tasks.fit_heads",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="to train on")
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for what is kept between runs"
    )
    parser.add_argument(
        "--out", type=Path, help="the head (default: search_head.safetensors in --work)"
    )
    parser.add_argument("--valid", nargs="*", default=[], metavar="SOURCE", help="to measure on")
    parser.add_argument("--steps", type=int, default=defaults.steps)
    parser.add_argument("--batch", type=int, default=defaults.batch)
    parser.add_argument("--dim", type=int, default=defaults.dim)
    parser.add_argument("--temperature", type=float, default=defaults.temperature)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument(
        "--minutes", type=float, help="stop for now after so many; run again to go on"
    )
    parser.add_argument("--threads", type=int, default=1)
    return parser


def _run(args: argparse.Namespace) -> int:
    torch.set_num_threads(args.threads)
    config = FitConfig(
        dim=args.dim,
        steps=args.steps,
        batch=args.batch,
        temperature=args.temperature,
        seed=args.seed,
    )
    if min(config.steps, config.batch, config.dim) < 1 or config.temperature <= 0:
        raise InputError("steps, batch, dim and temperature must be above 0")
    numbers: dict[bytes, int] = {}
    repositories = list(gather(listed(args.sources), args.work, numbers))
    words = list(numbers)
    if not any(len(pieces) for pieces in repositories):
        raise InputError("no function or class was found: give repositories with source code")
    head = new_head(repositories, words, config)
    _say(f"{sum(map(len, repositories)):,} pieces, {len(head.vocabulary):,} words")
    done = fit(
        head,
        repositories,
        words,
        config,
        state=args.work / "fit.safetensors",
        minutes=args.minutes,
        report=lambda step, loss: _say(f"step {step}: loss {loss:.3f}"),
    )
    out = args.out or args.work / "search_head.safetensors"
    save_head(head, out)
    _say(f"{out}: {done} of {config.steps} steps")
    for source in listed(args.valid):
        for pieces in gather([source], args.work, numbers):
            _say(f"  MRR@10 {mean_reciprocal_rank(head, pieces, list(numbers)):.3f}")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
