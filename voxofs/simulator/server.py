"""`Simulator`: world, API, storage and faults behind two loopback ports.

    async with Simulator() as sim:
        ...  # sim.api_url, sim.storage_url, sim.token

Everything that can be set in the constructor can be changed while it runs: they are plain attributes,
read anew by every request.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self

import trio

from .api import Api, Tokens
from .control import control_app
from .faults import Fault, FaultBook
from .links import Version
from .log import Entry, RequestLog
from .storage import Storage
from .tenants import WORLDS
from .wire import Port
from .world import FixedTenant, TenantSpec, World


class Simulator:
    """The phone system. Raises OSError from `async with` where a fixed port is taken."""

    def __init__(
        self,
        tenants: Sequence[TenantSpec | FixedTenant] = WORLDS["demo"],
        *,
        seed: int = 1,
        host: str = "127.0.0.1",
        port: int = 0,
        storage_port: int = 0,
        clock: Callable[[], float] = time.time,
        skew_s: float = 0.0,
        sign_skew_s: float = 0.0,
        api_delay_s: float = 0.0,
        storage_delay_s: float = 0.0,
        link_lifetime_s: float = 60.0,
        token_lifetime_s: float = 86_400.0,
        signature: Version = "v2",
        inclusive_end: bool = False,
        later_form: bool = False,
        forbidden: Collection[int] = (),
        faults: Iterable[Fault] = (),
        email: str = "demo@example.com",
        password: str = "correct horse",
    ) -> None:
        self._clock = clock
        self._host = host
        self._ports = (port, storage_port)
        self.skew_s = skew_s
        """The vendor's clock for links and the storage, ahead of the API's (and of everybody's) clock."""
        self.sign_skew_s = sign_skew_s
        """The clock that signs links, ahead of the storage's that verifies them."""
        self.api_delay_s = api_delay_s
        self.storage_delay_s = storage_delay_s
        self.link_lifetime_s = link_lifetime_s
        self.token_lifetime_s = token_lifetime_s
        self.signature: Version = signature
        self.inclusive_end = inclusive_end
        self.later_form = later_form
        self.forbidden = set(forbidden)
        """Tenants that the token may not see."""
        self.email = email
        self.password = password
        self.world = World(tenants, seed, clock())
        self.faults = FaultBook(seed)
        self.faults.add(*faults)
        self.log = RequestLog()
        self.tokens = Tokens()
        self.token = self.issue_token()
        self.control = control_app(self)
        self._nursery_manager: AbstractAsyncContextManager[trio.Nursery] | None = None
        self._nursery: trio.Nursery | None = None

    async def __aenter__(self) -> Self:
        self._nursery_manager = trio.open_nursery()
        self._nursery = await self._nursery_manager.__aenter__()
        self.api_port = Port(Api(self), self._host, self._ports[0], self._nursery)
        self.storage_port = Port(Storage(self), self._host, self._ports[1], self._nursery)
        try:
            await self.api_port.open()
            await self.storage_port.open()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        self.api_host = f"{self._host}:{self.api_port.number}"
        self.storage_host = f"{self._host}:{self.storage_port.number}"
        self.api_url = f"http://{self.api_host}"
        self.storage_url = f"http://{self.storage_host}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._nursery is not None
        assert self._nursery_manager is not None
        self.api_port.close()
        self.storage_port.close()
        self._nursery.cancel_scope.cancel()
        await self._nursery_manager.__aexit__(None, None, None)

    def now(self) -> float:
        """Epoch seconds by the API's clock."""
        return self._clock()

    def storage_now(self) -> float:
        """Epoch seconds by the storage's clock."""
        return self._clock() + self.skew_s

    def issue_token(self) -> str:
        """One more valid token."""
        return self.tokens.issue(self.now(), self.token_lifetime_s)

    def rotate_token(self) -> str:
        """A fresh `token`; every older one answers 401 from now on."""
        self.tokens.revoke_all()
        self.token = self.issue_token()
        return self.token

    def add_fault(self, *faults: Fault) -> None:
        """Put faults in force."""
        self.faults.add(*faults)

    def replace_audio(self, tenant: int, unique_id: str, data: bytes | None = None) -> None:
        """Put another object in a recording's place: `data`, or another recording of the same call."""
        self.world.replace(tenant, unique_id, data, self.storage_now())

    def remove_audio(self, tenant: int, unique_id: str) -> None:
        """Delete a recording's object; its record stays and links are still made."""
        self.world.remove(tenant, unique_id)

    def audio_bytes(self, tenant: int, start: str, unique_id: str) -> bytes:
        """What the storage holds now for that recording, read past the network. Raises KeyError."""
        audio = self.world.audio(self.world.tenants[tenant], start[:13], unique_id, self.now())
        if audio is None:
            raise KeyError(unique_id)
        parts, at = [], 0
        while at < audio.size:
            parts.append(audio.read(at, audio.size))
            at += len(parts[-1])
        return b"".join(parts)

    def records(self, tenant: int, start: str, end: str) -> list[Any]:
        """What a report from `start` to `end` (`YYYY-MM-DD HH:MM:SS`, exclusive) says now, decoded."""
        parts = self.world.tenants[tenant].report(start, end, False, self.later_form, self.now())
        listed: list[Any] = json.loads(b"[" + b",".join(parts) + b"]")
        return listed

    async def refuse(self, *, api: bool | None = None, storage: bool | None = None) -> None:
        """True closes that port and resets its connections, False opens it again; None leaves it."""
        for port, wanted in ((self.api_port, api), (self.storage_port, storage)):
            if wanted:
                port.close()
            elif wanted is False:
                await port.open()

    def reset_log(self) -> None:
        """Forget the requests so far."""
        self.log.reset()

    def requests(self, route: str | None = None) -> list[Entry]:
        """The log's entries, oldest first, of one route or all."""
        return [entry for entry in self.log.entries if route in (None, entry.route)]
