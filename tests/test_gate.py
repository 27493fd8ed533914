"""The gate: its invariants under any sequence of events, its order of service, its answer to overload."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from voxofs.gate import Abandoned, Demand, Gate, Priority


class Time:
    """A clock that stands still unless told."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def gate_of(limit: int, tenants: int = 1, time: Time | None = None) -> Gate:
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
        self.followers: list[ExitStack] = []

    def join(self, priority: Priority) -> None:
        """One more waits for the result."""
        follower = ExitStack()
        follower.enter_context(self.demand.waited_for(priority))
        self.followers.append(follower)

    def part(self) -> None:
        """One of those who waited goes away."""
        if self.followers:
            self.followers.pop().close()

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
            except Abandoned:
                crowd.given_up += 1
                crowd.abandoned_though_awaited |= bool(self.followers)
            finally:
                if self in crowd.waiting:
                    crowd.waiting.remove(self)


def check(crowd: Crowd) -> None:
    """What must be so whenever everybody has done what they could."""
    gate = crowd.gate
    assert gate.in_use == len(crowd.inside) <= gate.most
    assert gate.waiting == len(crowd.waiting)
    assert gate._held == Counter(visitor.demand.tenant for visitor in crowd.inside)
    assert gate._background == sum(visitor.demand.counted_as_background for visitor in crowd.inside)
    assert all(n > 0 for n in gate._held.values()), "a tenant's count that is zero is not kept"
    assert not any(line == {} for tenants in gate._waiting for line in tenants.values())
    assert not crowd.abandoned_though_awaited, "somebody waited for what was given up"
    for visitor in crowd.waiting:
        demand = visitor.demand
        assert len(visitor.followers) == demand.waiters
        assert not gate._admissible(demand.tenant, demand.priority), f"{demand} waits beside a free place"


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "enter",
                "enter",
                "enter",
                "leave",
                "cancel",
                "join",
                "join",
                "part",
                "abandon",
                "overload",
                "succeed",
            ]
        ),
        st.integers(0, 30),
        st.sampled_from("abc"),
        st.sampled_from(Priority),
    ),
    max_size=60,
)


@given(steps=STEPS, limit=st.integers(1, 12), tenants=st.integers(1, 3), rush=st.booleans())
@settings(max_examples=120, deadline=None)
def test_invariants_hold_after_any_sequence_of_events(
    steps: list[tuple[str, int, str, Priority]], limit: int, tenants: int, rush: bool
) -> None:
    """`rush`: events follow each other without anybody getting a turn between them."""

    async def run() -> None:
        time = Time()
        gate = gate_of(limit, tenants, time)
        async with trio.open_nursery() as nursery:
            crowd = Crowd(gate, nursery)
            for what, which, tenant, priority in steps:
                _take_step(crowd, time, what, which, tenant, priority)
                if not rush:
                    await trio.testing.wait_all_tasks_blocked()
                    check(crowd)
            await trio.testing.wait_all_tasks_blocked()
            check(crowd)
            while crowd.inside:
                crowd.inside[0].leaves.set()
                await trio.testing.wait_all_tasks_blocked()
            assert not crowd.waiting, "somebody was forgotten"
        assert (gate.in_use, gate.waiting, gate._background, gate._held) == (0, 0, 0, Counter())

    trio.run(run)


def _take_step(crowd: Crowd, time: Time, what: str, which: int, tenant: str, priority: Priority) -> None:
    everybody = [*crowd.waiting, *crowd.inside]
    somebody = everybody[which % len(everybody)] if everybody else None
    if what == "enter":
        crowd.send(tenant if crowd.gate._share_fairly else "a", priority)
    elif what == "overload":
        time.now_s += which / 10
        crowd.gate.overloaded()
    elif what == "succeed" and crowd.inside:
        crowd.gate.succeeded()
        crowd.inside[which % len(crowd.inside)].leaves.set()  # as it is used: a success gives its place back
    elif somebody is None:
        return
    elif what == "leave":
        somebody.leaves.set()
    elif what == "cancel":
        somebody.scope.cancel()
    elif what == "join":
        somebody.join(priority)
    elif what == "part":
        somebody.part()
    elif what == "abandon":
        somebody.demand.abandon()


async def with_crowd(gate: Gate, tell: Callable[[Crowd], Awaitable[None]]) -> Crowd:
    async with trio.open_nursery() as nursery:
        crowd = Crowd(gate, nursery)
        await tell(crowd)
        nursery.cancel_scope.cancel()
    assert (gate.in_use, gate.waiting) == (0, 0)
    return crowd


async def empty(crowd: Crowd) -> None:
    """Everybody leaves, one after another."""
    while crowd.inside:
        crowd.inside[0].leaves.set()
        await trio.testing.wait_all_tasks_blocked()


# --- order


async def test_a_reader_overtakes_a_full_queue() -> None:
    async def tell(crowd: Crowd) -> None:
        for n in range(50):
            crowd.send("a", Priority.PREFETCH, f"prefetch {n}")
        await trio.testing.wait_all_tasks_blocked()
        for n in range(4):
            crowd.send("a", Priority.READER, f"reader {n}")
        await trio.testing.wait_all_tasks_blocked()
        crowd.send("a", Priority.READAHEAD, "readahead")
        await trio.testing.wait_all_tasks_blocked()
        before = len(crowd.served)
        await empty(crowd)
        after = crowd.served[before:]
        assert all(name.startswith("reader") for name in after[:3])
        assert after[3] == "readahead"

    await with_crowd(gate_of(4), tell)


async def test_equals_are_served_in_the_order_in_which_they_asked() -> None:
    async def tell(crowd: Crowd) -> None:
        crowd.send("a", Priority.READER, "first")
        await trio.testing.wait_all_tasks_blocked()
        for n in range(20):
            crowd.send("a", Priority.READER, str(n))
        await trio.testing.wait_all_tasks_blocked()
        await empty(crowd)
        assert crowd.served == ["first", *(str(n) for n in range(20))]

    for _ in range(5):  # trio shuffles its tasks
        await with_crowd(gate_of(1), tell)


@pytest.mark.parametrize("limit", [1, 2, 4, 16, 32, 64])
async def test_background_work_never_takes_the_last_places(limit: int) -> None:
    async def tell(crowd: Crowd) -> None:
        for n in range(2 * limit):
            crowd.send("a", Priority(1 + n % 2))
        await trio.testing.wait_all_tasks_blocked()
        if limit > 1:
            assert 0 < crowd.gate.in_use < limit
            crowd.send("a", Priority.READER, "reader")
            await trio.testing.wait_all_tasks_blocked()
            assert crowd.served[-1] == "reader"

    await with_crowd(gate_of(limit), tell)


async def test_a_demand_that_is_raised_overtakes_those_that_were_before_it() -> None:
    async def tell(crowd: Crowd) -> None:
        crowd.send("a", Priority.READER, "first")
        await trio.testing.wait_all_tasks_blocked()
        visitors = [crowd.send("a", Priority.PREFETCH, str(n)) for n in range(10)]
        await trio.testing.wait_all_tasks_blocked()
        visitors[7].demand.raise_to(Priority.READER)
        visitors[7].demand.raise_to(Priority.PREFETCH)  # never down
        await empty(crowd)
        assert crowd.served == ["first", "7", *(str(n) for n in range(10) if n != 7)]

    await with_crowd(gate_of(1), tell)


# --- giving up


async def test_only_what_nobody_waits_for_and_is_not_being_served_can_be_given_up() -> None:
    async def tell(crowd: Crowd) -> None:
        inside = crowd.send("a", Priority.PREFETCH)
        await trio.testing.wait_all_tasks_blocked()
        awaited, unwanted = crowd.send("a", Priority.PREFETCH), crowd.send("a", Priority.PREFETCH)
        await trio.testing.wait_all_tasks_blocked()
        awaited.join(Priority.READER)
        for visitor in (inside, awaited, unwanted):
            visitor.demand.abandon()
        await trio.testing.wait_all_tasks_blocked()
        assert crowd.given_up == 1
        assert (crowd.inside, crowd.waiting) == ([inside], [awaited])

    await with_crowd(gate_of(1), tell)


async def test_a_demand_goes_with_the_last_who_waits_for_it() -> None:
    async def tell(crowd: Crowd) -> None:
        crowd.send("a", Priority.READER)
        await trio.testing.wait_all_tasks_blocked()
        visitor = crowd.send("a", Priority.READER)
        await trio.testing.wait_all_tasks_blocked()
        visitor.join(Priority.READER)
        visitor.join(Priority.READER)
        visitor.part()
        await trio.testing.wait_all_tasks_blocked()
        assert crowd.given_up == 0
        visitor.part()
        await trio.testing.wait_all_tasks_blocked()
        assert (crowd.given_up, crowd.gate.waiting) == (1, 0)

    await with_crowd(gate_of(1), tell)


async def test_a_demand_that_is_wanted_after_it_was_given_up_is_served() -> None:
    """Somebody begins to wait for it before it has left: they must not be told that nobody did."""

    async def tell(crowd: Crowd) -> None:
        crowd.send("a", Priority.READER, "first")
        await trio.testing.wait_all_tasks_blocked()
        visitor = crowd.send("a", Priority.PREFETCH, "wanted after all")
        await trio.testing.wait_all_tasks_blocked()
        visitor.demand.abandon()
        visitor.join(Priority.READER)
        await trio.testing.wait_all_tasks_blocked()
        await empty(crowd)
        assert (crowd.served, crowd.given_up) == (["first", "wanted after all"], 0)

    await with_crowd(gate_of(1), tell)


# --- tenants


async def test_tenants_take_turns() -> None:
    async def tell(crowd: Crowd) -> None:
        crowd.send("a", Priority.READER, "first")
        await trio.testing.wait_all_tasks_blocked()
        for n in range(20):
            crowd.send("a", Priority.READER, f"a{n}")
        await trio.testing.wait_all_tasks_blocked()
        for n in range(3):
            crowd.send("b", Priority.READER, f"b{n}")
        await trio.testing.wait_all_tasks_blocked()
        await empty(crowd)
        assert [crowd.served.index(f"b{n}") for n in range(3)] <= [3, 5, 7]

    await with_crowd(gate_of(1, tenants=2), tell)


@pytest.mark.parametrize("limit", [4, 8, 32])
@pytest.mark.parametrize("priority", list(Priority))
async def test_a_tenant_whose_requests_hang_leaves_places_to_others(limit: int, priority: Priority) -> None:
    async def tell(crowd: Crowd) -> None:
        for _ in range(3 * limit):
            crowd.send("hangs", priority)
        await trio.testing.wait_all_tasks_blocked()
        assert crowd.gate.in_use < limit
        crowd.send("well", Priority.READER, "served")
        await trio.testing.wait_all_tasks_blocked()
        assert crowd.served[-1] == "served"

    await with_crowd(gate_of(limit, tenants=2), tell)


async def test_one_tenant_alone_may_use_every_place() -> None:
    async def tell(crowd: Crowd) -> None:
        for _ in range(20):
            crowd.send("a", Priority.READER)
        await trio.testing.wait_all_tasks_blocked()
        assert crowd.gate.in_use == 8

    assert (await with_crowd(gate_of(8), tell)).gate.peak == 8


# --- overload


def test_the_limit_halves_once_a_second_and_grows_back_with_successes() -> None:
    time = Time()
    gate = gate_of(32, time=time)
    gate.overloaded()
    gate.overloaded()
    assert (gate.limit, gate.shrunk) == (16, True)
    for limit in (8, 4, 2, 1, 1):
        time.now_s += 1.0
        gate.overloaded()
        assert gate.limit == limit
    rounds = 0
    while gate.shrunk:
        before = gate.limit
        for _ in range(before + 1):
            gate.succeeded()
        assert before < gate.limit <= before + 2, "about one more for each round"
        rounds += 1
    assert rounds <= 32
    gate.succeeded()
    assert gate.limit == 32


async def test_a_shrunk_gate_admits_no_more_than_its_limit_and_half_of_that_for_background_work() -> None:
    async def tell(crowd: Crowd) -> None:
        crowd.gate.overloaded()
        for _ in range(32):
            crowd.send("a", Priority.PREFETCH)
        await trio.testing.wait_all_tasks_blocked()
        assert crowd.gate.in_use == 4
        for _ in range(32):
            crowd.send("a", Priority.READER)
        await trio.testing.wait_all_tasks_blocked()
        assert crowd.gate.in_use == 8

    await with_crowd(gate_of(16), tell)
