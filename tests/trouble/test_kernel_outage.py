"""Outages, through the kernel: what a program on the mount sees while an origin refuses, hangs or asks to be
left alone, and when it comes back.

The daemon's clocks are the real ones, so that the numbers of a user's life are scaled down: a deadline of
some seconds in place of thirty.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from harness.fronts import MountFront, mount_front
from harness.programs import program
from harness.world import HOUR, sized_hour, tenant

from voxofs.simulator.faults import Fault

pytestmark = pytest.mark.mounts

BRANCH_HOUR = HOUR.replace("office", "branch")
SMALL = 3_000


@asynccontextmanager
async def offices(names: int, deadline_s: float, **sections: Any) -> AsyncIterator[MountFront]:
    """Two tenants with an hour of that many recordings each, whose listings are known to the mount."""
    calls = sized_hour([SMALL] * names)
    tenants = [tenant(calls), tenant(calls, 10, "branch")]
    given = {"mount": {"deadline_s": deadline_s}, **sections}
    async with mount_front(tenants, sections=given) as front:
        assert isinstance(front, MountFront)
        for hour in (HOUR, BRANCH_HOUR):
            assert len(await front.listdir(hour)) == names
        front.sim.log.reset()
        yield front


async def status(front: MountFront) -> dict[str, Any]:
    """The mount's own word about itself."""
    path = trio.Path(front.daemon.path("/.voxofs/status"))
    facts: dict[str, Any] = json.loads(await path.read_text())
    return facts


# --- out of reach


async def test_a_window_of_names_fills_soon_while_connections_are_refused() -> None:
    """Sixty names, one after another: the first failure costs patience, the others are told at once."""
    async with offices(60, deadline_s=3) as front:
        await front.sim.refuse(api=True)
        seen = await program("ls", "-l", front.daemon.path(HOUR))
        assert seen.code != 0
        assert len(seen.lines) == 61, "every name is still shown"
        assert seen.took_s < 3 + 2, "60 names had to share one patience"
        again = await program("ls", "-l", front.daemon.path(HOUR))
        assert again.took_s < 2
        gate = (await status(front))["in_flight"]["api"]
        assert list(gate["lost"]) == ["office"]
        assert gate["lost"]["office"] > 2

        await front.sim.refuse(api=False)
        well = await program("ls", "-l", front.daemon.path(HOUR))
        assert (well.code, well.errors) == (0, ""), "the first answer lets all in"
        assert (await status(front))["in_flight"]["api"]["lost"] == {}


async def test_a_window_of_names_fills_soon_while_nothing_answers() -> None:
    """The same where the API takes the requests and says nothing; the other tenant notices nothing."""
    async with offices(60, deadline_s=3) as front:
        front.sim.faults.add(Fault("stall", {"origin": "api", "tenant": 9}, times=None))
        seen = await program("ls", "-l", front.daemon.path(HOUR))
        assert seen.code != 0
        assert len(seen.lines) == 61
        assert seen.took_s < 3 + 60 * 0.2, "not a second for each"
        again = await program("stat", front.daemon.path(f"{HOUR}/{await name(front, 20)}"))
        assert again.took_s < 1.5

        other = await program("ls", "-l", front.daemon.path(BRANCH_HOUR))
        assert (other.code, other.errors) == (0, "")
        assert other.took_s < 2

        front.sim.faults.clear()
        since_s = time.monotonic()
        while (await program("stat", front.daemon.path(f"{HOUR}/{await name(front, 30)}"))).code:
            assert time.monotonic() - since_s < 7, "a try every 5 s, each of a second at most"
        well = await program("ls", "-l", front.daemon.path(HOUR))
        assert (well.code, well.errors) == (0, "")


async def name(front: MountFront, number: int) -> str:
    """The name at a place of the listing."""
    names = sorted(await front.listdir(HOUR))
    return names[number]


async def test_what_needs_only_the_other_origin_waits_as_ever() -> None:
    """While the storage is out of reach, a slow report is waited for: the API is well."""
    calls = sized_hour([SMALL] * 3) | sized_hour([SMALL] * 2, day="2024-03-20")
    async with mount_front([tenant(calls)], sections={"mount": {"deadline_s": 4}}) as front:
        assert isinstance(front, MountFront)
        await front.listdir(HOUR)
        front.sim.faults.add(Fault("stall", {"origin": "storage"}, times=None))
        assert (await program("ls", "-l", front.daemon.path(HOUR))).code != 0
        assert list((await status(front))["in_flight"]["storage"]["lost"]) == ["office"]
        front.sim.api_delay_s = 1.5
        later = await program("ls", front.daemon.path(HOUR.replace("03/05", "03/20")))
        assert (later.code, len(later.lines), later.errors) == (0, 2, "")


# --- an outage that passes


@pytest.mark.parametrize(("origin", "outage_s", "deadline_s"), [("api", 8, 12), ("storage", 2, 5)])
async def test_an_outage_shorter_than_the_deadline_is_a_wait_and_no_error(
    origin: str, outage_s: float, deadline_s: float
) -> None:
    """However many tries that takes."""
    async with offices(5, deadline_s=deadline_s) as front:
        await front.sim.refuse(**{origin: True})
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def end_outage() -> None:
                await trio.sleep(outage_s)
                await front.sim.refuse(**{origin: False})

            seen = await program("ls", "-l", front.daemon.path(HOUR))
        assert (seen.code, seen.errors) == (0, "")
        assert outage_s - 0.5 < seen.took_s < outage_s + 2
        assert {line.split()[4] for line in seen.lines[1:]} == {str(SMALL)}


# --- Retry-After


async def test_retry_after_holds_for_everybody() -> None:
    """200 names under 429 with an hour to wait: the first requests say so, everybody else is told."""
    async with offices(200, deadline_s=5) as front:
        front.sim.faults.add(Fault("status", {"origin": "api"}, status=429, retry_after="3600", times=None))
        seen = await program("ls", "-l", front.daemon.path(HOUR))
        assert seen.code != 0
        assert len(seen.lines) == 201
        assert seen.took_s < 4
        other = await program("ls", "-l", front.daemon.path(BRANCH_HOUR))
        assert other.code != 0
        assert other.took_s < 4
        assert front.sim.log.requests["link"] <= 34, "those that were under way together, and no more"
        gate = (await status(front))["in_flight"]["api"]
        assert 3_500 < gate["resting_s"] <= 3_600
        assert "Retry-After" in front.daemon.said()

        front.sim.faults.clear()
        front.daemon.process.send_signal(signal.SIGHUP)
        since_s = time.monotonic()
        while (await status(front))["in_flight"]["api"]["resting_s"]:  # a signal is handled soon, not at once
            assert time.monotonic() - since_s < 5
        well = await program("ls", "-l", front.daemon.path(HOUR))
        assert (well.code, well.errors) == (0, "")


async def test_a_short_retry_after_is_waited_for() -> None:
    """Within the deadline it is a wait, and what was refused is not asked again before its end. (Links that
    were on their way together with it have their answers.)"""
    async with offices(40, deadline_s=8) as front:
        front.sim.faults.add(Fault("status", {"origin": "api"}, status=503, retry_after="2"))
        seen = await program("ls", "-l", front.daemon.path(HOUR))
        assert (seen.code, seen.errors) == (0, "")
        assert 2 <= seen.took_s < 5
        entries = [entry.as_dict() for entry in front.sim.requests("link")]
        [refused] = [entry for entry in entries if entry["status"] == 503]
        [again] = [
            entry for entry in entries if entry["unique_id"] == refused["unique_id"] and entry is not refused
        ]
        assert again["t_start"] - refused["t_end"] >= 1.9
