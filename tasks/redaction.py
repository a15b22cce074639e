"""Hides secrets in what is shown of a file: a report goes to more places than the file does.

Of a secret its first and last characters stay, enough to tell which one it is:

    TOKEN = "ghp_q7Zt0pXw3RkV9sYbN2mL5cHd8fJg1aTe4uQi"
    TOKEN = "ghp_**********************************Qi"

Lengths do not change, so that places in the shown text are those in the file.
"""

from codebyte.tasks.secrets import find_secrets

FIRST, LAST = 4, 2  # characters that stay
SHORT = 12  # bytes, under which only half as many do
_MARK = ord("*")


def redacted(data: bytes) -> bytes:
    """The file with all secrets hidden; the same bytes where there are none."""
    spans = [(secret.start, secret.end) for secret in find_secrets(data)]
    if not spans:
        return data
    shown = bytearray(data)
    for start, end in spans:
        if data.startswith(b"-----BEGIN", start):  # the name of the kind of key is no secret
            start = data.index(b"-----", start + 10) + 5
        first, last = (FIRST, LAST) if end - start >= SHORT else (FIRST // 2, LAST // 2)
        for i in range(start + first, end - last):
            if not shown[i : i + 1].isspace():
                shown[i] = _MARK
    return bytes(shown)


def hides(data: bytes, shown: bytes, start: int, end: int) -> bool:
    """Whether something of a byte range of a file is hidden."""
    return data[start:end] != shown[start:end]
