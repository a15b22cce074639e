"""Which files are left out, and for what reason."""

import json
from collections import Counter
from collections.abc import Mapping, MutableMapping

SHOWN = 20  # paths that are kept of each reason


class Skips(Counter[str]):
    """How many files each reason leaves out; `paths` has the first of them, as text."""

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        super().__init__(counts or {})
        self.paths: dict[str, list[str]] = {}

    def add(self, reason: str, path: str) -> None:
        """Counts a file; its path may hold bytes that are not UTF-8."""
        self[reason] += 1
        paths = self.paths.setdefault(reason, [])
        if len(paths) < SHOWN:
            paths.append(shown_path(path))

    def to_json(self) -> str:
        """As text that `from_json` reads."""
        return json.dumps(
            {reason: [count, self.paths.get(reason, [])] for reason, count in self.items()}
        )

    @classmethod
    def from_json(cls, written: str) -> "Skips":
        """What `to_json` wrote."""
        found = json.loads(written)
        skips = cls({reason: count for reason, (count, _) in found.items()})
        skips.paths = {reason: paths for reason, (_, paths) in found.items()}
        return skips

    def copy(self) -> "Skips":
        """Gives a copy to go on with."""
        other = Skips(self)
        other.paths = {reason: list(paths) for reason, paths in self.paths.items()}
        return other


def leave_out(skips: MutableMapping[str, int], reason: str, path: str) -> None:
    """Counts a file, and keeps its path where the counts are `Skips`."""
    if isinstance(skips, Skips):
        skips.add(reason, path)
    else:
        skips[reason] = skips.get(reason, 0) + 1


def shown_path(path: str) -> str:
    """A path as text: bytes that are not UTF-8 become backslash escapes."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
