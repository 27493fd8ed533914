"""Looking ahead in a folder: sizes for whoever stats name after name, recordings for whoever reads them.

Tools go through a folder one name after another and never have two requests in flight. A *walk* follows one
of them along the listing of one hour and asks for what comes next:

* from the second lookup on that needs a size, the heads of the names that follow are probed (*stat-ahead*);
* where recordings are read through, the next ones are fetched whole (*prefetch*), with the probe and the
  bytes in one GET. A sweep that reads headers only is told from that by what its handles had read when they
  were closed, and gets heads only;
* a step that leaves the order (by more than a few names: `xargs -P 8` shuffles) ends the walk, and what was
  asked for and has not been sent yet is given up.

How far ahead doubles with every step that fits, and never exceeds what the cache holds for unread blocks.
A walk that came to the end of its folder hands its pattern to the next one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

from .cache import BLOCK_BYTES
from .catalog import Hour, TenantKey
from .errors import NotFound
from .gate import Priority
from .library import HEAD_BYTES, WHOLE_BYTES, Fetch, Library, Recording

_NEAR = 16
"""Names that a step may go past, or fall back by, and still be in order."""
_FIRST_HEADS = 32
_MOST_HEADS = 192
_FIRST_WHOLE = 8
_WALKS = 32
_TYPICAL_BYTES = 300_000
_BUDGET_SHARE = 0.75
_SCORE_MOST = 3

FolderKey = tuple[str, date, str]
"""Tenant, day, hour."""


@dataclass
class Walk:
    """One folder being gone through. `frontier` is the furthest place looked at."""

    hour: Hour
    frontier: int
    steps: int = 1
    score: int = 0
    """Above zero: recordings are read through. Below: their headers are looked at."""
    window: int = 0
    asked_heads: int = 0
    asked_whole: int = 0
    """Places below these have been asked for already."""
    pending: list[Fetch] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether the next recordings are likely to be read through."""
        return self.score > 0


class Ahead:
    """All walks of a mount. Nothing here waits for anything."""

    def __init__(self, library: Library, *, enabled: bool = True) -> None:
        self._library = library
        self.enabled = enabled
        self._walks: OrderedDict[FolderKey, Walk] = OrderedDict()
        self._mean_bytes = float(_TYPICAL_BYTES)
        self._ended_with_score = 0

    def looked_up(self, key: FolderKey, tenant: TenantKey, hour: Hour, index: int, *, waits: bool) -> None:
        """Somebody looks at the recording at `index` of an hour's listing; `waits`: for a request of its own,
        so that a walk may begin here."""
        if not self.enabled:
            return
        walk = self._walks.get(key)
        if walk is None:
            if waits:
                self._begin(key, hour, index, tenant)
            return
        self._walks.move_to_end(key)
        self._follow_refresh(walk, hour)
        step = index - walk.frontier
        if step == 0:
            return
        if not -_NEAR <= step <= _NEAR:
            self._drop(walk)
            self._begin(key, hour, index, tenant)
            return
        walk.steps += 1
        walk.frontier = max(walk.frontier, index)
        if index == len(hour) - 1:
            self._ended_with_score = walk.score
        self._ask(walk, tenant)

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

    def _begin(self, key: FolderKey, hour: Hour, index: int, tenant: TenantKey) -> None:
        walk = Walk(hour, index, asked_heads=index + 1, asked_whole=index + 1)
        if index == 0 and self._ended_with_score > 0:
            walk.score = self._ended_with_score
            self._ended_with_score = 0
            self._ask(walk, tenant)
        self._walks[key] = walk
        self._walks.move_to_end(key)
        while len(self._walks) > _WALKS:
            self._drop(self._walks.popitem(last=False)[1])

    def _follow_refresh(self, walk: Walk, hour: Hour) -> None:
        """A live listing was asked again and may have grown: find the places anew."""
        if walk.hour is hour:
            return
        name = walk.hour.names[walk.frontier]
        moved = hour.place(name) - walk.frontier
        walk.hour = hour
        walk.frontier += moved
        walk.asked_heads = walk.asked_whole = walk.frontier + 1

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
        for index in range(max(first, walk.frontier + 1), stop):
            walk.pending += begin(self._library.recording(tenant, walk.hour.records[index]))
        walk.asked_heads = max(walk.asked_heads, stop)
        if whole:
            walk.asked_whole = max(walk.asked_whole, stop)

    def _active(self) -> int:
        """Walks that have something under way share the budget."""
        return max(1, sum(1 for walk in self._walks.values() if walk.pending))

    def _stat_ahead(self, recording: Recording) -> list[Fetch]:
        if recording.edition is not None:
            return []
        return _unless_missing(lambda: [self._library.begin_probe(recording, Priority.PREFETCH, HEAD_BYTES)])

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
