"""What is out of place in a file: payloads, secrets, packed code, foreign content, noise.

Bytes are judged by their kinds, their entropy and known shapes, and by what they cost the model
where it has read them: encrypted or encoded data costs far more bits than code, and generated
repetition nearly none.
"""

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from codebyte.indexer.filters import skip_content, skip_path
from codebyte.indexer.languages import is_test, language_of
from codebyte.tasks.encoded import ENCODED, NUMBERS, Region, find_encoded
from codebyte.tasks.findings import Finding
from codebyte.tasks.misplaced import OTHER, find_misplaced
from codebyte.tasks.obfuscated import MINIFIED, PACKED, find_obfuscated
from codebyte.tasks.secrets import find_secrets

SECRET, UNLIKE = "CB205", "CB208"
LEAST = 0.25  # suspicion below which nothing is said
MOST_OF_A_RULE = 5  # findings of one rule in one file; of secrets, on one line

_WINDOW = 256  # bytes over which bits are averaged
_NOISE_BITS = 5.2  # bits per byte of the window from which it is no text
_REPETITION_BITS = 0.08
_LEAST_REPETITION = 8192  # bytes
# What is everyday in files of such a kind: rule -> factor of the suspicion.
_IN_PROSE = {ENCODED: 0.5, NUMBERS: 0.5, MINIFIED: 0.5, UNLIKE: 0.5, PACKED: 0.7, SECRET: 0.6}
_IN_DATA = {ENCODED: 0.5, NUMBERS: 0.5, MINIFIED: 0.5, UNLIKE: 0.5, PACKED: 0.9}
_IN_TESTS = {ENCODED: 0.85, NUMBERS: 0.8, SECRET: 0.7, OTHER: 0.6}
_IN_SAMPLES = {ENCODED: 0.6, NUMBERS: 0.6, SECRET: 0.8, OTHER: 0.5, MINIFIED: 0.7}
_IN_LOCKS = {ENCODED: 0.0, NUMBERS: 0.0, MINIFIED: 0.0, UNLIKE: 0.0}
_IN_BUILT = {MINIFIED: 0.5, ENCODED: 0.8, UNLIKE: 0.5}
_BY_REASON = {
    "lock file": _IN_LOCKS,
    "sample data": _IN_SAMPLES,
    "minified": _IN_BUILT,
    "vendored": _IN_BUILT,
    "generated": _IN_BUILT,
}
_IN_KEYS = {SECRET: 0.85, ENCODED: 0.5}
_IN_PUBLIC = {MINIFIED: 0.75}
_KEY_FILE = re.compile(r"\.(?:pem|key|p8|asc|crt|cer)$", re.IGNORECASE)
_PUBLIC = re.compile(r"(?:^|/)(?:static|public|assets|wwwroot)/", re.IGNORECASE)
_PROSE = ("markdown", "rst", "html")


def find_payloads(
    data: bytes,
    path: str,
    bits: NDArray[np.float32] | None = None,
    changed: Collection[int] | None = None,
) -> list[Finding]:
    """Finds what is out of place in a file.

    Args:
        data: the file, in any encoding.
        path: its name, which tells what would be in place.
        bits: surprise of each byte, where the model has read the file.
        changed: lines from 1, of which a finding must have one; None for all findings.

    Returns:
        Findings of the rules CB2xx, the most suspicious first.
    """
    language = language_of(path)
    if _is_binary(data):
        if language is None:
            return []
        message = f"binary data in a file that its name says is {language}"
        regions = [Region(OTHER, 0, len(data), 0.6, message)]
    else:
        regions = _regions(data, path, language, bits)
    newlines = [match.start() for match in re.finditer(rb"\n", data)]
    if changed is not None:
        regions = _changed(regions, newlines, sorted(changed))
    return [_finding(region, data, path, newlines) for region in _chosen(regions, newlines)]


def _regions(
    data: bytes, path: str, language: str | None, bits: NDArray[np.float32] | None
) -> list[Region]:
    regions = list(find_encoded(data))
    for secret in find_secrets(data):
        message = f"looks like a credential: {secret.kind}"
        reasons = (f"shaped like: {secret.kind}",)
        region = Region(SECRET, secret.start, secret.end, secret.suspicion, message, reasons)
        regions.append(region)
    regions += find_obfuscated(data)
    regions += find_misplaced(data, language or "")
    regions = _weighed(regions, path, language)
    return [*regions, *_by_bits(data, bits, regions)]


def _is_binary(data: bytes) -> bool:
    # UTF-16 has a zero in each letter, and is text all the same.
    return not data.startswith((b"\xff\xfe", b"\xfe\xff")) and (
        skip_content(data[:65536] + b"\n" * 64) == "binary"
    )


def _weighed(regions: list[Region], path: str, language: str | None) -> list[Region]:
    """Lowers suspicions by what is everyday in such a file."""
    factors = [_BY_REASON.get(skip_path(path) or "", {})]
    if language in _PROSE:
        factors.append(_IN_PROSE)
    if language is None:
        factors.append(_IN_DATA)
    if _KEY_FILE.search(path):
        factors.append(_IN_KEYS)
    if _PUBLIC.search(path):
        factors.append(_IN_PUBLIC)
    if is_test(path):
        factors.append(_IN_TESTS)
    weighed = []
    for region in regions:
        suspicion = region.suspicion
        for table in factors:
            suspicion *= table.get(region.rule, 1.0)
        weighed.append(
            Region(
                region.rule,
                region.start,
                region.end,
                suspicion,
                region.message,
                region.reasons,
            )
        )
    return weighed


def _by_bits(
    data: bytes, bits: NDArray[np.float32] | None, known: list[Region]
) -> Iterator[Region]:
    """Yields stretches that cost the model far more than code does, or nearly nothing."""
    if bits is None or len(bits) < _WINDOW:
        return
    sums = np.concatenate([[0.0], np.cumsum(bits, dtype=np.float64)])
    mean = (sums[_WINDOW:] - sums[:-_WINDOW]) / _WINDOW
    noisy = mean > _NOISE_BITS
    edges = np.flatnonzero(np.diff(noisy.astype(np.int8), prepend=0, append=0))
    for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        start, end = first, last - 1 + _WINDOW
        if any(region.start < end and start < region.end for region in known):
            continue
        cost = float(bits[start:end].mean())
        reason = f"{cost:.1f} bits per byte over {end - start:,} bytes"
        suspicion = min(0.9, 0.4 + 0.2 * (cost - _NOISE_BITS))
        yield Region(UNLIKE, start, end, suspicion, "no text that the model knows", (reason,))
    if len(bits) >= _LEAST_REPETITION and float(bits.mean()) < _REPETITION_BITS:
        reason = f"{float(bits.mean()):.2f} bits per byte over {len(bits):,} bytes"
        yield Region(UNLIKE, 0, len(bits), 0.4, "repeats itself, as generated code does", (reason,))


def _changed(regions: list[Region], newlines: list[int], lines: list[int]) -> list[Region]:
    """The regions that have one of some lines, which are given in order."""
    kept = []
    for region in regions:
        place = bisect_left(lines, _line(newlines, region.start))
        if place < len(lines) and lines[place] <= _line(newlines, region.end - 1):
            kept.append(region)
    return kept


def _chosen(regions: list[Region], newlines: list[int]) -> list[Region]:
    """The most suspicious first, of each rule without those inside another, and not too many.

    A rule hides no other, which may be all that the settings leave; nor do secrets take the room of
    those on other lines, which may be all that comments leave.
    """
    chosen: list[Region] = []
    count: Counter[tuple[str, int]] = Counter()
    size = max((region.end for region in regions), default=0)
    covered: defaultdict[str, bytearray] = defaultdict(lambda: bytearray(size))  # by rule
    for region in sorted(regions, key=lambda r: (-r.suspicion, r.start)):
        line = _line(newlines, region.start) if region.rule == SECRET else 0
        if region.suspicion < LEAST or count[region.rule, line] >= MOST_OF_A_RULE:
            continue
        length, known = region.end - region.start, covered[region.rule]
        if known.count(1, region.start, region.end) > 0.5 * length:
            continue
        known[region.start : region.end] = b"\1" * length
        count[region.rule, line] += 1
        chosen.append(region)
    return chosen


def _line(newlines: list[int], offset: int) -> int:
    """The line that a byte lies in, from 1."""
    return bisect_left(newlines, offset) + 1


def _finding(region: Region, data: bytes, path: str, newlines: list[int]) -> Finding:
    line = _line(newlines, region.start)
    start = newlines[line - 2] + 1 if line > 1 else 0
    stop = newlines[line - 1] if line <= len(newlines) else len(data)
    return Finding(
        rule=region.rule,
        path=path,
        line=line,
        column=region.start - start + 1,
        end_column=max(min(region.end, stop), region.start) - start + 1,
        suspicion=round(region.suspicion, 4),
        message=region.message,
        reasons=region.reasons,
    )
