"""Killed and stopped under load: an error and not an empty folder, and the next start heals it.

Ten rounds; VOXOFS_KILLS=50 for as many as the full proof asks for.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from soaking.population import SEED, WORLD, Population
from trials.daemons import Load, Site

from voxofs.simulator.process import SimulatorProcess, start_process

_KILLS = int(os.environ.get("VOXOFS_KILLS", "10"))
_ENDS_S = 2.0
_NOISE_S = 4.0


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    """In a process of its own, with the delays of a network."""
    with start_process(world=WORLD, seed=SEED, api_delay_s=0.02, storage_delay_s=0.01) as process:
        yield process


@pytest.fixture(scope="module")
def population() -> Population:
    """What there is to read, and its bytes."""
    return Population([date(2024, 3, 5)])


@pytest.fixture
def site(tmp_path: Path, simulator: SimulatorProcess) -> Iterator[Site]:
    """A mountpoint that daemons come and go on."""
    made = Site(tmp_path, simulator)
    yield made
    made.close()


def test_killed_under_load_and_healed_by_the_next_start(site: Site, population: Population) -> None:
    for number in range(_KILLS):
        daemon = site.start()
        load = Load(site.mountpoint, population, threads=6, seed=number)
        with load.running():
            load.wait_for(1 + 7 * number % 40)
            daemon.send_signal(signal.SIGKILL)
            daemon.wait(30)
            # Not an empty folder: `rsync --delete` would believe it.
            with pytest.raises(OSError, match="not connected") as raised:
                os.listdir(site.mountpoint)
            assert raised.value.errno == errno.ENOTCONN
        assert load.wrong == [], f"round {number}"
        assert site.is_mounted(), "the dead mount stays until somebody heals it"
    site.start()
    recording = population.recordings[0]
    assert Path(f"{site.mountpoint}{recording.path}").read_bytes() == population.truth(recording)
    assert site.said().count("removed the dead mount") == _KILLS
    assert "Traceback" not in site.said()


def ends_soon(daemon: subprocess.Popen[bytes], site: Site, load: Load) -> None:
    """The mount is gone, readers see that or finish, and the daemon ends, all within the time it may take."""
    began_s = time.monotonic()
    assert daemon.wait(30) == 0
    assert time.monotonic() - began_s < _ENDS_S + _NOISE_S
    assert not site.is_mounted()
    assert load.wrong == []


def test_two_signals_under_load_end_the_mount(site: Site, population: Population) -> None:
    daemon = site.start()
    load = Load(site.mountpoint, population, threads=6, seed=1)
    with load.running():
        load.wait_for(10)
        with open(f"{site.mountpoint}{population.recordings[0].path}", "rb") as held:
            daemon.send_signal(signal.SIGTERM)
            site.wait_until_said("in use by")
            load.wait_for(load.read + 5)  # busy: it goes on serving
            assert held.read(10) == population.truth(population.recordings[0])[:10]
        daemon.send_signal(signal.SIGTERM)
        ends_soon(daemon, site, load)


def test_a_lazy_unmount_under_load_ends_the_mount(site: Site, population: Population) -> None:
    daemon = site.start()
    load = Load(site.mountpoint, population, threads=6, seed=2)
    with load.running():
        load.wait_for(10)
        result = site.voxofs("umount", "--lazy")
        assert result.returncode == 0, result.stderr
        ends_soon(daemon, site, load)


def test_an_unmount_does_not_wait_for_a_storage_that_hangs(
    site: Site, population: Population, simulator: SimulatorProcess
) -> None:
    daemon = site.start()
    # A reader whose deadline passes before the mount is gone is told that, and rightly.
    load = Load(site.mountpoint, population, threads=6, seed=3, allowed=[errno.ETIMEDOUT])
    with load.running():
        load.wait_for(5)
        simulator.add_faults({"kind": "stall", "match": {"route": "audio"}, "times": None})
        try:
            while simulator.stats()["in_flight"].get("storage", 0) < 3:
                time.sleep(0.01)
            for answer in ("still serving", "unmounted lazily"):
                daemon.send_signal(signal.SIGTERM)
                site.wait_until_said(answer)
            daemon.send_signal(signal.SIGTERM)  # the third one has no regard for whoever reads
            ends_soon(daemon, site, load)
        finally:
            simulator.clear_faults()
