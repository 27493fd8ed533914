"""Looking ahead in a folder: sizes for whoever stats name after name, recordings for whoever reads them.

Tools go through a folder one name after another and never have two requests in flight. A *walk* follows one
of them along the listing of one hour and asks for what comes next:

* from the second lookup on that needs a size, the heads of the names that follow are probed (*stat-ahead*),
  or their sizes alone, once hundreds of heads have been fetched and nobody has opened a recording (`du`);
* where recordings are read through, the next ones are fetched whole (*prefetch*), with the probe and the
  bytes in one GET. A sweep that reads headers only is told from that by what its handles had read when they
  were closed, and gets heads only;
* a step that leaves the order (by more than a few names: `xargs -P 8` shuffles) ends the walk, and what was
  asked for and has not been sent yet is given up.

How far ahead doubles with every step that fits, and never exceeds what the cache holds for unread blocks.
A walk that came to the end of its folder hands its pattern to the next one, if that begins soon after and
opens its first recording, too.

There are two orders to go through a folder in: by name, as it is listed, and by inode number, which is the
order of the calls' starts (`cp -r` sorts so). A step that leaves one of them may follow the other.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import date

from .cache import BLOCK_BYTES
from .catalog import Hour, TenantKey
from .clock import Clock
from .errors import NotFound
from .gate import Priority
from .library import HEAD_BYTES, WHOLE_BYTES, Library
from .recording import Fetch, Recording

_NEAR = 16
"""Names that a step may go past, or fall back by, and still be in order."""
_FIRST_HEADS = 48
_MOST_HEADS = 64
_HEADS_FOR_NOBODY = 256
_FIRST_WHOLE = 16
_WALKS = 32
_TYPICAL_BYTES = 300_000
_BUDGET_SHARE = 0.75
_SCORE_MOST = 3
_LEGACY_S = 5.0

FolderKey = tuple[str, date, str]
"""Tenant, day, hour."""


class Walk:
    """One folder being gone through. Places are positions in the order that the walk follows."""

    def __init__(self, hour: Hour, index: int) -> None:
        self.hour = hour
        self.last = index
        self.by_start = False
        self.frontier = 0
        """The furthest place looked at."""
        self.asked_heads = self.asked_whole = 0
        """Places below these have been asked for already."""
        self.score = 0
        """Above zero: recordings are read through. Below: their headers are looked at."""
        self.window = 0
        self.pending: list[Fetch] = []
        self._restart()

    def __repr__(self) -> str:
        return f"<Walk at {self.frontier} of {len(self.hour)}, score {self.score}, window {self.window}>"

    @property
    def whole(self) -> bool:
        """Whether the next recordings are likely to be read through."""
        return self.score > 0

    def index(self, place: int) -> int:
        """Which recording of the listing is at a place."""
        return self.hour.by_start()[0][place] if self.by_start else place

    def goes_to(self, index: int) -> bool:
        """Take a step to a recording; False where it is in neither order."""
        for by_start in (self.by_start, not self.by_start):
            step = self._place(index, by_start) - self._place(self.last, by_start)
            if -_NEAR <= step <= _NEAR:
                self.last = index
                if by_start is not self.by_start:
                    self.by_start = by_start
                    self._restart()
                self.frontier = max(self.frontier, self._place(index, by_start))
                return True
        return False

    def refresh(self, hour: Hour) -> None:
        """A live listing was asked again and may have grown: find the places anew."""
        if self.hour is not hour:
            self.last = min(hour.place(self.hour.names[self.last]), len(hour) - 1)
            self.hour = hour
            self._restart()

    def _place(self, index: int, by_start: bool) -> int:
        return self.hour.by_start()[1][index] if by_start else index

    def _restart(self) -> None:
        self.frontier = self._place(self.last, self.by_start)
        self.asked_heads = self.asked_whole = self.frontier + 1


class Ahead:
    """All walks of a mount. Nothing here waits for anything."""

    def __init__(self, library: Library, clock: Clock, *, enabled: bool = True) -> None:
        self._library = library
        self._clock = clock
        self.enabled = enabled
        self._walks: OrderedDict[FolderKey, Walk] = OrderedDict()
        self._unread_heads = 0
        """Heads that were fetched ahead since anybody opened a recording."""
        self._mean_bytes = float(_TYPICAL_BYTES)
        self._legacy = (0, float("-inf"))
        """The score of the last walk that reached the end of its folder, and when that was."""

    def looked_up(self, key: FolderKey, tenant: TenantKey, hour: Hour, index: int, *, waits: bool) -> None:
        """Somebody looks at the recording at `index` of an hour's listing; `waits`: for a request of its own,
        so that a walk may begin here."""
        if not self.enabled:
            return
        walk = self._walks.get(key)
        if walk is None:
            if waits:
                self._begin(key, hour, index)
            return
        self._walks.move_to_end(key)
        walk.refresh(hour)
        if index == walk.last:
            return
        frontier, by_start = walk.frontier, walk.by_start
        if not walk.goes_to(index):
            self._drop(walk)
            self._begin(key, hour, index)
            return
        if walk.frontier == len(hour) - 1:
            self._legacy = (walk.score, self._clock.monotonic_s())
        if walk.frontier > frontier or walk.by_start is not by_start:
            self._ask(walk, tenant)

    def opened(self, key: FolderKey, tenant: TenantKey, hour: Hour, index: int, *, waits: bool) -> None:
        """Somebody opens a recording. The first of a folder may go on with what was done in the last one."""
        self._unread_heads = 0
        self.looked_up(key, tenant, hour, index, waits=waits)
        walk = self._walks.get(key)
        score, ended_s = self._legacy
        if walk is None or walk.last != index or walk.window or not score > 0:
            return
        if self._clock.monotonic_s() - ended_s < _LEGACY_S:
            self._legacy = (0, float("-inf"))
            walk.score = score
            self._ask(walk, tenant)

    def extent_bytes(self, key: FolderKey) -> int:
        """What to ask for with a size that is wanted now in this folder. The first look in a folder is often
        followed by a read, and the kernel's first read is of two blocks."""
        if self.expects_whole(key):
            return WHOLE_BYTES
        return self._head_bytes() if key in self._walks or not self.enabled else 2 * HEAD_BYTES

    def expects_whole(self, key: FolderKey) -> bool:
        """Whether a recording opened in this folder now is likely to be read through."""
        walk = self._walks.get(key)
        return self.enabled and walk is not None and walk.whole

    def finished(self, key: FolderKey, *, through: bool, size: int) -> None:
        """A recording was read through, or closed after a look at parts of it."""
        walk = self._walks.get(key)
        self._mean_bytes += (size - self._mean_bytes) / 8
        if walk is None or not self.enabled:
            return
        if through:
            walk.score = min(walk.score + 1, _SCORE_MOST)
        else:
            if walk.whole:
                walk.window = 0
            walk.score = max(walk.score - 2, -_SCORE_MOST)

    def _begin(self, key: FolderKey, hour: Hour, index: int) -> None:
        self._walks[key] = Walk(hour, index)
        self._walks.move_to_end(key)
        while len(self._walks) > _WALKS:
            self._drop(self._walks.popitem(last=False)[1])

    def _drop(self, walk: Walk) -> None:
        for fetch in walk.pending:
            fetch.demand.abandon()
        walk.pending.clear()

    def _ask(self, walk: Walk, tenant: TenantKey) -> None:
        """Ask for the names that follow, twice as many as at the step before."""
        whole = walk.whole
        budget_bytes = self._library.cache.unread_limit_bytes * _BUDGET_SHARE / self._active()
        if whole:
            most = int(budget_bytes / max(self._mean_bytes, BLOCK_BYTES))
            walk.window = max(1, min(max(2 * walk.window, _FIRST_WHOLE), most))
        else:
            most = min(_MOST_HEADS, int(budget_bytes / BLOCK_BYTES))
            walk.window = max(1, min(max(2 * walk.window, _FIRST_HEADS), most))
        stop = min(walk.frontier + 1 + walk.window, len(walk.hour))
        walk.pending = [fetch for fetch in walk.pending if not fetch.opened.is_set()]
        begin = self._prefetch if whole else self._stat_ahead
        first = walk.asked_whole if whole else walk.asked_heads
        for place in range(max(first, walk.frontier + 1), stop):
            walk.pending += begin(self._library.recording(tenant, walk.hour.records[walk.index(place)]))
        walk.asked_heads = max(walk.asked_heads, stop)
        if whole:
            walk.asked_whole = max(walk.asked_whole, stop)

    def _active(self) -> int:
        """Walks that have something under way share the budget."""
        return max(1, sum(1 for walk in self._walks.values() if walk.pending))

    def _stat_ahead(self, recording: Recording) -> list[Fetch]:
        if recording.edition is not None:
            return []
        extent_bytes = self._head_bytes()
        self._unread_heads += 1
        return _unless_missing(
            lambda: [self._library.begin_probe(recording, Priority.PREFETCH, extent_bytes)]
        )

    def _head_bytes(self) -> int:
        """A head, or a single byte for a crawl through hundreds of sizes that opens nothing."""
        return HEAD_BYTES if self._unread_heads < _HEADS_FOR_NOBODY else 1

    def _prefetch(self, recording: Recording) -> list[Fetch]:
        edition = recording.edition
        if edition is None:
            return _unless_missing(
                lambda: [self._library.begin_probe(recording, Priority.PREFETCH, WHOLE_BYTES)]
            )
        return self._library.fetch(recording, edition, 0, WHOLE_BYTES // BLOCK_BYTES, Priority.PREFETCH)


def _unless_missing(begin: Callable[[], list[Fetch]]) -> list[Fetch]:
    try:
        return begin()
    except NotFound:
        return []
