"""Asking for the addresses of a host, in threads of its own.

`getaddrinfo` blocks for as long as name servers do, and a thread in it cannot be stopped. trio's common
threads are 40: with a name server that hangs they would all be in there, and a token's file could not be read
or the mount be taken away until they come back.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import trio

_LOOKUPS_AT_ONCE = 32
"""As many as a mount begins with to an origin (`pace`). A rule of thumb."""


class Resolver(trio.abc.HostnameResolver):
    """The system's resolver, with a limit of its own."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(_LOOKUPS_AT_ONCE)

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,  # noqa: A002 (trio's interface)
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """As `socket.getaddrinfo`, and raises what it raises."""
        work = partial(socket.getaddrinfo, host, port, family, type, proto, flags)
        return await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._limiter)

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        """As `socket.getnameinfo`, and raises what it raises."""
        work = partial(socket.getnameinfo, sockaddr, flags)
        return await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._limiter)


@contextmanager
def own_resolver() -> Iterator[None]:
    """Names are asked for by a `Resolver` for the length of a block, unless the loop has one already."""
    before = trio.socket.set_custom_hostname_resolver(Resolver())
    if before is not None:
        trio.socket.set_custom_hostname_resolver(before)
    try:
        yield
    finally:
        trio.socket.set_custom_hostname_resolver(before)
