"""An export: what is missing in the destination is fetched, many recordings at once.

    walk → hours → [what is not there] → workers: link, GET, partial file → commits: manifest, then names

Nobody waits for the disk but the recording that is being written: bytes go there in threads, and a commit
takes everything that has come whole since the last one, so that a slow disk flushes more at a time.

Killed at any moment, an export goes on where it stopped. What has its name is in the manifest; what is in the
manifest and has no name yet lies whole in its partial file, and the next run gives it its name first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVarTuple

import trio

from voxofs.catalog.window import Place
from voxofs.core.build import Core
from voxofs.core.tree import HOUR_DEPTH, Calendar
from voxofs.errors import AuditFailed, NotFound, Unavailable, VoxofsError
from voxofs.observe.audit import Opened, own_caller

from .disk import (
    PARTIAL,
    DestinationFailed,
    Disk,
    Landing,
    Unwritable,
    clear_partial,
    settle,
    sha256_of,
    sizes_in,
    touch_folder,
)
from .fields import path_of
from .manifest import Manifest, Row, row_of
from .selection import Days
from .walk import hours
from .where import Condition

Ts = TypeVarTuple("Ts")

_AHEAD = 20_000
"""Recordings that are listed ahead of those being fetched, so that the time left can be told: 10 MB."""
_HOPELESS = 200
"""Recordings that fail one after another, not being absent, before the others are not tried. A rule of thumb:
a service that is down would else be asked once a second for every one of them."""


class Watcher(Protocol):
    """Told of what happens, as it happens."""

    def found(self, number: int) -> None:
        """So many more recordings are to be fetched."""

    def listed(self) -> None:
        """Those are all."""

    def received(self, number_bytes: int) -> None:
        """So many more bytes have come."""

    def done(self) -> None:
        """One more recording is there."""

    def failed(self, path: str, reason: str) -> None:
        """This cannot be had."""


@dataclass
class Tally:
    """What an export has done."""

    fetched: int = 0
    fetched_bytes: int = 0
    present: int = 0
    """Recordings that were there already."""
    missing: list[tuple[str, str]] = field(default_factory=list)
    """What cannot be had, and why."""


@dataclass(frozen=True)
class Order:
    """What is to be exported, and how."""

    selection: Sequence[Days]
    where: Condition | None
    jobs: int


class _Watched(Landing):
    """A landing that tells of its bytes."""

    def __init__(self, disk: Disk, path: str, mtime_s: int, watcher: Watcher) -> None:
        super().__init__(disk, path, mtime_s)
        self._watcher = watcher
        self.received = 0
        """Bytes, those that were fetched twice counted twice."""

    async def take(self, piece: bytes | memoryview) -> None:
        self._watcher.received(len(piece))
        self.received += len(piece)
        await super().take(piece)


class Export:
    """One run over one destination."""

    def __init__(
        self, core: Core, calendar: Calendar, disk: Disk, manifest: Manifest, order: Order, watcher: Watcher
    ) -> None:
        self._core = core
        self._calendar = calendar
        self._disk = disk
        self._manifest = manifest
        self._order = order
        self._watcher = watcher
        self._outcome = Tally()
        self._folders: set[str] = set()
        self._failures_in_a_row = 0
        self._fatal: VoxofsError | None = None
        self._whole: list[tuple[Row, Path, Path]] = []
        """What waits for the next commit."""
        self._some_whole = trio.Event()
        self._finished = False

    async def run(self) -> Tally:
        """Fetch what is missing. Raises `DestinationFailed`, `AccessDenied`, `Unavailable` where going on is
        of no use; what was fetched by then is kept."""
        await self._disk.run(self._prepare)
        send, receive = trio.open_memory_channel[Place](_AHEAD)
        async with trio.open_nursery() as outer:
            outer.start_soon(self._guarded, outer, self._commits)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._guarded, nursery, self._list, send)
                    for _ in range(self._order.jobs):
                        nursery.start_soon(self._guarded, nursery, self._work, receive.clone())
                    receive.close()
            finally:
                self._finished = True
                self._some_whole.set()
        if self._fatal is not None:
            with suppress(VoxofsError):
                await self._disk.run(self._prepare)
            raise self._fatal
        await self._disk.run(self._tidy)
        return self._outcome

    async def _guarded(
        self, nursery: trio.Nursery, work: Callable[[*Ts], Awaitable[None]], *arguments: *Ts
    ) -> None:
        """A task whose failure ends all of them, and is told once."""
        try:
            await work(*arguments)
        except VoxofsError as error:
            self._fatal = self._fatal or error
            nursery.cancel_scope.cancel()

    def _prepare(self) -> None:
        """Finish what the last run was about to. Raises OSError."""
        (self._disk.root / PARTIAL).mkdir(exist_ok=True)
        there = {each.name: each for each in (self._disk.root / PARTIAL).iterdir()}
        moves = []
        for path, row in self._manifest.rows.items() if there else ():
            partial = self._disk.partial(path)
            if partial.name in there and sha256_of(partial) == row.sha256:
                moves.append((partial, self._disk.root / path))
        settle(moves)
        clear_partial(self._disk.root)

    async def _list(self, send: trio.MemorySendChannel[Place]) -> None:
        """Whatever is meant and not there, to the workers."""
        order = self._order
        async with send, aclosing(hours(self._core, order.selection, order.where, self._missing)) as found:
            async for places in found:
                wanted = await self._not_there(places)
                self._watcher.found(len(wanted))
                for place in wanted:
                    await send.send(place)
        self._watcher.listed()

    async def _not_there(self, places: list[Place]) -> list[Place]:
        """Of an hour: what is in the manifest and has its size is there."""
        folder = path_of(places[0]).rpartition("/")[0]
        self._folders.add(folder)
        rows = self._manifest.rows
        if not any(path_of(place) in rows for place in places):
            return places
        sizes = await self._disk.run(sizes_in, self._disk.root / folder)
        wanted = []
        for place in places:
            path = path_of(place)
            row = self._manifest.trusted(path)
            if row is None or sizes.get(place.record.name) != row.size:
                wanted.append(place)
                continue
            self._outcome.present += 1
            self._manifest.refresh(
                row_of(path, place, row.size, row.etag, row.sha256, self._manifest.personal)
            )
        return wanted

    async def _work(self, receive: trio.MemoryReceiveChannel[Place]) -> None:
        async with receive:
            async for place in receive:
                try:
                    await self._fetch(place)
                except (DestinationFailed, AuditFailed):
                    raise
                except VoxofsError as error:
                    self._missing(path_of(place), str(error))
                    self._despair(error)
                else:
                    self._failures_in_a_row = 0

    def _despair(self, error: VoxofsError) -> None:
        """Raises `Unavailable` where it makes no sense to try the others."""
        if isinstance(error, NotFound | Unwritable):
            return
        self._failures_in_a_row += 1
        if self._failures_in_a_row >= _HOPELESS:
            raise Unavailable(
                f"{_HOPELESS} recordings in a row cannot be had, the last one because {error}; "
                "the others are not tried: run the same command again when that is mended"
            )

    async def _fetch(self, place: Place) -> None:
        path, record = path_of(place), place.record
        audit, opened_at_s = self._core.audit, self._core.clock.wall_s()
        if audit is not None:
            audit.check()
        landing = _Watched(self._disk, path, record.instant_s, self._watcher)
        read = "part"
        try:
            version = await self._core.downloads.fetch(place.tenant, record, landing)
            read = "whole"
            sha256 = await landing.finish()
        except BaseException:
            await landing.discard()
            raise
        finally:
            if audit is not None and (landing.received or read == "whole"):
                audit.note(Opened(opened_at_s, f"/{path}", own_caller(), landing.received, read))
        row = row_of(path, place, landing.size, version.etag or "", sha256, self._manifest.personal)
        self._whole.append((row, landing.partial, landing.final))
        self._some_whole.set()

    async def _commits(self) -> None:
        """Manifest lines, then names, for all that has come whole meanwhile; to the end even of a run that
        failed."""
        with trio.CancelScope(shield=True):
            while not self._finished or self._whole:
                await self._some_whole.wait()
                self._some_whole = trio.Event()
                batch, self._whole = self._whole, []
                if batch:
                    await self._disk.run(self._commit, batch)
                    for row, _, _ in batch:
                        self._outcome.fetched += 1
                        self._outcome.fetched_bytes += row.size
                        self._watcher.done()

    def _commit(self, batch: list[tuple[Row, Path, Path]]) -> None:
        for _, _, final in batch:  # a folder cannot take a name that is a file's
            final.parent.mkdir(parents=True, exist_ok=True)
        self._manifest.append([row for row, _, _ in batch])
        settle((partial, final) for _, partial, final in batch)

    def _missing(self, path: str, reason: str) -> None:
        self._outcome.missing.append((path, reason))
        self._watcher.failed(path, reason)

    def _tidy(self) -> None:
        """The manifest in order, folders with the times that the mount shows. Raises OSError."""
        self._manifest.tidy(final=True)
        (self._disk.root / PARTIAL).rmdir()
        now_s = self._core.clock.wall_s()
        for folder in sorted(_with_parents(self._folders), key=len, reverse=True):
            names = tuple(folder.split("/"))
            ends_s = int(self._calendar.ends_s(names))
            if ends_s <= now_s and (self._disk.root / folder).is_dir():
                touch_folder(self._disk.root / folder, ends_s)


def _with_parents(folders: set[str]) -> set[str]:
    """Hours, and the days, months and years that they are in."""
    every = set()
    for folder in folders:
        names = folder.split("/")
        every |= {"/".join(names[:depth]) for depth in range(2, HOUR_DEPTH + 1)}
    return every
