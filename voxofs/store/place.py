"""The directory: what lies in it, who may, and the two locks by which processes share it.

    index.db, index.db-wal, index.db-shm     the index
    audio/<shelf>/<number>                   sealed runs of blocks; names are random and tell nothing
    users/<process>                          locked for as long as that process uses the directory
    change                                   locked shared during a batch, alone while the index is replaced

Locks are flock(2): they end with their process, however it ends. Folders are 0700 and files 0600; wider
ones that are ours are narrowed, and a directory of somebody else is not used.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .health import Rest

_LOCK_PATIENCE_S = 5.0
"""How long a batch waits for another process. Replacing an index takes less than one second for 20 GiB of
audio."""
_LOCK_STEP_S = 0.01
"""flock(2) has no time-out; a hundred looks a second cost nothing. A rule of thumb."""


class Directory:
    """The directory. Blocks: for worker threads only."""

    def __init__(self, path: Path, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self.path = path
        self.audio = path / "audio"
        self.database = path / "index.db"
        self.users = path / "users"
        self.process = os.urandom(8).hex()
        """How this process, or this mount of it, is called in the directory."""
        self._user: int | None = None
        self._change: int | None = None

    def prepare(self) -> None:
        """Make or mend folders and files. Raises `Rest` and OSError."""
        with suppress(FileExistsError):
            os.mkdir(self.path, 0o700)
        _narrow(self.path, stat.S_ISDIR, 0o700)
        for folder in (self.audio, self.users):
            _clear_unless(folder, stat.S_ISDIR)
            with suppress(FileExistsError):
                os.mkdir(folder, 0o700)
            _narrow(folder, stat.S_ISDIR, 0o700)
        self.close()
        _clear_unless(self.path / "change", stat.S_ISREG)
        self._change = _open_private(self.path / "change")

    def share(self) -> None:
        """Take part in the locks of a directory that is there, without being one of its users. Raises
        OSError."""
        self._change = os.open(self.path / "change", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)

    def enter(self) -> None:
        """Be one of the users of the index; under `alone`. Raises `Rest` and OSError."""
        for each in self.files_of_index():
            _clear_unless(each, stat.S_ISREG)
        # SQLite gives its other files the mode of this one. One that exists is not opened: closing it would
        # take away the locks that another mount of this process has there (fcntl(2), "advisory record
        # locks").
        if not self.database.exists():
            os.close(_open_private(self.database))
        for each in self.files_of_index():
            with suppress(FileNotFoundError):
                _narrow(each, stat.S_ISREG, 0o600)
        if self._user is None:
            self._user = _open_private(self.users / self.process)
            fcntl.flock(self._user, fcntl.LOCK_EX)
        self.others()  # forgets the dead ones

    def close(self) -> None:
        """Give the locks back."""
        if self._user is not None:
            with suppress(OSError):
                os.unlink(self.users / self.process)
        for descriptor in (self._user, self._change):
            if descriptor is not None:
                os.close(descriptor)
        self._user = self._change = None

    def files_of_index(self) -> list[Path]:
        """The database with what SQLite puts beside it."""
        return [self.database, *(Path(f"{self.database}{suffix}") for suffix in ("-wal", "-shm", "-journal"))]

    @contextmanager
    def batch(self) -> Iterator[None]:
        """While several processes write, and nobody replaces the index. Raises `Rest`."""
        with self._locked(fcntl.LOCK_SH):
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While nobody else writes. Raises `Rest`."""
        with self._locked(fcntl.LOCK_EX):
            yield

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        if self._change is None:
            raise Rest("the directory is not open yet")
        until_s = self._monotonic_s() + _LOCK_PATIENCE_S
        while True:
            try:
                fcntl.flock(self._change, how | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if self._monotonic_s() > until_s:
                    raise Rest("another process holds the directory for long", readable=True) from None
                time.sleep(_LOCK_STEP_S)
        try:
            yield
        finally:
            fcntl.flock(self._change, fcntl.LOCK_UN)

    def lives(self, process: str) -> bool:
        """Whether that process still uses the directory. Forgets it if not. Under `batch` or `alone`."""
        if process == self.process:
            return True
        if not process.isalnum():
            return False
        try:
            descriptor = os.open(self.users / process, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(OSError):
                os.unlink(self.users / process)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def others(self) -> bool:
        """Whether another process uses the directory. Under `alone`."""
        living = [each for each in os.listdir(self.users) if self.lives(each)]
        return any(each != self.process for each in living)

    def empty(self) -> int:
        """Delete index and audio; how many files of audio those were. Under `alone`, with no connection
        open."""
        for each in self.files_of_index():
            with suppress(FileNotFoundError):
                each.unlink()
        os.close(_open_private(self.database))
        return self.empty_audio()

    def empty_audio(self) -> int:
        """Delete all audio; how many files that were. Under `alone`."""
        files = 0
        with os.scandir(self.audio) as shelves:
            for shelf in shelves:
                if shelf.is_dir(follow_symlinks=False):
                    files += len(os.listdir(shelf))
                    shutil.rmtree(shelf, ignore_errors=True)
                else:
                    os.unlink(shelf)
        return files

    def free_bytes(self) -> int:
        """What this user may still write on that file system."""
        room = os.statvfs(self.path)
        return room.f_bavail * room.f_frsize

    def probe(self) -> None:
        """Write, and remove, a file. Raises OSError."""
        path = self.path / f"probe-{os.getpid()}"
        descriptor = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        try:
            # More than the room that file systems keep inside the inode.
            os.write(descriptor, bytes(8192))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
            os.unlink(path)


def _open_private(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor


def _clear_unless(path: Path, kind: Callable[[int], bool]) -> None:
    """Remove what lies where one of our own files or folders belongs and is none."""
    with suppress(FileNotFoundError):
        mode = os.lstat(path).st_mode
        if stat.S_ISDIR(mode) and not kind(mode):
            shutil.rmtree(path)
        elif not kind(mode):
            path.unlink()


def _narrow(path: Path, kind: Callable[[int], bool], mode: int) -> None:
    """Take from others what they may. Raises `Rest` where the path is not ours or not of the kind."""
    status = os.lstat(path)
    if not kind(status.st_mode):
        raise Rest(f"{path} is not what belongs there: remove it")
    if status.st_uid != os.geteuid():
        raise Rest(f"{path} belongs to another user: give it to this one (chown), or name another directory")
    if stat.S_IMODE(status.st_mode) & ~mode:
        os.chmod(path, stat.S_IMODE(status.st_mode) & mode)
