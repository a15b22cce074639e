"""Sparse attention equals attention under a dense mask: whole rows, gradients, cached steps."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from codebyte import sparse
from codebyte.sparse import Pattern, attend

HEADS = 3
PATTERNS = {
    "full": Pattern(),
    "window": Pattern("window", 5),
    "window 1": Pattern("window", 1),
    "sinks": Pattern("window", 5, sinks=3),
    "more sinks than window": Pattern("window", 3, sinks=8),
    "strided": Pattern("strided", 4, stride=3),
    "dilated": Pattern("dilated", 4, rates=(1, 2, 4)),
    "dilated, rates that do not nest": Pattern("dilated", 3, rates=(1, 2, 3)),
}


def _random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _sees(pattern: Pattern, query: int, key: int, head: int) -> int:
    """How often a place sees another, from the words of the module's docstring."""
    if key > query:
        return 0
    if pattern.kind == "full":
        return 1
    if pattern.kind == "window":
        return int(query - key < pattern.window or key < pattern.sinks)
    if pattern.kind == "strided":
        back, rest = divmod(query - key, pattern.stride)
        return int(rest == 0 and back < pattern.window)
    total = 0
    for rate in pattern.rates:
        segment = range(query // (pattern.window * rate) * pattern.window * rate, query + 1)
        shown = [place for place in segment if place % rate == head % rate]
        total += query in shown and key in shown
    return total


def _reference(q: Tensor, k: Tensor, v: Tensor, pattern: Pattern) -> Tensor:
    """Softmax over every key as often as it is seen, one query at a time."""
    n, s = q.shape[2], k.shape[2]
    rows = []
    for query in range(s - n, s):
        by_head = []
        for head in range(q.shape[1]):
            seen = [key for key in range(s) for _ in range(_sees(pattern, query, key, head))]
            scores = k[:, head, seen] @ q[:, head, query - (s - n), :, None] / q.shape[-1] ** 0.5
            by_head.append((scores.softmax(dim=1) * v[:, head, seen]).sum(dim=1))
        rows.append(torch.stack(by_head, dim=1))
    return torch.stack(rows, dim=2)


@pytest.fixture(params=PATTERNS)
def pattern(request: pytest.FixtureRequest) -> Pattern:
    return PATTERNS[request.param]


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks even where a mask would be quicker."""
    monkeypatch.setattr(sparse, "_DENSE", 0)


def test_the_counts_are_what_the_words_say(pattern: Pattern) -> None:
    places = torch.arange(30)
    counts = pattern.counts(places, places, HEADS).expand(HEADS, -1, -1).long()
    for head in range(HEADS):
        wanted = [[_sees(pattern, i, j, head) for j in range(30)] for i in range(30)]
        assert counts[head].tolist() == wanted
        if pattern.kind != "full":
            for place in range(30):
                seen = pattern.seen(place, head)
                assert [seen.count(j) for j in range(30)] == wanted[place]
    if pattern.keep is not None:
        recent = counts.clone()
        recent[:, :, : pattern.sinks] = 0
        far = [i - j for i in range(30) for j in range(30) if recent[:, i, j].any()]
        assert max(far) < pattern.keep


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("n", [1, 4, 5, 12, 13, 24, 29, 49])
def test_whole_rows_equal_the_dense_reference(pattern: Pattern, n: int) -> None:
    q, k, v = _random(3, 2, HEADS, n, 8)
    found = attend(q, k, v, pattern)
    torch.testing.assert_close(found, _reference(q, k, v, pattern), rtol=0, atol=1e-5)


@pytest.mark.usefixtures("blocks")
def test_gradients_equal_those_of_the_dense_reference(pattern: Pattern) -> None:
    gradients = []
    for attention in (_reference, attend):
        q, k, v = (t.clone().requires_grad_() for t in _random(3, 1, HEADS, 23, 8))
        out = attention(q, k, v, pattern)
        gradients.append(torch.autograd.grad((out * _random(23, 8, seed=2)).sum(), (q, k, v)))
    for wanted, found in zip(*gradients, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dense", [0, 1 << 18])
def test_the_last_places_of_a_row_need_only_the_keys_that_are_kept(
    pattern: Pattern, dense: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparse, "_DENSE", dense)
    q, k, v = _random(3, 1, HEADS, 61, 8)
    whole = _reference(q, k, v, pattern)
    for n in (1, 7, 20):
        first = (
            max(0, 61 - n - pattern.keep) if pattern.keep is not None and not pattern.sinks else 0
        )
        found = attend(q[:, :, -n:], k[:, :, first:], v[:, :, first:], pattern, first=first)
        torch.testing.assert_close(found, whole[:, :, -n:], rtol=0, atol=1e-5)


def test_dense_mask_and_blocks_agree_under_sdpa(pattern: Pattern) -> None:
    # the reference of the large benchmarks: torch's own attention with the mask of `counts`
    q, k, v = _random(3, 2, HEADS, 40, 8)
    places = torch.arange(40)
    bias = pattern.counts(places, places, HEADS).float().log()
    wanted = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    torch.testing.assert_close(wanted, _reference(q, k, v, pattern), rtol=0, atol=1e-5)
