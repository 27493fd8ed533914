"""Who asks: crawlers are known by name or by what they do, are served last, and warned about once."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from harness.fronts import CoreFront
from harness.rig import Rig
from harness.world import HOUR, NAMES

from voxofs.model import Caller
from voxofs.mount.callers import Callers
from voxofs.traffic.demand import Priority

CRAWLERS = (
    "updatedb",
    "updatedb.plocat",
    "tracker-miner-f",
    "localsearch-3",
    "baloo_file_extr",
    "tumblerd",
    "clamscan",
)
PEOPLE = ("cp", "ffprobe", "ls", "bash", "rsync", "", "python3", "nautilus", "update-notifier")
HOUR_PATH = tuple(HOUR.strip("/").split("/"))

CRAWLER = Caller(crawls=True)


@pytest.fixture
def processes(tmp_path: Path) -> Path:
    """Stands in for /proc."""
    return tmp_path


def run_as(processes: Path, pid: int, name: str) -> None:
    """A process of that name."""
    (processes / str(pid)).mkdir()
    (processes / str(pid) / "comm").write_text(f"{name}\n")


@pytest.mark.parametrize("name", CRAWLERS)
def test_crawlers_are_known_by_name_and_warned_about_once(
    name: str, processes: Path, caplog: pytest.LogCaptureFixture
) -> None:
    callers = Callers(processes)
    for pid in (7, 8):
        run_as(processes, pid, name)
    assert [callers.caller(pid).crawls for pid in (7, 8, 7, 8)] == [True] * 4
    [warning] = [record.getMessage() for record in caplog.records]
    assert warning.startswith(f"{name} crawls the mount")


def test_the_warning_tells_the_remedy(processes: Path, caplog: pytest.LogCaptureFixture) -> None:
    run_as(processes, 7, "updatedb")
    Callers(processes).caller(7)
    assert "add fuse.voxofs to PRUNEFS in /etc/updatedb.conf" in caplog.text


@pytest.mark.parametrize("name", PEOPLE)
def test_others_are_no_crawlers(name: str, processes: Path, caplog: pytest.LogCaptureFixture) -> None:
    run_as(processes, 7, name)
    callers = Callers(processes)
    assert not callers.caller(7).crawls
    assert caplog.records == []


def test_a_process_that_has_ended_is_no_crawler(processes: Path) -> None:
    assert not Callers(processes).caller(4_194_304).crawls


def sweep(callers: Callers, pid: int, number: int, folders: int, *, through: bool = False) -> None:
    """A process closes so many recordings, spread over so many folders."""
    for index in range(number):
        callers.closed(pid, index * folders // number, through=through)


def test_a_sweep_over_headers_is_a_crawl_and_is_said_once(
    processes: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_as(processes, 7, "indexer")
    callers = Callers(processes)
    assert not callers.caller(7).crawls
    with caplog.at_level(logging.WARNING):
        sweep(callers, 7, 600, 5)
    assert callers.caller(7).crawls
    assert caplog.text.count("indexer crawls the mount") == 1


def test_headers_of_one_folder_however_many_are_no_crawl(processes: Path) -> None:
    """`ffprobe *` in an hour of a busy office."""
    run_as(processes, 7, "ffprobe")
    callers = Callers(processes)
    callers.caller(7)
    sweep(callers, 7, 1_000, 1)
    assert not callers.caller(7).crawls


def test_whoever_reads_a_recording_through_is_no_crawler(processes: Path) -> None:
    run_as(processes, 7, "player")
    callers = Callers(processes)
    callers.caller(7)
    for _ in range(10):
        sweep(callers, 7, 200, 8)
        callers.closed(7, 0, through=True)
    assert not callers.caller(7).crawls


def test_what_is_remembered_is_bounded(processes: Path) -> None:
    callers = Callers(processes)
    for pid in range(1_000, 3_000):
        callers.caller(pid)
    assert len(callers) <= 256


def test_a_process_id_is_used_again_by_another_program(processes: Path) -> None:
    """A cp that gets the number of an updatedb that has ended must not be served last for ever."""
    run_as(processes, 7, "updatedb")
    callers = Callers(processes)
    assert callers.caller(7).crawls
    for pid in range(1_000, 2_000):  # as many processes as it takes to forget
        callers.caller(pid)
    (processes / "7" / "comm").write_text("cp\n")
    assert not callers.caller(7).crawls


async def test_nothing_is_fetched_ahead_for_a_crawler(rig: Rig) -> None:
    await CoreFront(rig.sim, rig.core.fs).listdir(HOUR)
    rig.sim.reset_log()
    for name in NAMES[:4]:
        await rig.core.fs.lookup((*HOUR_PATH, name), CRAWLER)
        handle = await rig.core.fs.open((*HOUR_PATH, name), CRAWLER)
        await handle.read(0, 4_096)
        handle.close()
    await rig.idle()
    assert rig.counts() == {"link": 4, "audio": 4}


async def test_a_crawler_waits_while_readers_are_served(rig: Rig) -> None:
    """What it asks for has the priority of readahead, so that every reader goes first."""
    seen: list[Priority] = []
    probe = rig.core.library.begin_probe

    def watched(recording: object, priority: Priority, extent_bytes: int) -> object:
        seen.append(priority)
        return probe(recording, priority, extent_bytes)  # type: ignore[arg-type]

    rig.core.library.begin_probe = watched  # type: ignore[method-assign, assignment]
    rig.core.ahead.enabled = False
    await rig.core.fs.lookup((*HOUR_PATH, NAMES[0]), CRAWLER)
    await rig.core.fs.lookup((*HOUR_PATH, NAMES[1]))
    assert set(seen[:1]) == {Priority.READAHEAD}
    assert Priority.READER in seen
