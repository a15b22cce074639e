"""Drafts change how fast text is written and never what is written."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import MakeModel
from hypothesis import given
from hypothesis import strategies as st

from codebyte.config import LevelConfig, ModelConfig, SamplingParams
from codebyte.decode import generate
from codebyte.decoder import Decoder
from codebyte.drafts import MOST_PAUSE, Draft, FirstOf, Guesser, PromptLookup, Verifier
from codebyte.fewbytes import MOST
from codebyte.megabyte import Megabyte
from codebyte.presets import PRESETS
from codebyte.sampling import Sampler
from codebyte.vocab import FIM_MIDDLE

TINY = PRESETS["tiny"]
_LEVEL = LevelConfig(dim=32, head_dim=16, layers=1, encoder_layers=1, patch_size=3)
CONFIGS = {
    "word": TINY,
    "three levels": ModelConfig(
        levels=(
            replace(_LEVEL, pattern=("window", "strided"), window=4, stride=2, sinks=2),
            replace(_LEVEL, mixing="conv", patch_size=2),
            replace(_LEVEL, encoder_layers=0, pattern="dilated", window=2, dilations=(1, 2)),
        ),
        context=200,
        ngrams=(2, 3),
        ngram_buckets=64,
        ngram_dim=16,
        matches=(2, 4),
        match_reach=30,
        softcap=15.0,
    ),
    "paper": ModelConfig(
        levels=(
            LevelConfig(dim=32, head_dim=16, layers=1, patch_size=4),
            LevelConfig(dim=32, head_dim=16, layers=1),
        ),
        wiring="paper",
        patching="fixed",
        context=200,
    ),
}
CODE = b"def add(a, b):\n    return a + b\n\n\ndef sub(a, b):\n    return a"


@pytest.fixture(params=CONFIGS)
def model(request: pytest.FixtureRequest, make_model: MakeModel) -> Megabyte:
    return make_model(CONFIGS[request.param])


class Oracle:
    """Knows what is coming, but gets every so manieth byte of it wrong."""

    def __init__(self, text: bytes, wrong: int) -> None:
        self._text, self._wrong = text, wrong

    def propose(self, context: bytes, most: int) -> bytes:
        start = len(context) - len(CODE)
        truth = bytearray(self._text[start : start + most])
        for i in range(len(truth)):
            if self._wrong and (start + i) % self._wrong == 0:
                truth[i] ^= 1
        return bytes(truth)


def text(model: Megabyte, draft: Draft | None, params: SamplingParams) -> bytes:
    return b"".join(generate(model, CODE, params, draft=draft))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_no_draft_changes_what_is_written(model: Megabyte, temperature: float) -> None:
    # 90 bytes, past the context of 128 ids of one of the models
    params = SamplingParams(max_new_bytes=90, temperature=temperature, seed=5)
    wanted = text(model, None, params)
    assert len(wanted) > 10
    for wrong in (0, 1, 2, 5, 7):
        assert text(model, Oracle(wanted, wrong), params) == wanted
    assert text(model, PromptLookup([wanted]), params) == wanted


@torch.inference_mode()
def test_logits_are_the_same_to_the_last_bit_however_many_bytes_are_read(
    make_model: MakeModel,
) -> None:
    ids = [*CODE[:40], FIM_MIDDLE, 0, 255, *CODE[20:60]]
    for config in (CONFIGS["word"], CONFIGS["three levels"]):
        model = make_model(config)
        state = model.init_state()
        wanted = np.concatenate([_read_one(model, state, i) for i in ids])
        for n in (2, 7, 31):
            state = model.init_state()
            found = []
            for start in range(0, len(ids), n):
                part = ids[start : start + n]
                for kept in sorted({1, len(part) // 2 or 1}):  # tried before, and taken back
                    tried = Verifier(model, snapshot := state.snapshot(), part + [7] * (n // 3))
                    tried.accept(kept)
                    again = Verifier(model, snapshot, part[kept:] or [1])
                    if part[kept:]:
                        np.testing.assert_array_equal(
                            again.logits, wanted[start + kept : start + len(part)]
                        )
                verifier = Verifier(model, state, part)
                verifier.accept(1)
                verifier.accept(len(part))
                found.append(verifier.logits)
            np.testing.assert_array_equal(np.concatenate(found), wanted)
            np.testing.assert_array_equal(state.logits[0].numpy(), wanted[-1])
            assert int(state.length[0]) == len(ids)


def _read_one(model: Megabyte, state: object, i: int) -> np.ndarray:
    verifier = Verifier(model, state, [i])  # type: ignore[arg-type]
    verifier.accept(1)
    return verifier.logits


@torch.inference_mode()
def test_the_few_and_the_many_read_the_same(model: Megabyte) -> None:
    ids = torch.tensor([list(CODE)])
    whole = model(ids)[0, 1:].numpy()
    for first in (1, 5, MOST, MOST + 1):
        state = model.init_state()
        parts = [model.step(part, state)[0].numpy() for part in ids.split(first, dim=1)]
        np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-4)


def test_a_right_draft_saves_steps(tiny_model: Megabyte, monkeypatch: pytest.MonkeyPatch) -> None:
    params = SamplingParams(max_new_bytes=60)
    wanted = text(tiny_model, None, params)
    tries: list[int] = []
    try_ = tiny_model.wiring.try_

    def counting(ids: list[int], *args: object) -> object:
        tries.append(len(ids))
        return try_(ids, *args)

    monkeypatch.setattr(tiny_model.wiring, "try_", counting)
    assert text(tiny_model, Oracle(wanted, 0), params) == wanted
    lines = wanted.count(b"\n")
    assert len(tries) <= 60 / 16 + lines + 5


def test_a_decoder_goes_on_as_if_there_had_been_no_drafts(model: Megabyte) -> None:
    greedy = Sampler(SamplingParams())
    with_drafts, without = Decoder(model), Decoder(model, draft=None)
    first = None
    for decoder in (with_drafts, without):
        decoder.prefill(CODE)
        steps = list(decoder.decode(greedy, 60))
        output = bytes(byte for byte, _ in steps)
        assert first in (None, steps)
        first = steps
        for taken in (0, 1, 10, len(output)):
            assert decoder.prefill(CODE + output[:taken])
            again = bytes(byte for byte, _ in decoder.decode(greedy, 60))
            assert again[: len(output) - taken] == output[taken:]


def test_an_output_left_in_the_middle_leaves_a_usable_decoder(tiny_model: Megabyte) -> None:
    greedy = Sampler(SamplingParams())
    wanted = text(tiny_model, None, SamplingParams(max_new_bytes=40))
    decoder = Decoder(tiny_model, draft=Oracle(wanted, 0))
    for stopped in (1, 3, 20):
        decoder.prefill(CODE)
        steps = decoder.decode(greedy, 40)
        assert bytes(next(steps)[0] for _ in range(stopped)) == wanted[:stopped]
        steps.close()
    decoder.prefill(CODE)
    assert bytes(byte for byte, _ in decoder.decode(greedy, 40)) == wanted


# --- where drafts come from ---


def test_lookup_finds_what_followed_last() -> None:
    lookup = PromptLookup([b"in another_text: here\n"])
    assert lookup.propose(b"value_one = 1\nvalue_one = 2\nvalue_one", 6) == b" = 2\nv"
    assert lookup.propose(b"in another_text", 99) == b": here\n"
    assert lookup.propose(b"nothing like it", 99) == b""
    assert lookup.propose(b"", 99) == b""


def test_lookup_takes_a_repetition_to_go_on() -> None:
    assert PromptLookup().propose(b"[0, 0, 0, 0, 0", 10) == b", 0, 0, 0,"


@given(st.binary(max_size=60), st.integers(1, 40))
def test_lookup_proposes_no_more_than_asked_for(context: bytes, most: int) -> None:
    for text in (context, context * 3):
        assert len(PromptLookup([context]).propose(text, most)) <= most


def test_the_first_source_with_an_idea_is_taken() -> None:
    none, one = PromptLookup(), PromptLookup([b"abcdefgh!"])
    assert FirstOf(none, one).propose(b"abcdefgh", 5) == b"!"
    assert FirstOf(none).propose(b"abcdefgh", 5) == b""


class Always:
    def propose(self, context: bytes, most: int) -> bytes:
        return b"x" * most


def test_wrong_drafts_become_rare_and_right_ones_long() -> None:
    guesser = Guesser(Always())
    asked = 0
    for _ in range(1000):
        if guess := guesser.guess(b"", 99):
            guesser.learn(len(guess), 0)
            asked += 1
    assert asked <= 1000 / MOST_PAUSE + 7
    guesser = Guesser(Always())
    sizes = []
    for _ in range(4):
        sizes.append(len(guesser.guess(b"", 99)))
        guesser.learn(sizes[-1], sizes[-1])
    assert sizes == [8, 16, 31, 31]
    assert guesser.guess(b"", 3) == b"xxx"
    assert guesser.guess(b"", 0) == b""


def test_a_guess_ends_with_its_line() -> None:
    assert Guesser(PromptLookup([b"def first():\n    pass"])).guess(b"def first", 20) == b"():\n"
