"""Fits the first look of a scan, which asks no model, and writes it beside the weights.

Files come from one half of the training repositories, with bugs put in; `fit_scan.py` takes the
other half, so that what is learned on top is learned from files that this did not see. Every second
file is read with its repository's tokens known, the others alone. Lines that get fixed are learned
from single-line fixes in the histories of the same repositories (data/fixes_mined.json).
"""

import argparse
import json
import os
import random
from itertools import groupby
from pathlib import Path

from scan_cases import Repository, crop, fixed, injected, mined_fixes, with_bugs

from codebyte.corpus import Corpus
from codebyte.tasks.first_fit import Skimmed, fit_first_pass, skimmed
from codebyte.tasks.first_pass import PACKAGED
from codebyte.tasks.known import Known

FILES = 700
LARGEST = 9000  # bytes of a file


def read(corpus: Corpus, repos: Path, count: int, seed: int) -> list[Skimmed]:
    """Looks at all files."""
    rng = random.Random(seed)
    cases = injected(corpus, "train", count, seed=seed, largest=LARGEST, first_pass=True)
    found: list[Skimmed | None] = []
    by_repo = groupby(sorted(cases, key=lambda pair: pair[0]), key=lambda pair: pair[0])
    for name, listed in by_repo:
        repository = Repository(corpus, "train", name)
        for i, (_, case) in enumerate(listed):
            clean = case.source[: case.start] + case.fix + case.source[case.end :]
            known = with_bugs(Known(repo=name, path=case.path, source=clean, wrong=()), rng)
            with repository.instead(clean, known.source) as usage:
                found.append(skimmed(known, usage if i % 2 else None))
        print(f"{name}: {len(found)} files", flush=True)
    for fix in mined_fixes(repos, first_pass=True):
        cut = crop(fix.old, fix.line, rng)
        if cut is not None:
            found.append(skimmed(fixed(fix, *cut), None))
    return [one for one in found if one is not None]


def main() -> None:
    """Fits and writes."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--corpus", required=True, help="a corpus folder: its training files")
    options.add_argument("--repos", required=True, help="a folder of bare clones, for the fixes")
    options.add_argument("--files", type=int, default=FILES)
    options.add_argument("--out", type=Path, default=PACKAGED, help="the JSON file to write")
    options.add_argument("--seed", type=int, default=2)
    args = options.parse_args()
    seen = read(Corpus(args.corpus), Path(args.repos), args.files, args.seed)
    fitted = fit_first_pass(seen)
    new = args.out.with_name(f".{args.out.name}.{os.getpid()}.new")
    new.write_text(json.dumps(fitted.as_dict(), separators=(",", ":")) + "\n", encoding="utf-8")
    new.replace(args.out)
    print(f"fitted on {len(seen)} files: {args.out}")


if __name__ == "__main__":
    main()
