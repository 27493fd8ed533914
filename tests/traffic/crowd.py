"""Tasks at a gate, as many as a test likes, each with those who wait for it, and a clock to turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import trio

from voxofs.errors import Unanswered, Unavailable
from voxofs.traffic.demand import Abandoned, Demand, Priority
from voxofs.traffic.gate import Gate


class Time:
    """A clock that stands still unless told."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def gate_of(limit: int, tenants: int = 1, time: Callable[[], float] | None = None) -> Gate:
    return Gate("test", limit, monotonic_s=time or Time(), tenants=tenants)


class Crowd:
    """Tasks at a gate, each holding its place until it is told to leave: a fake origin that never hurries."""

    def __init__(self, gate: Gate, nursery: trio.Nursery) -> None:
        self.gate = gate
        self.nursery = nursery
        self.waiting: list[Visitor] = []
        self.inside: list[Visitor] = []
        self.served: list[str] = []
        self.given_up = 0
        self.refused = 0
        """Not let in at all: the origin rests, or is out of reach."""
        self.abandoned_though_awaited = False

    def send(self, tenant: str, priority: Priority, name: str = "") -> Visitor:
        visitor = Visitor(self, Demand(tenant, priority), name)
        self.waiting.append(visitor)
        self.nursery.start_soon(visitor.visit)
        return visitor


class Visitor:
    """One request."""

    def __init__(self, crowd: Crowd, demand: Demand, name: str) -> None:
        self.crowd = crowd
        self.demand = demand
        self.name = name
        self.scope = trio.CancelScope()
        self.leaves = trio.Event()
        self.followers: list[trio.CancelScope] = []
        self.told = 0
        """Followers who were told that the origin is out of reach."""

    def join(self, priority: Priority) -> None:
        """One more waits for the result."""
        self.crowd.nursery.start_soon(self._follow, priority)

    async def _follow(self, priority: Priority) -> None:
        with trio.CancelScope() as scope:
            try:
                with self.demand.waited_for(priority):
                    self.followers.append(scope)
                    try:
                        await trio.sleep_forever()
                    finally:
                        self.followers.remove(scope)
            except Unanswered:
                self.told += 1

    def part(self) -> None:
        """One of those who waited goes away."""
        if self.followers:
            self.followers[-1].cancel()

    async def visit(self) -> None:
        crowd = self.crowd
        with self.scope:
            try:
                async with crowd.gate.place(self.demand):
                    crowd.waiting.remove(self)
                    crowd.inside.append(self)
                    crowd.served.append(self.name)
                    try:
                        await self.leaves.wait()
                    finally:
                        crowd.inside.remove(self)
            except Unavailable:
                crowd.refused += 1
            except Abandoned:
                crowd.given_up += 1
                crowd.abandoned_though_awaited |= bool(self.followers)
            finally:
                if self in crowd.waiting:
                    crowd.waiting.remove(self)


def check(crowd: Crowd) -> None:
    """What must be so whenever everybody has done what they could."""
    gate = crowd.gate
    assert gate.in_use == len(crowd.inside) <= gate.places
    in_line = [visitor for visitor in crowd.waiting if visitor.demand.line is gate]
    assert gate.waiting == len(in_line)
    assert len(in_line) == len(crowd.waiting) or gate.resting_s, "somebody waits for nothing"
    assert gate.held == Counter(visitor.demand.tenant for visitor in crowd.inside)
    assert gate.background <= gate.in_use
    assert all(n > 0 for n in gate.held.values()), "a tenant's count that is zero is not kept"
    assert not crowd.abandoned_though_awaited, "somebody waited for what was given up"
    for visitor in in_line:
        demand = visitor.demand
        assert len(visitor.followers) == demand.waiters
        assert not gate.admits(demand.tenant, demand.priority), f"{demand} waits beside a free place"
