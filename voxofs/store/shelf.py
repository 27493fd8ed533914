"""Audio on the disk: sealed runs of blocks, a file each, written once and never changed.

A *piece* is up to 16 adjacent blocks of one edition (aligned, so that two pieces seldom overlap). Its blocks
are sealed one by one, so that any of them can be read alone. A piece is written with one call and read with
one, and deleting it gives its room back at once. Nothing is synced: after a power cut a piece is whole or
does not open.

Pieces lie on *shelves*, folders of up to 1,024 files that one process filled one after another. What was
brought together lies together: a recording's neighbours are in the same few blocks of directory and inodes.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from voxofs.model import BLOCK_BYTES, Block, Edition

from .seal import OVERHEAD_BYTES, NotOurs, Seal

PIECE_BLOCKS = 16
"""1 MiB: a read of the reader's run is one call. A cold 256 MiB took 1.8 s in files of one block, 0.38 s in
files of 16, 0.29 s in files of 64 (docs/design.md); but of those, damage and eviction take 4 MiB at once."""

_STRIDE_BYTES = BLOCK_BYTES + OVERHEAD_BYTES
_SHELF_FILES = 1024
"""A folder of 50 KB: a walk over it is one read of the disk."""

_WRITING = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_READING = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""Not blocking, so that a pipe in a piece's place is refused instead of waited for."""

_PAGE_BYTES = 4096
"""What file systems give room in."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of blocks on the disk, as the index knows it."""

    id: int
    first: int
    stop: int
    shelf: str
    number: int
    fetched_s: int
    """Seconds since the epoch. What blocks are bound to tells it, so that nobody can make audio younger."""
    used_ms: int
    read: bool


def piece_bytes(edition: Edition, first: int, stop: int) -> int:
    """The length of the file."""
    plain = min(stop * BLOCK_BYTES, edition.size) - first * BLOCK_BYTES
    return plain + (stop - first) * OVERHEAD_BYTES


def on_disk_bytes(length: int) -> int:
    """What a file of that length takes."""
    return -(-length // _PAGE_BYTES) * _PAGE_BYTES


def _bound(edition_name: bytes, fetched_s: int, index: int) -> bytes:
    return b"audio" + edition_name + fetched_s.to_bytes(8, "big", signed=True) + index.to_bytes(8, "big")


class Shelves:
    """All pieces. Blocks: for worker threads only; writing is for one of them, reading for any."""

    def __init__(self, audio: Path, seal: Seal) -> None:
        self._audio = str(audio)
        self._seal = seal
        self._shelf = ""
        self._number = _SHELF_FILES
        self._buffers = threading.local()

    def path(self, shelf: str, number: int) -> str:
        """Where a piece lies. Raises `NotOurs` where the index names something else."""
        if len(shelf) != 16 or not shelf.isalnum() or not 0 <= number < _SHELF_FILES:
            raise NotOurs("no name of a piece")
        return f"{self._audio}/{shelf}/{number:04x}"

    def next_name(self) -> tuple[str, int]:
        """A place for a new piece. Raises OSError."""
        if self._number >= _SHELF_FILES:
            shelf = os.urandom(8).hex()
            os.mkdir(f"{self._audio}/{shelf}", 0o700)
            self._shelf, self._number = shelf, 0
        self._number += 1
        return self._shelf, self._number - 1

    def new_shelf(self) -> None:
        """The next piece begins a new shelf: the present one may be gone, or somebody else's."""
        self._number = _SHELF_FILES

    def write(
        self,
        shelf: str,
        number: int,
        edition_name: bytes,
        fetched_s: int,
        first: int,
        blocks: Sequence[Block],
    ) -> None:
        """Seal and write one piece, or nothing of it. Raises OSError."""
        parts: list[bytes] = []
        for index, block in enumerate(blocks, first):
            parts += self._seal.seal_parts(block, _bound(edition_name, fetched_s, index))
        path = self.path(shelf, number)
        try:
            descriptor = os.open(path, _WRITING, 0o600)
        except (
            FileNotFoundError
        ):  # another process deleted the last piece of this shelf, and the shelf with it
            os.mkdir(os.path.dirname(path), 0o700)
            descriptor = os.open(path, _WRITING, 0o600)
        try:
            # The time of the file is the time that counts, so that age can be told without the index.
            os.utime(descriptor, (fetched_s, fetched_s))
            written, length = os.writev(descriptor, parts), sum(map(len, parts))
            rest = memoryview(b"".join(parts))[written:] if written < length else memoryview(b"")
            while rest:  # a disk that fills up takes a part first, and says why when asked for the rest
                rest = rest[os.write(descriptor, rest) :]
        except BaseException:
            with suppress(OSError):
                os.unlink(path)
            raise
        finally:
            os.close(descriptor)

    def listing(self) -> dict[str, str]:
        """All shelves on the disk: name and path. Deletes what is no folder. Raises OSError."""
        shelves = {}
        with os.scandir(self._audio) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    shelves[entry.name] = entry.path
                else:
                    os.unlink(entry.path)
        return shelves

    def files(self, path: str) -> dict[str, os.stat_result]:
        """What lies on one shelf; nothing where there is no such shelf. Raises OSError."""
        with suppress(FileNotFoundError), os.scandir(path) as entries:
            return {entry.name: entry.stat(follow_symlinks=False) for entry in entries}
        return {}

    def discard(self, shelf: str, names: Iterable[str]) -> None:
        """Delete what the index does not know, whatever it is. Raises OSError."""
        for name in names:
            with suppress(FileNotFoundError):
                _remove(f"{self._audio}/{shelf}/{name}")
        if shelf != self._shelf:
            with suppress(OSError):
                os.rmdir(f"{self._audio}/{shelf}")

    def read(
        self, piece: Piece, edition: Edition, edition_name: bytes, first: int, stop: int
    ) -> list[bytes | None]:
        """Blocks `first` to `stop` (exclusive) of one piece; None for each that does not open. Raises
        `NotOurs` where the piece cannot be what it should, and OSError."""
        first, stop = max(first, piece.first), min(stop, piece.stop)
        if not 0 <= piece.first < piece.stop <= min(edition.blocks, piece.first + PIECE_BLOCKS):
            raise NotOurs("no run of this edition")
        begin = (first - piece.first) * _STRIDE_BYTES
        end = min((stop - piece.first) * _STRIDE_BYTES, piece_bytes(edition, piece.first, piece.stop))
        descriptor = os.open(self.path(piece.shelf, piece.number), _READING)
        try:
            buffer = self._buffer()
            # One byte more than there should be: a file that grew is damaged, too.
            got = os.preadv(descriptor, [buffer[: end - begin + (stop == piece.stop)]], begin)
        finally:
            os.close(descriptor)
        if got > end - begin:
            raise NotOurs("too long")
        blocks: list[bytes | None] = []
        for index in range(first, stop):
            at = (index - first) * _STRIDE_BYTES
            sealed = buffer[at : min(at + _STRIDE_BYTES, got)]
            try:
                block = self._seal.open(sealed, _bound(edition_name, piece.fetched_s, index))
            except NotOurs:
                blocks.append(None)
            else:
                blocks.append(block)
        return blocks

    def _buffer(self) -> memoryview:
        """One buffer a thread: fresh memory for each read costs more page faults than opening costs."""
        buffer: memoryview | None = getattr(self._buffers, "view", None)
        if buffer is None:
            buffer = self._buffers.view = memoryview(bytearray(PIECE_BLOCKS * _STRIDE_BYTES + 1))
        return buffer

    def remove(self, names: Sequence[tuple[str, int]]) -> None:
        """Delete pieces, and shelves that are empty now. Raises OSError, but not for what is gone already."""
        for shelf, number in names:
            with suppress(FileNotFoundError, NotADirectoryError, NotOurs):
                _remove(self.path(shelf, number))
        for shelf in {shelf for shelf, _ in names} - {self._shelf}:
            with suppress(OSError, NotOurs):
                os.rmdir(os.path.dirname(self.path(shelf, 0)))


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except (IsADirectoryError, PermissionError):
        if not os.path.isdir(path):
            raise
        shutil.rmtree(path)  # nothing that we made
