import base64

import numpy as np
import pytest
from scanned import CODE, KEY

from codebyte.tasks.findings import FileReport, Finding, Repair
from codebyte.tasks.places import place_findings
from codebyte.tasks.redaction import redacted

DRAWN = b"q7Zt0pXw3RkV9sYbN2mL5cHd8fJg1aTe4uQi"
LINES = b"\n".join([b"A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8S9t0U1v2W3x4Y5z6+/" * 3] * 4)
PEM = b"-----BEGIN RSA PRIVATE KEY-----\n" + LINES + b"\n-----END RSA PRIVATE KEY-----\n"


def token(size: int) -> bytes:
    """A JSON web token that says so much."""
    parts = (b'{"alg":"RS256","typ":"JWT"}', b'{"sub":"%s"}' % (b"7" * size), bytes(range(256)))
    return b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)


@pytest.mark.parametrize(
    ("source", "secret"),
    [
        (KEY, b"ghp_" + DRAWN),
        (b'password = "' + DRAWN + b'"\n', DRAWN),
        (b"Authorization: Bearer " + token(120) + b"\n", token(120)),
        (b"-" + token(2000) + b"\n", token(2000)),  # as a patch takes it out
        (b'secret_key = "' + 30 * DRAWN + b'"\n', 30 * DRAWN),
        (b'url = "postgres://me:' + DRAWN[:20] + b'@db.local/x"\n', DRAWN[:20]),
    ],
)
def test_of_a_secret_only_the_ends_are_shown(source: bytes, secret: bytes) -> None:
    shown = redacted(CODE + source)
    assert len(shown) == len(CODE + source)
    assert shown.startswith(CODE)
    assert secret not in shown
    hidden = secret[:4] + b"*" * (len(secret) - 6) + secret[-2:]
    assert shown[len(CODE) :] == source.replace(secret, hidden)


def test_a_private_key_keeps_its_name_and_its_lines() -> None:
    shown = redacted(PEM)
    assert shown.startswith(b"-----BEGIN RSA PRIVATE KEY-----\n")
    assert shown.count(b"\n") == PEM.count(b"\n")
    assert not any(line[8:-8] in shown for line in LINES.split(b"\n"))


def test_what_holds_no_secret_stays_as_it_is() -> None:
    assert redacted(CODE) is CODE


def test_a_finding_shows_its_line_without_the_secret_and_keeps_its_fingerprint() -> None:
    data = CODE + KEY
    line = data.count(b"\n")
    finding = Finding(
        rule="CB105",
        path="a.py",
        line=line,
        column=1,
        end_column=6,
        suspicion=0.9,
        message="`ghp_" + DRAWN.decode() + "` for `x`",
        reasons=(),
        repair=Repair(start=len(CODE), end=len(data) - 1, replacement=DRAWN, gain_bits=1.0),
    )
    report = FileReport(
        path="a.py",
        language="python",
        suspicion=0.9,
        bits_per_byte=1.0,
        lines=np.zeros(line, np.float32),
        bits=None,
        findings=(finding,),
    )
    (place,) = place_findings(report, data)
    assert DRAWN.decode() not in repr(place)
    assert place.edit is None
    other = data.replace(DRAWN, DRAWN[::-1])
    assert place_findings(report, other)[0].fingerprint != place.fingerprint
