"""The file system: paths in; attributes, entries and bytes out. It never heard of FUSE.

Every operation ends within its deadline, with what was asked for or with a `VoxofsError`. What fails is
remembered for the path (`user.voxofs.error`) and for the tenant (the status file).

What needs nobody's answer is the most frequent case. So look-up, listing and open have a straight path each
(`…_at_hand`), a plain function: None where somebody is waited for; then nothing was done that matters twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial

from voxofs.audio.library import HEAD_BYTES, WHOLE_BYTES, Library
from voxofs.audio.reader import EAGER_READ_BYTES, NEVER_EAGER, Reader
from voxofs.audio.recording import Recording
from voxofs.catalog.catalog import Catalog
from voxofs.catalog.window import Hour, Place, Window
from voxofs.clock import Clock
from voxofs.model import NOBODY, Caller, Edition, Record, Tenant
from voxofs.observe.audit import Audit, Opened
from voxofs.observe.health import Health
from voxofs.traffic.demand import Priority, priority_of
from voxofs.traffic.flight import Promise

from .ahead import Ahead
from .handles import Handle, RecordingHandle, StatusHandle
from .listed import Listed
from .listings import (
    KNOWN_TTL_S,
    Attributes,
    Folders,
    Listing,
    Recordings,
    folder_attributes,
    recording_attributes,
)
from .outcomes import Outcomes
from .tree import (
    DAY_DEPTH,
    HOUR_DEPTH,
    MONTH_DEPTH,
    RECORDING_DEPTH,
    STATUS_FILE,
    STATUS_FOLDER,
    Calendar,
    Names,
    NoSuchName,
    shown,
)
from .xattrs import Xattrs


class FileSystem:
    """The tree of tenants, days, hours and recordings. `status`: what the status file says; `expect`: told
    that somebody has listed an hour, and may want what is in it."""

    def __init__(
        self,
        calendar: Calendar,
        catalog: Catalog,
        library: Library,
        ahead: Ahead,
        clock: Clock,
        health: Health,
        *,
        status: Callable[[], bytes],
        expect: Callable[[], None],
        personal_fields: Sequence[str],
        audit: Audit | None = None,
    ) -> None:
        self._audit = audit
        self._calendar = calendar
        self._catalog = catalog
        self._library = library
        self._ahead = ahead
        self._clock = clock
        self.outcomes = Outcomes(health, library.patience)
        self._xattrs = Xattrs(health, personal_fields)
        self._status = status
        self._expect = expect
        self._began_s = int(clock.wall_s())
        self._listed = Listed(clock)
        self._folder = partial(folder_attributes, calendar, clock)
        self._eager_bytes = EAGER_READ_BYTES

    def read_by(self, kernel_readahead_bytes: int) -> None:
        """Reads come through a kernel that makes larger ones of them, up to so much: of a program's first 64
        KiB 128, of 128 KiB 256 (`get_init_ra_size` in mm/readahead.c); or nothing tells who takes all."""
        told = kernel_readahead_bytes > EAGER_READ_BYTES
        self._eager_bytes = 2 * EAGER_READ_BYTES if told else NEVER_EAGER

    async def lookup(self, path: Names, caller: Caller = NOBODY) -> Attributes:
        """Attributes of whatever is at a path. Raises `NoSuchName`, and what requests raise.

        A caller that crawls, here and elsewhere, is served after everybody else, and nothing is fetched ahead
        for it.
        """
        known = self.lookup_at_hand(path, caller)
        if known is not None:
            return known
        tenant, day = self._calendar.tenant(path), self._calendar.day(path)
        with self.outcomes.bounded(path, "look-up"):
            window = await self._catalog.window(tenant, day, priority_of(caller))
            hour = self._hour(path, window, day)
            if len(path) == HOUR_DEPTH:
                return self._folder(path, KNOWN_TTL_S)
            return await self._recording(self._place(path, window, tenant, hour), caller)

    def lookup_at_hand(self, path: Names, caller: Caller = NOBODY) -> Attributes | None:
        """What `lookup` returns, where that is known; None where somebody has to be asked."""
        if not path or path[0] == STATUS_FOLDER:
            return self._own(path)
        if len(path) <= DAY_DEPTH:
            return self._folder(path, KNOWN_TTL_S)
        found = self._found(path, caller)
        if found is None:
            return None
        window, tenant, hour = found
        if len(path) == HOUR_DEPTH:
            attributes = self._folder(path, KNOWN_TTL_S)
        else:
            place = self._place(path, window, tenant, hour)
            recording = self._at_hand(place)
            if recording is None:
                return None
            if not caller.crawls:
                self._ahead.looked_up(place, caller.pid, waits=False)
            attributes = recording_attributes(place.record, recording.edition)
        self.outcomes.recovered(path)
        return attributes

    async def listing(self, path: Names, caller: Caller = NOBODY, *, alone: bool = False) -> Listing:
        """The entries of a folder, sorted by name. Raises `NoSuchName`, and what requests raise. `alone`: no
        step of a walk, because the front end asks for the other folders by itself."""
        if path and path[0] == STATUS_FOLDER:
            return Folders([(STATUS_FILE, self._own((*path, STATUS_FILE)))])
        if len(path) < DAY_DEPTH:
            names = self._calendar.names(path)
            if not alone:
                self._listed.note(caller, path)
            return Folders([(name, self._folder((*path, name), KNOWN_TTL_S)) for name in names])
        if len(path) > HOUR_DEPTH:
            raise NoSuchName(path)
        self._calendar.check_leaf(path)
        tenant, day = self._calendar.tenant(path), self._calendar.day(path)
        with self.outcomes.bounded(path, "listing"):
            through = self._listed.by(caller, path[:MONTH_DEPTH])
            window = await self._catalog.window(
                tenant, day, priority_of(caller), walks=not alone, through=through
            )
        if len(path) == DAY_DEPTH:
            return self._hours(path, window, day)
        hour = self._hour(path, window, day)
        await self._recall(tenant, hour)
        return self._recordings(path, None if alone else caller, tenant, hour)

    def listing_at_hand(self, path: Names, caller: Caller = NOBODY) -> Listing | None:
        """What `listing` returns for a day or an hour that is known; None where somebody has to be asked."""
        if not DAY_DEPTH <= len(path) <= HOUR_DEPTH or path[0] == STATUS_FOLDER:
            return None
        listing: Listing
        if len(path) == DAY_DEPTH:
            tenant, day = self._calendar.tenant(path), self._calendar.day(path)
            through = self._listed.by(caller, path[:MONTH_DEPTH])
            window = self._catalog.at_hand(tenant, day, priority_of(caller), through=through)
            if window is None:
                return None
            listing = self._hours(path, window, day)
        else:
            found = self._found(path, caller)
            if found is None or not found[2].is_recalled:
                return None
            listing = self._recordings(path, caller, found[1], found[2])
        self.outcomes.recovered(path)
        return listing

    async def entry(self, path: Names, caller: Caller = NOBODY) -> Attributes:
        """Attributes as a listing would show them: a size that nobody has asked for is None. Costs a report
        at the most. Raises `NoSuchName`, and what requests raise."""
        if len(path) != RECORDING_DEPTH or path[0] == STATUS_FOLDER:
            return await self.lookup(path, caller)
        with self.outcomes.bounded(path, "look-up"):
            place = await self._find(path, priority_of(caller))
            await self._recall(place.tenant, place.hour)
        return recording_attributes(place.record, self._library.peek(place.tenant, place.record))

    def entry_at_hand(self, path: Names, caller: Caller = NOBODY) -> Attributes | None:
        """What `entry` returns of a recording, where nobody has to be asked; None where somebody has."""
        found = self._found(path, caller)
        if found is None or not found[2].is_recalled:
            return None
        place = self._place(path, *found)
        return recording_attributes(place.record, self._library.peek(place.tenant, place.record))

    async def measure(self, path: Names, caller: Caller = NOBODY) -> Attributes:
        """Attributes of a recording for somebody who wants its size, and the sizes of many others at once:
        one byte is asked for where the size is not known, and nothing ahead. Raises `NoSuchName`, and what
        requests raise."""
        priority = priority_of(caller)
        with self.outcomes.bounded(path, "look-up"):
            place = await self._find(path, priority)
            await self._recall(place.tenant, place.hour)
            recording = self._library.recording(place.tenant, place.record)
            edition = recording.edition or await self._library.probe(
                recording, extent_bytes=1, priority=priority
            )
        return recording_attributes(place.record, edition)

    async def open(
        self, path: Names, caller: Caller = NOBODY, *, extent_bytes: int = HEAD_BYTES, alone: bool = False
    ) -> Handle:
        """Open a recording, or the status file. Raises `NoSuchName`, and what requests raise.

        `extent_bytes`: how much to ask for with a size that is not known yet; somebody who wants a recording
        whole says `WHOLE_BYTES` and has size and bytes from one request. `alone`: this open is no step of a
        walk through the folder, because the front end asks for the others by itself.
        """
        handle = self.open_at_hand(path, caller, extent_bytes=extent_bytes, alone=alone)
        if handle is not None:
            return handle
        priority = priority_of(caller)
        with self.outcomes.bounded(path, "open"):
            if self._audit is not None:
                self._audit.check()
            place = await self._find(path, priority)
            await self._recall(place.tenant, place.hour)
            recording = self._library.recording(place.tenant, place.record)
            edition = recording.edition or await self._library.probe(
                recording, extent_bytes=extent_bytes, priority=priority
            )
        return self._opened(path, place, recording, edition, caller, extent_bytes, alone)

    def open_at_hand(
        self, path: Names, caller: Caller = NOBODY, *, extent_bytes: int = HEAD_BYTES, alone: bool = False
    ) -> Handle | None:
        """What `open` returns, where the size is known; None where somebody has to be asked."""
        if path and path[0] == STATUS_FOLDER:
            self._own(path)
            return StatusHandle(self._status())
        if len(path) != RECORDING_DEPTH:
            raise NoSuchName(path)
        found = self._found(path, caller)
        if found is None or self._audit is not None:  # which may refuse, and that is to be noted
            return None
        window, tenant, hour = found
        place = self._place(path, window, tenant, hour)
        recording = self._at_hand(place)
        if recording is None or (edition := recording.edition) is None:
            return None
        self.outcomes.recovered(path)
        return self._opened(path, place, recording, edition, caller, extent_bytes, alone)

    def _opened(
        self,
        path: Names,
        place: Place,
        recording: Recording,  # the one that was asked: the library may have forgotten it meanwhile
        edition: Edition,
        caller: Caller,
        extent_bytes: int,
        alone: bool,
    ) -> Handle:
        followed = not (caller.crawls or alone)
        if followed:
            waits = edition.blocks > 1
            listed = waits and self._listed.take(caller, place.folder)
            self._ahead.opened(place, caller.pid, waits=waits, listed=listed)
        reader = Reader(
            self._library,
            recording,
            edition,
            whole=extent_bytes >= WHOLE_BYTES or (followed and self._ahead.expects_whole(place.folder)),
            eager_bytes=self._eager_bytes,
            priority=priority_of(caller),
        )
        ahead = self._ahead if followed else None
        closed = self._closing(path, caller)
        noted, recovered = (
            partial(self.outcomes.noted, path, "read"),
            partial(self.outcomes.recovered, path),
        )
        return RecordingHandle(reader, noted, recovered, ahead, place.folder, closed)

    @property
    def audited(self) -> bool:
        """Whether every read of a recording is to be seen here, those too that the kernel could answer."""
        return self._audit is not None

    def _closing(self, path: Names, caller: Caller) -> Callable[[int, str], None] | None:
        """Puts a recording that is opened now on record when it is closed."""
        audit, opened_at_s = self._audit, self._clock.wall_s()
        if audit is None:
            return None
        return lambda number, read: audit.note(Opened(opened_at_s, shown(path), caller, number, read))

    async def xattr_names(self, path: Names) -> list[str]:
        """Names of the extended attributes at a path."""
        record = await self._record(path) if self._xattrs.of_record(path) else None
        return self._xattrs.names(path, record)

    async def xattr(self, path: Names, name: str) -> str | None:
        """The value of an extended attribute, or None."""
        record = await self._record(path) if self._xattrs.of_record(path, name) else None
        return self._xattrs.value(path, name, record)

    async def _recording(self, place: Place, caller: Caller) -> Attributes:
        await self._recall(place.tenant, place.hour)
        recording = self._library.recording(place.tenant, place.record)
        if recording.edition is None and self._library.forgetful:
            await self._library.recall(place.tenant, [place.record])
        waits = recording.edition is None
        try:
            if waits:  # first this one, then those that may follow
                extent_bytes = HEAD_BYTES if caller.crawls else self._ahead.extent_bytes(place.folder)
                self._library.begin_probe(recording, priority_of(caller), extent_bytes)
        finally:
            if not caller.crawls:
                listed = waits and self._listed.take(caller, place.folder)
                self._ahead.looked_up(place, caller.pid, waits=waits, listed=listed)
        edition = recording.edition or await self._library.probe(recording, priority=priority_of(caller))
        return recording_attributes(place.record, edition)

    async def _recall(self, tenant: Tenant, hour: Hour) -> None:
        """Have the disk tier's knowledge of an hour, asked once for all who look into it."""
        if hour.recalled is None:
            hour.recalled = Promise()
            try:
                await self._library.recall(tenant, hour.records)
            finally:
                hour.recalled.keep(None)
        elif not hour.recalled.settled:
            await hour.recalled.wait()

    def _found(self, path: Names, caller: Caller) -> tuple[Window, Tenant, Hour] | None:
        """The hour that a path names or lies in, where its window is in memory. Raises `NoSuchName`."""
        self._calendar.check_leaf(path)
        tenant, day = self._calendar.tenant(path), self._calendar.day(path)
        window = self._catalog.at_hand(tenant, day, priority_of(caller))
        return None if window is None else (window, tenant, self._hour(path, window, day))

    def _hour(self, path: Names, window: Window, day: date) -> Hour:
        hour = window.hours.get((day, path[4]))
        if hour is None:
            raise NoSuchName(path, self._absent_ttl_s(window))
        return hour

    def _place(self, path: Names, window: Window, tenant: Tenant, hour: Hour) -> Place:
        index = hour.index(path[5])
        if index is None:
            raise NoSuchName(path, self._absent_ttl_s(window))
        return Place(tenant, hour, index)

    def _absent_ttl_s(self, window: Window) -> float:
        """How long a name that is not in a window is certain not to be."""
        return KNOWN_TTL_S if window.settled else self._left_s(window.fresh_until_s)

    def _hours(self, path: Names, window: Window, day: date) -> Listing:
        return Folders([(name, self._folder((*path, name), KNOWN_TTL_S)) for name in window.hours_of(day)])

    def _recordings(self, path: Names, caller: Caller | None, tenant: Tenant, hour: Hour) -> Recordings:
        if caller is not None and not caller.crawls:
            self._listed.note(caller, (tenant.name, self._calendar.day(path), path[4]))
            self._expect()
        return Recordings(self._library, tenant, hour)

    def _at_hand(self, place: Place) -> Recording | None:
        """A recording whose size is known, once the disk tier has had its say."""
        if not place.hour.is_recalled:
            return None
        recording = self._library.recording(place.tenant, place.record)
        return None if recording.edition is None else recording

    async def _find(self, path: Names, priority: Priority = Priority.READER) -> Place:
        """Where a recording stands in its folder's listing. Raises `NoSuchName`."""
        if len(path) != RECORDING_DEPTH:
            raise NoSuchName(path)
        self._calendar.check_leaf(path)
        tenant, day = self._calendar.tenant(path), self._calendar.day(path)
        window = await self._catalog.window(tenant, day, priority)
        return self._place(path, window, tenant, self._hour(path, window, day))

    async def _record(self, path: Names) -> Record:
        with self.outcomes.bounded(path, "look-up"):
            return (await self._find(path)).record

    def _own(self, path: Names) -> Attributes:
        """The root and what voxofs says of itself; never the network."""
        if path in ((), (STATUS_FOLDER,)):
            return Attributes(True, 0, self._began_s, KNOWN_TTL_S)
        if path == (STATUS_FOLDER, STATUS_FILE):
            return Attributes(False, len(self._status()), int(self._clock.wall_s()), 0.0)
        raise NoSuchName(path)

    def _left_s(self, until_s: float) -> float:
        left_s = until_s - self._clock.monotonic_s()
        return max(0.0, left_s) if math.isfinite(left_s) else KNOWN_TTL_S
