import numpy as np
import pytest
import torch

from codebyte.config import LevelConfig, ModelConfig
from codebyte.errors import InputError
from codebyte.megabyte import Megabyte
from codebyte.scoring import bits_per_byte, line_bits, surprisal

CODE = b"def add(a, b):\n    return a + b\n\n\ndef sub(a, b):\n    return a - b\n"
LONG = (CODE + bytes(range(256))) * 2


def step_by_step(model: Megabyte, data: bytes) -> list[float]:
    """The slow path: each byte's bits from the state that was fed all bytes before."""
    bits = []
    with torch.inference_mode():
        state = model.init_state()
        for byte in data:
            bits.append(-float(state.logits[0].double().log_softmax(dim=0)[byte]) / np.log(2))
            model.step(torch.tensor([[byte]]), state)
    return bits


def one_forward(model: Megabyte, data: bytes) -> np.ndarray:
    with torch.inference_mode():
        logits = model(torch.tensor([list(data)]))[0, :-1].double().log_softmax(dim=1)
    return -logits[torch.arange(len(data)), list(data)].numpy() / np.log(2)


def by_windows(model: Megabyte, data: bytes, window: int) -> list[float]:
    """The reference: one window after another, as the definition says."""
    bits = list(one_forward(model, data[:window]))
    start, read = window - window // 2, window // 2
    while len(bits) < len(data):
        bits += list(one_forward(model, data[start : start + window])[read:])
        start += window - window // 2
    return bits


def test_bits_add_up_to_the_product_of_next_byte_probabilities(tiny_model: Megabyte) -> None:
    data = b"\0" + CODE[:60] + b"\0\0\xff\xfe"
    bits = surprisal(tiny_model, data)
    np.testing.assert_allclose(bits, step_by_step(tiny_model, data), atol=2e-4)
    assert bits.dtype == np.float32
    assert bits.sum() == pytest.approx(sum(step_by_step(tiny_model, data)), rel=1e-5)


def starts_of(place: int, window: int, stride: int) -> int:
    """Where the window that scores a byte begins: the first that reaches it."""
    start = 0
    while place >= start + window:
        start += stride
    return start


def byte_by_byte(model: Megabyte, data: bytes, window: int, stride: int) -> list[float]:
    """The slow path: for each byte a pass over its window up to it."""
    starts = [starts_of(i, window, stride) for i in range(len(data))]
    return [float(one_forward(model, data[start : i + 1])[-1]) for i, start in enumerate(starts)]


@pytest.mark.parametrize("stride", [1, 10, 24, 31, 32])
def test_a_window_scores_as_many_bytes_as_the_stride_says(
    tiny_model: Megabyte, stride: int
) -> None:
    bits = surprisal(tiny_model, LONG[:90], window=32, stride=stride)
    np.testing.assert_allclose(bits, byte_by_byte(tiny_model, LONG[:90], 32, stride), atol=2e-4)


@pytest.mark.parametrize(("wiring", "patch"), [("context", 8), ("paper", 8), ("paper", 5)])
@pytest.mark.parametrize(("window", "stride"), [(40, 16), (200, 100)])
def test_strided_bits_are_those_of_the_pass_in_which_a_byte_is_nearer_its_patch_s_start(
    wiring: str, patch: int, window: int, stride: int
) -> None:
    levels = (LevelConfig(dim=32, layers=1, head_dim=16, patch_size=patch),)
    levels += (LevelConfig(dim=32, layers=1, head_dim=16),)
    torch.manual_seed(1)
    model = Megabyte(ModelConfig(levels=levels, wiring=wiring, patching="fixed", context=200))
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * torch.randn_like(weight)
    data, half = LONG[:120], patch // 2
    first = byte_by_byte(model.eval(), data, window, stride)
    second = byte_by_byte(model, data[half:], window, stride)
    wanted = first[:patch]
    for i in range(patch, len(data)):
        phase = (i - starts_of(i, window, stride)) % patch
        other = (i - half - starts_of(i - half, window, stride)) % patch
        wanted.append(second[i - half] if other < phase else first[i])
    bits = surprisal(model, data, window=window, stride=stride, strided=True)
    np.testing.assert_allclose(bits, wanted, atol=2e-4)
    kept = sum(a != b for a, b in zip(wanted, first, strict=True))
    assert len(data) / 3 < kept < 2 * len(data) / 3  # half of each patch is of the second pass


def test_strides_that_leave_bytes_out_and_patches_without_a_size_are_refused(
    tiny_model: Megabyte,
) -> None:
    with pytest.raises(InputError, match="stride 33 must be from 1 to the window, 32"):
        surprisal(tiny_model, CODE, window=32, stride=33)
    with pytest.raises(InputError, match="patches of a fixed size"):
        surprisal(tiny_model, CODE, strided=True)


def test_every_nul_counts(tiny_model: Megabyte) -> None:
    bits = surprisal(tiny_model, b"\0" * 100)
    np.testing.assert_allclose(bits, one_forward(tiny_model, b"\0" * 100), atol=1e-4)
    assert (bits > 0).all()


def test_no_data_has_no_bits(tiny_model: Megabyte) -> None:
    bits = surprisal(tiny_model, b"")
    assert bits.shape == (0,)
    assert bits.dtype == np.float32


@pytest.mark.parametrize("length", [1, 127, 128, 129, 191, 192, 193, 256, 257, 500])
def test_long_data_is_scored_as_by_one_window_after_another(
    tiny_model: Megabyte, length: int
) -> None:
    data = LONG[:length]
    for batch in (1, 3):
        bits = surprisal(tiny_model, data, batch=batch)
        np.testing.assert_allclose(bits, by_windows(tiny_model, data, 128), atol=2e-4)


@pytest.mark.parametrize("window", [1, 2, 7, 64])
def test_windows_may_have_any_length(tiny_model: Megabyte, window: int) -> None:
    bits = surprisal(tiny_model, LONG[:100], window=window)
    np.testing.assert_allclose(bits, by_windows(tiny_model, LONG[:100], window), atol=2e-4)


def test_what_follows_does_not_change_bits(tiny_model: Megabyte) -> None:
    bits = surprisal(tiny_model, LONG[:400])
    for length in (1, 128, 200, 399):
        np.testing.assert_allclose(surprisal(tiny_model, LONG[:length]), bits[:length], atol=2e-4)


def test_memory_holds_few_windows_at_a_time(
    tiny_model: Megabyte, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    losses = tiny_model.losses
    monkeypatch.setattr(tiny_model, "losses", lambda ids: seen.append(ids.numel()) or losses(ids))
    surprisal(tiny_model, bytes(5000), batch=3)
    assert max(seen) == 3 * 128
    assert sum(seen) < 2 * 5000 + 128
    seen.clear()
    surprisal(tiny_model, bytes(20_000))
    assert max(seen) == 2**15


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_any_buffer_can_be_scored(tiny_model: Megabyte, kind: type) -> None:
    assert surprisal(tiny_model, kind(CODE)).tolist() == surprisal(tiny_model, CODE).tolist()


def test_a_mean_needs_a_byte(tiny_model: Megabyte) -> None:
    assert bits_per_byte(tiny_model, CODE) == pytest.approx(
        sum(step_by_step(tiny_model, CODE)) / len(CODE), rel=1e-5
    )
    with pytest.raises(InputError, match="must hold at least one byte"):
        bits_per_byte(tiny_model, b"")


def test_a_window_or_a_batch_of_nothing_is_refused(tiny_model: Megabyte) -> None:
    with pytest.raises(InputError, match="window 0 must be at least 1"):
        surprisal(tiny_model, CODE, window=0)
    with pytest.raises(InputError, match="batch 0 must be at least 1"):
        surprisal(tiny_model, CODE, batch=0)


@pytest.mark.parametrize(
    ("data", "sums"),
    [
        (b"", []),
        (b"ab", [3]),
        (b"ab\n", [7]),
        (b"ab\ncd", [7, 24]),
        (b"\n\nx", [1, 2, 4]),
        (b"a\r\nb\rc\n", [7, 120]),  # a line ends with a newline, not with a carriage return
    ],
)
def test_lines_keep_their_newline_and_nothing_is_lost(data: bytes, sums: list[float]) -> None:
    bits = 2.0 ** np.arange(len(data), dtype=np.float32)
    assert line_bits(data, bits).tolist() == sums


def test_bits_of_other_data_are_refused() -> None:
    with pytest.raises(InputError, match="bits of length 2 must be as many as the 3 bytes"):
        line_bits(b"abc", np.zeros(2, np.float32))
