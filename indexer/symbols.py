"""What a piece of code defines, read off its head without a parser.

For code that comes without its file: one function or class, in any of the common languages. The
tree-sitter chunks of `codebyte.indexer.chunk` know more; this takes microseconds.
"""

import re
from dataclasses import dataclass

_HEAD = 4096  # bytes read
_MOST_SIGNATURE = 400  # characters
_MOST_LINES = 40  # of decorators, attributes and comments before the definition

_SKIPPED_LINE = re.compile(r"\s*(?:@\w[\w.]*(?:\(.*\))?\s*$|#!?\[|//|/?\*|#(?!define)|<!--|$)")
_MODIFIERS = (
    r"(?:(?:export|default|declare|pub(?:\([^)]*\))?|public|private|protected|internal|static|final"
    r"|abstract|sealed|partial|async|unsafe|const|extern(?:\s+\"[^\"]*\")?|inline|virtual|override"
    r"|open|data|suspend|readonly|get|set)\s+)*"
)
_RULES = (
    (
        "method",
        re.compile(r"\s*func\s*\(\s*(?:\w+\s+)?\*?\s*(?P<owner>\w+)[^)]*\)\s*(?P<name>\w+)"),
    ),
    (
        "function",
        re.compile(
            rf"\s*{_MODIFIERS}(?:def|func|fn|fun|function\s*\*?|sub|proc)\s+"
            r"(?:self\.)?(?P<name>[\w$][\w$.:]*[?!]?)"
        ),
    ),
    (
        "class",
        re.compile(
            rf"\s*{_MODIFIERS}(?:class|struct|enum(?:\s+class)?|trait|interface|union|module"
            r"|namespace|record|@interface|type|mod|protocol|typedef\s+(?:struct|enum|union))\s+"
            r"(?P<name>[\w$][\w$.:]*)"
        ),
    ),
    (
        "class",
        re.compile(
            r"\s*(?:unsafe\s+)?impl(?:<[^>]*>)?\s+(?:\w[\w:<>, ]*\sfor\s+)?(?P<name>[\w:]+)"
        ),
    ),
    (
        "function",
        re.compile(
            rf"\s*{_MODIFIERS}(?:let|var|const)?\s*(?P<name>[\w$][\w$.]*)\s*(?::[^=]+)?=\s*"
            r"(?:async\s*)?(?:function\b|\([^()]*(?:\([^()]*\)[^()]*)*\)\s*(?::[^=]+)?=>|\w+\s*=>)"
        ),
    ),
    ("macro", re.compile(r"\s*#\s*define\s+(?P<name>\w+)")),
)
_CALLABLE = re.compile(r"(?P<name>~?[A-Za-z_$][\w$]*(?:(?:::|\.)~?[\w$]+)*|operator\s*\S+)\s*\(")
_NOT_NAMES = {"if", "for", "while", "switch", "catch", "return", "sizeof", "assert"}


@dataclass(frozen=True, slots=True)
class Definition:
    """What a piece of code defines; every field is "" where nothing was recognised."""

    symbol: str  # with its owner where the head tells it: "Reader.read"
    signature: str  # on one line
    kind: str  # function, method, class or macro


def definition(code: str | bytes) -> Definition:
    """The first definition in a piece of code."""
    head = code[:_HEAD]
    text = head.decode("utf-8", "replace") if isinstance(head, bytes) else head
    lines = text.split("\n")[:_MOST_LINES]
    for i, line in enumerate(lines):
        if _SKIPPED_LINE.match(line):
            continue
        joined = "\n".join(lines[i:])
        for kind, rule in _RULES:
            if (match := rule.match(joined)) is not None:
                return Definition(_symbol(match), _signature(joined), kind)
        signature = _signature(joined)
        for match in _CALLABLE.finditer(signature):
            if match["name"] not in _NOT_NAMES:
                return Definition(match["name"].replace("::", "."), signature, "function")
        break
    return Definition("", "", "")


def _symbol(match: re.Match[str]) -> str:
    groups = match.groupdict()
    name = groups["name"].replace("::", ".").rstrip(".:")
    name = name.replace(".prototype.", ".").removeprefix("module.").removeprefix("exports.")
    return f"{groups['owner']}.{name}" if groups.get("owner") else name


def _signature(text: str) -> str:
    """The head of a definition: up to its body, on one line."""
    depth = 0
    end = min(len(text), _MOST_SIGNATURE)
    for i, character in enumerate(text[:end]):
        if character in "([":
            depth += 1
        elif character in ")]":
            depth -= 1
        elif depth <= 0 and (
            character in "{;" or (character == ":" and text[i + 1 : i + 2] in "\r\n")
        ):
            end = i
            break
    return " ".join(text[:end].split())
