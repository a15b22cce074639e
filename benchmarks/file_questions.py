"""How well search finds the files that answer 986 questions about 31 repositories; fits the rules.

The questions were written with a language model from the code alone, by nobody who had seen a
ranking: 620 that one who works on the code may ask ("how nested blueprints are registered", names
of definitions), and 366 terse subjects of main files ("signed session cookies"). Answers are files
of code, never tests or documents. They are asked of the repositories of scripts/corpus.csv, at its
commits; normalised discounted gain of the first ten files.

--fit learns the weights of `codebyte.indexer.rules.Rules` anew from the questions that are no
names: a softmax over the files that search looks at, held out repository by repository.
"""

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from contenders import fail
from numpy.typing import NDArray
from pairs import find_repository
from report import Check, Report, interval, parser
from semble import ASKED, file_gain
from torch import Tensor

from codebyte.errors import CodebyteError
from codebyte.indexer.associations import packaged_associations
from codebyte.indexer.embedder import nearness_of_paths
from codebyte.indexer.index import CodeIndex
from codebyte.indexer.query import parse_query
from codebyte.indexer.ranking import POOL, Rules, rank, summed
from codebyte.indexer.searching import candidates
from codebyte.indexer.store import Entry
from codebyte.tasks.heads import load_head
from codebyte.tasks.search import Embedder

QUESTIONS = Path(__file__).parent / "data" / "file_questions.tsv"
MODES = ("lexical", "dense", "hybrid")
BAR = 0.86  # hybrid, all questions
LEARNED = [
    it.name for it in fields(Rules) if it.name not in ("again", "definition", "mention", "fold")
]
STEP = 0.01  # more weight of a rule, to see what it gives
FOLDS, DECAY = 6, 2e-3


@dataclass(frozen=True, slots=True)
class Row:
    """A question and the files that answer it."""

    repo: str
    group: str
    text: str
    relevant: frozenset[str]


@dataclass(frozen=True, slots=True)
class Seen:
    """The files that search looked at for one question."""

    repo: str
    evidence: Tensor  # (files, rules)
    right: Tensor  # (files,) 0 or 1
    num: int  # files that answer, seen or not


def main() -> None:
    """Runs the benchmark."""
    options = parser(__doc__)
    options.add_argument("--repos", required=True, help="a folder with clones, by owner+name")
    options.add_argument("--list", default="scripts/corpus.csv", help="of repositories")
    options.add_argument("--head", help="a search head for those that the packaged one learned")
    options.add_argument("--fit", action="store_true", help="learn the weights of rules anew")
    args = options.parse_args()
    report = Report("file_questions", quick=args.quick, packages=("faiss-cpu",))
    questions = read()
    try:
        packaged = Embedder(None)
        held = Embedder(None, load_head(args.head)) if args.head else packaged
        found = {
            name: place
            for name in {it.repo for it in questions}
            if (place := find_repository(args.repos, name))
        }
        gains: dict[str, list[tuple[str, str, dict[str, float]]]] = {}
        seen: list[Seen] = []
        with Path(args.list).open(encoding="utf-8", newline="") as file:
            listed = [row for row in csv.DictReader(file) if row["repository"] in found]
        for row in listed[: 2 if args.quick else None]:
            name = row["repository"]
            embedder = held if row["split"] == "train" else packaged
            with CodeIndex(None, embedder) as index:
                index.update(found[name], revision=row["commit"])
                asked = [it for it in questions if it.repo == name]
                gains[name] = [(row["split"], it.group, ask(index, it)) for it in asked]
                if args.fit:
                    seen += [it for question in asked if (it := see(index, embedder, question))]
            print(f"{name}: {np.mean([it['hybrid'] for *_, it in gains[name]]):.3f}", flush=True)
    except CodebyteError as error:
        fail(str(error))
    if not gains:
        fail("none of the repositories is under --repos: give a folder with their clones")
    table: dict[str, list[dict[str, float]]] = defaultdict(list)
    for answers in gains.values():
        for split, group, gain in answers:
            for part in ("all", split, group):
                table[part].append(gain)
    rows = [[part, len(it), *(mean(it, mode) for mode in MODES)] for part, it in table.items()]
    report.table(["files, NDCG@10", "questions", *MODES], rows)
    if args.fit:
        learned, weights = fit(seen), weights_of(seen)
        report.note(
            f"learned, held out: {learned:.4f}; with the weights there are: {own(seen):.4f}"
        )
        report.table(
            ["rule", "learned"], [[it, float(w)] for it, w in zip(LEARNED, weights, strict=True)]
        )
    each = [mean([it for *_, it in answers], "hybrid") for answers in gains.values()]
    report.finish(
        {"hybrid, all questions": Check(mean(table["all"], "hybrid"), BAR)},
        unit="NDCG@10",
        spread=interval(each, np.ones(len(each))),
        by_mode={mode: mean(table["all"], mode) for mode in MODES},
    )


def read() -> list[Row]:
    """All questions."""
    lines = QUESTIONS.read_text(encoding="utf-8").splitlines()[1:]
    cells = [line.split("\t") for line in lines]
    return [
        Row(repo, f"{group}, {category}", text, frozenset((*right.split(), *also.split())))
        for repo, group, category, text, right, also in cells
    ]


def ask(index: CodeIndex, question: Row) -> dict[str, float]:
    """The gain in each mode."""
    return {
        mode: file_gain(
            [hit.path for hit in index.search(question.text, ASKED, mode)], [*question.relevant]
        )
        for mode in MODES
    }


def see(index: CodeIndex, embedder: Embedder, question: Row) -> Seen | None:
    """What each rule gives every file for a weight of 1; None for names.

    Scores are sums, so it is what a little more weight adds.
    """
    query = parse_query(question.text)
    if query.kind != "sentence":
        return None
    vector = embedder.embed_text([query.words])[0]
    with index.snapshot() as now:
        found = candidates(index.store, now, query, mode="hybrid", vector=vector)
        counted = now.lexical.statistics(packaged_associations().said(query))
        entries: dict[int, Entry] = {}

        def about(ids: Sequence[int]) -> list[Entry]:
            if unknown := [it for it in ids if it not in entries]:
                entries.update((it.id, it) for it in index.store.entries(unknown))
            return [entries[it] for it in ids]

        def near(paths: Sequence[str]) -> NDArray[np.float32]:
            return nearness_of_paths(paths, vector, embedder, now.path_vectors)

        def sums(rules: Rules) -> dict[str, float]:
            ranked = rank(
                query, found.lexical, found.dense, about, POOL, "hybrid", rules,
                found.related, counted, found.files, near,
            )  # fmt: skip
            best: dict[str, float] = {}
            for it in ranked:
                best.setdefault(entries[it.id].path, summed(it.score))
            return best

        usual = sums(Rules())
        more = [
            sums(replace(Rules(), **{rule: getattr(Rules(), rule) + STEP}))  # type: ignore[arg-type]
            for rule in LEARNED
        ]
    files = [path for path in usual if all(path in it for it in more)]
    right = torch.tensor([float(path in question.relevant) for path in files])
    evidence = torch.tensor(
        [[(it[path] - usual[path]) / STEP for it in more] for path in files], dtype=torch.float32
    )
    return Seen(question.repo, evidence, right, len(question.relevant)) if right.any() else None


def weights_of(seen: list[Seen]) -> Tensor:
    """The weights under which answers are likeliest, decayed."""
    spread = torch.cat([it.evidence for it in seen]).std(0).clamp_min(1e-4)
    weights = torch.zeros(len(LEARNED), requires_grad=True)
    solver = torch.optim.LBFGS([weights], max_iter=40, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        terms = [
            -(torch.log_softmax(it.evidence / spread @ weights, 0) * it.right).sum()
            / it.right.sum()
            for it in seen
        ]
        total = torch.stack(terms).mean() + DECAY * weights.square().sum()
        total.backward()
        return total

    solver.step(loss)  # type: ignore[no-untyped-call]
    return weights.detach() / spread


def fit(seen: list[Seen]) -> float:
    """The mean gain of questions whose repositories were held out."""
    repos = np.random.default_rng(0).permutation(sorted({it.repo for it in seen}))
    total = 0.0
    for fold in range(min(FOLDS, len(repos))):
        out = set(repos[fold::FOLDS])
        weights = weights_of([it for it in seen if it.repo not in out])
        total += sum(gain(it, weights) for it in seen if it.repo in out)
    return total / len(seen)


def own(seen: list[Seen]) -> float:
    """The mean gain with the weights there are."""
    weights = torch.tensor([float(getattr(Rules(), it)) for it in LEARNED])
    return float(np.mean([gain(it, weights) for it in seen]))


def gain(it: Seen, weights: Tensor) -> float:
    """Of the files in the order of their sums."""
    order = torch.argsort(it.evidence @ weights, descending=True, stable=True)[:10]
    shares = 1 / torch.log2(2 + torch.arange(10.0))
    return float((it.right[order] * shares[: len(order)]).sum() / shares[: it.num].sum())


def mean(gains: list[dict[str, float]], mode: str) -> float:
    """Of one mode."""
    return float(np.mean([it[mode] for it in gains]))


if __name__ == "__main__":
    main()
