"""A simulator in a thread of its own, for tests that are programs without an event loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import trio

from voxofs.simulator.server import Simulator
from voxofs.simulator.world import FixedTenant, TenantSpec

from .rig import PATIENCE_S
from .world import office

T = TypeVar("T")


class Vendor:
    """The simulator, and a way to its thread."""

    def __init__(self, sim: Simulator, token: trio.lowlevel.TrioToken) -> None:
        self.sim = sim
        self._token = token

    def do(self, action: Callable[[], T]) -> T:
        """Have something done in the simulator's thread."""
        return trio.from_thread.run_sync(action, trio_token=self._token)

    def counts(self) -> dict[str, int]:
        """Requests by route since the log was reset, once none is under way."""
        gives_up_s = time.monotonic() + PATIENCE_S
        calm = 0
        while calm < 3:
            assert time.monotonic() < gives_up_s, "requests do not end"
            time.sleep(0.02)
            calm = 0 if self.do(lambda: any(self.sim.log.in_flight.values())) else calm + 1
        return self.do(lambda: dict(self.sim.log.requests))

    def reset(self) -> None:
        """Forget the requests so far."""
        self.counts()
        self.do(self.sim.reset_log)


@contextmanager
def vendor(tenants: Sequence[TenantSpec | FixedTenant] | None = None, **options: Any) -> Iterator[Vendor]:
    """A simulator of the office, or of these tenants."""
    ready, found = threading.Event(), list[Vendor]()
    ends = trio.Event()

    async def live() -> None:
        async with Simulator([office()] if tenants is None else tenants, **options) as sim:
            found.append(Vendor(sim, trio.lowlevel.current_trio_token()))
            ready.set()
            await ends.wait()

    def run() -> None:
        try:
            trio.run(live)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="simulator", daemon=True)
    thread.start()
    ready.wait(PATIENCE_S)
    try:
        yield found[0]
    finally:
        found[0].do(ends.set)
        thread.join(PATIENCE_S)
    assert found[0].sim.log.leaked_authorization == 0, "the token was given to the storage"
