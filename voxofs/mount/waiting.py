"""Requests that wait: how many may, and when one gives up before its deadline.

A request that is answered from memory is not known here. One that waits is, from its first wait on, and then

* it holds a place: one of the daemon's tasks, and for the kernel's readahead one of its background requests
  (`max_background`), of which both are few and shared by all tenants;
* its caller may be killed meanwhile, which FUSE tells by an INTERRUPT that pyfuse3 does not hand on.

One task looks at all of them twice a second. A tenant with a request that has waited for `_STUCK_TICKS` of
them is *stuck*. Stuck tenants share half of all places: the other half is for those who get answers. Who
would wait beyond that is told EAGAIN: of readahead the program never hears, because the kernel asks again in
the foreground, page by page, where a request takes no background place. And when a request's caller has a
fatal signal pending, it ends with EINTR.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from types import coroutine
from typing import Any, TypeVar

import pyfuse3
import trio

from . import kernel
from .signals import Asker

T = TypeVar("T")

_TICK_S = 0.5
"""Half a second to notice, half a second to be sure: whoever kills a program waits a second for it."""
_STUCK_TICKS = 2
"""Requests that take longer than a second are few where all is well (an API answers in 0.1 s). A rule of
thumb."""
_LOOKS_AT_ONCE = 20
"""A look into /proc is about 40 µs (an estimate): after 20 of them readers have their turn."""
_RESERVED = 64
"""Places that no waiting request may take: for what is answered from memory. A rule of thumb."""


class Request:
    """One request that waits."""

    __slots__ = ("asker", "background", "errno", "scope", "tenant", "tick")

    def __init__(self, tenant: str, asker: Asker, background: bool, tick: int) -> None:
        self.tenant = tenant
        self.asker = asker
        self.background = background
        self.tick = tick
        self.scope = trio.CancelScope()
        self.errno = 0
        """What it is answered with when it gives up."""

    def give_up(self, number: int) -> None:
        """End it with this errno, unless it ends by itself first."""
        self.errno = number
        self.scope.cancel()


class Waiting:
    """The requests that wait. `places`: requests that can be served at once, of all tenants together."""

    def __init__(self, places: int, tenants: int) -> None:
        self._places = places
        self._alone = tenants < 2
        self.background_setting: Path | None = None
        """The file of the kernel's `max_background` for this mount, once it is mounted."""
        self._background_places = kernel.KERNEL_BACKGROUND
        self._requests: dict[Request, None] = {}
        self._by_tenant: Counter[str] = Counter()
        self._background: Counter[str] = Counter()
        self._stuck: frozenset[str] = frozenset()
        self._tick = 0
        self._wake: trio.Event | None = None
        self.refused = self.interrupted = 0

    def __len__(self) -> int:
        return len(self._requests)

    async def answer(
        self, tenant: str, asker: Asker, work: Coroutine[Any, Any, T], *, background: bool = False
    ) -> T:
        """What `work` returns or raises; `FUSEError` with EAGAIN or EINTR where it has to give up.

        `background`: it may hold one of the kernel's background requests, and can be asked for again.
        """
        request = Request(tenant, asker, background, self._tick)
        try:
            with request.scope:
                return await _noticing(work, lambda: self._admit(request))
        finally:
            if self._requests.pop(request, self) is None:
                self._by_tenant[tenant] -= 1
                self._background[tenant] -= background
        raise pyfuse3.FUSEError(request.errno)

    async def watch(self) -> None:
        """Look at those who wait, for as long as the mount lives. Sleeps while nobody does."""
        while True:
            if not self._requests:
                self._stuck = frozenset()
                self._wake = trio.Event()
                await self._wake.wait()
                self._wake = None
            await trio.sleep(_TICK_S)
            self._tick += 1
            long = [each for each in self._requests if self._tick - each.tick >= _STUCK_TICKS]
            self._stuck = frozenset(each.tenant for each in long)
            if self._stuck and not self._alone:
                self._background_places = kernel.background(self.background_setting)
                self._free_background()
            for number, request in enumerate(long):
                if number % _LOOKS_AT_ONCE == 0:
                    await trio.lowlevel.checkpoint()
                if request in self._requests and request.asker.is_dying():
                    self.interrupted += 1
                    request.give_up(errno.EINTR)

    def _admit(self, request: Request) -> None:
        """A request is about to wait for the first time."""
        tenant = request.tenant
        self._requests[request] = None
        self._by_tenant[tenant] += 1
        self._background[tenant] += request.background
        full = len(self._requests) > self._places - _RESERVED
        if tenant in self._stuck:
            full = full or self._by_tenant[tenant] > self._share(self._places)
            full = full or (request.background and self._over(tenant))
        if full:
            self._refuse(request)
        if self._wake is not None:
            self._wake.set()

    def _free_background(self) -> None:
        """Have stuck tenants give back background places beyond their share, the latest first: those who
        have waited for longest keep theirs."""
        over = Counter(
            {
                tenant: self._background[tenant] - self._share(self._background_places)
                for tenant in self._stuck
                if self._over(tenant)
            }
        )
        if not over:
            return
        for request in reversed(list(self._requests)):
            if request.background and over[request.tenant] > 0 and not request.errno:
                over[request.tenant] -= 1
                self._refuse(request)

    def _over(self, tenant: str) -> bool:
        return not self._alone and self._background[tenant] > self._share(self._background_places)

    def _share(self, places: int) -> int:
        """Of so many places, those that each stuck tenant may hold."""
        return places // 2 // len(self._stuck)

    def _refuse(self, request: Request) -> None:
        self.refused += 1
        request.give_up(errno.EAGAIN)


@coroutine
def _noticing(work: Coroutine[Any, Any, T], waits: Callable[[], None]) -> Generator[Any, Any, T]:
    """`await work`, and a call of `waits` before its first wait, if there is one. What a wait is made of is
    the event loop's business and passed on untouched."""
    try:
        trap = work.send(None)
        waits()
        while True:
            try:
                sent = yield trap
            except BaseException as error:
                trap = work.throw(error)
            else:
                trap = work.send(sent)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        work.close()
