r"""Reads a query: words, what must occur exactly, and filters.

    where are retries backed off               words
    "raise StopIteration" /def \w+_fast/        exact text, a regular expression
    path:src/* lang:go repo:flask sym:Client   filters; several of a kind are alternatives

Nothing else means anything: operators of SQL or of a search engine are words like others.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from codebyte.errors import InputError

MAX_CHARACTERS = 4096  # of a query that are read
MAX_PATTERN = 512  # characters of one regular expression

_PIECE = re.compile(
    r"""(?P<filter>(?:path|lang|repo|sym):(?:"[^"]*"|\S+))"""
    r"""|"(?P<exact>(?:\\.|[^"\\])+)"(?!\S)"""
    r"""|/(?P<pattern>(?:\\.|[^/\\\n])+)/(?!\S)"""
    r"""|(?P<word>\S+)"""
)
_SYMBOL = re.compile(r"[A-Za-z_$~][\w$]*(?:(?:::|->|[.#/])~?[A-Za-z_$][\w$]*)*(?:\(\))?[?!]?")
_CAMEL = re.compile(r"[a-z0-9][A-Z]|[A-Z]{2}[a-z]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """What was asked for."""

    text: str  # as given, at most MAX_CHARACTERS
    words: str  # what is left for ranking: the words and the exact text
    exact: tuple[str, ...] = ()  # each must occur as it is
    patterns: tuple[str, ...] = ()  # regular expressions, each must match
    paths: tuple[str, ...] = ()  # globs, or parts of paths
    languages: tuple[str, ...] = ()
    repos: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()  # parts of qualified names
    names: tuple[str, ...] = ()  # words that can only be names of code, such as TCPConnector
    kind: Literal["symbol", "sentence"] = "sentence"

    def accepts(self, path: str, language: str, repo: str, symbol: str) -> bool:
        """Whether the filters let a document through; without filters they do."""
        tests: tuple[tuple[Sequence[str], str, Callable[[str, str], bool]], ...] = (
            (self.paths, path, path_matches),
            (self.languages, language, _same),
            (self.repos, repo, _inside),
            (self.symbols, symbol, _inside),
        )
        return all(
            not wanted or any(matches(value, one) for one in wanted)
            for wanted, value, matches in tests
        )


def parse_query(text: str) -> Query:
    """Reads what a person or a program typed.

    Raises:
        InputError: a regular expression in it is wrong or too long.
    """
    text = text[:MAX_CHARACTERS]
    found: dict[str, list[str]] = {kind: [] for kind in ("path", "lang", "repo", "sym")}
    exact: list[str] = []
    patterns: list[str] = []
    words: list[str] = []
    for piece in _PIECE.finditer(text):
        if (given := piece["filter"]) is not None:
            kind, _, value = given.partition(":")
            if value := value.strip('"'):
                found[kind].append(value)
        elif (given := piece["exact"]) is not None:
            exact.append(re.sub(r'\\(["\\])', r"\1", given))
            words.append(exact[-1])
        elif (given := piece["pattern"]) is not None:
            patterns.append(_checked(given))
        else:
            words.append(piece["word"])
    rest = " ".join(words)
    return Query(
        text=text,
        words=rest,
        exact=tuple(exact),
        patterns=tuple(patterns),
        paths=tuple(found["path"]),
        languages=tuple(name.lower() for name in found["lang"]),
        repos=tuple(found["repo"]),
        symbols=tuple(found["sym"]),
        names=tuple(word.strip("()?!,;:'`") for word in rest.split() if _is_name(word)),
        kind="symbol" if _SYMBOL.fullmatch(rest) else "sentence",
    )


def path_matches(path: str, pattern: str) -> bool:
    """Whether a path contains a text, "app/[id]" too, or fits a glob: "src/**/*.py", "*.go"."""
    pattern = pattern.removeprefix("./")
    if pattern.casefold() in path.casefold():
        return True
    globs = (pattern, pattern.replace("**/", ""))  # which may stand for no folder
    return any(fnmatchcase(path, it) or fnmatchcase(path, f"*/{it}") for it in globs)


def _is_name(word: str) -> bool:
    """Whether a word of a sentence can only be a name: it has an inner border or a call."""
    bare = word.strip("()?!,;:'`")
    if not _SYMBOL.fullmatch(bare) or len(bare) < 3:
        return False
    return "_" in bare or "::" in bare or bool(_CAMEL.search(bare)) or word.endswith("()")


def _checked(pattern: str) -> str:
    if len(pattern) > MAX_PATTERN:
        raise InputError(
            f"the regular expression has {len(pattern)} characters: use at most {MAX_PATTERN}"
        )
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise InputError(
            f"/{pattern}/ is no regular expression ({error}): correct it, or quote it as text"
        ) from error
    return pattern


def _same(value: str, wanted: str) -> bool:
    return value.lower() == wanted


def _inside(value: str, wanted: str) -> bool:
    return wanted.casefold() in value.casefold()
