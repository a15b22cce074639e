"""Finds text exactly as it is written, and regular expressions: trigrams choose, the text decides.

Case counts where the query has a capital letter, as in ripgrep's smart case. A match lies inside
one chunk.
"""

import time
from collections.abc import Callable, Iterable

import regex

from codebyte.errors import InputError
from codebyte.indexer.store import Store

SECONDS = 3.0  # for each regular expression of a query
_MOST_TRIGRAMS = 24  # of one query; more do not choose better
_SPECIAL = set(".^$*+?{}[]\\|()")
_SHORT = set("AabBdDfnrsStvwWZ")  # escapes that say nothing of the characters after them


def matching_texts(store: Store, exact: Iterable[str], patterns: Iterable[str]) -> list[int]:
    """The numbers of the texts that hold every exact text and match every pattern.

    Raises:
        InputError: a pattern cannot be compiled, or takes too long.
    """
    strings, expressions = list(exact), list(patterns)
    tests = [_holds(text) for text in strings] + [_matches(text) for text in expressions]
    runs = strings + [run for text in expressions for run in literals(text)]
    threes = {run[i : i + 3].lower() for run in runs for i in range(len(run) - 2)}
    wanted = sorted(three for three in threes if three.isascii() and "\0" not in three)
    if store.has_trigrams and wanted:
        # Spread over all, since neighbours say nearly the same.
        chosen = wanted[:: -(-len(wanted) // _MOST_TRIGRAMS)]
        asked = " AND ".join('"{}"'.format(run.replace('"', '""')) for run in chosen)
        found = store.stream(
            "SELECT id, body FROM texts WHERE id IN"
            " (SELECT rowid FROM trigrams WHERE trigrams MATCH ?)",
            (asked,),
        )
    else:
        found = store.stream("SELECT id, body FROM texts")
    return [number for number, body in found if all(test(body) for test in tests)]


def literals(pattern: str) -> list[str]:
    """Texts that every match of a regular expression holds, as far as they are easily told."""
    if "|" in pattern or "(?" in pattern:
        return []
    runs = [""]
    depth = place = 0
    while place < len(pattern):
        character = pattern[place]
        place += 1
        if character == "\\" and place < len(pattern):
            escaped = pattern[place]
            place += 1
            if escaped.isalnum():
                if escaped not in _SHORT:
                    return []
                runs.append("")  # a class of characters, or a border
                continue
            character = escaped
        elif character == "[":
            end = pattern.find("]", place + 1 + pattern.startswith("^", place))
            if end < 0 or "[" in pattern[place:end] or "\\" in pattern[place:end]:
                return []
            place = end + 1
            runs.append("")
            continue
        elif character in "()":
            depth += 1 if character == "(" else -1
            runs.append("")
            continue
        elif character in "*?{":
            runs[-1] = runs[-1][:-1]  # the character before it may be missing
            runs.append("")
            if character == "{":
                place = max(pattern.find("}", place) + 1, place)
            continue
        elif character in _SPECIAL:
            runs.append("")
            continue
        if depth == 0:  # a group may be followed by a star
            runs[-1] += character
    return [run for run in runs if len(run) >= 3 and run.isascii()]


def _holds(text: str) -> Callable[[bytes], bool]:
    wanted = text.encode("utf-8", "replace")
    if text != text.lower():
        return lambda body: wanted in body
    return lambda body: wanted in body.lower()


def _matches(pattern: str) -> Callable[[bytes], bool]:
    flags = regex.MULTILINE | (0 if _has_capital(pattern) else regex.IGNORECASE)
    try:
        compiled = regex.compile(pattern, flags)
    except (regex.error, RecursionError, OverflowError) as error:
        raise InputError(
            f"/{pattern}/ is no regular expression ({error}): correct it, or quote it as text"
        ) from error
    left = SECONDS

    def test(body: bytes) -> bool:
        nonlocal left
        began = time.monotonic()
        try:
            text = body.decode("utf-8", "replace")
            return compiled.search(text, timeout=max(left, 1e-3)) is not None
        except TimeoutError as error:
            raise InputError(
                f"/{pattern}/ takes more than {SECONDS:.0f} seconds: make it simpler"
            ) from error
        finally:
            left -= time.monotonic() - began

    return test


def _has_capital(pattern: str) -> bool:
    r"""Whether a pattern has a capital letter that is not part of an escape such as that of \S."""
    return any(
        character.isupper() and (place == 0 or pattern[place - 1] != "\\")
        for place, character in enumerate(pattern)
    )
