"""Fixtures: the two front ends, a core with clocks to turn, and waits that tests need not sit out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager

import pytest
import stamina
from harness.fronts import Front, core_front, mount_front
from harness.rig import Rig, open_rig

EnterFront = Callable[..., AbstractAsyncContextManager[Front]]
_FRONTS: dict[str, EnterFront] = {"core": core_front, "mount": mount_front}


@pytest.fixture(params=sorted(_FRONTS))
def enter(request: pytest.FixtureRequest) -> EnterFront:
    """Opens a front end over a simulator: `async with enter(tenants, sections=…, …) as front`."""
    return _FRONTS[request.param]


@pytest.fixture
async def front(enter: EnterFront) -> AsyncIterator[Front]:
    """A front end over the office that `harness.world` describes."""
    async with enter() as opened:
        yield opened


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """The core over the office, with clocks to turn."""
    async with open_rig() as opened:
        yield opened


@pytest.fixture
def no_waits() -> Iterator[None]:
    """Tries follow each other at once; only in this process."""
    with stamina.set_testing(True, attempts=3):
        yield
