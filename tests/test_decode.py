from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import MakeModel
from hypothesis import given, settings
from hypothesis import strategies as st

from codebyte.config import SamplingParams
from codebyte.decode import Decoder, generate, generate_batch
from codebyte.decoder import MOST_MARKS
from codebyte.errors import InputError
from codebyte.megabyte import Megabyte
from codebyte.presets import PRESETS
from codebyte.sampling import Sampler, bits_of, until_stop, whole_characters
from codebyte.vocab import EOT, FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX, PAD, VOCAB_SIZE

CODE = b"def add(a, b):\n    return a + b\n\n\ndef sub(a, b):\n    return a"
ALWAYS = SamplingParams(max_new_bytes=40, temperature=1.0, seed=1)


def next_probabilities(model: Megabyte, ids: Sequence[int]) -> torch.Tensor:
    """The slow path: a full forward for one distribution."""
    with torch.inference_mode():
        logits = model(torch.tensor([list(ids)], dtype=torch.int64).reshape(1, -1))
    return logits[0, -1].double().softmax(dim=0)


def slow_greedy(model: Megabyte, prompt: Sequence[int], most: int) -> bytes:
    out: list[int] = []
    while len(out) < most:
        chosen = int(next_probabilities(model, [*prompt, *out])[: EOT + 1].argmax())
        if chosen == EOT:
            break
        out.append(chosen)
    return bytes(out)


def fed_ids(model: Megabyte, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows by the number of ids whenever the model takes a step."""
    fed: list[int] = []
    step, try_ = model.step, model.wiring.try_

    def counting(ids: torch.Tensor, *args: object) -> torch.Tensor:
        fed.append(ids.shape[1])
        return step(ids, *args)  # type: ignore[arg-type]

    def counting_tries(ids: Sequence[int], *args: object) -> object:
        fed.append(len(ids))
        return try_(ids, *args)

    monkeypatch.setattr(model, "step", counting)
    monkeypatch.setattr(model.wiring, "try_", counting_tries)
    return fed


# --- choosing ---


def logits(**likely: float) -> np.ndarray:
    out = np.full(VOCAB_SIZE, -10.0, np.float32)
    for name, value in likely.items():
        out[{"eot": EOT, "pad": PAD}.get(name) or ord(name)] = value
    return out


def test_greedy_takes_the_likeliest_byte_and_no_other_special_than_eot() -> None:
    choose = Sampler(SamplingParams())
    assert choose(logits(a=1, b=3, pad=9)) == ord("b")
    assert choose(logits(a=1, b=3, eot=5, pad=9)) == EOT


def test_draws_follow_the_tempered_distribution() -> None:
    choose = Sampler(SamplingParams(temperature=2.0, seed=5))
    drawn = [choose(logits(a=0, b=2)) for _ in range(4000)]
    share = drawn.count(ord("b")) / (drawn.count(ord("a")) + drawn.count(ord("b")))
    assert share == pytest.approx(np.e / (1 + np.e), abs=0.03)  # exp(2 / 2); sigma is 0.007


def test_top_k_keeps_k_and_top_p_the_fewest_that_reach_the_share() -> None:
    scores = logits(a=np.log(0.5), b=np.log(0.3), c=np.log(0.2))  # the others share 0.01

    def chosen(**params: float) -> str:
        choose = Sampler(SamplingParams(temperature=1.0, seed=1, **params))  # type: ignore[arg-type]
        return "".join(sorted({chr(choose(scores)) for _ in range(300)}))

    assert chosen(top_k=2) == "ab"
    assert chosen(top_p=0.4) == "a"
    assert chosen(top_p=0.7) == "ab"
    assert chosen(top_k=1, top_p=0.9) == "a"
    assert chosen(top_k=3, top_p=0.79) == "ab"  # top-p counts what top-k left: 0.8 of 1.0


def test_a_tiny_temperature_is_greedy() -> None:
    choose = Sampler(SamplingParams(temperature=1e-310, seed=1))
    assert {choose(logits(a=1, b=1.01)) for _ in range(20)} == {ord("b")}


def test_a_seed_repeats_and_another_differs(tiny_model: Megabyte) -> None:
    def text(seed: int) -> bytes:
        params = SamplingParams(max_new_bytes=40, temperature=1.0, seed=seed)
        return b"".join(generate(tiny_model, CODE, params))

    assert text(7) == text(7) != text(8)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_characters_are_well_formed_when_asked(temperature: float) -> None:
    rng = np.random.default_rng(1)
    choose = Sampler(SamplingParams(temperature=temperature, seed=1), characters=True)
    out = bytearray()
    while len(out) < 3000:
        scores = rng.normal(size=VOCAB_SIZE).astype(np.float32) * 4
        scores[0x80:0x100] += 5  # almost never ASCII by itself
        chosen = choose(scores)
        if chosen == EOT:
            assert whole_characters(out) == len(out)
        else:
            out.append(chosen)
    text = out[: whole_characters(out)].decode()
    assert {len(character.encode()) for character in text} == {1, 2, 3, 4}


def test_every_character_can_be_chosen() -> None:
    for text in ("\0", "\x7f", "\x80", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\U00010000"):
        choose = Sampler(SamplingParams(), characters=True)
        for byte in text.encode():
            scores = np.zeros(VOCAB_SIZE, np.float32)
            scores[byte] = 1
            assert choose(scores) == byte


def test_bits_are_minus_log2_of_the_share_among_all_ids() -> None:
    scores = np.random.default_rng(1).normal(size=VOCAB_SIZE).astype(np.float32)
    shares = torch.tensor(scores).double().softmax(dim=0)
    assert bits_of(scores, 65) == pytest.approx(-float(shares[65].log2()), abs=1e-5)


@settings(deadline=None)
@given(st.text(max_size=4), st.integers(0, 4))
def test_a_text_cut_anywhere_loses_only_the_character_cut_through(text: str, cut: int) -> None:
    data = text.encode()[: max(0, len(text.encode()) - cut)]
    assert data[: whole_characters(data)] == data.decode(errors="ignore").encode()


# --- stop strings ---


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(b"ab"), max_size=12),
    st.lists(st.text("ab", min_size=1, max_size=4), max_size=3),
)
def test_stop_strings_never_appear_and_nothing_else_is_lost(
    data: list[int], stop: list[str]
) -> None:
    stops = [text.encode() for text in stop]
    whole, kept = bytes(data), b"".join(until_stop(data, stops))
    ends = [whole.find(text) + len(text) for text in stops if text in whole]
    if ends:  # cut where the first to be complete begins, the longest of those
        first = min(ends)
        length = max(len(text) for text in stops if whole[:first].endswith(text))
        assert kept == whole[: first - length]
    else:
        assert kept == whole


def test_bytes_come_as_soon_as_no_stop_string_can_begin_with_them() -> None:
    assert list(until_stop(b"xENyEND", [b"END"])) == [b"x", b"ENy"]
    assert list(until_stop(b"abEN", [b"END"])) == [b"a", b"b", b"EN"]


def test_a_stop_string_ends_the_output_of_a_model(tiny_model: Megabyte) -> None:
    whole = b"".join(generate(tiny_model, CODE, ALWAYS))
    stop = whole[len(whole) // 2 :][:2]
    assert whole.index(stop) > 0
    params = SamplingParams(max_new_bytes=40, temperature=1.0, seed=1, stop=(stop,))
    assert b"".join(generate(tiny_model, CODE, params)) == whole[: whole.index(stop)]


# --- one stream ---


@pytest.mark.parametrize("prompt", [b"", b"x", CODE, [FIM_PREFIX, FIM_SUFFIX, 41, FIM_MIDDLE, 40]])
def test_greedy_is_the_argmax_of_a_full_forward_each_time(
    tiny_model: Megabyte, prompt: bytes | list[int]
) -> None:
    got = b"".join(generate(tiny_model, prompt, SamplingParams(max_new_bytes=30)))
    assert got == slow_greedy(tiny_model, list(prompt), 30)


def test_eot_ends_the_output(tiny_model: Megabyte) -> None:
    fifth = slow_greedy(tiny_model, CODE, 5)[4]
    with torch.no_grad():  # EOT is now a little likelier than that byte, wherever that is likely
        head = tiny_model.wiring.head.weight
        head[EOT] = 1.01 * head[fifth]
    expected = slow_greedy(tiny_model, CODE, 40)
    assert len(expected) < 5
    assert b"".join(generate(tiny_model, CODE, SamplingParams(max_new_bytes=40))) == expected


def test_the_budget_is_exact_and_may_be_nothing(tiny_model: Megabyte) -> None:
    for most in (0, 1, 7):
        params = SamplingParams(max_new_bytes=most, temperature=1.0, seed=2)
        assert len(b"".join(generate(tiny_model, CODE, params))) == most


def test_cancel_is_asked_before_every_byte(tiny_model: Megabyte) -> None:
    out: list[bytes] = []
    for piece in generate(tiny_model, CODE, ALWAYS, cancel=lambda: len(out) == 3):
        out.append(piece)
    assert len(b"".join(out)) == 3


def test_a_given_state_goes_on_from_what_it_was_fed(tiny_model: Megabyte) -> None:
    state = tiny_model.init_state()
    with torch.inference_mode():
        tiny_model.step(torch.tensor([list(CODE[:20])]), state)
    params = SamplingParams(max_new_bytes=12)
    got = b"".join(generate(tiny_model, CODE[20:], params, state=state))
    assert got == slow_greedy(tiny_model, list(CODE), 12)
    assert int(state.length[0]) == len(CODE) + 11  # the last byte need not be fed


def test_past_the_context_the_last_half_is_read_again(tiny_model: Megabyte) -> None:
    prompt, most = list(CODE + CODE[:48]), 100  # context 128: one byte before it is full
    expected: list[int] = []
    known = list(prompt)
    for _ in range(most):
        if len(known) > 127:
            known = known[-64:]
        expected += slow_greedy(tiny_model, known, 1)
        known.append(expected[-1])
    got = b"".join(generate(tiny_model, prompt, SamplingParams(max_new_bytes=most)))
    assert got == bytes(expected)


def test_of_a_prompt_past_the_context_the_end_is_read(tiny_model: Megabyte) -> None:
    long = bytes(range(32, 127)) * 4
    got = b"".join(generate(tiny_model, long, SamplingParams(max_new_bytes=10)))
    assert got == slow_greedy(tiny_model, long[-117:], 10)
    got = b"".join(generate(tiny_model, long, SamplingParams(max_new_bytes=100)))
    assert got[:60] == slow_greedy(tiny_model, long[-64:], 60)


def test_an_id_that_the_model_does_not_know_is_refused(tiny_model: Megabyte) -> None:
    with pytest.raises(InputError, match="id 272 of the prompt must be from 0 to 271"):
        next(generate(tiny_model, [65, 272], ALWAYS))


# --- many at once ---


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_ragged_batch_gives_what_each_prompt_gives_alone(
    tiny_model: Megabyte, temperature: float
) -> None:
    prompts = [CODE, b"", b"x = ", CODE * 2, [FIM_PREFIX, FIM_SUFFIX, 41, FIM_MIDDLE, 40], b"a\0b"]
    params = [
        SamplingParams(max_new_bytes=most, temperature=temperature, seed=most, stop=stop)
        for most, stop in [(20, ()), (90, ()), (0, ()), (70, ()), (25, (b"e", b"\n")), (30, ())]
    ]  # the fourth runs past the context
    alone = [
        b"".join(generate(tiny_model, prompt, each))
        for prompt, each in zip(prompts, params, strict=True)
    ]
    assert generate_batch(tiny_model, prompts, params) == alone
    assert len(alone[3]) == 70


def test_no_prompts_give_no_outputs(tiny_model: Megabyte) -> None:
    assert generate_batch(tiny_model, [], ALWAYS) == []


# --- the prompt cache ---


def completion(decoder: Decoder, prompt: bytes, most: int = 6) -> bytes:
    decoder.prefill(prompt)
    return b"".join(decoder.generate(SamplingParams(max_new_bytes=most)))


def test_any_sequence_of_prompts_gives_what_each_gives_alone(tiny_model: Megabyte) -> None:
    decoder = Decoder(tiny_model)
    prompts = [CODE[:n] for n in range(30, 40)]  # typing
    prompts += [CODE[:n] for n in range(39, 33, -1)]  # backspace
    prompts += [CODE[:34] + b"x", CODE[:34] + b"xy", CODE[:20], CODE, b"", b"other", CODE[:63]]
    accepted = CODE[:63] + slow_greedy(tiny_model, CODE[:63], 6)
    prompts += [accepted, accepted + b"(", accepted[:-2], accepted[:-2], accepted[:-2] + b"!"]
    for prompt in prompts:
        assert completion(decoder, prompt) == slow_greedy(tiny_model, prompt, 6)


def test_a_typed_byte_costs_one_step(tiny_model: Megabyte, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = Decoder(tiny_model)
    decoder.prefill(CODE[:40])
    fed = fed_ids(tiny_model, monkeypatch)
    for n in range(41, 60):
        decoder.prefill(CODE[:n])
        assert decoder.cached == n - 1
    assert fed == [1] * 19
    for n in range(58, 50, -1):  # back over what was typed: nothing is fed
        decoder.prefill(CODE[:n])
        assert decoder.cached == n
    assert fed == [1] * 19


def test_a_generated_text_that_is_accepted_is_not_fed_again(
    tiny_model: Megabyte, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = Decoder(tiny_model)
    text = completion(decoder, CODE, most=8)
    fed = fed_ids(tiny_model, monkeypatch)
    decoder.prefill(CODE + text + b"(")
    assert decoder.cached == len(CODE) + 7
    assert fed == [2]  # the last byte had not been needed


def test_a_few_lines_of_a_generated_text_are_not_fed_again(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model(replace(PRESETS["tiny"], context=512))
    with torch.no_grad():
        model.wiring.head.weight[10] *= 3
    decoder = Decoder(model)
    params = SamplingParams(max_new_bytes=200, temperature=1.0, seed=1)
    decoder.prefill(CODE)
    text = b"".join(decoder.generate(params))
    end = text.rindex(b"\n", 0, 150) + 1
    fed = fed_ids(model, monkeypatch)
    decoder.prefill(CODE + text[:end] + b"#")
    assert fed == [1]
    assert decoder.cached == len(CODE) + end


def test_generating_leaves_the_prompt_as_it_was(
    tiny_model: Megabyte, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = Decoder(tiny_model)
    first = completion(decoder, CODE, most=20)
    fed = fed_ids(tiny_model, monkeypatch)
    assert b"".join(decoder.generate(SamplingParams(max_new_bytes=20))) == first
    assert completion(decoder, CODE, most=20) == first
    assert sum(fed) == 38  # generated ids only


def test_an_output_of_many_lines_leaves_the_prompt_as_it_was(make_model: MakeModel) -> None:
    model = make_model(replace(PRESETS["tiny"], context=512))
    decoder = Decoder(model)
    decoder.prefill(CODE)

    def newline(logits: np.ndarray, output: bytes) -> np.ndarray:
        row = np.where(np.arange(logits.shape[1]) == 10, np.float32(0), np.float32(-99))
        return np.repeat(row[None], len(logits), axis=0)

    steps = decoder.decode(Sampler(SamplingParams()), 2 * MOST_MARKS, change=newline)
    assert [byte for byte, _ in steps] == [10] * 2 * MOST_MARKS
    got = b"".join(decoder.generate(SamplingParams(max_new_bytes=6)))
    assert got == slow_greedy(model, CODE, 6)


def test_a_long_prompt_is_gone_back_into_without_starting_over(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model(replace(PRESETS["tiny"], context=2048))
    prompt = (CODE * 20)[:1200]
    decoder = Decoder(model)
    decoder.prefill(prompt)
    fed = fed_ids(model, monkeypatch)
    for n in range(1199, 1184, -1):  # a few bytes taken back
        decoder.prefill(prompt[:n])
    assert max(fed) <= 16
    decoder.prefill(prompt[:700])
    assert decoder.cached == 512
    fed.clear()
    decoder.prefill(prompt[:699] + b"?")
    assert sum(fed) <= 16
    assert completion(decoder, prompt[:1000]) == slow_greedy(model, prompt[:1000], 6)


def test_old_keystrokes_are_forgotten_but_not_the_places_between(make_model: MakeModel) -> None:
    decoder = Decoder(make_model(replace(PRESETS["tiny"], context=2048)))
    text = CODE * 10
    for n in range(400):
        decoder.prefill(text[:n])
    assert len(decoder._marks) == MOST_MARKS
    for n, cached in ((300, 300), (270, 256), (100, 0)):
        decoder.prefill(text[:n])
        assert decoder.cached == cached


def test_a_cancelled_prefill_keeps_what_it_has(make_model: MakeModel) -> None:
    model = make_model(replace(PRESETS["tiny"], context=2048))
    prompt = (CODE * 20)[:1000]
    decoder = Decoder(model)
    asked: list[int] = []
    assert decoder.prefill(prompt, cancel=lambda: asked.append(1) or len(asked) > 1) is False
    assert decoder.prefill(prompt) is True
    assert decoder.cached == 512
    got = b"".join(decoder.generate(SamplingParams(max_new_bytes=6)))
    assert got == slow_greedy(model, prompt, 6)


def test_a_newer_prompt_ends_an_older_stream(tiny_model: Megabyte) -> None:
    decoder = Decoder(tiny_model)
    decoder.prefill(CODE)
    older = decoder.generate(ALWAYS)
    next(older)
    decoder.prefill(CODE[:20])
    newer = b"".join(decoder.generate(SamplingParams(max_new_bytes=8)))
    assert list(older) == []
    assert newer == slow_greedy(tiny_model, CODE[:20], 8)


def test_a_step_that_fails_leaves_a_usable_decoder(
    tiny_model: Megabyte, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = Decoder(tiny_model)
    decoder.prefill(CODE[:40])
    step, fails = tiny_model.step, [False]

    def failing(ids: torch.Tensor, *args: object) -> torch.Tensor:
        out = step(ids, *args)  # type: ignore[arg-type]
        if fails[0]:
            fails[0] = False
            raise KeyboardInterrupt
        return out

    monkeypatch.setattr(tiny_model, "step", failing)
    fails[0] = True
    with pytest.raises(KeyboardInterrupt):
        decoder.prefill(CODE[:50])
    assert completion(decoder, CODE[:50]) == slow_greedy(tiny_model, CODE[:50], 6)


def test_a_prompt_that_does_not_fit_is_refused(tiny_model: Megabyte) -> None:
    with pytest.raises(
        InputError, match="a prompt of 128 ids is too long, it may have at most 127"
    ):
        Decoder(tiny_model).prefill(b"x" * 128)


def test_bits_of_the_output_are_those_of_the_model_itself(tiny_model: Megabyte) -> None:
    decoder = Decoder(tiny_model)
    decoder.prefill(CODE)
    choose = Sampler(SamplingParams(temperature=3.0, seed=3))
    known = list(CODE)
    for byte, bits in decoder.decode(choose, 10):
        expected = -float(next_probabilities(tiny_model, known)[byte].log2())
        assert bits == pytest.approx(expected, abs=1e-3)
        known.append(byte)
