"""Streams equal whole rows, in memory that stops growing, at positions of any size."""

import ast
import io
import re
import sys
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import MakeModel

import codebyte
from codebyte import fewturns, rotary, streaming
from codebyte.caches import KVCache
from codebyte.config import LevelConfig, ModelConfig, SamplingParams
from codebyte.errors import InputError
from codebyte.inputs import History
from codebyte.megabyte import Megabyte
from codebyte.presets import PRESETS
from codebyte.streaming import Stream, bounded, stream_states, stream_surprisal

TINY = PRESETS["tiny"]
_TOP = replace(TINY.levels[1], pattern=("window", "dilated"), window=4, dilations=(1, 2))
BOUNDED = replace(TINY, levels=(TINY.levels[0], _TOP), matches=(3, 6), match_reach=40)
_BYTES = LevelConfig(dim=32, head_dim=16, layers=1, encoder_layers=1, patch_size=5)
THREE = replace(
    BOUNDED,
    levels=(
        replace(_BYTES, pattern="window", window=7),
        replace(_BYTES, mixing="conv", patch_size=3),
        replace(_TOP, pattern="strided", stride=2),
    ),
)
MODELS = {"bounded": BOUNDED, "three levels": THREE, "by windows": TINY}
CODE = (
    b"def add(first, second):\n    return first + second\n\n\n"
    b"class Sum:\n    def __init__(self) -> None:\n        self.total = 0\n\n"
    b"    def add(self, value: int) -> int:\n        self.total = add(self.total, value)\n"
) * 5 + bytes(range(256))


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest, make_model: MakeModel) -> Megabyte:
    return make_model(MODELS[request.param])


def pieces(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    start = 0
    while start < len(data):
        for size in sizes:
            yield data[start : start + size]
            start += size


def forward_bits(model: Megabyte, data: bytes) -> np.ndarray:
    with torch.inference_mode():
        losses = model.losses(torch.tensor([list(data)]))
    return losses[0].numpy() / np.log(2)


def wanted_bits(model: Megabyte, data: bytes) -> np.ndarray:
    return forward_bits(model, data) if bounded(model.config) else codebyte.surprisal(model, data)


@pytest.mark.parametrize("sizes", [[5000], [1, 7, 0, 64, 300]])
def test_a_stream_has_the_bits_of_the_whole(model: Megabyte, sizes: list[int]) -> None:
    found = np.concatenate(list(stream_surprisal(model, pieces(CODE, sizes))))
    # float32 sums in another order, in bits of up to 30
    np.testing.assert_allclose(found, wanted_bits(model, CODE), atol=2e-3)


def test_portions_do_not_change_the_bits(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model(BOUNDED)
    monkeypatch.setattr(streaming, "PORTION", 100)
    found = Stream(model).read(CODE)
    np.testing.assert_allclose(found, forward_bits(model, CODE), atol=2e-3)


def test_an_empty_stream_has_no_bits(model: Megabyte) -> None:
    assert list(stream_surprisal(model, [])) == []
    assert Stream(model).read(b"").shape == (0,)


def test_states_of_patches_are_those_of_the_whole(make_model: MakeModel) -> None:
    for config in (BOUNDED, THREE):
        model = make_model(config)
        with torch.inference_mode():
            whole = model.patch_states(torch.tensor([list(CODE)]))[0].numpy()
        found = list(stream_states(model, pieces(CODE, [1, 90, 33])))
        places = np.concatenate([place for place, _ in found])
        states = np.concatenate([state for _, state in found])
        # the whole's first patch is the implied start, which no byte ends
        np.testing.assert_allclose(states, whole[1:], atol=1e-3)
        assert (np.diff(places) > 0).all()
        assert {CODE[place] for place in places} >= set(b" (:\n")
        assert all(CODE[place] == 10 for place in places if CODE[place : place + 1] == b"\n")


def test_states_by_windows_go_on_to_the_end(tiny_model: Megabyte) -> None:
    found = list(stream_states(tiny_model, pieces(CODE, [77])))
    places = np.concatenate([place for place, _ in found])
    newlines = [i for i, byte in enumerate(CODE) if byte == 10]
    assert set(newlines) <= set(places.tolist())  # a line end ends a patch, whatever the window
    with torch.inference_mode():
        first = tiny_model.patch_states(torch.tensor([list(CODE[:128])]))[0, 1:].numpy()
    np.testing.assert_allclose(
        np.concatenate([state for _, state in found])[: len(first)], first, atol=1e-3
    )


def test_the_documented_uses_print_what_they_say(
    make_model: MakeModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = (Path(__file__).parent.parent / "docs" / "long.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    codebyte.save(make_model(BOUNDED), tmp_path / "runs" / "stream" / "latest")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for code in (code for code in examples if "stdin" in code):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(CODE)))
        exec(code, names)
    mean, place, *rest = capsys.readouterr().out.splitlines()
    bits = forward_bits(names["model"], CODE)  # type: ignore[arg-type]
    assert float(mean) == pytest.approx(bits.mean(), rel=1e-3)
    assert len(CODE) - 20 < int(place.split("]")[0].strip("[")) < len(CODE)
    written = [ast.literal_eval(line) for line in rest if line.startswith("b")]
    assert names["stream"].position == 15 + sum(map(len, written)) > 15  # type: ignore[attr-defined]


def test_a_model_without_patches_has_no_states_to_stream(make_model: MakeModel) -> None:
    one = make_model(replace(TINY, levels=(replace(_BYTES, encoder_layers=0),)))
    with pytest.raises(InputError, match="two levels or more"):
        next(stream_states(one, [b"x"]))


def test_writing_goes_on_from_what_was_read_and_is_read_itself(model: Megabyte) -> None:
    params = SamplingParams(max_new_bytes=150, temperature=1.0, seed=3)
    stream = Stream(model)
    stream.read(CODE)
    text = b"".join(stream.write(params))
    assert len(text) > 20
    assert stream.position == len(CODE) + len(text)
    bits = stream.read(b"and on")
    wanted = wanted_bits(model, CODE + text + b"and on")
    np.testing.assert_allclose(bits, wanted[-6:], atol=2e-3)
    again = Stream(model)
    again.read(CODE)
    assert b"".join(again.write(params)) == text


def test_what_a_bounded_model_holds_stops_growing(make_model: MakeModel) -> None:
    model = make_model(BOUNDED)
    stream = Stream(model)
    held = []
    for _ in range(6):
        stream.read(CODE * 4)
        state = stream._reader._state
        caches = [c for c in state.level.above.decoder if isinstance(c, KVCache)]
        history: History = state.history
        held.append(sum(c.keys.numel() for c in caches) + history.ids.numel())
    assert len(set(held[2:])) == 1
    assert history.ids.shape[1] < stream.position / 2
    assert caches[0].keys.shape[2] < stream.position / 20


@pytest.mark.parametrize("shift", [2**31 + 8, 2**45])
def test_places_past_two_to_the_31_are_as_exact_as_the_first(
    make_model: MakeModel, shift: int
) -> None:
    # a state moved far ahead: every count of bytes and of patches grows by a multiple of the
    # dilated segments, so that only the turns of positions could tell
    model = make_model(BOUNDED)
    near, far = Stream(model), Stream(model)
    for stream in (near, far):
        stream.read(CODE)
    state = far._reader._state
    state.history.length = state.history.length + shift
    state.history.dropped = state.history.dropped + shift
    for cache in state.level.above.decoder:
        cache.length, cache.dropped = cache.length + shift, cache.dropped + shift
    # what was turned at the near positions is read again at the far ones
    np.testing.assert_allclose(_after_rereading(far, CODE), _after_rereading(near, CODE), atol=2e-3)
    assert int(far._reader._state.length[0]) > shift


def _after_rereading(stream: Stream, data: bytes) -> np.ndarray:
    return np.concatenate(
        [stream.read(data)[len(data) // 2 :], *[stream.read(b"x") for _ in range(9)]]
    )


def test_memory_stays_flat_over_a_longer_stream(make_model: MakeModel) -> None:
    model = make_model(BOUNDED)
    stream = Stream(model)
    stream.read(CODE * 10)
    tracemalloc.start()
    try:
        for _ in range(3):
            stream.read(CODE * 10)
        first = tracemalloc.get_traced_memory()[0]
        for _ in range(6):
            stream.read(CODE * 10)
        assert tracemalloc.get_traced_memory()[0] < first + 20_000
    finally:
        tracemalloc.stop()


def test_tables_of_turns_stop_growing_however_far_a_stream_has_come() -> None:
    x = np.ones((1, 2, 1, 64), np.float32)
    rotary._tables.clear()
    fewturns._looked_up.cache_clear()
    tracemalloc.start()
    try:
        for power in range(8, 21):
            fewturns.turned(x, 1 << power)
        assert tracemalloc.get_traced_memory()[0] < 10e6  # NumPy's part of them
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("config", "answer"),
    [
        (BOUNDED, True),
        (THREE, True),
        (TINY, False),
        (replace(BOUNDED, match_reach=0), False),
        (replace(BOUNDED, match_reach=0, matches=()), True),
        (replace(BOUNDED, match_reach=0, matches=(), match_words=(1,)), False),
        (
            replace(BOUNDED, levels=(TINY.levels[0], replace(_TOP, pattern=("window", "full")))),
            False,
        ),
    ],
)
def test_bounded_models_look_back_a_limited_way(config: ModelConfig, answer: bool) -> None:
    assert bounded(config) is answer
    assert bounded(ModelConfig.from_json(config.to_json())) is answer
