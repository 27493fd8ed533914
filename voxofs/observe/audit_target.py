"""Where audit lines go: a file that logrotate may move, or systemd's journal.

A line is written by one system call with O_APPEND, so that several mounts may share a file. Where a disk
takes only the beginning of a line, the rest follows as soon as there is room. All of it is for the audit's
thread alone.
"""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Protocol

JOURNAL_SOCKET = Path("/run/systemd/journal/socket")
_ROOM_BYTES = 65_536
"""What must be free before a recording may be opened where the audit is required: some 200 lines, more than
are under way before it is looked at again. A rule of thumb."""


class Target(Protocol):
    """Takes lines. Every method raises OSError and may wait for a disk."""

    def write(self, line: bytes) -> None:
        """One line, with its line feed. After an OSError the same line is given again."""

    def reopen(self) -> None:
        """Look again where lines go."""

    def check(self) -> None:
        """Whether a line would be taken, as far as that can be told without one."""

    def close(self) -> None:
        """No line follows."""


class FileTarget:
    """A file of mode 0600: it says who listened to whom."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._written = 0
        """Bytes of the present line that the file has."""

    def write(self, line: bytes) -> None:
        """See `Target`."""
        descriptor = self._current()
        while self._written < len(line):
            self._written += os.write(descriptor, line[self._written :])
        self._written = 0

    def reopen(self) -> None:
        """See `Target`. A line of which the old file has a part goes whole into the new one."""
        self.close()
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def check(self) -> None:
        """See `Target`."""
        room = os.fstatvfs(self._current())
        if room.f_bavail * room.f_frsize < _ROOM_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        """See `Target`."""
        descriptor, self._descriptor, self._written = self._descriptor, None, 0
        if descriptor is not None:
            os.close(descriptor)

    def _current(self) -> int:
        """The file that has the name now: logrotate moves the old one away."""
        if self._descriptor is not None:
            ours = os.fstat(self._descriptor)
            try:
                theirs = os.stat(self.path)
            except FileNotFoundError:
                theirs = None
            if theirs is not None and (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino):
                return self._descriptor
        self.reopen()
        assert self._descriptor is not None
        return self._descriptor


class JournalTarget:
    """The journal, by its own protocol (systemd's documentation, "Native Journal Protocol")."""

    def __init__(self, path: Path = JOURNAL_SOCKET) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def write(self, line: bytes) -> None:
        """See `Target`."""
        self.check()
        assert self._socket is not None
        try:
            self._socket.send(b"SYSLOG_IDENTIFIER=voxofs-audit\nPRIORITY=6\nMESSAGE=" + line)
        except OSError:
            self.close()
            raise

    def reopen(self) -> None:
        """See `Target`."""
        self.close()
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            made.connect(str(self._path))
        except OSError:
            made.close()
            raise
        self._socket = made

    def check(self) -> None:
        """See `Target`."""
        if self._socket is None:
            self.reopen()

    def close(self) -> None:
        """See `Target`."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
