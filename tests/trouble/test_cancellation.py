"""Cancelled at every await: whoever goes away leaves tables, limiters and connections as they were.

An instrument counts the steps that voxofs's tasks take, the operation's own and those of the work that it
has set off. At the n-th step the operation is cancelled, wherever it waits then; for n = 1, 2, 3, … until it
completes first. After each cancellation everything must come to rest, and the same operation succeed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from unittest.mock import patch

import pytest
import trio
from harness.rig import config_for
from trials.matrix import AUDIO, HOUR, SIZES, tapes
from trials.virtual import TLS, leaks

from voxofs.clock import Clock
from voxofs.core.build import Core, open_core
from voxofs.simulator.server import Simulator
from voxofs.traffic.demand import Demand, Priority
from voxofs.traffic.gate import Gate

_PATIENCE_S = 30.0
_LEAST_AWAITS = 4
"""Of a report that nobody has asked for: its flight, a connection, the answer, the end."""
_MOST_STEPS = 2_000
TAPE = (*HOUR, "tape.mp3")
Operation = Callable[[Core], Awaitable[None]]


class CancelsAtStep(trio.abc.Instrument):
    """Cancels a scope when tasks of voxofs, its simulator excepted, have taken so many steps."""

    def __init__(self, scope: trio.CancelScope, steps: int) -> None:
        self._scope = scope
        self._left = steps

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task.name.startswith("voxofs.simulator") or not task.name.startswith(
            ("voxofs.", "test_cancellation.")
        ):
            return
        self._left -= 1
        if self._left == 0:
            self._scope.cancel()


async def listing(core: Core) -> None:
    names = await core.fs.listing(HOUR)
    assert [names.entry(index)[0] for index in range(len(names))] == sorted(f"{name}.mp3" for name in SIZES)


async def stat(core: Core) -> None:
    assert (await core.fs.lookup(TAPE)).size == SIZES["tape"]


async def opening(core: Core) -> None:
    (await core.fs.open(TAPE)).close()


async def read(core: Core) -> None:
    handle = await core.fs.open(TAPE)
    try:
        for at in (0, 65_536, 131_072, 1_200_000):
            assert await handle.read(at, 100_000) == AUDIO["tape"][at : at + 100_000]
    finally:
        handle.close()


async def attribute(core: Core) -> None:
    assert await core.fs.xattr(TAPE, "user.voxo.direction") == "OUT"


OPERATIONS: dict[str, Operation] = {
    "listing": listing, "stat": stat, "open": opening, "read": read, "xattr": attribute,
}  # fmt: skip


async def at_rest(core: Core) -> None:
    """Wait until nothing is under way. What is still there in the end is told."""
    with trio.move_on_after(_PATIENCE_S):
        while leaks(core):  # noqa: ASYNC110 (nothing tells the end of all work)
            await trio.sleep(0.001)
    assert leaks(core) == []


async def cold_core(stack: AsyncExitStack, sim: Simulator) -> Core:
    """A core that knows nothing yet."""
    sections: dict[str, dict[str, Any]] = {
        "api": {"connections": 3},
        "storage": {"connections": 3},
        "mount": {"deadline_s": 30.0},
    }
    with patch("ssl.create_default_context", lambda: TLS):
        return await stack.enter_async_context(open_core(config_for(sim, sections=sections), Clock()))


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_cancelled_at_every_await(operation: str) -> None:
    work = OPERATIONS[operation]
    async with Simulator([tapes()]) as sim:
        cancelled = 0
        for steps in range(1, _MOST_STEPS):
            async with AsyncExitStack() as stack:
                core = await cold_core(stack, sim)
                with trio.CancelScope() as scope:
                    instrument = CancelsAtStep(scope, steps)
                    trio.lowlevel.add_instrument(instrument)
                    try:
                        await work(core)
                    finally:
                        trio.lowlevel.remove_instrument(instrument)
                await at_rest(core)
                await work(core)
                await at_rest(core)
            if not scope.cancelled_caught:
                break
            cancelled += 1
        assert not scope.cancelled_caught, "the operation never got to its end"
        assert cancelled >= _LEAST_AWAITS, "the operation was hardly cancelled: nothing was tried"


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_unmounted_at_every_await(operation: str) -> None:
    """The whole core is cancelled under way, with all that it has begun."""
    work = OPERATIONS[operation]
    async with Simulator([tapes()]) as sim:
        cancelled = 0
        for steps in range(1, _MOST_STEPS):
            cores: list[Core] = []
            with trio.CancelScope() as scope:
                instrument = CancelsAtStep(scope, steps)
                async with AsyncExitStack() as stack:
                    core = await cold_core(stack, sim)
                    cores.append(core)
                    trio.lowlevel.add_instrument(instrument)
                    stack.callback(trio.lowlevel.remove_instrument, instrument)
                    await work(core)
            assert leaks(cores[0]) == []
            if not scope.cancelled_caught:
                break
            cancelled += 1
        assert not scope.cancelled_caught
        assert cancelled >= _LEAST_AWAITS


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_one_waiter_that_is_cancelled_never_cancels_the_others(operation: str) -> None:
    work = OPERATIONS[operation]
    async with Simulator([tapes()]) as sim:
        for steps in range(1, _MOST_STEPS):
            done = 0
            async with AsyncExitStack() as stack:
                core = await cold_core(stack, sim)

                async def waiter(core: Core = core) -> None:
                    nonlocal done
                    await work(core)
                    done += 1

                sim.reset_log()
                async with trio.open_nursery() as nursery:
                    with trio.CancelScope() as scope:
                        instrument = CancelsAtStep(scope, steps)
                        trio.lowlevel.add_instrument(instrument)
                        try:
                            nursery.start_soon(waiter)
                            nursery.start_soon(waiter)
                            await work(core)
                        finally:
                            trio.lowlevel.remove_instrument(instrument)
                assert done == 2
                await at_rest(core)
                assert sim.log.requests["reports"] == 1
                assert sim.log.requests["link"] <= 1
            if not scope.cancelled_caught:
                break
        assert not scope.cancelled_caught
        assert steps > 5


@pytest.mark.parametrize("priority", Priority)
async def test_a_place_that_is_given_to_somebody_who_leaves_at_that_moment_comes_back(
    priority: Priority,
) -> None:
    for ticks in range(4):
        gate = Gate("api", 1, monotonic_s=trio.current_time)
        holder = Demand("office", Priority.READER)
        await gate.enter(holder)
        entered = False

        async def leaver(scope: trio.CancelScope, gate: Gate = gate) -> None:
            nonlocal entered
            with scope:
                async with gate.place(Demand("office", priority)):
                    entered = True
                    await trio.sleep_forever()

        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()
            nursery.start_soon(leaver, scope)
            for _ in range(ticks):
                await trio.lowlevel.checkpoint()
            gate.leave(holder)
            scope.cancel()
        assert (gate.in_use, gate.waiting) == (0, 0), (ticks, entered)
        with trio.fail_after(1):
            await gate.enter(holder)
        gate.leave(holder)
