"""Open files: a recording being read, or the status as it was when it was opened."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from voxofs.audio.reader import Reader
from voxofs.catalog.window import FolderKey
from voxofs.model import BLOCK_BYTES, Block, Version

from .ahead import Ahead


class Handle(Protocol):
    """An open file."""

    @property
    def size(self) -> int:
        """Bytes, as they were when it was opened."""

    @property
    def version(self) -> Version | None:
        """Which bytes will be read. None: they may change."""

    @property
    def read_through(self) -> bool | None:
        """Whether it was read whole, as far as that can be told."""

    def read_at_hand(self, offset: int, size: int) -> Block | None:
        """What `read` returns, where it would wait for nobody; None where it would."""

    async def read(self, offset: int, size: int) -> Block:
        """Bytes from `offset`; fewer than `size` only at the end."""

    def close(self) -> None:
        """The file is no longer used."""


class RecordingHandle:
    """An open recording. `noted` remembers how a read ended, and `recovered` that one went well; `ahead`
    learns what the handle was used for, and `closed`, for the audit, how many bytes were handed out and
    whether those were all."""

    def __init__(
        self,
        reader: Reader,
        noted: Callable[[], AbstractContextManager[None]],
        recovered: Callable[[], None],
        ahead: Ahead | None,
        folder: FolderKey,
        closed: Callable[[int, str], None] | None = None,
    ) -> None:
        self._closed = closed
        self._handed_out = 0
        self._seen: set[int] = set()
        self._reader = reader
        self._noted = noted
        self._recovered = recovered
        self._ahead = ahead
        self._folder = folder
        self._hinted = False
        self.version: Version | None = reader.edition.version

    @property
    def read_through(self) -> bool | None:
        """Whether the recording was read (nearly) whole."""
        return self._reader.read_through

    @property
    def size(self) -> int:
        """Bytes."""
        return self._reader.edition.size

    def read_at_hand(self, offset: int, size: int) -> Block | None:
        """The same where all of it is in memory; None where it is not."""
        data = self._reader.take(offset, size)
        if data is not None:
            self._recovered()
            self._handed(offset, len(data))
        return data

    async def read(self, offset: int, size: int) -> Block:
        """Bytes from `offset`; fewer than `size` only at the end of the recording."""
        with self._noted():
            data = await self._reader.read(offset, size)
        self._handed(offset, len(data))
        return data

    def close(self) -> None:
        """The handle is no longer used."""
        if not self._hinted and self._reader.read_through is False:
            self._hint(through=False)
        self._reader.close()
        if self._closed is not None:
            self._closed(self._handed_out, self._read())

    def _read(self) -> str:
        """How much of the recording was read, in blocks that were touched."""
        if len(self._seen) >= self._reader.edition.blocks:
            return "whole"
        return "part" if self._seen else "none"

    def _handed(self, offset: int, size: int) -> None:
        if not self._hinted and self._reader.read_through:
            self._hint(through=True)
        if self._closed is not None:
            self._handed_out += size
            self._seen.update(range(offset // BLOCK_BYTES, -(-(offset + size) // BLOCK_BYTES)))

    def _hint(self, *, through: bool) -> None:
        """Tell the walk in this folder what the handle was used for, once and as soon as it is certain."""
        self._hinted = True
        if self._ahead is not None:
            self._ahead.finished(self._folder, through=through, size=self.size)


class StatusHandle:
    """The status as it was when it was opened."""

    version: Version | None = None
    read_through: bool | None = None

    def __init__(self, text: bytes) -> None:
        self._text = text

    def read_at_hand(self, offset: int, size: int) -> Block | None:
        """Always."""
        return self._text[offset : offset + size]

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self._text)

    async def read(self, offset: int, size: int) -> Block:
        """Bytes from `offset`."""
        return self._text[offset : offset + size]

    def close(self) -> None:
        """Nothing to do."""
