"""Single-flight: equal requests under way are one request.

The work runs in a task of its own, under the mount's nursery, so that a waiter that is cancelled never
cancels the others, nor an HTTP request half-way. What the flight asks for is its demand: the most urgent of
its waiters decides how urgent it is.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import trio

from .errors import BadAnswer, Unavailable, VoxofsError
from .gate import Abandoned, Demand, Priority

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Flight(Generic[T]):
    """One piece of work under way."""

    __slots__ = ("_done", "_error", "_result", "demand")

    def __init__(self, demand: Demand) -> None:
        self.demand = demand
        self._done = trio.Event()
        self._result: T | None = None
        self._error: VoxofsError | None = None

    def land(self, result: T) -> None:
        """The work is done."""
        self._result = result
        self._done.set()

    def crash(self, error: VoxofsError) -> None:
        """The work failed; every waiter learns why."""
        self._error = error
        self._done.set()

    async def wait(self, priority: Priority) -> T:
        """The result, or the error that the work ended with."""
        with self.demand.waited_for(priority):
            await self._done.wait()
        if self._error is not None:
            raise self._error.with_traceback(None)
        return self._result  # type: ignore[return-value]


class SingleFlight(Generic[K, T]):
    """Flights by key."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._flights: dict[K, Flight[T]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def __contains__(self, key: K) -> bool:
        return key in self._flights

    def begin(
        self, key: K, tenant: str, priority: Priority, work: Callable[[Demand], Awaitable[T]]
    ) -> Flight[T]:
        """The flight for this key, begun now unless it is under way."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = Flight(Demand(tenant, priority))
            self._nursery.start_soon(self._fly, key, flight, work)
        return flight

    async def _fly(self, key: K, flight: Flight[T], work: Callable[[Demand], Awaitable[T]]) -> None:
        try:
            result = await work(flight.demand)
        except VoxofsError as error:
            del self._flights[key]
            flight.crash(error)
        except Abandoned:
            del self._flights[key]
            flight.crash(Unavailable("the request was given up before it was sent: try again"))
        except Exception as error:
            log.exception("a defect in voxofs ended a request")
            del self._flights[key]
            flight.crash(
                BadAnswer(f"voxofs could not handle an answer ({type(error).__name__}): see its log")
            )
        except BaseException:
            del self._flights[key]
            flight.crash(Unavailable("voxofs is being unmounted"))
            raise
        else:
            del self._flights[key]
            flight.land(result)
