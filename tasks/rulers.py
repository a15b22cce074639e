"""Runs of marks, such as the dashes of `# ------`: where a model that writes one has to stop.

A small model that has begun one seldom ends it. What the file has too, or a person began, is gone
on with up to the usual length; what nobody asked for is no suggestion at all.
"""

import re

from codebyte.tasks.stops import Verdict, same_as_before

FEW = 24  # bytes that a run may have in a file without one like it
COLUMNS = 79  # where one ends that was begun by hand in such a file
_BEGUN = 4  # bytes before the caret that begin a run by hand
_LONGEST_UNIT = 4  # bytes that come again and again, such as "-=" or "|--"
_SEEN = 4096  # bytes on each side where others like it are looked for
_MARKS = frozenset(b"-=~*#_+^./\\<>|:!%&@ ")
_NO_WORDS = re.compile(rb"[^0-9A-Za-z\x80-\xff]*$")


def at_ruler(text: bytes, prefix: bytes, suffix: bytes) -> Verdict:
    """Ends a run of marks at the length of the file's own, or before it if there is none.

    Holds back what a line ends with after its last word, for it may become part of such a run.

    Args:
        text: so far.
        prefix: before the caret.
        suffix: after it.
    """
    start = text.rfind(b"\n") + 1
    lead = prefix[prefix.rfind(b"\n") + 1 :]
    line = text[start:] if start else lead + text
    wordless = _NO_WORDS.search(line)
    begin = len(line) if wordless is None else wordless.start()
    safe = len(text[: max(0, len(text) - len(line) + begin)].rstrip())
    run, unit = _run(line)
    if run <= _BEGUN:
        return Verdict(safe)
    most = _longest(unit, prefix[-_SEEN : len(prefix) - len(lead)] + suffix[:_SEEN])
    if not start and _run(lead)[0] >= _BEGUN:
        most = most or COLUMNS - (len(line) - run)
    if most:
        end = max(0, len(text) - run + most)
        return Verdict(end, "block") if run > most else Verdict(safe)
    above = (prefix + text)[-_SEEN : len(prefix) + len(text) - len(line)]
    underlined = 0 if begin else len(above.rstrip().rpartition(b"\n")[2].strip())
    if run > max(FEW, underlined):
        return Verdict(safe, "block")
    return Verdict(safe)


def _run(line: bytes) -> tuple[int, bytes]:
    """How many bytes at the end of a line are the same few marks again and again, and which."""
    found = (0, b"")
    for length in range(1, _LONGEST_UNIT + 1):
        unit = line[-length:]
        if _MARKS.issuperset(unit) and unit.strip():
            same = same_as_before(line, length)
            if same >= length and same + length > found[0]:
                found = (same + length, unit)
    return found


def _longest(unit: bytes, text: bytes) -> int:
    """The length of the longest run of the same marks in a text; 0 if there is only a short one."""
    runs = re.finditer(b"(?:%b)+" % re.escape(unit), text)
    longest = max((len(run.group()) for run in runs), default=0)
    return longest if longest > _BEGUN else 0
