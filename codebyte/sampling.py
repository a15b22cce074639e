"""Which id comes next, greedy or drawn; which bytes are certain: stop strings, whole characters."""

import math
import random
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from codebyte.config import SamplingParams
from codebyte.vocab import EOT, NUM_BYTES

# Well-formed UTF-8 (Unicode 16, table 3-7): from each state, what may come and the state after it.
_UTF8 = {
    0: {(0x00, 0x7F): 0, (0xC2, 0xDF): 1, (0xE0, 0xE0): 4, (0xE1, 0xEC): 2, (0xED, 0xED): 5}
    | {(0xEE, 0xEF): 2, (0xF0, 0xF0): 6, (0xF1, 0xF3): 3, (0xF4, 0xF4): 7, (EOT, EOT): 0},
    1: {(0x80, 0xBF): 0},  # 1, 2, 3: that many continuation bytes to come
    2: {(0x80, 0xBF): 1},
    3: {(0x80, 0xBF): 2},
    4: {(0xA0, 0xBF): 1},  # after E0: no overlong form
    5: {(0x80, 0x9F): 1},  # after ED: no surrogate
    6: {(0x90, 0xBF): 2},  # after F0: no overlong form
    7: {(0x80, 0x8F): 2},  # after F4: nothing above U+10FFFF
}
_REFUSED = -1


def _utf8_table() -> NDArray[np.int8]:
    table = np.full((len(_UTF8), NUM_BYTES + 1), _REFUSED, np.int8)
    for state, ranges in _UTF8.items():
        for (first, last), after in ranges.items():
            table[state, first : last + 1] = after
    return table


_TABLE = _utf8_table()


class Sampler:
    """Chooses one id after another from their logits: a byte or EOT, never another special.

    Temperature comes first, then top-k, then top-p of what is left. The draws depend on the seed
    and the logits only, not on the device.

    Args:
        params: how to choose; its limit and stop strings are not looked at here.
        characters: whether the bytes must be well-formed UTF-8; no EOT inside a character then.
    """

    def __init__(self, params: SamplingParams, *, characters: bool = False) -> None:
        self._params = params
        self._random = random.Random(params.seed)
        self._characters = characters
        self._state = 0

    def __call__(self, logits: NDArray[np.float32]) -> int:
        """Chooses an id by the logits of all ids, (v,)."""
        logits = logits[: EOT + 1]
        greedy = self._params.temperature == 0
        chosen = int(logits.argmax()) if greedy else 0
        if self._characters:
            after = _TABLE[self._state, : len(logits)]
            if not greedy or after[chosen] == _REFUSED:
                logits = np.where(after == _REFUSED, -np.inf, logits)
                chosen = int(logits.argmax()) if greedy else self._draw(logits)
            self._state = int(after[chosen])
            return chosen
        return chosen if greedy else self._draw(logits)

    def _draw(self, logits: NDArray[np.float32]) -> int:
        params = self._params
        with np.errstate(over="ignore", under="ignore"):  # a tiny temperature is greedy
            weights = np.exp((logits.astype(np.float64) - logits.max()) / params.temperature)
        order = np.argsort(-weights, kind="stable")
        if params.top_k:
            order = order[: params.top_k]
        total = weights[order].cumsum()
        if params.top_p < 1:  # all until the share is reached, the one that reaches it included
            kept = int(np.searchsorted(total, params.top_p * total[-1])) + 1
            order, total = order[:kept], total[:kept]
        place = int(np.searchsorted(total, self._random.random() * total[-1], side="right"))
        return int(order[min(place, len(order) - 1)])


def bits_of(logits: NDArray[np.float32], chosen: int) -> float:
    """Surprise of an id in bits, -log2 of its share among all ids."""
    highest = logits.max()
    nats = math.log(float(np.exp(logits - highest).sum())) - float(logits[chosen] - highest)
    return nats / math.log(2)


def bits_of_each(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Surprise of every id in bits, (v,)."""
    nats = logits - logits.max()
    bits: NDArray[np.float32] = (np.log(np.exp(nats).sum()) - nats) / np.float32(math.log(2))
    return bits


def whole_characters(text: bytes) -> int:
    """How many bytes of a text are left without a UTF-8 character cut off at its end."""
    for back in range(1, min(3, len(text)) + 1):
        byte = text[-back]
        if byte & 0xC0 != 0x80:
            length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
            return len(text) - back if back < length else len(text)
    return len(text)


def overlap(text: bytes, head: bytes) -> int:
    """How many of the last bytes of a text are the first of `head`."""
    start = text.find(head[:1], max(0, len(text) - len(head))) if head else -1
    while start >= 0:
        if head.startswith(text[start:]):
            return len(text) - start
        start = text.find(head[:1], start + 1)
    return 0


def until_stop(data: Iterable[int], stops: Sequence[bytes]) -> Iterator[bytes]:
    """Passes bytes on until one of the stop strings, which is left out.

    What may be the beginning of a stop string waits until that is decided.
    """
    held = b""
    for byte in data:
        held += bytes((byte,))
        found = max((len(stop) for stop in stops if held.endswith(stop)), default=0)
        if found:
            if len(held) > found:
                yield held[:-found]
            return
        certain = len(held) - max((overlap(held, stop) for stop in stops), default=0)
        if certain:
            yield held[:certain]
            held = held[certain:]
    if held:
        yield held
