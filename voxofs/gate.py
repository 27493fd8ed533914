"""Who may send a request now: a limiter that knows who is waiting for what.

Every request to an origin passes that origin's gate, and holds its place until the body is read. The order
of service decides how fast a mount feels, so the gate, not the connection pool, is where requests queue:

* a reader who waits goes before readahead, and readahead before prefetch;
* background work never takes the last places, so that a reader finds one free;
* within one priority the tenants take turns, and while several are configured none may hold more than
  seven times what it leaves free: one whose requests hang delays no other (the dynamic threshold of
  Choudhury and Hahne, 1998). For background work it is five times, so that the tenant's own readers find
  a place, too;
* within that, what was asked for first goes first, whatever order the tasks happen to run in;
* the limit halves when the origin says that it is too much, and grows back with every success (additive
  increase, multiplicative decrease).

A demand is what one piece of work asks for. When somebody starts to wait for work that was begun in the
background, its demand is raised, wherever it stands in a queue.

Between a decision and the table change that it causes there is no await, so every invariant holds whenever
another task runs: held = sum of held by tenant <= limit, and nobody waits while an admissible place is free.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from itertools import count

import trio

_SHRINK = 0.5
_SHRINK_PAUSE_S = 1.0
_FREE_MULTIPLES = (7, 5, 5)
"""By priority."""


class Priority(IntEnum):
    """Smaller is served first."""

    READER = 0
    READAHEAD = 1
    PREFETCH = 2


class Abandoned(Exception):
    """The demand was given up before its turn came; nobody was waiting for it."""


class Demand:
    """A place in line for one piece of work, and who waits for that. May pass several gates in turn."""

    __slots__ = (
        "_gate",
        "abandoned",
        "age",
        "counted_as_background",
        "granted",
        "priority",
        "tenant",
        "waiters",
    )
    _ages = count()

    def __init__(self, tenant: str, priority: Priority) -> None:
        self.tenant = tenant
        self.priority = priority
        self.waiters = 0
        """Tasks that wait for the result; without any, a failure is not worth another try."""
        self.age = next(self._ages)
        self.abandoned = False
        self.counted_as_background = False
        self.granted: trio.Event | None = None
        self._gate: Gate | None = None

    def __repr__(self) -> str:
        state = "waiting" if self._gate else "moving"
        return f"<Demand {self.tenant} {self.priority.name} {state}, {self.waiters} waiters>"

    @contextmanager
    def waited_for(self, priority: Priority) -> Iterator[None]:
        """Somebody waits for the result in this block. With the last to leave goes an unserved demand."""
        self.waiters += 1
        self.raise_to(priority)
        try:
            yield
        finally:
            self.waiters -= 1
            self.abandon()

    def raise_to(self, priority: Priority) -> None:
        """Somebody more important needs this now."""
        if priority < self.priority:
            if self._gate is not None:
                self._gate.raise_to(self, priority)
            else:
                self.priority = priority

    def abandon(self) -> None:
        """Give up work that nobody waits for, unless it is already being served."""
        if not self.waiters and self._gate is not None and self.granted is not None:
            self.abandoned = True
            self._gate.unqueue(self)
            self._gate = None
            self.granted.set()


class Place:
    """A place at a gate, held for the length of a block."""

    __slots__ = ("_demand", "_gate")

    def __init__(self, gate: Gate, demand: Demand) -> None:
        self._gate = gate
        self._demand = demand

    async def __aenter__(self) -> None:
        await self._gate.enter(self._demand)

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        self._gate.leave(self._demand)


class Gate:
    """At most `limit` requests at once to one origin."""

    def __init__(
        self,
        name: str,
        limit: int,
        *,
        monotonic_s: Callable[[], float],
        tenants: int = 1,
    ) -> None:
        self.name = name
        self.most = limit
        self.peak = 0
        self._limit = float(limit)
        self._share_fairly = tenants > 1
        self._monotonic_s = monotonic_s
        self._shrunk_at_s = float("-inf")
        self._held: Counter[str] = Counter()
        self._in_use = 0
        self._background = 0
        self._waiting: tuple[OrderedDict[str, dict[int, Demand]], ...] = tuple(
            OrderedDict() for _ in Priority
        )
        """By priority, by tenant in turn, by age."""

    def __repr__(self) -> str:
        return f"<Gate {self.name} {self._in_use}/{self.limit} in use, {self.waiting} waiting>"

    @property
    def limit(self) -> int:
        """Requests at once at this moment."""
        return max(1, int(self._limit))

    @property
    def in_use(self) -> int:
        """Requests under way."""
        return self._in_use

    @property
    def waiting(self) -> int:
        """Demands in line."""
        return sum(len(line) for tenants in self._waiting for line in tenants.values())

    @property
    def shrunk(self) -> bool:
        """Whether the origin has asked for less and the gate has not grown back."""
        return self.limit < self.most

    def place(self, demand: Demand) -> Place:
        """`async with gate.place(demand)`: hold a place for one whole request. Raises `Abandoned` where the
        demand was given up."""
        return Place(self, demand)

    def overloaded(self) -> None:
        """The origin asked for less, or does not keep up: halve, at most once a second."""
        now_s = self._monotonic_s()
        if now_s - self._shrunk_at_s >= _SHRINK_PAUSE_S:
            self._shrunk_at_s = now_s
            self._limit = max(1.0, self._limit * _SHRINK)

    def succeeded(self) -> None:
        """A request went well: room for one more after a whole round of them."""
        if self._limit < self.most:
            self._limit = min(float(self.most), self._limit + 1 / self._limit)

    def _admissible(self, tenant: str, priority: Priority) -> bool:
        free = self.limit - self._in_use
        if free <= 0:
            return False
        if self._share_fairly and 0 < self._held[tenant] >= _FREE_MULTIPLES[priority] * (free - 1):
            return False
        return priority is Priority.READER or self._background < self._background_limit

    @property
    def _background_limit(self) -> int:
        """Background work leaves a sixteenth to readers, a half where the origin has asked for less."""
        return max(1, self.limit // 2 if self.shrunk else self.limit - max(1, self.limit // 16))

    async def enter(self, demand: Demand) -> None:
        """Wait for a place and take it. Raises `Abandoned`."""
        background = demand.priority is not Priority.READER
        if not background and self._admissible(demand.tenant, demand.priority) and not self._waiting[0]:
            self._take(demand)
            return
        while True:
            await self._wait(demand, background=background)
            if not demand.abandoned:
                return
            demand.abandoned = False
            if not demand.waiters:
                raise Abandoned
            background = False  # somebody has begun to wait for it between `abandon` and now

    async def _wait(self, demand: Demand, *, background: bool) -> None:
        """Stand in line until granted or given up."""
        demand.granted = trio.Event()
        self._queue(demand)
        try:
            if background:
                # Work that was begun together comes here in no order: let all of it queue up first.
                await trio.lowlevel.checkpoint()
            self._grant()
            await demand.granted.wait()
        except BaseException:
            if demand._gate is self:
                self.unqueue(demand)
                demand._gate = None
            elif not demand.abandoned:
                self.leave(demand)
            raise
        finally:
            demand.granted = None

    def raise_to(self, demand: Demand, priority: Priority) -> None:
        """Move a demand to a more urgent line and serve whoever is next."""
        self.unqueue(demand)
        demand.priority = priority
        self._queue(demand)
        self._grant()

    def _queue(self, demand: Demand) -> None:
        demand._gate = self
        self._waiting[demand.priority].setdefault(demand.tenant, {})[demand.age] = demand

    def unqueue(self, demand: Demand) -> None:
        """Take a demand out of line."""
        tenants = self._waiting[demand.priority]
        line = tenants[demand.tenant]
        del line[demand.age]
        if not line:
            del tenants[demand.tenant]

    def _take(self, demand: Demand) -> None:
        self._in_use += 1
        self._held[demand.tenant] += 1
        self.peak = max(self.peak, self._in_use)
        demand.counted_as_background = demand.priority is not Priority.READER
        self._background += demand.counted_as_background

    def leave(self, demand: Demand) -> None:
        """Give a place back."""
        self._in_use -= 1
        self._held[demand.tenant] -= 1
        if not self._held[demand.tenant]:
            del self._held[demand.tenant]
        self._background -= demand.counted_as_background
        self._grant()

    def _grant(self) -> None:
        while (demand := self._next()) is not None:
            self.unqueue(demand)
            demand._gate = None
            self._take(demand)
            assert demand.granted is not None
            demand.granted.set()

    def _next(self) -> Demand | None:
        for priority, tenants in zip(Priority, self._waiting, strict=True):
            for tenant, line in tenants.items():
                if self._admissible(tenant, priority):
                    tenants.move_to_end(tenant)
                    return line[min(line)]
        return None
