"""Fixtures: a simulator of all ready-made tenants and one by hand, a clock to set, a plain client."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from voxofs.simulator.server import Simulator
from voxofs.simulator.tenants import WORLDS

from .asking import FIXED, Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def sim(clock: Clock) -> AsyncIterator[Simulator]:
    async with Simulator([*WORLDS["all"], FIXED], clock=clock) as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=5) as running:
        yield running
