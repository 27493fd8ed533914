"""The file system: paths in; attributes, entries and bytes out. It never heard of FUSE.

Every operation ends within its deadline, with what was asked for or with a `VoxofsError`. What fails is
remembered for the path (`user.voxofs.error`) and for the tenant (the status file).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import trio

from .ahead import Ahead, FolderKey
from .catalog import Catalog, Hour, TenantKey
from .clock import Clock
from .errors import DeadlineExceeded, VoxofsError
from .gate import Priority
from .health import Health
from .library import HEAD_BYTES, Library
from .reader import Reader
from .record import Record
from .recording import Edition
from .storage import Version
from .tree import (
    DAY_DEPTH,
    HOUR_DEPTH,
    RECORDING_DEPTH,
    STATUS_FILE,
    STATUS_FOLDER,
    Calendar,
    NoSuchName,
    Path,
    shown,
)

KNOWN_TTL_S = 86_400.0
"""How long the kernel may keep what does not change: a recording's size, a settled folder."""
_CURRENT_TTL_S = 10.0
_XATTR_RECORD = "user.voxo."
_XATTR_ERROR = "user.voxofs.error"


@dataclass(frozen=True, slots=True)
class Attributes:
    """What stat shows. `size` is None while it is unknown; it is never guessed."""

    is_folder: bool
    size: int | None
    mtime_s: int
    ttl_s: float
    version: Version | None = None
    """Which bytes a recording consists of; None for folders and while the size is unknown."""


class Listing(Protocol):
    """The entries of a folder, in order, as they were when it was opened."""

    def __len__(self) -> int: ...

    def entry(self, index: int) -> tuple[str, Attributes]:
        """Name and attributes; a recording's size may be unknown."""


class Handle(Protocol):
    """An open file."""

    @property
    def version(self) -> Version | None:
        """Which bytes will be read. None: they may change."""

    @property
    def read_through(self) -> bool | None:
        """Whether it was read whole, as far as that can be told."""

    async def read(self, offset: int, size: int) -> bytes:
        """Bytes from `offset`; fewer than `size` only at the end."""

    def close(self) -> None:
        """The file is no longer used."""


class FileSystem:
    """The tree of tenants, days, hours and recordings."""

    def __init__(
        self,
        calendar: Calendar,
        catalog: Catalog,
        library: Library,
        ahead: Ahead,
        clock: Clock,
        health: Health,
        *,
        personal_fields: Sequence[str],
        deadline_s: float,
    ) -> None:
        self._calendar = calendar
        self._catalog = catalog
        self._library = library
        self._ahead = ahead
        self._clock = clock
        self._health = health
        self._personal_fields = personal_fields
        self._deadline_s = deadline_s
        self.status: Callable[[], bytes] = lambda: b"{}\n"
        """What the status file says; the process around the core sets it."""
        self._began_s = int(clock.wall_s())

    async def lookup(self, path: Path, *, crawler: bool = False) -> Attributes:
        """Attributes of whatever is at a path. Raises `NoSuchName`, and what requests raise.

        A crawler, here and elsewhere, is served after everybody else, and nothing is fetched ahead for it.
        """
        if not path or path[0] == STATUS_FOLDER:
            return self._own(path)
        if len(path) <= DAY_DEPTH:
            return self._folder(path, KNOWN_TTL_S)
        self._calendar.check_leaf(path)
        tenant, day = self._calendar.tenant(path), self._calendar.day(path)
        with self._bounded(path, "look-up"):
            window = await self._catalog.window(tenant, day, _priority(crawler))
            hour = window.hours.get((day, path[4]))
            ttl_s = KNOWN_TTL_S if window.settled else self._left_s(window.fresh_until_s)
            if hour is None:
                raise NoSuchName(path, ttl_s)
            if len(path) == HOUR_DEPTH:
                return self._folder(path, KNOWN_TTL_S)
            index = hour.index(path[5])
            if index is None:
                raise NoSuchName(path, ttl_s)
            key = (tenant.name, day, path[4])
            return await self._recording(tenant, key, hour, index, crawler=crawler)

    async def listing(self, path: Path, *, crawler: bool = False) -> Listing:
        """The entries of a folder, sorted by name. Raises `NoSuchName`, and what requests raise."""
        if path and path[0] == STATUS_FOLDER:
            return Folders([(STATUS_FILE, self._own((*path, STATUS_FILE)))])
        if len(path) < DAY_DEPTH:
            names = self._calendar.names(path)
            return Folders([(name, self._folder((*path, name), KNOWN_TTL_S)) for name in names])
        if len(path) > HOUR_DEPTH:
            raise NoSuchName(path)
        self._calendar.check_leaf(path)
        tenant, day = self._calendar.tenant(path), self._calendar.day(path)
        with self._bounded(path, "listing"):
            window = await self._catalog.window(tenant, day, _priority(crawler))
        if len(path) == DAY_DEPTH:
            names = window.hours_of(day)
            return Folders([(name, self._folder((*path, name), KNOWN_TTL_S)) for name in names])
        hour = window.hours.get((day, path[4]))
        if hour is None:
            raise NoSuchName(path, KNOWN_TTL_S if window.settled else self._left_s(window.fresh_until_s))
        return Recordings(self._library, tenant, hour)

    async def open(self, path: Path, *, crawler: bool = False) -> Handle:
        """Open a recording, or the status file. Raises `NoSuchName`, and what requests raise."""
        if path and path[0] == STATUS_FOLDER:
            self._own(path)
            return StatusHandle(self.status())
        priority = _priority(crawler)
        with self._bounded(path, "open"):
            tenant, key, hour, index = await self._find(path, priority)
            recording = self._library.recording(tenant, hour.records[index])
            edition = recording.edition or await self._library.probe(recording, priority=priority)
        if not crawler:
            self._ahead.opened(key, tenant, hour, index, waits=edition.blocks > 1)
        reader = Reader(
            self._library,
            recording,
            edition,
            whole=not crawler and self._ahead.expects_whole(key),
            deadline_s=self._deadline_s,
            priority=priority,
        )
        return RecordingHandle(self, None if crawler else self._ahead, path, reader, key)

    async def xattr_names(self, path: Path) -> list[str]:
        """Names of the extended attributes at a path."""
        names = []
        if len(path) == RECORDING_DEPTH and path[0] != STATUS_FOLDER:
            record = await self._record(path)
            names = [_XATTR_RECORD + name for name, _ in record.fields(self._personal_fields)]
        if self._health.failure_at(shown(path)) is not None:
            names.append(_XATTR_ERROR)
        return names

    async def xattr(self, path: Path, name: str) -> str | None:
        """The value of an extended attribute, or None."""
        if name == _XATTR_ERROR:
            failure = self._health.failure_at(shown(path))
            return None if failure is None else failure.text()
        if not name.startswith(_XATTR_RECORD) or len(path) != RECORDING_DEPTH or path[0] == STATUS_FOLDER:
            return None
        record = await self._record(path)
        return dict(record.fields(self._personal_fields)).get(name.removeprefix(_XATTR_RECORD))

    @contextmanager
    def noted(self, path: Path, operation: str) -> Iterator[None]:
        """Remember how the operation ended."""
        try:
            yield
        except NoSuchName:
            raise
        except VoxofsError as error:
            self._health.failed(shown(path), operation, error)
            raise
        self._health.recovered(shown(path))

    @contextmanager
    def _bounded(self, path: Path, operation: str) -> Iterator[None]:
        """The deadline around everything that waits for the network."""
        with self.noted(path, operation):
            try:
                with trio.fail_after(self._deadline_s):
                    yield
            except trio.TooSlowError:
                raise DeadlineExceeded(
                    f"the {operation} of {shown(path)} took longer than {self._deadline_s:g} s: "
                    "check the network, then try again"
                ) from None

    async def _recording(
        self, tenant: TenantKey, key: FolderKey, hour: Hour, index: int, *, crawler: bool
    ) -> Attributes:
        recording = self._library.recording(tenant, hour.records[index])
        waits = recording.edition is None
        try:
            if waits:  # first this one, then those that may follow
                extent_bytes = HEAD_BYTES if crawler else self._ahead.extent_bytes(key)
                self._library.begin_probe(recording, _priority(crawler), extent_bytes)
        finally:
            if not crawler:
                self._ahead.looked_up(key, tenant, hour, index, waits=waits)
        edition = recording.edition or await self._library.probe(recording, priority=_priority(crawler))
        return recording_attributes(hour.records[index], edition)

    async def _find(
        self, path: Path, priority: Priority = Priority.READER
    ) -> tuple[TenantKey, FolderKey, Hour, int]:
        """Where a recording stands in its folder's listing. Raises `NoSuchName`."""
        if len(path) != RECORDING_DEPTH:
            raise NoSuchName(path)
        self._calendar.check_leaf(path)
        tenant, day = self._calendar.tenant(path), self._calendar.day(path)
        hour = (await self._catalog.window(tenant, day, priority)).hours.get((day, path[4]))
        index = None if hour is None else hour.index(path[5])
        if hour is None or index is None:
            raise NoSuchName(path)
        return tenant, (tenant.name, day, path[4]), hour, index

    async def _record(self, path: Path) -> Record:
        with self._bounded(path, "look-up"):
            _, _, hour, index = await self._find(path)
        return hour.records[index]

    def _folder(self, path: Path, ttl_s: float) -> Attributes:
        """A folder's attributes: its mtime is the end of its period, or now while that lasts."""
        now_s = self._clock.wall_s()
        if len(path) == 1:
            self._calendar.tenant(path)
            return Attributes(True, 0, int(now_s), min(ttl_s, _CURRENT_TTL_S))
        ends_s = self._calendar.ends_s(path)
        if ends_s > now_s:
            return Attributes(True, 0, int(now_s), min(ttl_s, _CURRENT_TTL_S))
        return Attributes(True, 0, int(ends_s), ttl_s)

    def _own(self, path: Path) -> Attributes:
        """The root and what voxofs says of itself; never the network."""
        if not path:
            return Attributes(True, 0, self._began_s, KNOWN_TTL_S)
        if path == (STATUS_FOLDER,):
            return Attributes(True, 0, self._began_s, KNOWN_TTL_S)
        if path == (STATUS_FOLDER, STATUS_FILE):
            return Attributes(False, len(self.status()), int(self._clock.wall_s()), 0.0)
        raise NoSuchName(path)

    def _left_s(self, until_s: float) -> float:
        left_s = until_s - self._clock.monotonic_s()
        return max(0.0, left_s) if math.isfinite(left_s) else KNOWN_TTL_S


def _priority(crawler: bool) -> Priority:
    return Priority.READAHEAD if crawler else Priority.READER


def recording_attributes(record: Record, edition: Edition | None) -> Attributes:
    """A recording as stat shows it."""
    if edition is None:
        return Attributes(False, None, record.instant_s, 0.0)
    return Attributes(False, edition.size, record.instant_s, KNOWN_TTL_S, edition.version)


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

    def __init__(self, library: Library, tenant: TenantKey, hour: Hour) -> None:
        self._library = library
        self._tenant = tenant
        self._hour = hour

    def __len__(self) -> int:
        return len(self._hour)

    def entry(self, index: int) -> tuple[str, Attributes]:
        """Name and attributes; the size is None where no answer has told it."""
        record = self._hour.records[index]
        return self._hour.names[index], recording_attributes(record, self._library.peek(self._tenant, record))


class RecordingHandle:
    """An open recording."""

    def __init__(
        self, fs: FileSystem, ahead: Ahead | None, path: Path, reader: Reader, key: FolderKey
    ) -> None:
        self._fs = fs
        self._ahead = ahead
        self._path = path
        self._reader = reader
        self._key = key
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

    async def read(self, offset: int, size: int) -> bytes:
        """Bytes from `offset`; fewer than `size` only at the end of the recording."""
        with self._fs.noted(self._path, "read"):
            data = await self._reader.read(offset, size)
        if not self._hinted and self._reader.read_through:
            self._hint(through=True)
        return data

    def close(self) -> None:
        """The handle is no longer used."""
        if not self._hinted and self._reader.read_through is False:
            self._hint(through=False)
        self._reader.close()

    def _hint(self, *, through: bool) -> None:
        """Tell the walk in this folder what the handle was used for, once and as soon as it is certain."""
        self._hinted = True
        if self._ahead is not None:
            self._ahead.finished(self._key, through=through, size=self.size)


class StatusHandle:
    """The status as it was when it was opened."""

    version: Version | None = None
    read_through: bool | None = None

    def __init__(self, text: bytes) -> None:
        self._text = text

    async def read(self, offset: int, size: int) -> bytes:
        """Bytes from `offset`."""
        return self._text[offset : offset + size]

    def close(self) -> None:
        """Nothing to do."""
