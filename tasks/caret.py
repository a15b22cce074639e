"""What stands around a caret, and which part of it a model reads."""

from dataclasses import dataclass

LINE_ENDS = b"\r\n"
HEAD = 256  # bytes after the caret that a completion is compared with
OPENERS = (b"{", b"(", b"[")  # of a block that a bracket closes
INTRODUCERS = (b":", b"=>", b"->", b" do", b" then", b" begin")  # of one that it does not
_OPENING, _PRINTED = 8, 4  # bytes of a suffix that tell it, and how many of them are no white space
_SEEN = 4096  # bytes on each side that decide the kind of newline


@dataclass(frozen=True, kw_only=True, slots=True)
class Caret:
    """The lines around a caret."""

    lead: bytes = b""  # the caret's line, before it
    rest: bytes = b""  # the caret's line, after it, without its newline
    next_line: bytes = b""  # the first line below that is not blank, without white space at its end
    newline: bytes = b"\n"  # how lines end here

    @property
    def inside(self) -> bool:
        """Whether there is text after the caret on its line."""
        return bool(self.rest.strip())

    @property
    def multiline(self) -> bool:
        """Whether several lines are expected: this one ends here, and is blank or opens a block."""
        return not self.inside and (not self.lead.strip() or opens_block(self.lead))


def caret_between(prefix: bytes, suffix: bytes) -> Caret:
    """Describes the caret between two texts."""
    rest, _, below = suffix.partition(b"\n")
    lines = (line.rstrip() for line in below.split(b"\n"))
    near = prefix[-_SEEN:] + suffix[:_SEEN]
    return Caret(
        lead=prefix[prefix.rfind(b"\n") + 1 :],
        rest=rest.rstrip(LINE_ENDS),
        next_line=next((line for line in lines if line), b""),
        newline=b"\r\n" if 2 * near.count(b"\r\n") > near.count(b"\n") else b"\n",
    )


def opening(suffix: bytes) -> bytes:
    """The first bytes of a suffix, as many as it takes to know it again; none if it is too short.

    A small model seldom says that a middle is complete: it goes on, and writes the suffix. What
    stands before this is the middle.
    """
    printed = 0
    for end, byte in enumerate(suffix[: 8 * HEAD], 1):
        printed += not bytes([byte]).isspace()
        if end >= _OPENING and printed >= _PRINTED:
            return suffix[:end]
    return b""


def opens_block(line: bytes) -> bool:
    """Whether what follows the line should be indented deeper."""
    return line.rstrip().endswith(OPENERS + INTRODUCERS)


def indent(line: bytes) -> int:
    """Columns of white space at the start of a line; a tab goes to the next multiple of eight."""
    return len(line[: len(line) - len(line.lstrip(b" \t"))].expandtabs(8))


def fit(prefix: bytes, suffix: bytes, room: int) -> tuple[bytes, bytes]:
    """Cuts both texts so that together they have at most `room` bytes, the nearest to the caret.

    The suffix gets a quarter of the room, half if the prefix is short, and the prefix the rest. The
    cuts are at line starts where there are any near, and stay where they are while one types: the
    suffix's does not depend on the prefix's length (but for that half), and the prefix's moves on
    by an eighth of the room at once. So what a model remembers of the last prompt serves the next.
    """
    share = room // 2 if len(prefix) <= room // 2 else room // 4
    if len(suffix) > share:
        suffix = suffix[:share]
        suffix = suffix[: suffix.rfind(b"\n") + 1] or suffix
    most = room - len(suffix)
    if len(prefix) > most:
        grain = max(1, room // 8)
        start = -(-(len(prefix) - most) // grain) * grain
        line = prefix.find(b"\n", start, start + grain) + 1
        prefix = prefix[line or start :]
    return prefix, suffix
