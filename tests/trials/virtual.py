"""A simulator and a core over it, real sockets between them, in a time that jumps.

Both ends run in one event loop under trio's `MockClock`: when neither has had anything to do for a moment,
time jumps to whatever is due next. So time-outs, retries and link lifetimes are those of the real
configuration, cost milliseconds, and are exact: work takes no time at all.

Loopback delivers within the system call that sends, so `_IDLE_S` only has to outlast the scheduler's whims;
while a thread is at work for trio, time stands still.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar
from unittest.mock import patch

import trio
from harness.rig import Sections, config_for
from harness.world import epoch_s, office
from trio.testing import MockClock

from voxofs.clock import Clock
from voxofs.core.build import Core, open_core
from voxofs.simulator.server import Simulator
from voxofs.simulator.world import FixedTenant, TenantSpec
from voxofs.traffic.http import HttpClient

T = TypeVar("T")

DEADLINE_S = 30.0
"""The default of `mount.deadline_s`."""
CONNECTIONS = 6
_IDLE_S = 0.005
_LOOKS_EVERY_S = 5.0
_PATIENCE_S = 2 * DEADLINE_S + 5.0
"""After that nothing may be under way that nobody waits for."""


def jumping_clock() -> MockClock:
    """A clock for one test, to be asked for as a fixture: pytest-trio runs the test by it."""
    clock = MockClock(autojump_threshold=_IDLE_S)
    jump = clock._autojump

    def jump_unless_threads_work() -> None:
        if not trio.to_thread.current_default_thread_limiter().borrowed_tokens:
            jump()

    clock._autojump = jump_unless_threads_work  # type: ignore[method-assign]
    return clock


TLS = ssl.create_default_context()
"""Loaded once: the system's certificates take longer than a whole trial, and none of them is used."""


@dataclass
class Offset:
    """What has happened to the clocks beside the time that passes by itself, in seconds."""

    slept_s: float = 0.0
    """How long the machine was suspended: no timer ran meanwhile, everybody's clocks went on."""
    wall_s: float = 0.0
    """By how much somebody has set this machine's wall clock."""


@dataclass
class Trial:
    """Both ends."""

    sim: Simulator
    core: Core
    offset: Offset

    async def at_rest(self) -> list[str]:
        """What is still there once nothing is under way any more: an empty list, or there is a leak."""
        with trio.move_on_after(_PATIENCE_S):
            while leaks(self.core) or any(self.sim.log.in_flight.values()):  # noqa: ASYNC110
                # All trials of a test look at the same moments: every jump costs real time.
                await trio.sleep_until((trio.current_time() // _LOOKS_EVERY_S + 1) * _LOOKS_EVERY_S)
        return leaks(self.core)


def clients(core: Core) -> tuple[HttpClient, HttpClient]:
    """The connections to both origins."""
    return core.clients


def leaks(core: Core) -> list[str]:
    """Everything that is not as it was before the first request, as far as it should be."""
    found = [repr(gate) for gate in core.gates if gate.in_use or gate.waiting or gate.held or gate.background]
    if core.library.fetches:
        found.append(f"{core.library.fetches} fetches")
    found += [
        f"{recording!r}: {recording.users} users, {recording.probing}, {recording.leasing}"
        for recording in core.library.recordings()
        if recording.owed or recording.probing or recording.leasing or recording.users
    ]
    if core.catalog.asked:
        found.append(f"{core.catalog.asked} windows under way")
    found += [
        f"{http.connections - http.free} connections in use"
        for http in clients(core)
        if http.free != http.connections
    ]
    return found


@asynccontextmanager
async def open_trial(
    tenants: Sequence[TenantSpec | FixedTenant] | None = None,
    *,
    sections: Sections | None = None,
    wall: str = "2024-04-20 12:00:00",
    connections: int = CONNECTIONS,
) -> AsyncIterator[Trial]:
    """Simulator and core in virtual time."""
    began_s = epoch_s(wall)
    offset = Offset()
    given = {name: dict(values) for name, values in (sections or {}).items()}
    given["mount"] = {"deadline_s": DEADLINE_S} | given.get("mount", {})
    for section in ("api", "storage"):
        given[section] = {"connections": connections} | given.get(section, {})

    def true_s() -> float:
        return trio.current_time() + offset.slept_s

    clock = Clock(true_s, lambda: began_s + true_s() + offset.wall_s)
    async with Simulator([office()] if tenants is None else tenants, clock=lambda: began_s + true_s()) as sim:
        async with AsyncExitStack() as stack:
            with patch("ssl.create_default_context", lambda: TLS):
                core = await stack.enter_async_context(open_core(config_for(sim, sections=given), clock))
            yield Trial(sim, core, offset)
        assert sim.log.leaked_authorization == 0, "the token was given to the storage"


async def timed(work: Callable[[], Awaitable[T]]) -> tuple[T, float]:
    """What the work gives, and how long it took in virtual seconds."""
    began_s = trio.current_time()
    return await work(), trio.current_time() - began_s
