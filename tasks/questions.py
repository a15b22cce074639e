"""Reads parts of a file by the model and asks it about edits there, one block after the other.

Only one block's layers are held at a time, so that memory does not grow with the file.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codebyte.megabyte import Megabyte
from codebyte.tasks.calibration import Usual
from codebyte.tasks.candidates import LIGHT, gains_of, light_features
from codebyte.tasks.counterfactual import states_width
from codebyte.tasks.first_pass import Look
from codebyte.tasks.reading import Reading

MOST_STATE = 6e4  # what float16 can hold
ODD_BITS = 4.0  # mean of a block by counts of tokens; code has 1 to 2, unknown prose up to 3.5

Table = NDArray[np.float32]
Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What the model said."""

    bits: Table  # (bytes,), 0 where it did not read
    entropy: Table  # (bytes,)
    read: NDArray[np.bool_]  # (lines,)
    states: NDArray[np.float16]  # (lines, `states_width` of the model), 0 where it did not read
    seen: Places  # (n,), edits of the look that stand where it read
    light: Table  # (n, len(LIGHT))
    scored: Places  # (m,), which of those seen were scored in full
    gains: Table  # (m, 3)


def ask(
    model: Megabyte,
    source: bytes,
    look: Look,
    usual: Usual,
    choose: Callable[[Places, Table, int], Places],
    *,
    least: float = 0.0,
    only: Collection[int] | None = None,
) -> Answers:
    """Asks about one file.

    Args:
        model: any Megabyte.
        source: the file.
        look: the first look at it.
        usual: what edits usually gain.
        choose: given edits (places in the look) of a block, their light features and the block's
            bytes, says which of them to score in full.
        least: the model reads blocks that have a line of at least this probability, and, if it
            reads any at all, those whose tokens are unlike a language.
        only: lines, 1-based: the model reads blocks with one of these; None for all.
    """
    reading = Reading(model, source)
    read = np.zeros(len(look.starts), bool)
    states = np.zeros((len(look.starts), states_width(model)), np.float16)
    wanted = np.ones(len(look.starts), bool)
    if only is not None:
        wanted = np.isin(np.arange(1, len(look.starts) + 1), list(only))
    worth = wanted & (look.lines >= least)
    begins = np.array([edit.start for edit in look.edits], np.int64)
    seen, light, scored, gains = [], [np.zeros((0, len(LIGHT)), np.float32)], [], []
    count = 0
    for block, (start, end) in enumerate(reading.blocks):
        first, last = np.searchsorted(look.starts, [start, end])
        odd = least <= 1 and only is None and look.bits[start:end].mean() > ODD_BITS
        if not odd and not worth[first:last].any():
            continue
        reading.read(block)
        read[first:last] = True
        means = reading.line_states(block, look.starts[first:last])
        states[first:last] = means.clip(-MOST_STATE, MOST_STATE)
        mine = np.arange(*np.searchsorted(begins, [start, end]))
        mine = mine[wanted[look.rows[mine]]]
        edits = [look.edits[i] for i in mine]
        table = light_features(reading, edits, look.used[mine], look.odds[mine], usual)
        chosen = choose(mine, table, end - start)
        gains.append(gains_of(reading, [edits[i] for i in chosen]))
        reading.let_go(block)
        seen.append(mine)
        light.append(table)
        scored.append(chosen + count)
        count += len(mine)
    none = np.zeros(0, np.int64)
    return Answers(
        bits=reading.bits,
        entropy=reading.entropy,
        read=read,
        states=states,
        seen=np.concatenate([none, *seen]),
        light=np.concatenate(light),
        scored=np.concatenate([none, *scored]),
        gains=np.concatenate([np.zeros((0, 3), np.float32), *gains]),
    )
