"""Who waits for a demand, for how long, and what becomes of the work when nobody does. In a time that
jumps."""

from __future__ import annotations

from functools import partial

import pytest
import trio
import trio.testing

from voxofs.errors import DeadlineExceeded, Unanswered, Unavailable
from voxofs.traffic.demand import Abandoned, Demand, Priority, following
from voxofs.traffic.gate import Gate
from voxofs.traffic.patience import Patience
from voxofs.traffic.retry import persistently

READER = Priority.READER


@pytest.fixture
def autojump_clock() -> trio.testing.MockClock:
    """Time passes when nobody has anything to do."""
    return trio.testing.MockClock(autojump_threshold=0)


def gate_of(limit: int = 8) -> Gate:
    return Gate("test", limit, monotonic_s=trio.current_time, patience_s=30)


async def wait_for(demand: Demand, seconds: float) -> None:
    """Somebody who waits that long and leaves."""
    with trio.move_on_after(seconds), demand.waited_for(READER):
        await trio.sleep_forever()


async def lose(gate: Gate, tenant: str = "a") -> None:
    """Have nothing answered for half a minute."""
    for pause_s in (30, 0):
        gate.unanswered(Demand(tenant, READER), Unavailable("refused"), trio.current_time())
        await trio.sleep(pause_s)
    assert tenant in gate.lost


# --- work and its waiters


async def test_work_goes_on_for_a_while_without_waiters(autojump_clock: trio.testing.MockClock) -> None:
    demand = Demand("a", READER, linger_s=5)
    ended_s: list[float] = []
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def work() -> None:
            with demand.limited():
                await trio.sleep_forever()
            ended_s.append(trio.current_time())

        await wait_for(demand, 2)
        await trio.sleep(4)
        await wait_for(demand, 10)  # somebody comes within the time
        left_s = trio.current_time()
    assert ended_s == [left_s + 5]


async def test_work_that_nobody_has_waited_for_has_its_time(autojump_clock: trio.testing.MockClock) -> None:
    demand = Demand("a", Priority.PREFETCH, linger_s=5)
    with demand.limited():
        await trio.sleep(60)
        return
    pytest.fail("it was ended")


async def test_patience_is_that_of_the_most_patient(autojump_clock: trio.testing.MockClock) -> None:
    demand = Demand("a", READER)
    assert demand.patience_s == float("-inf")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for, demand, 10)
        await trio.sleep(6)
        nursery.start_soon(wait_for, demand, 10)
        await trio.testing.wait_all_tasks_blocked()
        assert demand.patience_s == 10
        await trio.sleep(7)
        assert (demand.waiters, demand.patience_s) == (1, 3)
    assert demand.patience_s == float("-inf")


async def test_whoever_makes_a_follower_urgent_makes_its_leader_so() -> None:
    gate = gate_of(1)
    first, leader, follower = (Demand("a", priority) for priority in (READER, *[Priority.PREFETCH] * 2))

    async def pass_by(demand: Demand) -> None:
        async with gate.place(demand):
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        for demand in (first, leader):
            nursery.start_soon(pass_by, demand)
            await trio.testing.wait_all_tasks_blocked()
        with following(follower, leader):
            follower.raise_to(READER)
            assert (follower.priority, leader.priority) == (READER, READER)
            follower.abandon()
            assert gate.waiting == 1, "the leader goes on"
        nursery.cancel_scope.cancel()


async def test_who_waits_for_a_follower_is_as_patient_for_its_leader(
    autojump_clock: trio.testing.MockClock,
) -> None:
    leader, follower = Demand("a", Priority.PREFETCH), Demand("a", Priority.PREFETCH)

    async def follow() -> None:
        with leader.waited_for(follower.priority, follower):
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        await trio.testing.wait_all_tasks_blocked()
        assert leader.waiters == 1
        assert leader.patience_s == float("-inf"), "nobody waits for the follower"
        with trio.fail_after(5), follower.waited_for(READER):
            await trio.lowlevel.checkpoint()
            assert leader.patience_s == pytest.approx(5)
        nursery.cancel_scope.cancel()


async def test_a_follower_that_is_given_up_takes_its_leader_with_it_if_nobody_else_waits() -> None:
    gate = gate_of(1)
    first, leader, follower = (Demand("a", priority) for priority in (READER, *[Priority.PREFETCH] * 2))
    ends: list[str] = []

    async def pass_by(demand: Demand) -> None:
        try:
            async with gate.place(demand):
                await trio.sleep_forever()
        except Abandoned:
            ends.append("leader")

    async def follow() -> None:
        try:
            with following(follower, leader), leader.waited_for(follower.priority, follower):
                await trio.sleep_forever()
        except Abandoned:
            ends.append("follower")

    async with trio.open_nursery() as nursery:
        for task in (partial(pass_by, first), partial(pass_by, leader), follow):
            nursery.start_soon(task)
            await trio.testing.wait_all_tasks_blocked()
        follower.abandon()
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(ends) == ["follower", "leader"]
        assert gate.waiting == 0
        nursery.cancel_scope.cancel()


# --- deadlines


async def test_a_deadline_names_what_took_so_long(autojump_clock: trio.testing.MockClock) -> None:
    with (
        pytest.raises(DeadlineExceeded, match=r"the look-up of /x took longer than 3 s"),
        Patience(3).limited("the look-up of /x"),
    ):
        await trio.sleep(4)
    assert trio.current_time() == pytest.approx(3, abs=0.001)


@pytest.mark.parametrize("deadline_s", [3.0, 10.0, 30.0])
async def test_tries_last_as_long_as_the_deadline(
    deadline_s: float, autojump_clock: trio.testing.MockClock
) -> None:
    """They end in its last tenth, with the cause."""
    demand = Demand("a", READER)
    tries_s: list[float] = []

    async def fail() -> None:
        tries_s.append(trio.current_time())
        raise Unavailable("refused")

    with trio.fail_after(deadline_s), demand.waited_for(READER), pytest.raises(Unavailable, match="refused"):
        await persistently(fail, demand)
    assert 0.85 * deadline_s < tries_s[-1] - tries_s[0] < deadline_s
    assert len(tries_s) > 8


async def test_what_nobody_waits_for_is_tried_once() -> None:
    tries = 0

    async def fail() -> None:
        nonlocal tries
        tries += 1
        raise Unavailable("refused")

    with pytest.raises(Unavailable):
        await persistently(fail, Demand("a", READER))
    assert tries == 1


# --- an origin out of reach


async def test_the_first_waits_a_second_and_the_others_are_told_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    gate = gate_of()
    await lose(gate)
    waited_s = [await _visit(gate, "a", hangs=True) for _ in range(60)]
    assert max(waited_s) == pytest.approx(1, abs=0.01)
    assert sum(waited_s) < 10
    assert await _visit(gate, "b") == 0, "another tenant is let in"


async def test_a_failure_is_not_repeated_while_out_of_reach(autojump_clock: trio.testing.MockClock) -> None:
    gate = gate_of()
    await lose(gate)
    demand, begun_s = Demand("a", READER), trio.current_time()

    async def fail() -> None:
        async with gate.request(demand):
            raise Unavailable("refused")

    with trio.fail_after(30), demand.waited_for(READER), pytest.raises(Unavailable, match="refused"):
        await persistently(fail, demand)
    assert trio.current_time() == begun_s


async def test_the_first_answer_lets_those_in_who_wait(autojump_clock: trio.testing.MockClock) -> None:
    gate = gate_of()
    await lose(gate)
    entered: list[str] = []

    async def visit(name: str, answered_after_s: float) -> None:
        demand = Demand("a", READER, linger_s=5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_work, gate, demand, answered_after_s)
            with demand.waited_for(READER):
                await trio.sleep(3)
            entered.append(name)

    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(visit, str(number), 0.5)
            await trio.testing.wait_all_tasks_blocked()
    assert sorted(entered) == ["0", "1", "2", "3"], "nobody hurries any more after half a second"
    assert gate.lost == {}


async def test_background_work_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    gate = gate_of()
    await lose(gate)
    with pytest.raises(Unanswered, match="nothing has answered for a while"):
        async with gate.place(Demand("a", Priority.PREFETCH)):
            pytest.fail("let in")
    async with gate.place(Demand("b", Priority.PREFETCH)):
        pass


async def test_forgiving_lets_everybody_try_anew(autojump_clock: trio.testing.MockClock) -> None:
    gate = gate_of()
    await lose(gate)
    gate.refused("a", 3_600)
    gate.forgive()
    assert (gate.lost, gate.resting_s) == ({}, 0)
    async with gate.place(Demand("a", Priority.PREFETCH)):
        pass


# --- Retry-After


async def test_an_origin_at_rest_is_waited_for_within_the_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    gate = gate_of()
    begun_s = trio.current_time()
    gate.refused("a", 20)
    for limit_s, entered in ((10, False), (30, True)):
        demand = Demand("a", READER)
        with trio.fail_after(limit_s), demand.waited_for(READER):
            if entered:
                async with gate.place(demand):
                    assert trio.current_time() == begun_s + 20
            else:
                with pytest.raises(Unavailable, match=r"left alone for another 20 s") as told:
                    async with gate.place(demand):
                        pass
                assert told.value.retry_after_s == 20
                assert trio.current_time() == begun_s


async def test_a_nonsensical_retry_after_rests_for_an_hour() -> None:
    gate = gate_of()
    gate.refused("a", 99_999_999)
    assert gate.resting_s == pytest.approx(3_600, abs=5)


@pytest.mark.parametrize("held", [0, 1])
async def test_a_reader_of_each_tenant_finds_a_place_however_low_the_limit(
    held: int, autojump_clock: trio.testing.MockClock
) -> None:
    gate = Gate("test", 1, monotonic_s=trio.current_time, tenants=2)
    async with gate.place(Demand("a", READER)), gate.place(Demand("b", READER)):
        assert gate.in_use == 2 <= gate.places
        with trio.move_on_after(5) as waited:
            async with gate.place(Demand("ab"[held], READER)):
                pytest.fail("two places for one")
        assert waited.cancelled_caught


async def _visit(gate: Gate, tenant: str, *, hangs: bool = False) -> float:
    """How long a user waited who asked for something with a patience of 30 s."""
    demand, begun_s = Demand(tenant, READER, linger_s=5), trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_work, gate, demand, 8 if hangs else 0)
        try:
            with trio.fail_after(30), demand.waited_for(READER):
                if hangs:
                    await trio.sleep_forever()
                await trio.testing.wait_all_tasks_blocked()
        except Unanswered:
            pass
        waited_s = trio.current_time() - begun_s
        nursery.cancel_scope.cancel()
    return waited_s


async def _work(gate: Gate, demand: Demand, takes_s: float) -> None:
    with demand.limited():
        async with gate.request(demand):
            await trio.sleep(takes_s)
