"""Random carets in files, and what was taken out there: rests of lines, spans, insides of lines."""

from dataclasses import dataclass

import numpy as np

from codebyte.corpus import Shard

PREFIX, SUFFIX = 2048, 1024
LONGEST = 160  # bytes of a rest of a line, and of a completion
LONGEST_SPAN, LONGEST_INSIDE = 256, 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """A caret, and what belongs there."""

    document: int  # in the shard
    path: str
    prefix: bytes
    suffix: bytes
    target: bytes

    @property
    def mid_word(self) -> bool:
        """Whether the caret stands inside a word."""
        before, after = self.prefix[-1:], self.target[:1]
        return all(byte.isalnum() or byte == b"_" for byte in (before, after))


def cuts(shard: Shard, wanted: int, seed: int) -> list[Cut]:
    """Carets at random places of all files together, in lines with something to complete."""
    rng = np.random.default_rng(seed)
    found: list[Cut] = []
    while len(found) < wanted:
        place = int(rng.integers(len(shard.data)))
        index = shard.document_at(place)
        document = shard.document(index).tobytes()
        caret = place - shard.bounds(index)[0]
        end = document.find(b"\n", caret)
        end = len(document) if end < 0 else end
        target = document[caret:end]
        inside_character = document[caret] & 0xC0 == 0x80
        if target.strip() and len(target) <= LONGEST and not inside_character:
            found.append(_cut(shard, index, caret, end))
    return sorted(found, key=lambda cut: cut.document)


def span_cuts(shard: Shard, wanted: int, seed: int) -> list[Cut]:
    """Random spans of all files together."""
    rng = np.random.default_rng([seed, 1])
    found: list[Cut] = []
    while len(found) < wanted:
        place = int(rng.integers(len(shard.data)))
        length = round(float(np.exp(rng.uniform(0, np.log(LONGEST_SPAN)))))
        index = shard.document_at(place)
        document = shard.document(index)
        caret = place - shard.bounds(index)[0]
        ends = document[[caret, min(caret + length, len(document) - 1)]]
        text = document[caret : caret + length].tobytes()
        if caret + length < len(document) and text.strip() and (ends & 0xC0 != 0x80).all():
            found.append(_cut(shard, index, caret, caret + length))
    return sorted(found, key=lambda cut: cut.document)


def inside_cuts(shard: Shard, wanted: int, seed: int) -> list[Cut]:
    """Random stretches inside lines, with more of the line after them."""
    rng = np.random.default_rng([seed, 2])
    found: list[Cut] = []
    while len(found) < wanted:
        place = int(rng.integers(len(shard.data)))
        length = round(float(np.exp(rng.uniform(0, np.log(LONGEST_INSIDE)))))
        index = shard.document_at(place)
        document = shard.document(index).tobytes()
        caret = place - shard.bounds(index)[0]
        text, rest = document[caret : caret + length], document[caret + length :]
        printed = text.strip() and rest.partition(b"\n")[0].strip()
        whole = all(part[:1] and part[0] & 0xC0 != 0x80 for part in (text, rest))
        if whole and printed and b"\n" not in text:
            found.append(_cut(shard, index, caret, caret + length))
    return sorted(found, key=lambda cut: cut.document)


def _cut(shard: Shard, index: int, caret: int, end: int) -> Cut:
    document = shard.document(index)
    return Cut(
        document=index,
        path=shard.paths[index],
        prefix=document[max(0, caret - PREFIX) : caret].tobytes(),
        suffix=document[end : end + SUFFIX].tobytes(),
        target=document[caret:end].tobytes(),
    )
