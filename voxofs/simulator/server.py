"""`Simulator`: the vendor behind loopback ports.

    async with Simulator() as sim:
        ...  # sim.api_url, sim.storage_url, sim.token

A `Vendor` that can be reached: two origins, as in real life, and a third port for the controls where
somebody asks for it. Over TLS where a context is given; far away where there is a round trip: the URLs,
and with them the links, are then those of a relay in front of the ports.
"""

from __future__ import annotations

import ssl
from contextlib import AbstractAsyncContextManager
from dataclasses import KW_ONLY, dataclass
from types import TracebackType
from typing import Self

import trio

from .api import Api
from .control import control_app
from .far import Far
from .storage import Storage
from .vendor import Vendor
from .wire import Port


@dataclass(eq=False, repr=False)
class Simulator(Vendor):
    """The phone system on the network. Raises OSError from `async with` where a fixed port is taken."""

    _: KW_ONLY
    host: str = "127.0.0.1"
    port: int = 0
    """The API's; 0: any free one."""
    storage_port: int = 0
    control_port: int | None = None
    """None: no controls; whoever is in this process has the object."""
    tls: ssl.SSLContext | None = None
    """Both origins are https with it."""
    round_trip_s: float = 0.0
    """0: the ports themselves, as near as loopback is. More: a relay, a process of its own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.api_url = ""
        self.control_url = ""
        self._nursery_manager: AbstractAsyncContextManager[trio.Nursery] | None = None
        self._nursery: trio.Nursery | None = None
        self._far: Far | None = None

    async def __aenter__(self) -> Self:
        self._nursery_manager = trio.open_nursery()
        nursery = self._nursery = await self._nursery_manager.__aenter__()
        ports = (0, 0) if self.round_trip_s else (self.port, self.storage_port)
        self.api_door = Port(Api(self), self.host, ports[0], nursery, self.tls)
        self.storage_door = Port(Storage(self), self.host, ports[1], nursery, self.tls)
        self._control_door = Port(control_app(self, self), self.host, self.control_port or 0, nursery, None)
        try:
            await self._open()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def _open(self) -> None:
        await self.api_door.open()
        await self.storage_door.open()
        if self.control_port is not None:
            await self._control_door.open()
            self.control_url = f"http://{self.host}:{self._control_door.number}"
        api, storage = self.api_door.number, self.storage_door.number
        if self.round_trip_s:
            pairs = [(api, self.port), (storage, self.storage_port)]
            self._far = await trio.to_thread.run_sync(Far, self.round_trip_s, self.host, pairs)
            api, storage = self._far.ports
        scheme = "http" if self.tls is None else "https"
        self.api_url = f"{scheme}://{self.host}:{api}"
        self.storage_host = f"{self.host}:{storage}"
        self.storage_url = f"{scheme}://{self.storage_host}"

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._nursery is not None
        assert self._nursery_manager is not None
        for door in (self.api_door, self.storage_door, self._control_door):
            door.end()
        if self._far is not None:
            self._far.close()
            self._far = None
        self._nursery.cancel_scope.cancel()
        await self._nursery_manager.__aexit__(None, None, None)

    @property
    def relay_pid(self) -> int | None:
        """The relay's process; None: there is none."""
        return None if self._far is None else self._far.pid

    async def refuse(self, *, api: bool | None = None, storage: bool | None = None) -> None:
        """True closes that port and resets its connections, False opens it again; None leaves it."""
        for door, wanted in ((self.api_door, api), (self.storage_door, storage)):
            if wanted:
                door.close()
            elif wanted is False:
                await door.open()

    def connections(self) -> dict[str, dict[str, int]]:
        """How many connections are open, and were ever accepted, by origin."""
        doors = {"api": self.api_door, "storage": self.storage_door}
        return {
            name: {"open": len(door.connections), "accepted": door.accepted} for name, door in doors.items()
        }
