"""Keys and passwords by their shape: those that services print, and quoted ones behind a name."""

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Secret:
    """Something shaped like a credential."""

    start: int  # byte range in the file
    end: int
    kind: str  # for people
    suspicion: float  # 0 to 1


# What services document about their keys. Each begins with letters that hardly occur otherwise.
_SHAPES = [
    ("AWS access key", rb"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b"),
    ("GitHub token", rb"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{60,})"),
    ("GitLab token", rb"\bglpat-[A-Za-z0-9_-]{20,}"),
    ("Slack token", rb"\bxox[abeoprs]-[A-Za-z0-9-]{20,}"),
    ("Slack webhook", rb"hooks\.slack\.com/services/T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/\w{20,}"),
    ("Stripe key", rb"\b[rs]k_(?:live|test)_[A-Za-z0-9]{20,}"),
    ("Google API key", rb"\bAIza[A-Za-z0-9_-]{35}"),
    ("Google OAuth secret", rb"\bGOCSPX-[A-Za-z0-9_-]{28}"),
    ("OpenAI or Anthropic key", rb"\bsk-(?:proj-|ant-|svcacct-)?[A-Za-z0-9_-]{32,}"),
    ("Hugging Face token", rb"\bhf_[A-Za-z]{34}\b"),
    ("npm token", rb"\bnpm_[A-Za-z0-9]{36}\b"),
    ("PyPI token", rb"\bpypi-AgEI[A-Za-z0-9_-]{50,}"),
    ("SendGrid key", rb"\bSG\.[A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{39,50}"),
    ("Twilio key", rb"\bSK[0-9a-f]{32}\b"),
    ("DigitalOcean token", rb"\bdo[opr]_v1_[0-9a-f]{64}\b"),
    ("Shopify token", rb"\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}\b"),
    ("Telegram bot token", rb"\b\d{8,10}:AA[A-Za-z0-9_-]{33}\b"),
    ("Azure storage key", rb"AccountKey=[A-Za-z0-9+/]{86}=="),
    # A long word that holds the first letters often must not be read to its end from each of them.
    (
        "JSON web token",
        rb"(?<!\w)(?<![\w-]-)eyJ[\w-]{16,}+\.eyJ[\w-]{16,}+\.[\w-]{16,}",
    ),
    ("age secret key", rb"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
]
_KNOWN = re.compile(b"|".join(b"(?P<k%d>%s)" % (i, shape) for i, (_, shape) in enumerate(_SHAPES)))
_PUBLIC = (b"Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq",)  # Azurite's, for all
# Only where one of these stands can a known shape begin; looking for them is quick.
_HINT = re.compile(
    rb"\bA[KS]IA|\bgh[pousr]_|github_pat_|glpat-|xox[abeoprs]-|hooks\.slack|[rs]k_(?:live|test)_"
    rb"|AIza|GOCSPX-|\bsk-|\bhf_|\bnpm_|pypi-AgEI|\bSG\.|\bSK[0-9a-f]|do[opr]_v1_|shp(?:at|ca"
    rb"|pa|ss)_|\b\d{8,10}:AA|AccountKey=|\beyJ|AGE-SECRET"
)
_PEM = re.compile(
    rb"-----BEGIN (?P<kind>(?:[A-Z0-9]+ ){0,3})PRIVATE KEY(?: BLOCK)?-----"
    # What a key in a string literal, or its headers, may have before the first line of it.
    rb"(?:\s|\\[nr]|[\"'`+,\\]|[\w-]{3,20}: [^\n]{0,100}\n){0,60}"
    rb"(?P<body>[A-Za-z0-9+/=]{40,}[A-Za-z0-9+/=\s\\\"'`,]{0,12000})"
)
_NAME = re.compile(
    rb"(?i)secret|token|passw|pwd|api_?-?key|access_?-?key|private_?-?key|auth_?-?key"
    rb"|encryption_?-?key|signing_?-?key|credential"
)
_VALUE = re.compile(
    rb"[\w-]{0,30}[\"']?\]?\s{0,4}(?::\s{0,2}[\w\[\]]{1,20}\s{0,2})?(?:==?|:=?|=>|\(|,)\s{0,4}[bru]?"
    rb"(?P<quote>[\"'`])(?P<value>[^\"'`\s]{12,8192}+)(?P=quote)"
)
_BEFORE = re.compile(rb"[\w.-]{0,40}\Z")  # the first part of a name
_IN_URL = re.compile(
    rb"\b[a-z][a-z0-9+.-]{2,20}://[\w.%+-]{1,64}:(?P<value>[^\s:/@\"'<>{}$]{8,100})@[\w.-]{3,}"
)
_PLACEHOLDER = re.compile(
    rb"(?i)example|sample|dummy|fake|placeholder|changeme|change-me|your|xxxx|\*\*\*|test|todo"
    rb"|password|secret|<|\$\{|\{\{|%\(|0{6}|1234567|abcdef|deadbeef|foobar|\.\.\.|insert|redacted"
)
_LEAST_ENTROPY = 3.3  # bits per character of a key that a machine drew


def find_secrets(data: bytes) -> Iterator[Secret]:
    """Yields what looks like a credential, in the order of the kinds above."""
    for match in _PEM.finditer(data):
        body = re.sub(rb"[^A-Za-z0-9+/=]", b"", match["body"].replace(b"\\n", b""))
        kind = f"{match['kind'].decode().strip() or 'PKCS #8'} private key"
        real = entropy(body) > 4.2
        yield Secret(match.start(), match.end(), kind, 0.97 if real else 0.5)
    past = 0
    for hint in _HINT.finditer(data):
        shape = _KNOWN.match(data, hint.start()) if hint.start() >= past else None
        if shape is not None:
            past = shape.end()
            kind = _SHAPES[int(str(shape.lastgroup)[1:])][0]
            known = any(public in shape[0] for public in _PUBLIC)
            yield Secret(shape.start(), past, kind, 0.3 if known else _rate(shape[0], 0.96))
    last = -1
    for word in _NAME.finditer(data):
        found = _VALUE.match(data, word.end())
        if found is None or found.end() == last or not _is_drawn(found["value"]):
            continue
        last = found.end()
        first = _BEFORE.search(data[max(0, word.start() - 40) : word.start()])
        name = (first[0] if first else b"") + data[word.start() : word.end()]
        name += re.split(rb"[^\w-]", data[word.end() : found.start("quote")])[0]
        sure = 0.55 + 0.3 * min(1.0, (len(found["value"]) - 12) / 20)
        kind = f"value of {name.decode('ascii', 'replace').lstrip('.-')}"
        yield Secret(*found.span("value"), kind, _rate(found["value"], sure))
    for match in _IN_URL.finditer(data):
        if entropy(match["value"]) > 2.5:
            sure = _rate(match["value"], 0.7)
            yield Secret(*match.span("value"), "password in a URL", sure)


def entropy(text: bytes) -> float:
    """Bits per character if each were drawn for itself as often as it occurs."""
    counts = Counter(text).values()
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts) if text else 0.0


def _is_drawn(value: bytes) -> bool:
    """Whether a machine drew a text at random: letters and digits mixed, and no words."""
    digits = sum(48 <= byte <= 57 for byte in value)
    letters = sum(chr(byte).isalpha() for byte in value)
    odd = len(value) - digits - letters
    if not letters or odd > len(value) // 4:
        return False
    if not digits:  # one in two hundred of 32 letters and digits has no digit
        turns = sum(a.islower() != b.islower() for a, b in pairwise(value.decode("latin-1")))
        if len(value) < 28 or turns < 0.35 * len(value):
            return False
    # Chance writes seven small letters in a row into every tenth long key, but hardly ten.
    words = rb"[a-z]{7}|[A-Z]{7}" if len(value) < 24 else rb"[a-z]{10}|[A-Z]{10}"
    if re.search(words + rb"|^[a-z]+(?:[-_.:/][a-z0-9]+)+$|[(\[\\ ]", value):
        return False
    # A short text cannot have the entropy of a long one.
    return entropy(value) > min(_LEAST_ENTROPY, 0.8 * math.log2(len(value)))


def _rate(value: bytes, sure: float) -> float:
    """Lowers a suspicion where a value says itself that it is none, or is no random text."""
    if _PLACEHOLDER.search(value):
        sure *= 0.6
    if entropy(value[4:]) < 2.5:
        sure *= 0.5
    return round(sure, 3)
