"""The destination: folders, bytes and names, in threads with a limit of their own.

A recording is written to a file in `.partial`, under a name that follows from its path, and flushed to the
disk. When the manifest has its line, it gets its name. So what has its name is whole, and what is whole is in
the manifest.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import trio

from voxofs.errors import VoxofsError
from voxofs.model import Version

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

PARTIAL = ".partial"
"""The folder, in the destination, of what has no name yet. No tenant's folder begins with a dot."""
_THREADS = 8
"""A disk that flushes several files at once does it in one go; more threads than that only wait. A rule of
thumb."""
_WRITE_BYTES = 2**20
"""Written at once: most recordings are shorter, and cost one visit to a thread."""
_OF_ONE_FILE = frozenset({errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.EFBIG, errno.EISDIR})
"""What is wrong with one name or size, and right with the next."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class DestinationFailed(VoxofsError):
    """The destination does not take what it is given: nothing more can be exported."""


class Unwritable(VoxofsError):
    """One recording cannot be kept there under its name."""


class Disk:
    """One destination folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._limiter = trio.CapacityLimiter(_THREADS)

    def partial(self, path: str) -> Path:
        """Where a recording is written before it gets its name: names may be as long as a file system
        takes."""
        return self.root / PARTIAL / hashlib.sha256(path.encode()).hexdigest()

    async def run(self, work: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Do work in a thread. Raises `DestinationFailed`, `Unwritable`."""
        try:
            return await trio.to_thread.run_sync(work, *arguments, limiter=self._limiter)
        except OSError as error:
            raise failed(self.root, error) from None


def failed(root: Path, error: OSError) -> VoxofsError:
    """What a failure of the file system means for an export."""
    if error.errno in _OF_ONE_FILE:
        return Unwritable(f"cannot be kept under its name: {error.strerror}")
    if error.errno in _FULL:
        return DestinationFailed(
            f"{root}: {error.strerror}: make room there and run the same command again; "
            "it goes on where it has stopped"
        )
    return DestinationFailed(f"{root}: {error.strerror}: mend that and run the same command again")


class Landing:
    """One recording on its way to its partial file: a `Sink`."""

    def __init__(self, disk: Disk, path: str, mtime_s: int) -> None:
        self._disk = disk
        self.path = path
        self.partial = disk.partial(path)
        self.final = disk.root / path
        self._mtime_s = mtime_s
        self._hash = hashlib.sha256()
        self._pieces: list[bytes | memoryview] = []
        self._held_bytes = 0
        self._file: int | None = None
        self.size = 0

    async def begin(self, version: Version) -> None:
        """See `Sink`."""
        self._pieces.clear()
        self._held_bytes = self.size = 0
        self._hash = hashlib.sha256()
        if self._file is not None:
            await self._disk.run(self._restart, self._file)

    async def take(self, piece: bytes | memoryview) -> None:
        """See `Sink`. Few pieces are worth a visit to a thread."""
        self._pieces.append(piece)
        self._held_bytes += len(piece)
        self.size += len(piece)
        if self._held_bytes >= _WRITE_BYTES:
            await self._disk.run(self._write)

    async def finish(self) -> str:
        """Everything is on the disk, under the partial name. Returns the sha256."""
        return await self._disk.run(self._finish)

    async def discard(self) -> None:
        """Leave nothing behind, whatever happens."""
        with trio.CancelScope(shield=True), suppress(VoxofsError):
            await self._disk.run(self._discard)

    def _restart(self, file: int) -> None:
        os.lseek(file, 0, os.SEEK_SET)
        os.ftruncate(file, 0)

    def _write(self) -> None:
        if self._file is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            self._file = os.open(self.partial, flags, 0o666)
        pieces, self._pieces, self._held_bytes = self._pieces, [], 0
        for piece in pieces:
            self._hash.update(piece)
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(self._file, rest) :]

    def _finish(self) -> str:
        self._write()
        file, self._file = self._file, None
        assert file is not None
        try:
            os.utime(file, (self._mtime_s, self._mtime_s))
            os.fsync(file)
        finally:
            os.close(file)
        return self._hash.hexdigest()

    def _discard(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self.partial.unlink(missing_ok=True)


def settle(moves: Iterable[tuple[Path, Path]]) -> None:
    """Give files their names. Raises OSError."""
    for partial, final in moves:
        try:
            partial.replace(final)
        except FileNotFoundError:
            final.parent.mkdir(parents=True, exist_ok=True)
            partial.replace(final)


def sizes_in(folder: Path) -> dict[str, int]:
    """Names and sizes of the files in a folder; none where it does not exist. Raises OSError."""
    try:
        with os.scandir(folder) as entries:
            return {
                each.name: each.stat(follow_symlinks=False).st_size
                for each in entries
                if each.is_file(follow_symlinks=False)
            }
    except (FileNotFoundError, NotADirectoryError):
        return {}


def sha256_of(path: Path) -> str:
    """The sha256 of a file. Raises OSError."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def touch_folder(folder: Path, mtime_s: int) -> None:
    """Give a folder its time, as the mount shows it. Raises OSError."""
    if folder.stat().st_mtime != mtime_s:
        os.utime(folder, (mtime_s, mtime_s))


def clear_partial(root: Path) -> None:
    """Remove what a run before left unfinished. Raises OSError."""
    for each in list((root / PARTIAL).iterdir()):
        each.unlink()
