"""A demand: one piece of work that wants to be done, how urgent it is, and who waits for it.

A demand stands in one line at a time, a gate's. The gate owns what concerns the line; the demand knows only
which gate that is, so that whoever begins to wait can make it more urgent there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from itertools import count
from types import TracebackType
from typing import Protocol

import trio

from voxofs.errors import Unanswered
from voxofs.model import Caller

_TOO_LATE = "the other side was out of reach a moment ago: try again"
"""It answered in the very moment in which this waiter was told that it does not."""


class Priority(IntEnum):
    """Smaller is served first."""

    READER = 0
    READAHEAD = 1
    PREFETCH = 2


def priority_of(caller: Caller) -> Priority:
    """A crawler is served after everybody else."""
    return Priority.READAHEAD if caller.crawls else Priority.READER


class Abandoned(Exception):
    """The demand was given up before its turn came; nobody was waiting for it."""


class Origin(Protocol):
    """Whom a demand asks: a gate, as those see it who wait for the answer."""

    def hurry_s(self, tenant: str) -> float | None:
        """How long a user waits for this origin now, in seconds; None while it is in reach."""

    def given_up(self, tenant: str) -> None:
        """A user of this tenant has waited in vain."""

    def why_lost(self, tenant: str) -> Unanswered:
        """What to tell somebody who was not to wait for longer."""


class Line(Protocol):
    """Where a demand waits for its turn: a gate."""

    def raise_to(self, demand: Demand, priority: Priority) -> None:
        """Move a demand to a more urgent line and serve whoever is next."""

    def give_up(self, demand: Demand) -> None:
        """Take a demand out of line; its task gets `Abandoned`."""


class Demand:
    """What one piece of work asks for, and who waits for that. May pass several gates in turn.

    `linger_s`: how long the work may go on while nobody waits for it.
    """

    __slots__ = (
        "_followers", "_origin", "_scope", "_until_s", "_waiting", "age", "line", "linger_s", "priority",
        "served", "tenant", "waiters",
    )  # fmt: skip
    _ages = count()

    def __init__(self, tenant: str, priority: Priority, linger_s: float = float("inf")) -> None:
        self.tenant = tenant
        self.priority = priority
        self.linger_s = linger_s
        self.waiters = 0
        """Tasks that wait for the result; without any, a failure is not worth another try."""
        self.age = next(self._ages)
        """What was asked for first goes first."""
        self.served = False
        """Whether it has ever had a place at a gate."""
        self.line: Line | None = None
        """The gate that it stands at now; that gate sets it."""
        self._scope: trio.CancelScope | None = None
        self._until_s = float("-inf")
        self._origin: Origin | None = None
        self._waiting: list[trio.CancelScope] = []
        self._followers: list[Demand] = []

    @property
    def patience_s(self) -> float:
        """How long the most patient of those who wait, or did, would still wait, in seconds; negative where
        nobody waits. Who waits for a follower is as patient for its leader."""
        if not self.waiters:
            return float("-inf")
        own_s = self._until_s - trio.current_time()
        return max([own_s, *(follower.patience_s for follower in self._followers)])

    def __repr__(self) -> str:
        state = "waiting" if self.line else "moving"
        return f"<Demand {self.tenant} {self.priority.name} {state}, {self.waiters} waiters>"

    def waited_for(self, priority: Priority, follower: Demand | None = None) -> _WaitedFor:
        """Somebody waits for the result in this block. With the last to leave goes an unserved demand.
        `follower`: another demand that needs the result; how long it waits is up to those who wait for it.

        Raises `Unanswered` where the demand is held up by an origin that is out of reach.
        """
        return _WaitedFor(self, priority, follower)

    def _join(self, priority: Priority, patience: trio.CancelScope, until_s: float) -> None:
        self.waiters += 1
        self._waiting.append(patience)
        self._until_s = max(self._until_s, until_s)
        if self.waiters == 1 and self._scope is not None:
            self._scope.deadline = float("inf")
        self.raise_to(priority)

    def _part(self, patience: trio.CancelScope) -> None:
        self.waiters -= 1
        self._waiting.remove(patience)
        if not self.waiters:
            self.abandon()
            if self._scope is not None:
                self._scope.deadline = trio.current_time() + self.linger_s

    def asks(self, origin: Origin | None) -> None:
        """From now on this origin is asked; None: it no longer is. Whoever waits is told soon where the
        origin is out of reach, and waits as long as they like where it is not."""
        self._origin = origin
        until_s = self._hurried_until_s()
        for patience in self._waiting:
            patience.deadline = until_s

    def _hurried_until_s(self) -> float:
        hurry_s = None if self._origin is None else self._origin.hurry_s(self.tenant)
        return float("inf") if hurry_s is None else trio.current_time() + hurry_s

    def limited(self) -> _Limited:
        """The work: cancelled `linger_s` after the last waiter has left; the block then ends silently. Work
        that nobody has waited for yet has all the time that its requests have."""
        return _Limited(self)

    def linger(self) -> None:
        """Somebody is still about who will want more of this, without waiting for it now."""
        if not self.waiters and self._scope is not None:
            self._scope.deadline = trio.current_time() + self.linger_s

    def raise_to(self, priority: Priority) -> None:
        """Somebody more important needs this now."""
        if priority < self.priority:
            if self.line is not None:
                self.line.raise_to(self, priority)
            else:
                self.priority = priority

    def abandon(self) -> None:
        """Give up work that nobody waits for, unless it is already being served."""
        if not self.waiters and self.line is not None:
            self.line.give_up(self)


class _WaitedFor:
    """`Demand.waited_for`. A class, as all that a request passes: a generator costs more than its work."""

    __slots__ = ("_demand", "_follower", "_origin", "_patience", "_priority", "_until_s")

    def __init__(self, demand: Demand, priority: Priority, follower: Demand | None) -> None:
        self._demand = demand
        self._priority = priority
        self._follower = follower

    def __enter__(self) -> None:
        demand, follower = self._demand, self._follower
        self._origin: Origin | None = None
        self._patience = patience = trio.CancelScope(deadline=demand._hurried_until_s())
        patience.__enter__()
        self._until_s = trio.current_effective_deadline()
        demand._join(self._priority, patience, self._until_s if follower is None else float("-inf"))
        if follower is not None:
            demand._followers.append(follower)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        demand, patience = self._demand, self._patience
        if isinstance(error, trio.Cancelled):
            self._origin = demand._origin
            if self._origin is not None and trio.current_time() >= min(self._until_s, patience.deadline):
                self._origin.given_up(demand.tenant)
        if self._follower is not None:
            demand._followers.remove(self._follower)
        demand._part(patience)
        patience.__exit__(kind, error, trace)
        if patience.cancelled_caught:
            raise Unanswered(_TOO_LATE) if self._origin is None else self._origin.why_lost(demand.tenant)


class _Limited:
    """`Demand.limited`."""

    __slots__ = ("_demand", "_scope")

    def __init__(self, demand: Demand) -> None:
        self._demand = demand

    def __enter__(self) -> None:
        self._scope = self._demand._scope = trio.CancelScope()
        self._scope.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._demand._scope = None
        return self._scope.__exit__(kind, error, trace)


class _Following:
    """The line of a demand that waits for what another one brings."""

    def __init__(self, leader: Demand, scope: trio.CancelScope) -> None:
        self._leader = leader
        self._scope = scope

    def raise_to(self, demand: Demand, priority: Priority) -> None:
        demand.priority = priority
        self._leader.raise_to(priority)

    def give_up(self, demand: Demand) -> None:
        """Wait no longer. The leader is given up, too, where nobody else waits for it."""
        self._scope.cancel()


@contextmanager
def following(demand: Demand, leader: Demand) -> Iterator[None]:
    """Whoever makes the follower more urgent in this block makes the leader so, too. Raises `Abandoned` where
    the follower is given up, unless somebody waits for it by then: the block then ends silently."""
    with trio.CancelScope() as scope:
        demand.line = _Following(leader, scope)
        try:
            yield
        finally:
            demand.line = None
    if scope.cancelled_caught and not demand.waiters:
        raise Abandoned
