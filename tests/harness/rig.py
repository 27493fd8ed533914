"""A simulator and a core over it in one event loop, with a clock that tests turn."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

import trio

from voxofs.clock import Clock
from voxofs.config.secrets import Secret
from voxofs.config.sections import (
    ApiSection,
    AuditSection,
    CacheSection,
    DiskSection,
    HttpSection,
    MountSection,
    PrivacySection,
    StorageSection,
    TenantSection,
)
from voxofs.config.settings import Config
from voxofs.core.build import Core, open_core
from voxofs.simulator.server import Simulator
from voxofs.simulator.world import FixedTenant, TenantSpec

from .world import epoch_s, office

Sections = Mapping[str, Mapping[str, Any]]
"""Settings by section, with the names that the file and the structs share."""

SINCE = date(2023, 1, 1)
PATIENCE_S = 20.0


class Hands:
    """The hands of both clocks; tests turn them, and nothing else does."""

    def __init__(self, wall: str = "2024-04-20 12:00:00") -> None:
        self.wall_s = float(epoch_s(wall))
        self.monotonic_s = 1_000.0

    def advance(self, seconds: float) -> None:
        """Time passes, on both clocks."""
        self.wall_s += seconds
        self.monotonic_s += seconds

    def clock(self) -> Clock:
        """For the core."""
        return Clock(lambda: self.monotonic_s, lambda: self.wall_s)


async def until(condition: Callable[[], object]) -> None:
    """Wait for what nobody announces: it is looked at now and again, and must come in the end."""
    with trio.fail_after(PATIENCE_S):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.002)


@dataclass
class Rig:
    """Both ends: what the vendor saw, and what voxofs makes of it."""

    sim: Simulator
    core: Core
    hands: Hands

    def counts(self) -> dict[str, int]:
        """Requests by route since the log was reset."""
        return dict(self.sim.log.requests)

    async def idle(self) -> None:
        """Wait until nothing is under way any more, on either side."""
        library, catalog, gates = self.core.library, self.core.catalog, self.core.gates
        await until(
            lambda: (
                not library.fetches
                and not library.leases.ahead
                and not catalog.asked
                and not any(gate.in_use + gate.waiting for gate in gates)
            )
        )
        await until(lambda: not any(self.sim.log.in_flight.values()))


def config_for(
    sim: Simulator, tenants: Mapping[str, int] | None = None, sections: Sections | None = None
) -> Config:
    """A configuration that points at the simulator. A section `api` without credentials gets its token."""
    given = {name: dict(values) for name, values in (sections or {}).items()}
    api = given.get("api", {})
    if not {"token_file", "email", "token"} & set(api):
        api["token"] = Secret(sim.token)
    folders = tenants or {each.code: each.id for each in sim.world.tenants.values()}
    return Config(
        tenants={name: TenantSection(id=number, since=SINCE) for name, number in folders.items()},
        api=ApiSection(base_url=sim.api_url, **api),
        storage=StorageSection(**given.get("storage", {})),
        cache=CacheSection(**given.get("cache", {})),
        mount=MountSection(**({"deadline_s": 10.0} | given.get("mount", {}))),
        privacy=PrivacySection(**given.get("privacy", {})),
        audit=AuditSection(**given.get("audit", {})),
        disk=DiskSection(**given.get("disk", {})),
        http=HttpSection(**given.get("http", {})),
    )


@asynccontextmanager
async def open_rig(
    tenants: Sequence[TenantSpec | FixedTenant] | None = None,
    *,
    sections: Sections | None = None,
    hands: Hands | None = None,
    **simulator: Any,
) -> AsyncIterator[Rig]:
    """Simulator and core. Leaves nothing under way behind it: that is checked."""
    turned = hands or Hands()
    world = [office()] if tenants is None else tenants
    lasting = {"token_lifetime_s": 1e9} | simulator  # turning the clock must not end the token
    async with Simulator(world, clock=lambda: turned.wall_s, **lasting) as sim:
        async with open_core(config_for(sim, sections=sections), turned.clock()) as core:
            yield Rig(sim, core, turned)
        check_at_rest(core)
        assert sim.log.leaked_authorization == 0, "the token was given to the storage"


def check_at_rest(core: Core) -> None:
    """Every gauge is back at zero."""
    assert core.library.fetches == core.library.leases.ahead == 0
    for gate in core.gates:
        assert (gate.in_use, gate.waiting) == (0, 0), gate
    for recording in core.library.recordings():
        assert not recording.owed, recording
        assert recording.probing is None, recording
        assert recording.leasing is None, recording
