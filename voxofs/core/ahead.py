"""Looking ahead in a folder: sizes for whoever stats name after name, recordings for whoever reads them.

Tools go through a folder one name after another and never have two requests in flight. A *walk* follows one
of them along the listing of one hour and asks for what comes next:

* from the second lookup on that needs a size, the heads of the names that follow are probed (*stat-ahead*),
  or their sizes alone, once hundreds of heads have been fetched and nobody has opened a recording (`du`);
* whoever has just listed the folder and begins at its start is going through it: the links for what follows
  are asked for with the first lookup, and all of the look-ahead comes with the second. Links, because nobody
  knows yet whether heads will be wanted or recordings;
* where recordings are read through, the next ones are fetched whole (*prefetch*), with the probe and the
  bytes in one GET. A sweep that reads headers only is told from that by what its handles had read when they
  were closed, and gets heads only;
* a step that leaves the order (by more than a few names: `xargs -P 8` shuffles) ends the walk, and what was
  asked for and has not been sent yet is given up.

Everybody else earns it: one name ahead, then two, four and so on with every step that fits, because a look
at two neighbours is no walk. It never exceeds what the cache holds for unread blocks. A walk that came to
the end of its folder hands its pattern to the next one, if the same process soon opens its first recording,
too.

There are two orders to go through a folder in: by name, as it is listed, and by inode number, which is the
order of the calls' starts (`cp -r` sorts so). A step that leaves one of them may follow the other.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import islice

from voxofs.audio.library import HEAD_BYTES, WHOLE_BYTES, Library
from voxofs.audio.recording import Fetch, Recording
from voxofs.catalog.window import FolderKey, Hour, Place
from voxofs.clock import Clock
from voxofs.errors import NotFound
from voxofs.model import BLOCK_BYTES, Tenant
from voxofs.traffic.demand import Demand, Priority

_NEAR = 16
"""Names that a step may go past, or fall back by, and still be in order: twice what
`xargs -P 8` shuffles."""
_FIRST_HEADS = 48
_MOST_HEADS = 64
"""Names whose sizes are asked for ahead of a walk that is sure, at first and at most. 64 to 192 made no
difference in `ls -l` over 32 connections; fewer leave some of them idle while the answers are handled."""
_MOST_EARNED = 32
"""The same of a walk that is not sure, and may end at any name. 64 heads by eight programs took 96 links and
0.48 s; with 64 ahead 128 links, 0.45 s and a tenth more of the daemon's CPU."""
_SPARE = 8
_ANSWERS = 4
"""Of those, as many as are gone through while four sizes come one after another, and what `xargs -P 8` looks
at at once: two would do if every answer took the same. 64 × ffprobe by 8 takes 12 to 16 sizes for nobody in
place of 32. Rules of thumb."""
_SMOOTHING = 1 / 8
"""Weight of the last step's time, as for TCP's round trips (RFC 6298)."""
_STRETCH = 8
"""Times the average that one step counts at most: a pause is no pace. A rule of thumb: who has become ten
times slower is known for it after four steps."""
_LINKS = 64
"""Links that are asked for with the first lookup of a walk that is sure: what its next steps want ahead."""
_HEADS_FOR_NOBODY = 256
"""After as many, whoever crawls wants sizes, not heads: `ls -lR` of 24,000 calls fetched 14 MiB then instead
of 1,184."""
_FIRST_WHOLE = 16
"""Recordings fetched whole ahead of a walk that is sure, at first: half of the connections; the rest follows
at the next step."""
_WALKS = 32
"""Folders gone through at once: `xargs -P 8` over several hours, twice. A rule of thumb."""
_TYPICAL_BYTES = 300_000
"""A call of a minute and a half at 24 kbit/s; corrected by what is read."""
_BUDGET_SHARE = 0.75
"""Of what the cache holds unread; the rest is for readahead of long recordings. A rule of thumb."""
_SCORE_MOST = 3
"""Two looks at headers end the reading whole that three whole reads began. A rule of thumb."""
_INHERITED_WITHIN_S = 5.0
"""`cp -r` goes from one hour to the next in milliseconds, a person takes longer. A rule of thumb."""


class Walk:
    """One folder being gone through. Positions are those in the order that the walk follows."""

    def __init__(self, hour: Hour, index: int) -> None:
        self.hour = hour
        self.last = index
        self.by_start = False
        self.frontier = 0
        """The furthest position looked at."""
        self.asked_heads = self.asked_whole = 0
        """Positions below these have been asked for already."""
        self.score = 0
        """Above zero: recordings are read through. Below: their headers are looked at."""
        self.sure = False
        """Whether somebody goes through the folder for certain, and need not earn what is fetched ahead."""
        self.window = 0
        self.step_s = 0.0
        """From one name to the next on average; 0 before that is known."""
        self._stepped_s: float | None = None
        self.pending: list[Fetch] = []
        self.links: list[Demand] = []
        """Links that were asked for ahead at its beginning."""
        self._restart()

    def __repr__(self) -> str:
        return f"<Walk at {self.frontier} of {len(self.hour)}, score {self.score}, window {self.window}>"

    @property
    def whole(self) -> bool:
        """Whether the next recordings are likely to be read through."""
        return self.score > 0

    def index(self, position: int) -> int:
        """Which recording of the listing is at a position."""
        return self.hour.by_start()[0][position] if self.by_start else position

    def goes_to(self, index: int) -> bool:
        """Take a step to a recording; False where it is in neither order."""
        for by_start in (self.by_start, not self.by_start):
            step = self._position(index, by_start) - self._position(self.last, by_start)
            if -_NEAR <= step <= _NEAR:
                self.last = index
                if by_start is not self.by_start:
                    self.by_start = by_start
                    self._restart()
                self.frontier = max(self.frontier, self._position(index, by_start))
                return True
        return False

    def took_steps(self, names: int, now_s: float) -> None:
        """Somebody has gone so many names further, at this moment (monotonic)."""
        if self._stepped_s is not None:
            step_s = (now_s - self._stepped_s) / max(1, names)
            if self.step_s:
                self.step_s += (min(step_s, _STRETCH * self.step_s) - self.step_s) * _SMOOTHING
            else:
                self.step_s = step_s
        self._stepped_s = now_s

    def go_through(self, *, by_start: bool) -> None:
        """Somebody begins here to go through the folder, for certain."""
        self.sure = True
        if self.by_start is not by_start:
            self.by_start = by_start
            self._restart()

    def refresh(self, hour: Hour) -> None:
        """A live listing was asked again and may have grown: find the positions anew."""
        if self.hour is not hour:
            self.last = min(hour.position(self.hour.names[self.last]), len(hour) - 1)
            self.hour = hour
            self._restart()

    def _position(self, index: int, by_start: bool) -> int:
        return self.hour.by_start()[1][index] if by_start else index

    def _restart(self) -> None:
        self.frontier = self._position(self.last, self.by_start)
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
        self._inheritance = (0, float("-inf"), 0)
        """The score of the last walk that reached the end of its folder, when that was, and by whom."""

    def looked_up(self, place: Place, pid: int, *, waits: bool, listed: bool = False) -> None:
        """A process looks at a recording; `waits`: for a request of its own, so that a walk may begin here;
        `listed`: as the first thing after having listed the folder."""
        if not self.enabled:
            return
        self._follow(place, pid, waits=waits)
        walk = self._walks.get(place.folder)
        if listed and walk is not None and not walk.sure:
            by_start = self._begins(place)
            if by_start is not None:
                walk.go_through(by_start=by_start)
                self._ask_links(walk, place.tenant)

    def _follow(self, place: Place, pid: int, *, waits: bool) -> None:
        """Take a step of a walk, or begin one."""
        key, hour, index = place.folder, place.hour, place.index
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
        now_s = self._clock.monotonic_s()
        if walk.frontier == len(hour) - 1:
            self._inheritance = (walk.score, now_s, pid)
        if walk.frontier > frontier or walk.by_start is not by_start:
            walk.took_steps(walk.frontier - frontier, now_s)
            self._ask(walk, place.tenant)

    def opened(self, place: Place, pid: int, *, waits: bool, listed: bool = False) -> None:
        """A process opens a recording. Its first of a folder may go on with what it did in the last one."""
        self._unread_heads = 0
        self.looked_up(place, pid, waits=waits, listed=listed)
        walk = self._walks.get(place.folder)
        score, ended_s, whose = self._inheritance
        if walk is None or walk.last != place.index or walk.window or not score > 0:
            return
        if self._clock.monotonic_s() - ended_s < _INHERITED_WITHIN_S and pid == whose:
            self._inheritance = (0, float("-inf"), 0)
            walk.score = score
            walk.sure = True
            self._ask(walk, place.tenant)

    def extent_bytes(self, key: FolderKey) -> int:
        """What to ask for with a size that is wanted now in this folder. Where nobody goes through it, a look
        is often followed by a read, and the kernel's first read is of two blocks."""
        if self.expects_whole(key):
            return WHOLE_BYTES
        walk = self._walks.get(key)
        return 2 * HEAD_BYTES if self.enabled and (walk is None or not walk.window) else self._head_bytes()

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
        for link in walk.links:
            link.abandon()
        walk.pending.clear()
        walk.links.clear()

    def _begins(self, place: Place) -> bool | None:
        """In which order (by name, by start) a recording is the first of its folder, None for neither. The
        first is the first whose size is not known, because nobody looks up what the listing has told."""
        hour, index = place.hour, place.index
        order, ranks = hour.by_start()
        for by_start, before in ((False, range(index)), (True, islice(order, ranks[index]))):
            if all(self._library.peek(place.tenant, hour.records[each]) is not None for each in before):
                return by_start
        return None

    def _ask_links(self, walk: Walk, tenant: Tenant) -> None:
        """Ask for the links of the names that follow, as far as their sizes are not known."""
        for position in range(walk.frontier + 1, min(walk.frontier + 1 + _LINKS, len(walk.hour))):
            recording = self._library.recording(tenant, walk.hour.records[walk.index(position)])
            if recording.edition is None:
                self._library.leases.begin(recording, Priority.PREFETCH, walk.links)

    def _ask(self, walk: Walk, tenant: Tenant) -> None:
        """Ask for the names that follow, twice as many as at the step before."""
        whole = walk.whole
        budget_bytes = self._library.cache.unread_limit_bytes * _BUDGET_SHARE / self._active()
        if whole:
            most = int(budget_bytes / max(self._mean_bytes, BLOCK_BYTES))
            walk.window = max(1, min(max(2 * walk.window, _FIRST_WHOLE if walk.sure else 1), most))
        else:
            most = min(_MOST_HEADS if walk.sure else self._earned(walk), int(budget_bytes / BLOCK_BYTES))
            walk.window = max(1, min(max(2 * walk.window, _FIRST_HEADS if walk.sure else 1), most))
        stop = min(walk.frontier + 1 + walk.window, len(walk.hour))
        walk.pending = [fetch for fetch in walk.pending if not fetch.opened.settled]
        begin = self._prefetch if whole else self._stat_ahead
        first = walk.asked_whole if whole else walk.asked_heads
        for position in range(max(first, walk.frontier + 1), stop):
            walk.pending += begin(self._library.recording(tenant, walk.hour.records[walk.index(position)]))
        walk.asked_heads = max(walk.asked_heads, stop)
        if whole:
            walk.asked_whole = max(walk.asked_whole, stop)

    def _earned(self, walk: Walk) -> int:
        """What a walk may have earned that is not sure: as much as keeps it from waiting, at its own pace."""
        if not walk.step_s:
            return _MOST_EARNED
        return min(_MOST_EARNED, _SPARE + int(_ANSWERS * self._library.probe_s / walk.step_s))

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
