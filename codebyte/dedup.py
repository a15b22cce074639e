"""Leaves out documents already seen: the same but for white space, or made of lines seen before."""

import hashlib

MIN_LINE_BYTES = 20  # shorter lines ("return None") say nothing about where they come from
NEAR = 0.8  # share of a document's long lines already seen, above which it is a near-duplicate
_WHITE_SPACE = b" \t\r\n\v\f"


class Deduplicator:
    """Remembers every document it lets through; the first of several like ones stays."""

    def __init__(self) -> None:
        self._documents: set[bytes] = set()
        self._lines: set[bytes] = set()

    def reason(self, data: bytes) -> str | None:
        """The reason to leave a document out, or None; then it counts as seen from now on."""
        digest = _key(data.translate(None, _WHITE_SPACE), 20)
        if digest in self._documents:
            return "duplicate"
        stripped = (line.strip() for line in data.split(b"\n"))
        lines = [_key(line, 8) for line in stripped if len(line) >= MIN_LINE_BYTES]
        if lines and sum(line in self._lines for line in lines) > NEAR * len(lines):
            return "near-duplicate"
        self._documents.add(digest)
        self._lines.update(lines)
        return None


def _key(data: bytes, size: int) -> bytes:
    """The first bytes of a sha1; hash() would differ from one run to the next."""
    return hashlib.sha1(data, usedforsecurity=False).digest()[:size]
