"""The headings of prose (Markdown, reStructuredText), as definitions that hold one another."""

import re

from codebyte.indexer.definitions import Definition

_FENCE = re.compile(rb"^ {0,3}(?:```+|~~~+)")
_HASHES = re.compile(rb"^ {0,3}(#{1,6})[ \t]+(.*?)[ \t#]*$")
_RULES = {"markdown": re.compile(rb"^ {0,3}(=+|-{2,})[ \t]*$")}
_RULES["rst"] = re.compile(rb"^([=\-`:'\"~^_*+#<>.])\1{2,}[ \t]*$")
_NOT_PROSE = re.compile(rb"^\s*$|^ {4}|^\s*(?:[|>]|[-*+]\s|\.\. )")


def headings(data: bytes, language: str | None) -> list[Definition]:
    """The sections of a text, in order; each reaches up to the next heading of its level."""
    if language not in _RULES:
        return []
    found: list[tuple[int, int, str]] = []  # where it starts, level from 0, title
    marks: list[bytes] = []  # the underlines met, in order: their levels
    fenced = b""
    offset = before_at = 0
    before = b""
    for line in data.splitlines(keepends=True):
        bare = line.rstrip(b"\r\n")
        fence = _FENCE.match(bare) if language == "markdown" else None
        title = b""
        if fence:
            mark = fence[0].strip()
            if not fenced:
                fenced = mark
            elif mark.startswith(fenced):
                fenced = b""
        elif fenced:
            pass
        elif language == "markdown" and (hashes := _HASHES.match(bare)):
            found.append((offset, len(hashes[1]) - 1, _shown(hashes[2])))
        elif (rule := _RULES[language].match(bare)) and not _NOT_PROSE.search(before):
            title = before.strip()
            if language == "markdown":
                level = 0 if rule[1].startswith(b"=") else 1
            else:
                if rule[1] not in marks:
                    marks.append(rule[1])
                level = marks.index(rule[1])
            if title and (language == "markdown" or len(bare.rstrip()) >= len(title)):
                found.append((before_at, level, _shown(title)))
        before, before_at = (b"" if fence or title or fenced else bare), offset
        offset += len(line)
    return _nested(found, len(data))


def _nested(found: list[tuple[int, int, str]], size: int) -> list[Definition]:
    sections: list[Definition] = []
    trail: list[tuple[int, str]] = []
    for place, (start, level, title) in enumerate(found):
        while trail and trail[-1][0] >= level:
            trail.pop()
        trail.append((level, title))
        end = next((at for at, other, _ in found[place + 1 :] if other <= level), size)
        path = " > ".join(name for _, name in trail if name)
        sections.append(
            Definition(title, path, "section", title, start=start, end=end, name_at=start)
        )
    return sections


def _shown(title: bytes) -> str:
    return " ".join(title.decode("utf-8", "replace").split())[:200]
