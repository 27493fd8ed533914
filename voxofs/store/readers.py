"""The threads that read, and the queue before them.

    asked → waits for a thread while the queue moves → has one, for `patience_s` → the answer, or TooSlow

A disk is known by what it gets done. As long as reads come back, however many wait for their turn, it works,
and whoever waits is served; where none has come back for `patience_s`, the threads hang, and nobody waits for
them any longer. A read that has its thread gets `patience_s`, whatever the others do. First come, first
served: each waits for those before, and for nobody who comes later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeVar, cast

import trio

T = TypeVar("T")

_THREADS = 4
"""Threads that read: enough to keep an SSD busy, and no more than may hang on a dead one."""


class TooSlow(Exception):
    """The disk has not answered in time."""


class Readers:
    """For the event loop's thread. The threads are of the tier's own: whatever else runs in threads neither
    waits for this disk nor holds it up."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._free = _THREADS
        self._queue: deque[trio.Event] = deque()
        self._moved_s = float("-inf")
        """When a read was last done, whether anybody still waited for it or not."""

    async def run(self, work: Callable[[], T]) -> T:
        """Work of a thread. Raises `TooSlow`."""
        turn = _Turn(self)
        with turn.having:
            # Abandoned, not waited for: a thread that hangs on a dead disk keeps its place.
            return await trio.to_thread.run_sync(
                work, limiter=cast(trio.CapacityLimiter, turn), abandon_on_cancel=True
            )
        raise TooSlow

    async def take(self, having: trio.CancelScope) -> None:
        """Wait for a thread; from then on, `having` lasts as long as patience does. Raises `TooSlow`."""
        if self._free:
            self._free -= 1
        else:
            await self._wait()
        having.deadline = trio.current_time() + self._patience_s

    async def _wait(self) -> None:
        asked_s = trio.current_time()
        turn = trio.Event()
        self._queue.append(turn)
        try:
            while not turn.is_set():
                until_s = max(asked_s, self._moved_s) + self._patience_s
                if until_s <= trio.current_time():
                    raise TooSlow
                with trio.move_on_at(until_s):
                    await turn.wait()
        except BaseException:
            if turn.is_set():
                self._pass_on()
            else:
                self._queue.remove(turn)
            raise

    def give_back(self) -> None:
        """A read is done."""
        self._moved_s = trio.current_time()
        self._pass_on()

    def _pass_on(self) -> None:
        if self._queue:
            self._queue.popleft().set()
        else:
            self._free += 1


class _Turn:
    """One reader's, as the limiter that `trio.to_thread.run_sync` asks before the thread and tells after it,
    also where nobody waits for that any more."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self.having = trio.CancelScope()

    async def acquire_on_behalf_of(self, _: object) -> None:
        await self._readers.take(self.having)

    def release_on_behalf_of(self, _: object) -> None:
        self._readers.give_back()
