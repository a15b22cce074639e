"""Files with one wrong line each, and what a scan says of them, on several cores."""

import hashlib
import json
import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scan_baselines as baselines
from numpy.typing import NDArray
from scan_cases import Repository, fixes, injected

import codebyte
from codebyte.corpus import Corpus
from codebyte.tasks.bugs import READ_FROM
from codebyte.tasks.edit import Edit
from codebyte.tasks.first_pass import load_first_pass
from codebyte.tasks.fitted import judge_file
from codebyte.tasks.known import Wrong, mends
from codebyte.tasks.suspicion import load_judge
from codebyte.tasks.syntax import parse, tree_kinds
from codebyte.tasks.usage import Usage

LARGEST_FIX = 16_000  # bytes of a file with a real fix

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A file with one wrong line."""

    source: bytes
    path: str
    kind: str
    wrong: Wrong
    code: NDArray[np.bool_]  # (number of lines,), which are ranked
    repo: str
    clean: bytes | None = None  # the file without the bug, where it was put in


def example(
    source: bytes, path: str, kind: str, wrong: Wrong, repo: str, clean: bytes | None = None
) -> Example | None:
    """None where the file does not parse."""
    tree = parse(source, path)
    if tree is None:
        return None
    kinds = tree_kinds(tree, len(baselines.lines_of(source)))
    code = np.array([one is not None for one in kinds], bool)
    code[wrong.line - 1] = True
    return Example(
        source=source, path=path, kind=kind, wrong=wrong, code=code, repo=repo, clean=clean
    )


def examples(args: Any) -> tuple[list[Example], list[Example]]:
    """Injected and real."""
    made = [
        example(
            case.source,
            case.path,
            case.kind,
            Wrong(case.line, case.start, case.end, case.fix, True),
            repo,
            case.source[: case.start] + case.fix + case.source[case.end :],
        )
        for repo, case in injected(Corpus(args.corpus), "valid", args.injected, seed=args.seed)
    ]
    real = [
        example(fix.old, fix.path, fix.kind, Wrong(fix.line, 0, 0, None, False), fix.repo)
        for fix in (fixes("valid", Path(args.repos)) if args.repos else [])
        if len(fix.old) <= LARGEST_FIX
    ]
    return [one for one in made if one], [one for one in real if one][: args.fixes]


Told = tuple[Scores, bool]  # line probabilities, and whether the edit ranked first is the repair


def ours(args: Any, listed: Sequence[Example], how: str) -> tuple[list[Scores], list[bool]]:
    """What a scan says of each file.

    Args:
        args: of the command.
        listed: the files.
        how: "alone"; or "in repository", where the model is asked only where a scan asks it; or
            "first look", in its repository too. Those two are only for bugs that were put in: of
            real ones, the repository of today has the mended text.
    """
    order = sorted(range(len(listed)), key=lambda i: listed[i].repo)
    files = [listed[i] for i in order]
    told: list[Told] = [(np.zeros(0), False)] * len(listed)
    context = multiprocessing.get_context("spawn")
    with context.Pool(args.jobs, begin, (args, how)) as pool:
        for done, (i, found) in enumerate(zip(order, pool.imap(judged, files, 4), strict=True), 1):
            told[i] = found
            if done % 25 == 0:
                print(f"  {done} of {len(listed)} files, {how}", flush=True)
    return [scores for scores, _ in told], [right for _, right in told]


_here: dict[str, Any] = {}  # what a process judges with


def begin(args: Any, how: str) -> None:
    """Starts a process."""
    import torch

    torch.set_num_threads(1)
    judge = load_judge(judge_file(args.checkpoint))
    fitted = json.dumps([how, judge.as_dict(), load_first_pass().as_dict()])
    _here.update(
        args=args,
        how=how,
        judge=judge,
        model=None if how == "first look" else codebyte.load(args.checkpoint),
        name=hashlib.sha256(fitted.encode()).hexdigest()[:12],
        corpus=Corpus(args.corpus),
        repository=("", None),
    )


def judged(one: Example) -> Told:
    """What a process does with one file."""
    folder = _here["args"].cache
    key = hashlib.sha256(one.source).hexdigest()[:20]
    kept = Path(folder, f"{_here['name']}-{key}.npz") if folder else None
    if kept is not None and kept.is_file():
        with np.load(kept) as stored:
            return stored["lines"].astype(np.float64), bool(stored["repaired"])
    if _here["how"] == "alone":
        lines, best = _judged_by_model(one, None, 0.0)
    else:
        assert one.clean is not None
        if _here["repository"][0] != one.repo:
            _here["repository"] = one.repo, Repository(_here["corpus"], "valid", one.repo)
        with _here["repository"][1].instead(one.clean, one.source) as usage:
            if _here["how"] == "in repository":
                lines, best = _judged_by_model(one, usage, READ_FROM)
            else:
                lines, best = _looked_at(one, usage)
    right = bool(best) and mends(one.source, best[0], one.wrong)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(kept, lines=lines, repaired=right)
    return lines.astype(np.float64), right


def _judged_by_model(
    one: Example, usage: Usage | None, least: float
) -> tuple[NDArray[np.float32], list[Edit]]:
    told = _here["judge"].judge(_here["model"], one.source, one.path, usage=usage, least=least)
    return told.lines, told.edits


def _looked_at(one: Example, usage: Usage | None) -> tuple[NDArray[np.float32], list[Edit]]:
    look = load_first_pass().look(one.source, one.path, usage)
    return look.lines, [look.edits[j] for j in np.argsort(-look.odds, kind="stable")[:1]]
