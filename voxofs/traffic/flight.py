"""Waiting for work of another task: one promise for everybody, and equal requests under way are one.

A promise is made by whoever begins a piece of work and kept, or broken, by the task that does it. Any number
of tasks may wait for it; each leaves when it likes, and takes nobody with it. A flight is a promise together
with the demand behind it, so that the most urgent of its waiters decides how urgent it is, and work that
nobody waits for ends after a while.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import trio

from voxofs.errors import BadAnswer, Unavailable, VoxofsError

from .demand import Abandoned, Demand, Priority

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Promise(Generic[T]):
    """The result of somebody else's work, or the error it ended with. There is an event only where somebody
    waits: most of what is promised (blocks that are read ahead) is there before anybody wants it."""

    __slots__ = ("_error", "_event", "_result", "settled")

    def __init__(self) -> None:
        self.settled = False
        """Whether there is a result or an error."""
        self._event: trio.Event | None = None
        self._result: T | None = None
        self._error: VoxofsError | None = None

    def keep(self, result: T) -> None:
        """The work is done. The first word counts."""
        if not self.settled:
            self._result = result
            self._settle()

    def fail(self, error: VoxofsError) -> None:
        """The work failed; every waiter learns why. The first word counts."""
        if not self.settled:
            self._error = error
            self._settle()

    def _settle(self) -> None:
        self.settled = True
        if self._event is not None:
            self._event.set()

    async def wait(self) -> T:
        """The result. Raises the error that the work ended with."""
        if self.settled:
            await trio.lowlevel.checkpoint()
        else:
            if self._event is None:
                self._event = trio.Event()
            await self._event.wait()
        if self._error is not None:
            raise self._error.with_traceback(None)
        return self._result  # type: ignore[return-value]


def failure_of(error: BaseException, what: str) -> VoxofsError:
    """What the waiters of a task are told when it ends with this error. A defect of ours is logged."""
    if isinstance(error, VoxofsError):
        return error
    if isinstance(error, Abandoned):
        return Unavailable("the request was given up before it was sent: try again")
    if isinstance(error, Exception):
        log.error("a defect in voxofs ended %s", what, exc_info=error)
        return BadAnswer(f"voxofs could not handle an answer ({type(error).__name__}): see its log")
    return Unavailable("voxofs is being unmounted")


class Flight(Promise[T]):
    """One piece of work under way, and who wants it."""

    __slots__ = ("demand",)

    def __init__(self, demand: Demand) -> None:
        super().__init__()
        self.demand = demand

    async def wait_as(self, priority: Priority, follower: Demand | None = None) -> T:
        """The result, with this waiter counted as one who wants it; or with a demand that needs it."""
        with self.demand.waited_for(priority, follower):
            return await self.wait()

    async def fly(self, work: Callable[[Demand], Awaitable[T]], what: str) -> None:
        """Do the work and settle the promise; ends early where nobody has waited for it for long."""
        try:
            with self.demand.limited():
                result = await work(self.demand)
                self.keep(result)
        except BaseException as error:
            self.fail(failure_of(error, what))
            if not isinstance(error, Exception):
                raise
        self.fail(Unavailable(f"{what} took long and nobody waited for it: try again"))


class SingleFlight(Generic[K, T]):
    """Flights by key."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._flights: dict[K, Flight[T]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def __contains__(self, key: K) -> bool:
        return key in self._flights

    def begin(self, key: K, demand: Demand, work: Callable[[Demand], Awaitable[T]], what: str) -> Flight[T]:
        """The flight for this key, begun now with this demand unless it is under way. `what` is the name of
        the work in errors."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = Flight(demand)
            self._nursery.start_soon(self._fly, key, flight, work, what)
        return flight

    async def _fly(
        self, key: K, flight: Flight[T], work: Callable[[Demand], Awaitable[T]], what: str
    ) -> None:
        try:
            await flight.fly(work, what)
        finally:
            del self._flights[key]
