"""What is out of place in a file: payloads, secrets, packed code, foreign content, noise.

Bytes are judged by their kinds, their entropy and known shapes, and by what they cost the model
where it has read them: encrypted or encoded data costs far more bits than code, and generated
repetition nearly none.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator

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
MOST_OF_A_RULE = 5  # findings of one rule in one file

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


def find_payloads(data: bytes, path: str, bits: NDArray[np.float32] | None = None) -> list[Finding]:
    """Finds what is out of place in a file.

    Args:
        data: the file, in any encoding.
        path: its name, which tells what would be in place.
        bits: surprise of each byte, where the model has read the file.

    Returns:
        Findings of the rules CB2xx, the most suspicious first.
    """
    language = language_of(path)
    if _is_binary(data):
        if language is None:
            return []
        whole = Region(OTHER, 0, 0, 0.6, f"binary data in a file that its name says is {language}")
        return [_finding(whole, data, path, [])]
    regions = list(find_encoded(data))
    for secret in find_secrets(data):
        message = f"looks like a credential: {secret.kind}"
        reasons = (f"shaped like: {secret.kind}",)
        region = Region(SECRET, secret.start, secret.end, secret.suspicion, message, reasons)
        regions.append(region)
    regions += find_obfuscated(data)
    regions += find_misplaced(data, language or "")
    regions = _weighed(regions, path, language)
    regions += _by_bits(data, bits, regions)
    newlines = [match.start() for match in re.finditer(rb"\n", data)]
    return [_finding(region, data, path, newlines) for region in _chosen(regions)]


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


def _chosen(regions: list[Region]) -> list[Region]:
    """The most suspicious first, without those inside another, and not too many of one rule."""
    chosen: list[Region] = []
    count: dict[str, int] = {}
    for region in sorted(regions, key=lambda r: (-r.suspicion, r.start)):
        if region.suspicion < LEAST or count.get(region.rule, 0) >= MOST_OF_A_RULE:
            continue
        if any(_says_the_same(region, other) for other in chosen):
            continue
        count[region.rule] = count.get(region.rule, 0) + 1
        chosen.append(region)
    return chosen


def _says_the_same(region: Region, other: Region) -> bool:
    overlap = min(region.end, other.end) - max(region.start, other.start)
    return overlap > 0.5 * (region.end - region.start)


def _finding(region: Region, data: bytes, path: str, newlines: list[int]) -> Finding:
    line = bisect_right(newlines, region.start - 1) + 1
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
