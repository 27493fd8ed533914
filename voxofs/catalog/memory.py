"""Memory that a large report leaves behind.

A report of 20,000 records is 8 MB of text, of which the hours keep two; several come at once. glibc takes the
text from its heap, where what is kept lies between, so that the freed pieces stay with the process: 60 MB
after a walk over 350,000 calls, measured. `malloc_trim` (malloc_trim(3)) gives the pages of free pieces back,
wherever they lie. Other C libraries have no such function, and do not need it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

LARGE_RECORDS = 5_000
"""From here on a report's text takes more than a mebibyte. Trimming takes 0.1 ms, and 0.1 ms more for each MB
that is free (measured): a fiftieth of what decoding took."""


def _find_trim() -> Callable[[int], int] | None:
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
    trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int
    found: Callable[[int], int] = trim
    return found


_trim = _find_trim()


def give_back() -> None:
    """Give the system what is free. Takes a millisecond or two."""
    if _trim is not None:
        _trim(0)
