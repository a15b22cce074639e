from dataclasses import replace

import numpy as np
import pytest
import torch

from codebyte.errors import CheckpointError
from codebyte.tasks import fit_heads
from codebyte.tasks.contrastive import FitConfig, fit, new_head, pair_loss
from codebyte.tasks.pair_batches import PairSampler
from codebyte.tasks.pairs import Piece, numbered
from codebyte.tasks.search import Embedder

VERBS = {"fetch": "get", "remove": "delete", "create": "make", "count": "num"}
NOUNS = {"file": "path", "user": "account", "image": "picture", "message": "mail", "price": "cost"}
CONFIG = FitConfig(
    dim=24, buckets=64, steps=60, batch=20, repositories=2, warmup=5, rate=0.03, temperature=0.1
)


def repository(times):
    """Functions whose documentation never has a word of their code."""
    made = []
    for verb, coded in VERBS.items():
        for noun, named in NOUNS.items():
            code = f"def {coded}_{named}(it):\n    return it.{named}s.{coded}(it.x)\n".encode()
            doc = f"Should {verb} one {noun} here."
            piece = Piece(symbol=f"{coded}_{named}", code=code, doc=doc, test=False)
            made += [piece] * times
    return made


@pytest.fixture(scope="module")
def material():
    numbers = {}
    pieces = [numbered(repository(3), numbers), numbered(repository(2), numbers)]
    return pieces, list(numbers)


def test_words_that_never_meet_come_to_mean_the_same(material):
    pieces, words = material
    head = new_head(pieces, words, CONFIG)
    before = ranks(head)
    assert fit(head, pieces, words, CONFIG) == CONFIG.steps
    assert before.mean() > 5  # of 20, by chance 9.5
    assert ranks(head).mean() < 1


def ranks(head):
    embedder, pieces = Embedder(None, head), repository(1)
    queries = embedder.embed_text([piece.doc for piece in pieces])
    scores = queries @ embedder.embed_code([piece.code for piece in pieces]).T
    return (scores > scores.diagonal()[:, None]).sum(axis=1)


def test_a_stopped_run_goes_on_as_if_it_had_not_been(material, tmp_path):
    pieces, words = material
    config = replace(CONFIG, steps=6)
    whole = new_head(pieces, words, config)
    fit(whole, pieces, words, config)
    state, steps = tmp_path / "fit.safetensors", 0
    while steps < config.steps:
        head = new_head(pieces, words, config)
        before, steps = steps, fit(head, pieces, words, config, state=state, minutes=0.0)
        assert steps == before + 1
    assert head.fingerprint() == whole.fingerprint()


def test_the_state_of_another_run_is_refused(material, tmp_path):
    pieces, words = material
    config = replace(CONFIG, steps=1)
    state = tmp_path / "fit.safetensors"
    fit(new_head(pieces, words, config), pieces, words, config, state=state)
    other = replace(config, rate=0.1)
    head = new_head(pieces, words, other)
    with pytest.raises(CheckpointError, match="another run"):
        fit(head, pieces, words, other, state=state)


def test_the_state_of_a_run_with_as_many_other_words_is_refused(material, tmp_path):
    pieces, words = material
    config = replace(CONFIG, steps=1)
    state = tmp_path / "fit.safetensors"
    fit(new_head(pieces, words, config), pieces, words, config, state=state)
    head = new_head(pieces, words, config)
    head.vocabulary = {word: row for row, word in enumerate(reversed(head.vocabulary))}
    with pytest.raises(CheckpointError, match="another run"):
        fit(head, pieces, words, config, state=state)


def test_equal_seeds_give_equal_heads_and_others_do_not(material):
    pieces, words = material
    found = []
    for seed in (1, 1, 2):
        config = replace(CONFIG, steps=2, seed=seed)
        head = new_head(pieces, words, config)
        fit(head, pieces, words, config)
        found.append(head.fingerprint())
    assert found[0] == found[1] != found[2]


def test_the_loss_is_the_mean_of_both_ways_without_those_alike(material):
    pieces, words = material
    head = new_head(pieces, words, CONFIG).requires_grad_(False)
    known = head.featured(words)
    batch = PairSampler(pieces).draw(np.random.default_rng(5), 20, 2)
    met = known.take(torch.from_numpy(batch.words))
    vectors, weights = head.word_vectors(met), head.word_weights[met.weighed]
    left = head({"query": batch.query}, vectors, weights).double().numpy()
    logits = left @ head(batch.code, vectors, weights).double().numpy().T / CONFIG.temperature
    total = 0.0
    for matrix in (logits, logits.T):
        for i, row in enumerate(matrix):
            others = [row[j] for j in range(20) if not batch.alike[i, j]]
            total += np.log(np.exp(others).sum()) - row[i]
    assert pair_loss(head, known, batch, CONFIG).item() == pytest.approx(total / 40, rel=1e-5)


def test_a_batch_holds_whole_pairs_and_hides_names(material):
    pieces, words = material
    sampler = PairSampler(pieces)
    hidden = 0
    for seed in range(20):
        batch = sampler.draw(np.random.default_rng(seed), 20, 2)
        met = [words[number] for number in batch.words]
        assert batch.query.offsets.diff().min() > 0
        assert batch.alike.equal(batch.alike.T)
        assert not batch.alike.diagonal().any()
        for i in range(20):
            symbol, signature = (
                {met[word] for word in bags.words[bags.offsets[i] : bags.offsets[i + 1]].tolist()}
                for bags in (batch.code["symbol"], batch.code["signature"])
            )
            if not symbol and not signature - {b"def", b"it"}:
                hidden += 1
    assert 80 < hidden < 320  # of 400; a third, those asked for by name, and chance


def test_batches_are_a_pure_function_of_their_generator(material):
    sampler = PairSampler(material[0])
    one, two = (sampler.draw(np.random.default_rng(9), 20, 2) for _ in range(2))
    np.testing.assert_array_equal(one.words, two.words)
    assert one.query.words.equal(two.query.words)
    assert one.code["body"].counts.equal(two.code["body"].counts)


def test_the_command_fits_and_measures(tiny_repo, tmp_path, capsys):
    command = [str(tiny_repo), "--work", str(tmp_path), "--steps", "2", "--batch", "8"]
    assert fit_heads.main([*command, "--dim", "16", "--valid", str(tiny_repo)]) == 0
    shown = capsys.readouterr().out
    assert "2 of 2 steps" in shown
    assert "MRR@10" in shown
    from codebyte.tasks.heads import load_head

    assert load_head(tmp_path / "search_head.safetensors").dim == 16
    assert fit_heads.main([str(tmp_path / "none"), "--work", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("fit_heads: ")


def test_sources_may_be_listed_with_revisions(tmp_path):
    (tmp_path / "at@home").mkdir()
    listing = tmp_path / "list.txt"
    listing.write_text("a/b@v1.0\n\nc\n")
    found = fit_heads.listed([str(listing), str(tmp_path / "at@home")])
    assert [(source.path, source.revision) for source in found] == [
        ("a/b", "v1.0"),
        ("c", None),
        (str(tmp_path / "at@home"), None),
    ]
