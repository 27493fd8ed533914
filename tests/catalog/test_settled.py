"""What has settled by whose clock, and what becomes of it when that clock was wrong."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from harness.rig import Hands, config_for, open_rig
from harness.world import epoch_s, office

from voxofs.clock import Clock
from voxofs.core.build import open_core
from voxofs.model import Tenant
from voxofs.simulator.faults import Fault
from voxofs.simulator.server import Simulator
from voxofs.store.key import make_key_file

DAY = ("office", "2024", "03", "05")
AHEAD_S = 6 * 3_600.0


async def test_the_server_s_clock_settles_whatever_this_machine_believes() -> None:
    """Window of the 5th and 6th (or 4th and 5th): settled four hours after its end."""
    hands = Hands("2024-03-07 01:00:00")
    async with open_rig(hands=hands) as rig:
        true_s = hands.wall_s
        hands.wall_s = true_s + AHEAD_S
        rig.sim.clock = lambda: true_s + (hands.monotonic_s - 1_000.0)
        await rig.core.fs.listing(DAY)
        window = rig.core.catalog.known(Tenant("office", 9, date(2023, 1, 1)), date(2024, 3, 5))
        assert window is not None
        assert window.server_s is not None
        assert abs(window.server_s - epoch_s("2024-03-07 01:00:00")) < 2
        assert window.settles_s - window.server_s == pytest.approx(3 * 3_600, abs=2)
        assert not window.settled, "by this machine's clock it would have, three hours ago"


async def test_a_settled_window_is_asked_for_again_once_the_clock_is_found_wrong() -> None:
    hands = Hands("2024-04-20 12:00:00")
    async with open_rig(hands=hands, sections={"cache": {"live_ttl_s": 1.0}}) as rig:
        await rig.core.fs.listing(DAY)
        before = rig.counts()["reports"]
        await rig.core.fs.listing(DAY)
        assert rig.counts()["reports"] == before  # a guard: it has settled
        rig.core.catalog._server_ahead_s = epoch_s("2024-03-05 12:00:00") - hands.monotonic_s
        await rig.core.fs.listing(DAY)
        assert rig.counts()["reports"] == before + 1


@pytest.mark.parametrize(("date_header", "reports"), [("", 1), (None, 0)])
async def test_what_only_this_machine_s_clock_settled_is_asked_for_again_after_a_restart(
    tmp_path: Path, date_header: str | None, reports: int
) -> None:
    """That clock may have been ahead for an hour; the disk would keep the day without its last calls."""
    make_key_file(tmp_path / "key")
    disk = {"path": tmp_path / "kept", "key_file": tmp_path / "key", "keep_free_bytes": 0}
    async with Simulator([office()]) as sim:
        if date_header is not None:
            sim.add_fault(Fault("date", {"route": "reports"}, date=date_header, times=None))
        for _ in range(2):
            sim.log.reset()
            async with open_core(config_for(sim, sections={"disk": disk}), Clock()) as core:
                assert await core.fs.listing(DAY)
                assert core.disk is not None
                await core.disk.settle()
        assert sim.log.requests["reports"] == reports
