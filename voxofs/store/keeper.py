"""The keeper: all that is done to the directory, one thing after another, in one thread at a time.

It opens the directory, brings in what was offered, deletes what has to go, makes index and disk agree after
a start, and tries again where the disk did not do what it should. Its methods block, never raise, and leave
the state in `health`.

**Damage.** What does not open or is not there is reported by the readers and deleted here. An index that
SQLite calls broken, or that is of another format or key, is deleted with all audio, because nothing tells
any more what that is: the tier begins anew. Nobody has to repair anything.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields

from voxofs.clock import Clock
from voxofs.model import Record

from .health import Broken, Condition, Defect, DiskState, Rest, translated
from .index import ForeignKey, Index
from .key import key_in_memory
from .ledger import Ledger, Reserved, Run
from .lookup import Seen
from .names import VersionName
from .place import Directory
from .records import encode_records
from .seal import Seal
from .settings import DiskSettings
from .shelf import Shelves


@dataclass
class Batch(Seen):
    """What was offered, used and found damaged since the last batch."""

    runs: list[Run] = field(default_factory=list)
    versions: dict[VersionName, tuple[str, bytes]] = field(default_factory=dict)
    """Tenant and value."""
    windows: dict[bytes, tuple[str, Collection[Record], int]] = field(default_factory=dict)
    """Tenant, records, asked when."""
    forgotten: list[tuple[bytes, VersionName]] = field(default_factory=list)
    """Editions that were replaced, and the versions to forget with them."""

    def __bool__(self) -> bool:
        return any(getattr(self, each.name) for each in fields(self))

    def note(self, seen: Seen) -> None:
        """Take over what a look-up met."""
        for each in fields(Seen):
            if each.name != "trouble":
                getattr(self, each.name).update(getattr(seen, each.name))
        self.trouble = self.trouble or seen.trouble


class Superseded(Exception):
    """Another process has replaced the index, or somebody the directory."""


class Keeper:
    """Everything that changes the directory."""

    def __init__(self, settings: DiskSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self.health = Condition(str(settings.path), clock.monotonic_s)
        self.seal = Seal(settings.key or key_in_memory())
        self._place = Directory(settings.path, clock.monotonic_s)
        self.index = Index(self._place.database, self.seal, settings.index_bytes)
        self.shelves = Shelves(self._place.audio, self.seal)
        self.ledger = Ledger(self.index, self._place, self.shelves, settings)
        self._written: list[Reserved] = []
        self._agreed = False

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Whatever goes wrong in here is the tier's own matter."""
        try:
            yield
        except Superseded:
            self.open()
        except Exception as error:
            self._suffer(error)

    def _suffer(self, error: Exception) -> None:
        trouble = translated(error)
        if isinstance(trouble, Defect):
            trouble = self._looked_at(trouble)
        if isinstance(trouble, Broken):
            try:
                self._begin_anew(f"the index is broken ({trouble})")
                return
            except Exception as again:
                trouble = translated(again)
        self._written.clear()
        self.health.rest(trouble if isinstance(trouble, Rest) else Rest(str(trouble)))

    def _looked_at(self, defect: Defect) -> Rest | Broken:
        """A defect, unless the index turns out to be broken, which explains it."""
        try:
            self.index.check()
        except Exception as error:
            found = translated(error)
            return found if isinstance(found, Broken) else defect
        return defect

    # Opening.

    def open(self) -> None:
        """Open the directory, or rest."""
        with self._guarded():
            self._open()

    def _open(self) -> None:
        self.index.close()
        self._written.clear()
        self._agreed = False
        self.shelves.new_shelf()
        self._place.prepare()
        with self._place.alone():
            self._place.enter()
            try:
                if self.index.open():
                    self.health.damaged(self._place.empty_audio(), "the index is gone")
            except ForeignKey:
                if self._place.others():
                    raise Rest(
                        "another process uses the directory under another key: give both one"
                    ) from None
                self._empty("what lies there was sealed under another key")
            except sqlite3.Error as error:
                if isinstance(translated(error), Rest):
                    raise
                self._empty(f"the index is broken ({error})")
            except Broken as error:
                self._empty(str(error))
            self._place.probe()  # SQLite opens its file on a full disk, too
        self.health.works()

    def _begin_anew(self, why: str) -> None:
        self.index.close()
        self._written.clear()
        with self._place.alone():
            self._place.enter()
            self._empty(why)
        self.health.works()

    def _empty(self, why: str) -> None:
        self.index.close()
        self.shelves.new_shelf()
        self.health.damaged(max(1, self._place.empty()), why)
        self.index.open()

    # Bringing in.

    def bring(self, batch: Batch) -> None:
        """Write what was offered and delete what has to go; what the disk does not take is dropped and
        counted."""
        offered = sum(len(run.blocks) for run in batch.runs)
        taken = False
        if batch.trouble is not None:
            self._suffer(batch.trouble)
        if self._ready() and not self._agreed:
            self._agree()  # until then nobody knows how much room there is
        if self._ready():
            with self._guarded():
                self._bring(batch)
                taken = True
        self.health.counts["written" if taken else "dropped"] += offered

    def _bring(self, batch: Batch) -> None:
        with self._place.batch():
            if self.index.replaced():
                raise Superseded
            now_s = self._clock.wall_s()
            with self.index.change() as change:
                self._publish(change)
                self._note(change, batch, now_s)
                reserved = self.ledger.reserve(change, batch.runs, now_s) if batch.runs else []
            self._write(reserved)
        self.health.works()

    def publish(self) -> None:
        """Make visible what was written, where no further batch does it."""
        if self._written and self._ready():
            with self._guarded(), self._place.batch(), self.index.change() as change:
                self._publish(change)

    def _ready(self) -> bool:
        """Whether the disk may be asked; a resting tier tries to come back when it is time."""
        if self.health.writes:
            return True
        if self.health.state is not DiskState.CLOSED and self.health.due():
            if self.health.state is DiskState.READ_ONLY:
                self._relieve()
            else:
                self.open()
        return self.health.writes

    def _relieve(self) -> None:
        """Try again on a disk that could be read all the time, with what is open; give room back where it
        is full."""
        with self._guarded():
            with self._place.batch(), self.index.change() as change:
                self.ledger.withdraw(change)
                # Age goes on where nothing is written: nobody reads that audio any more.
                while expired := self.ledger.expire(change, self._clock.wall_s()):
                    self.health.counts["expired"] += expired
                self.ledger.keep_free(change)
            self._place.probe()
            self.health.works()

    def _publish(self, change: sqlite3.Connection) -> None:
        written, self._written = self._written, []
        if self.ledger.publish(change, written):
            self.shelves.new_shelf()

    def _note(self, change: sqlite3.Connection, batch: Batch, now_s: float) -> None:
        second = int(now_s)
        for piece, what in batch.damaged.items():
            self.health.damaged(self.ledger.condemn(change, piece), what)
        # Forgetting comes first: whoever forgets an edition keeps its successor next.
        for edition, version in batch.forgotten:
            self.ledger.forget(change, "edition", edition)
            self.index.forget_version(change, version)
        if self._room_for_rows(change):
            self._keep_rows(change, batch, second)
        else:
            self._replace_rows(change, batch, second)
        for version in batch.bad_versions:
            self.index.forget_version(change, version)
        for window in batch.bad_windows:
            self.index.forget_window(change, window)
        self.health.damaged(len(batch.bad_versions) + len(batch.bad_windows), "rows of the index do not open")
        self.ledger.used(change, batch.used, now_s)
        self.index.used(change, batch.used_folders, batch.used_windows, second)

    def _room_for_rows(self, change: sqlite3.Connection) -> bool:
        """Whether the index may grow; audio gives way to it."""
        least = self._settings.keep_free_bytes
        if self._place.free_bytes() < least:
            self.ledger.keep_free(change)
        return self._place.free_bytes() >= least

    def _keep_rows(self, change: sqlite3.Connection, batch: Batch, second: int) -> None:
        for name, (tenant, value) in batch.versions.items():
            self.index.keep_version(change, name, tenant, value, second)
        for key, (tenant, records, kept_s) in batch.windows.items():
            self.index.keep_window(change, key, tenant, encode_records(records), kept_s, second)

    def _replace_rows(self, change: sqlite3.Connection, batch: Batch, second: int) -> None:
        """Without making the index larger: a version that is kept is told anew, or it would go on telling
        what is not so any more. Everything else is dropped."""
        kept = self.index.kept_versions(change, batch.versions)
        for name in kept:
            tenant, value = batch.versions[name]
            self.index.keep_version(change, name, tenant, value, second)
        self.health.counts["rows dropped"] += len(batch.versions) - len(kept) + len(batch.windows)

    def _write(self, reserved: Sequence[Reserved]) -> None:
        for each in reserved:
            run = each.run
            try:
                self.shelves.write(each.shelf, each.number, run.name, run.fetched_s, run.first, run.blocks)
            except OSError:
                self._written.clear()
                self.shelves.new_shelf()
                with self.index.change() as change:
                    self.ledger.withdraw(change)
                raise
            self._written.append(each)

    # From time to time.

    def tidy(self) -> None:
        """Delete what is too old, what dead processes left, and what others need the room of."""
        if not self._ready():
            return
        with self._guarded(), self._place.batch():
            if self.index.replaced():
                raise Superseded
            counts: Counter[str] = Counter()
            with self.index.change() as change:
                self._publish(change)
                counts["expired"] = self.ledger.expire(change, self._clock.wall_s())
                counts["buried"] = self.ledger.bury(change)
                counts["evicted"] = self.ledger.keep_free(change)
                counts["rows evicted"] = self.index.shrink(change)
                self.health.audio_bytes = self.ledger.audio_bytes(change)
            self.health.counts += counts
        if not self._agreed:
            self._agree()

    def _agree(self) -> None:
        """After a start: make index and disk agree, shelf by shelf, so that neither memory nor lock is held
        for long."""
        with self._guarded():
            self.index.check()
            # Disk first: whatever is seen there was entered before, or is nobody's.
            shelves = self.shelves.listing()
            with self.index.reading() as db:
                known = self.ledger.shelves(db)
            for shelf in shelves.keys() | known:
                self._in_one(self._compare, shelf, shelves.get(shelf, ""))
            self._in_one(self.ledger.recount)
            self._agreed = True

    def _in_one(self, work: Callable[..., object], *arguments: object) -> None:
        with self._place.batch(), self.index.change() as change:
            work(change, *arguments)

    def _compare(self, change: sqlite3.Connection, shelf: str, path: str) -> None:
        files = self.shelves.files(path) if path else {}
        damaged = self.ledger.compare(change, shelf, files, self._clock.wall_s())
        self.health.damaged(damaged, "pieces are not there, not as long as they were, or unknown")

    # The end.

    def close(self) -> None:
        """Make visible what was written, and let go of everything."""
        self.publish()
        self.index.close()
        self._place.close()
        self.health.state = DiskState.CLOSED
