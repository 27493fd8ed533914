"""How the tier is: working or resting, and what happened to it so far.

A disk that cannot be written to (full, read-only) may still be read. A disk that does not answer, fails or
is gone is left alone altogether. Either way the tier tries again by itself, after one second at first and
after thirty at last, and says each change once.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
from collections import Counter
from collections.abc import Callable
from enum import Enum

log = logging.getLogger(__name__)

_FIRST_RETRY_S = 1.0
"""Rule of thumb: most of what passes, passes at once."""
_LAST_RETRY_S = 30.0
"""A probe makes and removes one file: nobody notices it, and nobody waits longer than this for the tier."""


class DiskState(Enum):
    """What the tier does at present."""

    OPENING = "opening"
    WORKING = "working"
    READ_ONLY = "resting, reads go on"
    RESTING = "resting"
    CLOSED = "closed"


class Rest(Exception):
    """The disk does not do what is asked of it; the message says why, and what to do. `readable` where what
    lies there can still be read."""

    def __init__(self, reason: str, *, readable: bool = False) -> None:
        super().__init__(reason)
        self.readable = readable


class Defect(Rest):
    """Something that nobody foresaw: a defect of ours, or what damaged rows led to."""


class Broken(Exception):
    """The index is not a database any more, or of another format."""


_OF_ERRNO = {
    errno.ENOSPC: ("no room on that disk: free some, or set a smaller `size`", True),
    errno.EDQUOT: ("the quota is used up: raise it, or set a smaller `size`", True),
    errno.EROFS: ("that disk is read-only: mount it for writing", True),
    errno.ENOENT: ("the directory is gone: bring it back", False),
    errno.ENOTDIR: ("that is not a directory: remove what lies in its place", False),
    errno.EACCES: ("may not be used by this user: give it the directory (chown)", False),
    errno.EPERM: ("may not be used by this user: give it the directory (chown)", False),
    errno.EIO: ("that disk fails: look at the kernel's log", False),
}

_OF_SQLITE = {
    sqlite3.SQLITE_FULL: _OF_ERRNO[errno.ENOSPC],
    sqlite3.SQLITE_READONLY: _OF_ERRNO[errno.EROFS],
    sqlite3.SQLITE_CANTOPEN: ("the index cannot be opened: look at the directory's owner and disk", False),
    sqlite3.SQLITE_PERM: _OF_ERRNO[errno.EACCES],
    sqlite3.SQLITE_IOERR: _OF_ERRNO[errno.EIO],
    sqlite3.SQLITE_BUSY: ("another process holds the index for long", True),
    sqlite3.SQLITE_LOCKED: ("another process holds the index for long", True),
    sqlite3.SQLITE_NOMEM: ("no memory for the index", True),
}

_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)


def translated(error: Exception) -> Rest | Broken:
    """What a foreign exception means for the tier. What nobody foresaw is a reason to rest, never one to
    throw away what is held."""
    if isinstance(error, Rest | Broken):
        return error
    if isinstance(error, OSError):
        known = _OF_ERRNO.get(error.errno or 0)
        return Rest(*known[:1], readable=known[1]) if known else Rest(os.strerror(error.errno or errno.EIO))
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        if code is not None and code & 0xFF in _OF_SQLITE:
            reason, readable = _OF_SQLITE[code & 0xFF]
            return Rest(reason, readable=readable)
        # What is left of SQLite's own complaints: a table is missing, a row is not what it was written as,
        # the file is no database. All of them mean that somebody else wrote here.
        return Broken(str(error))
    defect = Defect(f"a defect in voxofs ({type(error).__name__}: {error}): please report it")
    defect.__cause__ = error
    return defect


class Condition:
    """State, reason and counters. Changed by the tier's lanes, read by anybody."""

    def __init__(self, path: str, monotonic_s: Callable[[], float]) -> None:
        self._path = path
        self._monotonic_s = monotonic_s
        self.state = DiskState.OPENING
        self.reason: str | None = None
        self.counts: Counter[str] = Counter()
        """What happened: pieces and blocks read, written, dropped, evicted, expired, damaged; slow reads."""
        self.audio_bytes = 0
        """What all audio in the directory took when that was last looked at."""
        self._retry_s = _FIRST_RETRY_S
        self._retry_at_s = float("-inf")
        self._told: set[str] = set()

    def __repr__(self) -> str:
        return f"<Condition {self.state.value}{': ' + self.reason if self.reason else ''}>"

    @property
    def readable(self) -> bool:
        """Whether reads are worth a try."""
        return self.state in (DiskState.WORKING, DiskState.READ_ONLY)

    @property
    def writes(self) -> bool:
        """Whether the keeper may write at once."""
        return self.state is DiskState.WORKING

    @property
    def writable(self) -> bool:
        """Whether what is offered is taken."""
        return self.state in (DiskState.WORKING, DiskState.OPENING)

    def due(self) -> bool:
        """Whether a resting tier should try again now."""
        return self._monotonic_s() >= self._retry_at_s

    def works(self) -> None:
        """Everything that was tried worked."""
        if self.state in (DiskState.RESTING, DiskState.READ_ONLY):
            log.warning("the disk tier in %s works again", self._path)
        self.state, self.reason, self._retry_s = DiskState.WORKING, None, _FIRST_RETRY_S

    def rest(self, rest: Rest) -> None:
        """Leave the disk alone for a while."""
        self.counts["rests"] += 1
        state = (
            DiskState.READ_ONLY
            if rest.readable and self.state is not DiskState.OPENING
            else DiskState.RESTING
        )
        if isinstance(rest, Defect):
            self._retry_s = _LAST_RETRY_S  # it will be there again
        if self.reason != str(rest):
            where = rest.__cause__ if str(rest) not in self._told else None
            self._told.add(str(rest))
            log.warning(
                "the disk tier in %s rests, and tries again by itself: %s", self._path, rest, exc_info=where
            )
        self.state, self.reason = state, str(rest)
        self._retry_at_s = self._monotonic_s() + self._retry_s
        self._retry_s = min(self._retry_s * 2, _LAST_RETRY_S)

    def damaged(self, pieces: int, what: str) -> None:
        """Pieces that are not what was written; told once a process, counted always."""
        if pieces:
            self.counts["damaged"] += pieces
            if what not in self._told:
                self._told.add(what)
                log.warning(
                    "the disk tier in %s: %s; what is damaged is deleted, and asked for again when needed",
                    self._path,
                    what,
                )
