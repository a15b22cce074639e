import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from codebyte.config import LevelConfig, ModelConfig
from codebyte.fim import fim_prompt
from codebyte.megabyte import Megabyte
from codebyte.presets import PRESETS
from codebyte.scoring import surprisal
from codebyte.tasks.counterfactual import Change, Row, states_width
from codebyte.tasks.edit import Edit
from codebyte.tasks.reading import Layout, Reading

TEXT = b"def area(w, h):\n    return w * h\n\n\ndef edge(w, h):\n    return 2 * (w + h)\n" * 3


def random_model(config: ModelConfig) -> Megabyte:
    torch.manual_seed(3)
    model = Megabyte(config).eval()
    with torch.no_grad():
        for weight in model.parameters():  # none may be left at nothing, or a part has no say
            weight.add_(torch.randn_like(weight) * 0.1)
    return model


def quick_model() -> Megabyte:
    """The packaged model's shape, small: the one that edits are scored quickly for."""
    below = LevelConfig(dim=16, encoder_layers=1, layers=2, mixing="conv", patch_size=16)
    above = LevelConfig(dim=32, layers=2, head_dim=16)
    return random_model(
        ModelConfig(
            levels=(below, above),
            patching="word",
            context=512,
            ngrams=(2, 3),
            ngram_buckets=64,
            ngram_dim=8,
            matches=(2, 4),
            match_words=(0, 1, 2),
            match_depth=3,
        )
    )


def other_model() -> Megabyte:
    """One of sparse attention, that edits are scored for by reading the whole row again."""
    below, above = PRESETS["tiny"].levels
    levels = (below, replace(above, pattern="window", window=8))
    return random_model(replace(PRESETS["tiny"], levels=levels))


MODELS = {"quick": quick_model(), "fixed": random_model(PRESETS["tiny"]), "other": other_model()}


def read_anew(model: Megabyte, ids: np.ndarray, change: Change) -> np.ndarray:
    new = np.frombuffer(change.replacement, np.uint8)
    row = np.concatenate([ids[: change.start], new, ids[change.end : change.stop]])
    if not len(row):
        return np.zeros(0, np.float32)
    with torch.inference_mode():
        losses = model.losses(torch.from_numpy(row)[None])[0]
    return (losses / np.log(2)).numpy()[change.start :]


@pytest.mark.parametrize("name", MODELS)
def test_an_edit_costs_what_the_edited_row_costs_read_from_its_start(name: str) -> None:
    model, rng = MODELS[name], random.Random(5)
    size = min(len(TEXT), model.config.context - 8)
    row = Row(model, list(TEXT[:size]))
    changes = [Change(0, 0, b"", 0), Change(0, 3, b"", 9), Change(size, size, b"xy", size)]
    for _ in range(40):
        start = rng.randrange(size)
        end = min(size, start + rng.randrange(6))
        replacement = bytes(rng.choice(b"w h*(\n\0\xff") for _ in range(rng.randrange(7)))
        changes.append(Change(start, end, replacement, min(size, end + rng.randrange(30))))
    for change, bits in zip(changes, row.bits_of(changes), strict=True):
        np.testing.assert_allclose(bits, read_anew(model, row.ids, change), atol=2e-4)


def test_a_change_that_changes_nothing_costs_what_the_row_costs() -> None:
    row = Row(MODELS["quick"], list(TEXT))
    (bits,) = row.bits_of([Change(10, 14, TEXT[10:14], 30)])
    np.testing.assert_array_equal(bits, row.bits[10:30])


def test_a_row_costs_what_surprisal_says() -> None:
    model = MODELS["quick"]
    np.testing.assert_allclose(Row(model, list(TEXT)).bits, surprisal(model, TEXT), atol=2e-4)


def test_the_gain_of_an_edit_is_the_fall_in_bits_of_its_block() -> None:
    model, layout = MODELS["quick"], Layout(block=1024, before=64, after=64)
    reading = Reading(model, TEXT, layout)
    place = TEXT.index(b"w * h") + 2
    edit = Edit("operator", "* to +", place, place + 1, b"+")
    after = Reading(model, TEXT[:place] + b"+" + TEXT[place + 1 :], layout)
    gains = reading.gains([edit], [len(TEXT)])
    for each in (reading, after):
        each.read()
    fall = float(reading.bits.sum() - after.bits.sum())
    assert gains.sum() == pytest.approx(fall, abs=2e-2)
    assert gains[0, 0] == pytest.approx(reading.bits[place] - after.bits[place], abs=1e-3)


def test_the_first_gain_is_exact_where_an_edit_changes_one_byte() -> None:
    reading = Reading(MODELS["quick"], TEXT)
    place = TEXT.index(b"w * h") + 2
    edit = Edit("operator", "* to +", place, place + 1, b"+")
    assert reading.first_gains([edit])[0] == pytest.approx(
        float(reading.gains([edit], [place + 1])[0, 0]), abs=1e-3
    )


def test_blocks_are_read_with_the_text_behind_them_in_view() -> None:
    layout = Layout(block=64, before=64, after=64)
    first, second = TEXT[:64], TEXT[64:128]
    one = Reading(MODELS["quick"], first + second, layout)
    other = Reading(MODELS["quick"], first + b"#" * 64, layout)
    for each in (one, other):
        each.read()
    cut = first.rindex(b"\n") + 1
    assert np.abs(one.bits[:cut] - other.bits[:cut]).max() > 1e-3


def test_a_line_has_the_mean_of_what_the_trunk_has_of_the_patches_that_end_in_it() -> None:
    model, layout = MODELS["quick"], Layout(block=96, before=32, after=32)
    trunk = model.wiring.levels.above
    seen: list[torch.Tensor] = []
    hooks = [
        block.register_forward_hook(lambda block, given, out: seen.append(out[0]))
        for block in trunk.decoder.blocks
    ]
    reading = Reading(model, TEXT, layout)
    starts = np.array([0, *(i + 1 for i, byte in enumerate(TEXT[:-1]) if byte == ord("\n"))])
    for number, (start, end) in enumerate(reading.blocks):
        before, after = TEXT[max(0, start - 32) : start], TEXT[end : end + 32]
        prompt = fim_prompt(before, after)
        ids = torch.tensor([[*prompt, *TEXT[start:end]]])
        seen.clear()
        with torch.inference_mode():
            model(ids)
            border = model.wiring.patch_ends(ids)[0].numpy()
        states = torch.cat(seen[:2], dim=1).numpy()  # of the first of two layers, and of the last
        places = np.flatnonzero(border) - 1 - len(prompt) + start
        mine = starts[(starts >= start) & (starts < end)]
        for line, found in zip(mine, reading.line_states(number, mine), strict=True):
            stop = TEXT.index(b"\n", line) + 1
            wanted = states[: len(places)][(places >= line) & (places < min(stop, end))]
            expected = wanted.mean(axis=0) if len(wanted) else np.zeros(states_width(model))
            np.testing.assert_allclose(found, expected, atol=1e-4)
    for hook in hooks:
        hook.remove()


def test_a_model_of_another_shape_has_no_states_of_lines() -> None:
    assert states_width(MODELS["other"]) == 0
    reading = Reading(MODELS["other"], TEXT)
    assert reading.line_states(0, np.array([0, 18])).shape == (2, 0)


def test_every_byte_is_read_once_whatever_the_lines() -> None:
    for source in (b"", b"x", b"\n\n\n", b"a" * 300, b"a\n" * 200, b"\0\xff" * 90):
        reading = Reading(MODELS["quick"], source, Layout(block=64, before=32, after=32))
        assert len(reading.bits) == len(source)
        assert not reading.bits.any()  # until it is asked for
        reading.read()
        assert (reading.bits > 0).all()
        assert (reading.entropy >= 0).all()


def test_a_block_that_was_let_go_is_read_again_when_it_is_asked_about() -> None:
    reading = Reading(MODELS["quick"], TEXT, Layout(block=64, before=32, after=32))
    edits = [Edit("operator", "", place, place + 1, b"+") for place in (3, 70)]
    before = reading.gains(edits, [20, 90])
    for block in range(len(reading.blocks)):
        reading.let_go(block)
    assert not reading._rows
    np.testing.assert_allclose(reading.gains(edits, [20, 90]), before, atol=1e-4)
