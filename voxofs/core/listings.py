"""Attributes, and the listings that are made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from voxofs.audio.library import Library
from voxofs.catalog.window import Hour
from voxofs.clock import Clock
from voxofs.model import Edition, Record, Tenant, Version

from .tree import Calendar, Names

KNOWN_TTL_S = 86_400.0
"""How long the kernel may keep what does not change: a recording's size, a settled folder. Its memory forgets
most of it sooner; a day is when a person would expect a second look."""
_CURRENT_TTL_S = 10.0
"""The same for a folder whose period lasts: its mtime is now. A rule of thumb."""


class Attributes(NamedTuple):
    """What stat shows. `size` is None while it is unknown; it is never guessed."""

    is_folder: bool
    size: int | None
    mtime_s: int
    ttl_s: float
    version: Version | None = None
    """Which bytes a recording consists of; None for folders and while the size is unknown."""


def folder_attributes(calendar: Calendar, clock: Clock, path: Names, ttl_s: float) -> Attributes:
    """A folder's attributes: its mtime is the end of its period, or now while that lasts. Raises
    `NoSuchName`."""
    now_s = clock.wall_s()
    if len(path) == 1:
        calendar.tenant(path)
        return Attributes(True, 0, int(now_s), min(ttl_s, _CURRENT_TTL_S))
    ends_s = calendar.ends_s(path)
    if ends_s > now_s:
        return Attributes(True, 0, int(now_s), min(ttl_s, _CURRENT_TTL_S))
    return Attributes(True, 0, int(ends_s), ttl_s)


def recording_attributes(record: Record, edition: Edition | None) -> Attributes:
    """A recording as stat shows it."""
    if edition is None:
        return Attributes(False, None, record.instant_s, 0.0)
    return Attributes(False, edition.size, record.instant_s, KNOWN_TTL_S, edition.version)


class Listing(Protocol):
    """The entries of a folder, in order, as they were when it was opened."""

    def __len__(self) -> int: ...

    def entry(self, index: int) -> tuple[str, Attributes]:
        """Name and attributes; a recording's size may be unknown."""


class Folders:
    """A listing whose entries are known: folders, or the status file."""

    def __init__(self, entries: list[tuple[str, Attributes]]) -> None:
        self._entries = entries

    def __len__(self) -> int:
        return len(self._entries)

    def entry(self, index: int) -> tuple[str, Attributes]:
        """Name and attributes."""
        return self._entries[index]


class Recordings:
    """A listing of an hour; sizes are filled in as far as they are known when the entry is read."""

    def __init__(self, library: Library, tenant: Tenant, hour: Hour) -> None:
        self._library = library
        self._tenant = tenant
        self._hour = hour
        self.names: Sequence[str] = hour.names
        """All of them, in order."""
        self.starts_s: Sequence[int] = hour.records.starts_s
        """When the calls began, seconds since the epoch, in the order of the names."""

    def __len__(self) -> int:
        return len(self._hour)

    def edition(self, index: int) -> Edition | None:
        """What a recording consists of, where an answer has told it."""
        return self._library.known(self._hour.records.key(self._tenant.name, index))

    def entry(self, index: int) -> tuple[str, Attributes]:
        """Name and attributes; the size is None where no answer has told it."""
        record = self._hour.records[index]
        return self.names[index], recording_attributes(record, self._library.peek(self._tenant, record))
