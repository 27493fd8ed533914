"""A gzip bomb: a small body that is large once it is inflated."""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache

_STEP_BYTES = 1 << 20
"""What is deflated once and repeated: 1 MiB of blanks is about 1 KiB."""
_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
"""RFC 1952, 2.3: magic, deflate, no flags, no time, unknown system."""


@lru_cache(maxsize=4)
def gzip_bomb(size: int) -> bytes:
    """An empty JSON list in `size` bytes (rounded up to 1 MiB, plus 2), as one gzip member.

    Valid throughout, so that only whoever bounds what is inflated is saved. A full flush makes a stretch of
    deflate independent of what was before it (zlib manual, Z_FULL_FLUSH), so the stretch can be repeated.
    """
    steps = -(-size // _STEP_BYTES)
    blanks = b" " * _STEP_BYTES
    deflate = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    opening = deflate.compress(b"[") + deflate.flush(zlib.Z_FULL_FLUSH)
    stretch = deflate.compress(blanks) + deflate.flush(zlib.Z_FULL_FLUSH)
    closing = deflate.compress(b"]") + deflate.flush()
    check = zlib.crc32(b"[")
    for _ in range(steps):
        check = zlib.crc32(blanks, check)
    check = zlib.crc32(b"]", check)
    length = (steps * _STEP_BYTES + 2) & 0xFFFFFFFF
    return _HEADER + opening + stretch * steps + closing + struct.pack("<II", check, length)
