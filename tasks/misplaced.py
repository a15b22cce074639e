"""Content that does not fit the name of its file, and characters that hide what code says."""

import re
from collections.abc import Iterator
from itertools import islice

from codebyte.tasks.encoded import Region

OTHER, INVISIBLE = "CB206", "CB207"

# What lines of a language look like, and hardly those of the others.
_LOOKS = {
    "python": rb"(?:def \w+\(.*\).*:|class \w+.*:|elif .*:|except\b.*:|from [\w.]+ import |@\w+"
    rb"|import [\w.]+(?: as \w+)?$|if __name__|self\.\w+ =|with .* as \w+:|for \w+ in .*:)",
    "javascript": rb"(?:(?:const|let|var) [\w{\[].*=|.*\bfunction\b.*[({]|.*=> ?[{(]|export "
    rb"|import .* from ['\"]|module\.exports|\}\);?$|.*\brequire\(['\"]|.*console\.log\(|.*===)",
    "c": rb"(?:#\s*(?:include|define|ifdef|ifndef|endif|pragma)\b|.*->\w+|.*\bsizeof\("
    rb"|(?:static|struct|unsigned|void|int|char|const char|size_t|typedef|extern) [\w *]+[({;=])",
    "go": rb"(?:package \w+$|func (?:\(.*\) )?\w*\(.*|.* := |type \w+ (?:struct|interface)"
    rb"|import \(|if err != nil|defer |chan )",
    "rust": rb"(?:(?:pub )?fn \w+|let mut |use \w+::|impl\b|(?:pub )?(?:struct|enum|mod|trait) \w+"
    rb"|.*\w!\(|#\[\w+|match \w.*\{)",
    "java": rb"(?:package [\w.]+;|import (?:static )?[\w.*]+;|@Override"
    rb"|(?:public|private|protected) [\w<>\[\], ]+|.*\bnew [A-Z]\w+[<(])",
    "php": rb"(?:<\?php|\$\w+(?:->\w+|\[.*\])* ?=|.*\$this->|.*\becho ['\"$]|namespace [\w\\]+;"
    rb"|use [\w\\]+;)",
    "html": rb"(?:</?(?:html|head|body|div|p|a|span|table|tr|td|ul|li|script|style|meta|link|form"
    rb"|input|h\d)\b|<!DOCTYPE)",
    "shell": rb"(?:#!/bin/(?:ba|z)?sh|fi$|done$|esac$|if \[\[? |then$|echo |export \w+=|set -e"
    rb"|\w+\(\) \{$)",
    "sql": rb"(?i:select .* from|insert into|create table|alter table|drop table|update \w+ set)\b",
    "css": rb"(?:[.#\w][\w .,>:#-]*\{$|[a-z-]+: [^;={}()]+;$"
    rb"|@(?:media|import|font-face))",
}
_LOOK = {name: re.compile(rb"\s*" + pattern) for name, pattern in _LOOKS.items()}
# Languages that look alike; a file of one may be full of lines of another.
_KIN = {
    "typescript": {"javascript", "css", "html", "java", "rust", "go", "c"},
    "javascript": {"javascript", "css", "html", "java", "c", "rust", "php"},
    "cpp": {"c", "java", "rust", "go"},
    "c": {"c", "java"},
    "python": {"python"},
    "java": {"java", "c", "rust"},
    "go": {"go", "c"},
    "rust": {"rust", "c", "go", "java"},
    "shell": {"shell", "css"},
    "css": {"css", "html", "shell"},
    "php": {"php", "html", "javascript", "css", "java", "c"},
}
_OWN = {
    language: re.compile(rb"\s*(?:" + b"|".join(_LOOKS[name] for name in sorted(kin)) + b")")
    for language, kin in _KIN.items()
}
_MOST_INVISIBLE = 5  # that are looked at in one file
_BLOCK = 24  # lines
_LEAST_LINES = 8  # that look foreign in a block
_INVISIBLE = re.compile(
    "[\u202a-\u202e\u2066-\u2069]|(?<=\\w)[\u200b\u2060\u00ad](?=\\w)|[\U000e0001-\U000e007f]{4,}"
)
_QUICK = re.compile(rb"\xe2\x80[\xaa-\xae\x8b]|\xe2\x81[\xa0\xa6-\xa9]|\xc2\xad|\xf3\xa0[\x80\x81]")


def find_misplaced(data: bytes, language: str) -> Iterator[Region]:
    """Yields what does not belong into a file of a language ("" where it is not known)."""
    yield from _invisible(data)
    if language in _KIN:
        yield from _foreign_blocks(data, language)


def _foreign_blocks(data: bytes, language: str) -> Iterator[Region]:
    """Yields the block of lines that looks most like another language and not like the file's."""
    lines = [line[:200] for line in data.split(b"\n")]
    kin = _KIN[language]
    own = [_OWN[language].match(line) is not None for line in lines]
    found = []
    for first in range(0, len(lines), _BLOCK // 2):
        block = lines[first : first + _BLOCK]
        native = sum(own[first : first + _BLOCK])
        filled = sum(line.strip() != b"" for line in block)
        if filled < _LEAST_LINES or native > filled // 8:  # nearly every block of nearly all files
            continue
        for name in _LOOK.keys() - kin:
            foreign = sum(_LOOK[name].match(line) is not None for line in block)
            if foreign >= max(_LEAST_LINES, 8 * native):
                found.append((foreign, name, first, len(block), filled))
    if not found:
        return
    count, name, first, length, filled = max(found)
    whole = filled >= 0.6 * sum(line.strip() != b"" for line in lines)
    suspicion = min(0.9, 0.2 + 0.6 * count / filled + 0.1 * whole)
    reason = f"{count} of {length} lines look like {name}, none or few like {language}"
    message = f"looks like {name} in a file that its name says is {language}"
    ends = [0, *(match.end() for match in re.finditer(rb"\n", data)), len(data) + 1]
    yield Region(OTHER, ends[first], ends[first + length] - 1, suspicion, message, (reason,))


def _invisible(data: bytes) -> Iterator[Region]:
    if not _QUICK.search(data):
        return
    text = data.decode("utf-8", "surrogateescape")
    for match in islice(_INVISIBLE.finditer(text), _MOST_INVISIBLE):
        start = len(text[: match.start()].encode("utf-8", "surrogateescape"))
        size = len(match[0].encode("utf-8", "surrogateescape"))
        code = ord(match[0][0])
        turns = 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069
        what = "turns the direction of the text" if turns else "takes no room"
        reason = f"U+{code:04X} {what}"
        message = f"an invisible character, U+{code:04X}, {what}"
        yield Region(INVISIBLE, start, start + size, 0.9 if turns else 0.6, message, (reason,))
