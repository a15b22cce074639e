"""How the C library hands memory back."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of mallopt, see malloc.h


def keep_freed_memory() -> None:
    """Lets freed tensors be used again instead of giving their pages back at once.

    A training step frees and asks for the same large tensors; by default the C library maps and
    clears fresh pages for each, which took 30 % of a step here. Only glibc has the switch;
    elsewhere this does nothing.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)
