"""The gate: its invariants under any sequence of events, its order of service, its answer to overload."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import pairwise
from statistics import mean

import pytest
import trio
import trio.testing
from crowd import Crowd, Time, check, gate_of
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from voxofs.errors import Unavailable
from voxofs.traffic.demand import Demand, Priority
from voxofs.traffic.gate import Gate
from voxofs.traffic.retry import persistently

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
                "overload",
                "succeed",
                "unanswered",
                "unanswered",
                "rest",
                "later",
                "forgive",
            ]
        ),
        st.integers(0, 30),
        st.sampled_from("abc"),
        st.sampled_from(Priority),
    ),
    max_size=60,
)
LONGEST_PAUSE_S = 5.0
"""A tenth of the patience of 30 s, jittered up to half as long again, and a little more."""


@given(steps=STEPS, limit=st.integers(1, 12), tenants=st.integers(1, 3), rush=st.booleans())
@settings(max_examples=120, deadline=None)
def test_invariants_hold_after_any_sequence_of_events(
    steps: list[tuple[str, int, str, Priority]], limit: int, tenants: int, rush: bool
) -> None:
    """`rush`: events follow each other without anybody getting a turn between them."""

    clock = trio.testing.MockClock()

    async def run() -> None:
        gate = gate_of(limit, tenants, trio.current_time)
        async with trio.open_nursery() as nursery:
            crowd = Crowd(gate, nursery)
            for what, which, tenant, priority in steps:
                _take_step(crowd, clock, what, which, tenant if tenants > 1 else "a", priority)
                if not rush:
                    await trio.testing.wait_all_tasks_blocked()
                    check(crowd)
            await trio.testing.wait_all_tasks_blocked()
            check(crowd)
            clock.jump(gate.resting_s)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(len(steps)):
                if crowd.inside:
                    crowd.inside[0].leaves.set()
                    await trio.testing.wait_all_tasks_blocked()
                clock.jump(LONGEST_PAUSE_S)
                await trio.testing.wait_all_tasks_blocked()
            assert crowd.waiting == crowd.inside == [], "somebody was forgotten"
            nursery.cancel_scope.cancel()  # who waits for the results
        assert (gate.in_use, gate.waiting, gate.background, gate.held) == (0, 0, 0, Counter())

    trio.run(run, clock=clock)


def _take_step(
    crowd: Crowd, clock: trio.testing.MockClock, what: str, which: int, tenant: str, priority: Priority
) -> None:
    everybody = [*crowd.waiting, *crowd.inside]
    somebody = everybody[which % len(everybody)] if everybody else None
    if what == "enter":
        crowd.send(tenant, priority)
    elif what == "overload":
        crowd.gate.refused(tenant, None)
    elif what == "succeed" and crowd.inside:
        served = crowd.inside[which % len(crowd.inside)]
        crowd.gate.succeeded(served.demand.tenant)
        served.leaves.set()  # as it is used: a success gives its place back
    elif what == "unanswered" and crowd.inside:
        began_s = trio.current_time()
        clock.jump(which)
        failed = crowd.inside[which % len(crowd.inside)]
        crowd.gate.unanswered(failed.demand, Unavailable("no answer"), began_s)
        failed.leaves.set()
    elif what == "rest":
        crowd.gate.refused(tenant, float(which))
    elif what == "later":
        clock.jump(which)
        crowd.send(tenant, Priority.READER)  # who comes finds what time alone has changed
    elif what == "forgive":
        crowd.gate.forgive()
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


@pytest.fixture
def autojump_clock() -> MockClock:
    """Time passes when nobody has anything to do."""
    return MockClock(autojump_threshold=0)


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


async def test_work_that_was_served_before_goes_straight_in_where_nobody_stands_in_line() -> None:
    gate, link, other = gate_of(8), Demand("a", Priority.PREFETCH), Demand("a", Priority.PREFETCH)
    with trio.testing.assert_checkpoints():  # so that all that was begun together can queue up
        await gate.enter(link)
    gate.leave(link)
    with trio.testing.assert_no_checkpoints():
        await gate.enter(link)
    gate.leave(link)
    with trio.testing.assert_checkpoints():
        await gate.enter(other)
    gate.leave(other)


async def test_work_that_was_served_before_stands_in_line_where_somebody_does() -> None:
    gate, served, first = gate_of(2), Demand("a", Priority.PREFETCH), Demand("a", Priority.PREFETCH)
    done = []

    async def enter(demand: Demand, name: str) -> None:
        async with gate.place(demand):
            done.append(name)

    async with gate.place(served):
        pass
    async with trio.open_nursery() as nursery, gate.place(Demand("a", Priority.PREFETCH)):
        for demand, name in ((first, "first"), (served, "served")):  # background work has no second place
            nursery.start_soon(enter, demand, name)
            await trio.testing.wait_all_tasks_blocked()
        assert gate.waiting == 2
    assert sorted(done) == ["first", "served"]


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
        await trio.testing.wait_all_tasks_blocked()
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
        await trio.testing.wait_all_tasks_blocked()
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
        with visitor.demand.waited_for(Priority.READER):
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


def test_the_limit_falls_once_for_each_event_and_grows_back_with_successes() -> None:
    time = Time()
    gate = gate_of(32, time=time)
    time.now_s = 100.0
    for began_s in (99.0, 99.9, 100.0):
        gate.refused("a", None, began_s)
    assert (gate.limit, gate.shrunk) == (25, True), "what was sent before the word came is one event"
    for limit in (20, 16, 13, 10):
        time.now_s += 1.0
        gate.refused("a", None, time.now_s - 0.5)
        assert gate.limit == limit
    successes = 0
    while gate.shrunk:
        gate.succeeded("a", 0.1)
        time.now_s += 0.1
        successes += 1
    assert successes < 20 + 32 * 8, "at once to what was borne, then about one more for each round"
    assert gate.limit == 32


async def test_a_shrunk_gate_admits_no_more_than_its_limit_and_half_of_that_for_background_work() -> None:
    async def tell(crowd: Crowd) -> None:
        crowd.gate.refused("a", None)
        for _ in range(32):
            crowd.send("a", Priority.PREFETCH)
        await trio.testing.wait_all_tasks_blocked()
        assert crowd.gate.in_use == 6
        for _ in range(32):
            crowd.send("a", Priority.READER)
        await trio.testing.wait_all_tasks_blocked()
        assert crowd.gate.in_use == 12

    await with_crowd(gate_of(16), tell)


async def test_below_one_at_once_there_are_pauses_between_requests(autojump_clock: MockClock) -> None:
    """Whoever comes, waits or asks in the background: one request at a time, and on average as many as the
    limit says."""
    gate = gate_of(1, time=trio.current_time)
    while gate.interval_s < 0.2:
        await trio.sleep(1)
        gate.refused("a", None)
    begun_s: list[float] = []

    async def visit(priority: Priority) -> None:
        demand = Demand("a", priority)
        with demand.waited_for(priority):
            async with gate.place(demand):
                assert gate.in_use == 1
                begun_s.append(trio.current_time())
                await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        for number in range(40):
            nursery.start_soon(visit, Priority(number % 3))
    pauses_s = [after - before for before, after in pairwise(begun_s)]
    assert min(pauses_s) > 0.1
    assert mean(pauses_s) == pytest.approx(gate.interval_s, rel=0.25)
    assert gate.interval_s == pytest.approx(0.24, abs=0.04)


@pytest.mark.parametrize("deadline_s", [3.0, 30.0])
async def test_who_was_refused_to_the_end_is_told_so(deadline_s: float, autojump_clock: MockClock) -> None:
    """And not that time is up."""
    gate = Gate("test", 8, monotonic_s=trio.current_time, patience_s=deadline_s)
    asked = 0
    told: list[float] = []

    async def ask() -> None:
        demand = Demand("a", Priority.READER)

        async def once() -> None:
            nonlocal asked
            async with gate.request(demand):
                asked += 1
                await trio.sleep(0.005)
                raise Unavailable("too much", status=429)

        with trio.fail_after(deadline_s), demand.waited_for(Priority.READER):
            try:
                await persistently(once, demand)
            except Unavailable:
                told.append(trio.current_time())

    began_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(ask)
    assert len(told) == 8
    assert 0.8 * deadline_s < min(told) - began_s <= max(told) - began_s < deadline_s
    assert 10 < asked < 100, "each by itself would ask twice as often"


@pytest.mark.parametrize("rest_s", [3_600.0, 2.0])
async def test_retry_after_holds_for_those_in_line_too(rest_s: float, autojump_clock: MockClock) -> None:
    """Of a hundred who stand in line when the first is refused, only those inside have sent anything."""
    limit = 4
    gate = Gate("test", limit, monotonic_s=trio.current_time, patience_s=30.0)
    sent_s: list[float] = []
    refused = 0

    async def ask(priority: Priority) -> None:
        nonlocal refused
        demand = Demand("a", priority)
        with trio.move_on_after(30), demand.waited_for(priority):
            try:
                async with gate.request(demand):
                    sent_s.append(trio.current_time())
                    await trio.sleep(0.01)
                    if len(sent_s) <= limit:
                        raise Unavailable("too much", status=429, retry_after_s=rest_s)
            except Unavailable:
                refused += 1

    began_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(ask, Priority.PREFETCH if number % 3 == 2 else Priority.READER)
    assert sum(at_s < began_s + rest_s for at_s in sent_s) == limit
    if rest_s > 30:
        assert refused == 100
        assert trio.current_time() - began_s < 1, "nobody waits for what will not come"
    else:
        assert refused == limit + 33, "those who read wait, what is fetched ahead is given up"
        assert len(sent_s) == limit + 63
    assert (gate.in_use, gate.waiting) == (0, 0)
