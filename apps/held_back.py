"""Text that is held back while it comes, until more of it shows whether it may be shown."""

from codebyte.tasks.filters import closers_replaced


class IndentedLines:
    """Holds back what may be the indentation of a line that is indented too little."""

    def __init__(self, indent: int) -> None:
        self.ended = False
        self._indent = indent
        self._held = b""  # a newline and white space

    def add(self, text: bytes) -> bytes:
        """The text that may be shown now."""
        if not self._indent:
            return text
        shown = b""
        for byte in (text[i : i + 1] for i in range(len(text))):
            if byte == b"\n":
                shown += self._held
                self._held = byte
            elif self._held and byte in b" \t":
                self._held += byte
            elif self._held and len(self._held.lstrip(b"\r\n")) < self._indent:
                self.ended, self._held = True, b""
                return shown
            else:
                shown += self._held + byte
                self._held = b""
        return shown

    def rest(self) -> bytes:
        """What was held back until the end."""
        held, self._held = self._held, b""
        return held


class UnclosedText:
    """Holds back what closes that which the suffix closes: a client of /infill replaces nothing.

    More text may open it again: between `f(` and `)`, `a).g(b` can be shown and `a)` can not.
    """

    def __init__(self, prefix: bytes, suffix: bytes) -> None:
        self._prefix, self._suffix = prefix, suffix
        self._shown = self._held = b""

    def add(self, text: bytes) -> bytes:
        """The text that may be shown now."""
        self._held += text
        if not self._fits(len(self._held)):
            return b""
        shown, self._held = self._held, b""
        self._shown += shown
        return shown

    def rest(self) -> bytes:
        """The longest part of what was held back until the end that fits before the suffix."""
        ends = range(len(self._held), -1, -1)
        return next(self._held[:end] for end in ends if self._fits(end))

    def _fits(self, end: int) -> bool:
        return not closers_replaced(self._prefix, self._shown + self._held[:end], self._suffix)
