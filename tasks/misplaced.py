"""Content that does not fit the name of its file, and characters that hide what code says."""

import re
from collections.abc import Iterator

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
    "css": rb"(?:[.#]?[\w-]+(?:[ ,.>:#][\w.#:-]+)* ?\{$|[a-z-]+: [^;={}()]+;$"
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
    """Yields blocks of lines that look like another language and not like the file's own."""
    lines = data.split(b"\n")
    ends = [0]
    for line in lines:
        ends.append(ends[-1] + len(line) + 1)
    kin = _KIN[language]
    own = [any(_LOOK[name].match(line[:200]) for name in kin) for line in lines]
    best: dict[str, tuple[int, int, int]] = {}  # language -> lines, first and last of the block
    for name in _LOOK.keys() - kin:
        votes = [
            not mine and _LOOK[name].match(line[:200]) is not None
            for line, mine in zip(lines, own, strict=True)
        ]
        for first in range(0, len(lines), _BLOCK // 2):
            block = slice(first, first + _BLOCK)
            foreign, native = sum(votes[block]), sum(own[block])
            if foreign >= _LEAST_LINES and native <= foreign // 8:
                known = best.get(name)
                if known is None or foreign > known[0]:
                    best[name] = (foreign, first, min(first + _BLOCK, len(lines)))
    if not best:
        return
    name, (count, first, last) = max(best.items(), key=lambda item: (item[1][0], item[0]))
    whole = last - first >= len([line for line in lines if line.strip()]) * 0.6
    share = count / max(1, sum(bool(line.strip()) for line in lines[first:last]))
    suspicion = min(0.9, 0.2 + 0.6 * share + 0.1 * whole)
    reason = f"{count} of {last - first} lines look like {name}, none or few like {language}"
    message = f"looks like {name} in a file that its name says is {language}"
    yield Region(OTHER, ends[first], min(ends[last] - 1, len(data)), suspicion, message, (reason,))


def _invisible(data: bytes) -> Iterator[Region]:
    if not _QUICK.search(data):
        return
    text = data.decode("utf-8", "surrogateescape")
    for match in _INVISIBLE.finditer(text):
        start = len(text[: match.start()].encode("utf-8", "surrogateescape"))
        size = len(match[0].encode("utf-8", "surrogateescape"))
        code = ord(match[0][0])
        turns = 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069
        what = "turns the direction of the text" if turns else "takes no room"
        reason = f"U+{code:04X} {what}"
        message = f"an invisible character, U+{code:04X}, {what}"
        yield Region(INVISIBLE, start, start + size, 0.9 if turns else 0.6, message, (reason,))
