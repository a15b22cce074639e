"""The mixer: a true distribution, better where the repository repeats, and switched off at will."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from codebyte.clues import NUM_FEATURES, MixerWeights, find_clues
from codebyte.config import SamplingParams
from codebyte.contexts import REACH
from codebyte.decoder import PROMPT_LOOKUP, Decoder
from codebyte.drafts import FirstOf
from codebyte.errors import CheckpointError
from codebyte.megabyte import Megabyte
from codebyte.mixer_fit import examples, fit_mixer
from codebyte.mixing import Mixer, log_probabilities, mixed_surprisal
from codebyte.presets import PRESETS
from codebyte.recall import Recall
from codebyte.sampling import Sampler
from codebyte.scoring import surprisal
from tests.conftest import APP, TEST_APP, MakeModel

OTHER = b"import json\nfrom pathlib import Path\n\n\ndef load_settings(path: Path) -> dict:\n"


@pytest.fixture
def mixer() -> Mixer:
    made = Mixer()
    made.recall.add("src/app.py", APP)
    made.recall.add("tests/test_app.py", TEST_APP)
    return made


def even(n: int) -> np.ndarray:
    return np.full((n, 256), -math.log(256), np.float32)


def test_the_mixed_chances_of_all_bytes_sum_to_one(mixer: Mixer) -> None:
    rng = np.random.default_rng(1)
    own = rng.normal(size=(1, 256)).astype(np.float32) * 3
    own -= np.log(np.exp(own).sum())
    for before in (b"def load_sett", b"nothing like it", b""):
        recent = np.frombuffer(before[-REACH:].rjust(REACH, b"\0"), np.uint8)
        bits = [
            float(mixer.score(own, np.array([x], np.uint8), recent, learn=False)[0])
            for x in range(256)
        ]
        assert sum(2.0**-b for b in bits) == pytest.approx(1.0, abs=2e-4)
        logits = np.concatenate([own[0], np.full(16, -30.0, np.float32)])
        (decoded,) = mixer.logits(logits[None], before)
        chances = np.exp(decoded) / np.exp(decoded).sum()
        np.testing.assert_allclose(chances[:256], 2.0 ** -np.array(bits), atol=2e-4)


def test_many_places_at_once_are_mixed_as_each_alone(mixer: Mixer) -> None:
    rng = np.random.default_rng(2)
    text = APP[150:200] + OTHER[:40]
    rows = rng.normal(size=(60, 272)).astype(np.float32) * 3
    together = mixer.logits(rows, text)
    for i, row in enumerate(rows):
        (alone,) = mixer.logits(row[None], text[: len(text) - len(rows) + 1 + i])
        np.testing.assert_allclose(together[i], alone, rtol=1e-6, atol=1e-6)


def test_without_texts_hardly_anything_changes_where_the_model_is_even() -> None:
    mixer = Mixer()
    bits = mixer.score(even(1), np.array([65], np.uint8), np.zeros(REACH, np.uint8), learn=False)
    assert abs(float(bits[0]) - 8.0) < 1.5


def test_what_the_repository_has_costs_less(tiny_model: Megabyte, mixer: Mixer) -> None:
    text = APP[150:]
    alone = surprisal(tiny_model, text).sum()
    known = mixed_surprisal(tiny_model, text, mixer, learn=False).sum()
    unknown = mixed_surprisal(tiny_model, text, mixer, name="src/app.py", learn=False).sum()
    assert known < 0.7 * alone
    assert known < unknown


def test_scoring_leaves_the_texts_as_they_were(tiny_model: Megabyte, mixer: Mixer) -> None:
    counters, names = mixer.recall._counters.copy(), mixer.recall.names
    first = mixed_surprisal(tiny_model, OTHER * 20, mixer, name="src/app.py", learn=False)
    assert (mixer.recall._counters == counters).all()
    assert mixer.recall.names == names
    again = mixed_surprisal(tiny_model, OTHER * 20, mixer, name="src/app.py", learn=False)
    np.testing.assert_array_equal(first, again)


def test_a_byte_does_not_depend_on_what_follows_it(tiny_model: Megabyte, mixer: Mixer) -> None:
    text = OTHER * 12
    whole = mixed_surprisal(tiny_model, text, mixer, learn=False)
    part = mixed_surprisal(tiny_model, text[:700], mixer, learn=False)
    np.testing.assert_allclose(whole[:700], part, atol=1e-3)


def test_the_models_share_is_that_of_surprisal(make_model: MakeModel) -> None:
    model = make_model(PRESETS["tiny"])
    text = (APP + TEST_APP)[:700]  # several windows
    ids = np.frombuffer(text, np.uint8)
    parts = list(log_probabilities(model, text))
    assert [start for start, _ in parts][:3] == [0, 128, 192]
    own = np.concatenate([part for _, part in parts])
    bits = -own[np.arange(len(ids)), ids] / math.log(2)
    np.testing.assert_allclose(bits, surprisal(model, text), atol=1e-3)


def test_learning_moves_the_weights_toward_what_comes(mixer: Mixer) -> None:
    data = np.frombuffer(APP[100:400], np.uint8)
    padded = np.frombuffer(b"\0" * REACH + APP[100:400], np.uint8)
    first = mixer.score(even(300), data, padded[:REACH], learn=False).sum()
    for _ in range(30):
        mixer.score(even(300), data, padded[:REACH])
    assert mixer.score(even(300), data, padded[:REACH], learn=False).sum() < first


def test_a_draft_is_what_followed_the_longest_match(mixer: Mixer) -> None:
    start = APP.index(b"def load_settings") + 10
    assert mixer.propose(b"xyz = 1\n" + APP[start - 30 : start], 12) == APP[start : start + 12]
    assert mixer.propose(b"@@@@@@@@", 12) == b""


def test_drafts_of_a_mixer_change_nothing_of_what_is_written(
    tiny_model: Megabyte, mixer: Mixer
) -> None:
    prompt = b"xyz = 1\n\n\n" + APP[APP.index(b"def load_settings") :][:10]

    def change(logits: np.ndarray, output: bytes) -> np.ndarray:
        return mixer.logits(logits, prompt + output)

    found = []
    for draft in (None, FirstOf(PROMPT_LOOKUP, mixer)):
        decoder = Decoder(tiny_model, draft=draft)
        decoder.prefill(prompt)
        found.append(list(decoder.decode(Sampler(SamplingParams()), 60, change=change)))
    (plain, bits), (drafted, others) = (zip(*steps, strict=True) for steps in found)
    assert plain == drafted
    assert bytes(plain[:40]) in APP + TEST_APP  # so the drafts were right for many bytes
    np.testing.assert_allclose(bits, others, atol=1e-5)


def test_what_is_open_takes_the_place_of_the_saved_file(mixer: Mixer) -> None:
    prefix = b"a_rare_name = 17\n" * 200
    mixer.stand_in("src/app.py", prefix, b"another_name = 3\n")
    assert mixer.propose(b"\na_rare_na", 6) == b"me = 1"
    assert mixer.propose(b"\nanother_na", 6) == b"me = 3"
    assert mixer.propose(b"with path.open(enc", 3) == b""  # it stood in src/app.py only
    mixer.stand_in(None, b"", b"")
    assert mixer.propose(b"with path.open(enc", 3) == b"odi"
    assert mixer.recall.names == ["src/app.py", "tests/test_app.py"]


def test_weights_survive_being_written_and_wrong_ones_are_refused(tmp_path: Path) -> None:
    weights = MixerWeights.load()
    weights.save(tmp_path / "w.safetensors")
    again = MixerWeights.load(tmp_path / "w.safetensors")
    np.testing.assert_array_equal(again.inner, weights.inner)
    np.testing.assert_array_equal(again.outer, weights.outer)
    MixerWeights(weights.inner[:-1], weights.inner_bias, weights.outer).save(tmp_path / "x")
    with pytest.raises(CheckpointError, match=f"where {NUM_FEATURES} features are"):
        MixerWeights.load(tmp_path / "x")
    with pytest.raises(CheckpointError, match="holds no mixer weights"):
        MixerWeights.load(tmp_path / "missing")


def test_fitting_finds_weights_that_cost_less_than_the_model_alone(tiny_model: Megabyte) -> None:
    parts = [examples(tiny_model, [APP], [TEST_APP * 2, APP[100:]])]
    weights = fit_mixer(parts, steps=30)
    part = parts[0]
    changes = weights.hidden(part.features) @ weights.outer
    before = np.where(part.usable, np.exp(part.own), 0.0)
    after = before * np.exp(changes)
    total = 1 - before.sum(axis=1) + after.sum(axis=1)
    chance = np.where(part.came, after, 0.0).sum(axis=1)
    hit = part.came.any(axis=1)
    nats = np.where(hit, -np.log(np.maximum(chance, 1e-30)), -part.actual) + np.log(total)
    assert nats.mean() < 0.8 * -part.actual.mean()


def test_each_candidate_counts_once() -> None:
    recall = Recall()
    recall.add("text", b"abcdefghijklmnopqrstuvwxyz" * 3)
    own = torch.randn(1, 256, generator=torch.Generator().manual_seed(1)).log_softmax(-1).numpy()
    clues = find_clues(recall, own, np.frombuffer(b"\0" * 12 + b"ghijklmnopqrstuvwxyz", np.uint8))
    used = clues.candidates[0][clues.usable[0]].tolist()
    assert used.count(ord("a")) == 1
    assert len(used) == len(set(used))
    assert len(used) == 4  # the byte that all matches give, and the model's three
