"""Answers that are no success: the status counts, whatever a proxy has written under it."""

from __future__ import annotations

import pytest
from harness.rig import Rig
from harness.world import HOUR, NAMES

from voxofs.errors import NotFound
from voxofs.simulator.faults import Fault

PAGE = "<html>" + "the proxy of the house is sorry " * 80_000
"""2.5 MB, more than any body that is read of an error."""
PATH = (*HOUR.strip("/").split("/"), NAMES[0])


@pytest.mark.parametrize("status", [403, 500, 503])
async def test_a_storage_s_refusal_is_its_status_however_long_its_page(rig: Rig, status: int) -> None:
    rig.sim.add_fault(Fault("status", {"route": "audio"}, status=status, body=PAGE))
    attributes = await rig.core.fs.lookup(PATH)  # asked again, after 403 with another link
    assert attributes.size
    assert rig.counts()["audio"] == 2


async def test_what_is_not_there_is_not_there_however_long_the_page(rig: Rig) -> None:
    rig.sim.add_fault(Fault("status", {"route": "audio"}, status=404, body=PAGE, times=None))
    with pytest.raises(NotFound):
        await rig.core.fs.lookup(PATH)


@pytest.mark.parametrize("status", [500, 503])
async def test_an_api_s_refusal_is_its_status_however_long_its_page(rig: Rig, status: int) -> None:
    rig.sim.add_fault(Fault("status", {"route": "reports"}, status=status, body=PAGE))
    assert len(await rig.core.fs.listing(PATH[:-1])) == len(NAMES)
    assert rig.counts()["reports"] == 2
