"""A body as it was before it was compressed for its way: in parts of bounded size, and never a bomb."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import trio

_GZIP = zlib.MAX_WBITS | 16
"""zlib's way to say: a gzip header is there (zlib manual, inflateInit2)."""
_UNPACKED_BYTES = 262_144
"""What is inflated in one go: about 1 ms, after which others have a turn."""
_MOST_RATIO = 200
"""Of a body's size to its compressed size. Simulated reports have 12; a text of one letter has 1,000 (zlib's
page, "Maximum Compression Factor")."""
_PART_BYTES = 16_777_216
"""To move as much, because there is no room behind it, takes 10 ms on a slow machine. Two days of a busy
tenant are half of it."""
_NO_BOMB_BYTES = 2**20
"""A mebibyte hurts nobody, however small it was."""


class Body:
    """A body that grows, and never keeps the loop for as long as a large one takes to be copied.

    Its pieces as they came, joined at the end, would do that, too, and leave holes all over the heap:
    with them a million records took half as much memory again.
    """

    def __init__(self) -> None:
        self.size = 0
        self._parts: list[bytes] = []
        self._last = bytearray()

    def add(self, part: bytes) -> None:
        """What follows."""
        self._last += part
        self.size += len(part)
        if len(self._last) >= _PART_BYTES:
            self._parts.append(bytes(self._last))
            self._last = bytearray()

    async def whole(self) -> bytes | bytearray:
        """All of it."""
        if not self._parts:
            return self._last
        # A join of bytes lets go of the interpreter, one of others does not.
        return await trio.to_thread.run_sync(b"".join, [*self._parts, bytes(self._last)])


class Unpacked:
    """A body without its Content-Encoding, in parts of bounded size."""

    def __init__(self, encoding: str | None) -> None:
        self.fault: str | None = None
        """What is wrong with the body; nothing comes out any more then."""
        self._taken = self._given = 0
        name = (encoding or "identity").strip().lower()
        if name not in ("identity", "gzip", "x-gzip"):
            self.fault = "that cannot be read"
        self._inflater = None if name == "identity" else zlib.decompressobj(_GZIP)

    def parts(self, piece: bytes) -> Iterator[bytes]:
        """What a piece of the body becomes."""
        if self._inflater is None:
            yield piece
            return
        self._taken += len(piece)
        while piece and not self._inflater.eof and self.fault is None:
            try:
                part = self._inflater.decompress(piece, _UNPACKED_BYTES)
            except zlib.error:
                self.fault = "that cannot be read"
                return
            piece = self._inflater.unconsumed_tail
            self._given += len(part)
            if self._given > max(_NO_BOMB_BYTES, _MOST_RATIO * self._taken):
                self.fault = "that no report could be compressed to"
                return
            yield part

    async def add_to(self, body: Body, piece: bytes, limit_bytes: int) -> None:
        """A piece of a body becomes text, up to a little over the limit."""
        for part in self.parts(piece):
            body.add(part)
            if body.size > limit_bytes:
                return
            if len(part) >= _UNPACKED_BYTES:
                # A small piece may become a large text. Not cancelled here: that would cut a generator off.
                await trio.lowlevel.cancel_shielded_checkpoint()

    def end(self) -> str | None:
        """What is wrong with a body that ends here."""
        whole = self._inflater is None or self._inflater.eof or not self._taken
        return None if whole else "that ends too soon"
