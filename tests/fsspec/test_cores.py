"""One core a process and configuration: from threads, loops and other processes, until the interpreter
ends."""

from __future__ import annotations

import asyncio
import errno
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import pytest
from harness.file_systems import configured
from harness.fronts import raises
from harness.mounts import ROOT
from harness.vendors import Vendor
from harness.world import HOUR, NAMES, truth

from voxofs.core.build import Core
from voxofs.fsspec import cores
from voxofs.fsspec.cores import core_for, end_all
from voxofs.fsspec.filesystem import VoxoFileSystem
from voxofs.simulator.faults import Fault
from voxofs.store.key import make_key_file

PATHS = [f"{HOUR[1:]}/{name}" for name in NAMES]
LONG_ONE = "office/2024/03/05/13/long.mp3"


def test_file_systems_of_one_configuration_share_a_core(
    fs: VoxoFileSystem, sold: Vendor, config: Path
) -> None:
    others = [VoxoFileSystem(config=config, batch_size=size, skip_instance_cache=True) for size in (1, 2, 3)]
    for each in [fs, *others]:
        assert each.cat(PATHS[0]) == truth(PATHS[0])
    assert sold.counts() == {"reports": 1, "link": 1, "audio": 1}
    assert len([thread for thread in threading.enumerate() if thread.name == "voxofs"]) == 1
    other = VoxoFileSystem(config=config, memory="32 MiB")
    assert other.cat(PATHS[0]) == truth(PATHS[0])
    assert sold.counts()["reports"] == 2
    assert len([thread for thread in threading.enumerate() if thread.name == "voxofs"]) == 2


def test_threads_that_begin_together_begin_one_core(fs: VoxoFileSystem, sold: Vendor) -> None:
    together = threading.Barrier(8)

    def look(_: int) -> int:
        together.wait()
        return len(fs.ls(HOUR))

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(look, range(8))) == {len(PATHS)}
    assert sold.counts() == {"reports": 1}
    assert len([thread for thread in threading.enumerate() if thread.name == "voxofs"]) == 1


FAULTS: Sequence[Fault] = (
    Fault("status", {"route": "audio"}, rate=0.1, status=503, retry_after="0"),
    Fault("truncate", {"route": "audio"}, rate=0.1),
    Fault("reset_body", {"route": "audio"}, rate=0.05),
    Fault("expired", {"route": "link"}, rate=0.05),
    Fault("status", {"route": "link"}, rate=0.1, status=429, retry_after="0"),
)


def test_thirty_two_threads_under_faults_read_the_truth(
    fs: VoxoFileSystem, sold: Vendor, config: Path, no_waits: None
) -> None:
    """Whatever is read is right, an error is one that says to try again, and nothing is left under way."""
    for fault in FAULTS:
        sold.sim.add_fault(fault)
    right: list[object] = []
    wrong: list[object] = []

    def work(number: int) -> None:
        random = Random(number)
        for _ in range(25):
            path = random.choice([*PATHS, LONG_ONE])
            data = truth(path)
            start = random.randrange(len(data) + 1)
            end = start + random.randrange(150_000)
            found: object
            meant: object
            try:
                match random.randrange(4):
                    case 0:
                        found, meant = fs.cat_file(path, start, end), data[start:end]
                    case 1:
                        with fs.open(path) as file:
                            file.seek(start)
                            found, meant = file.read(end - start), data[start:end]
                    case 2:
                        found, meant = len(fs.ls(HOUR, detail=False)), len(PATHS)
                    case _:
                        found, meant = fs.info(path)["size"], len(data)
            except OSError as error:
                if error.errno not in (errno.EIO, errno.EACCES):  # tries end; links die twice in a row
                    wrong.append(error)
            else:
                (right if found == meant else wrong).append((path, start, end))

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(work, range(32)))
    assert not wrong
    assert len(right) > 32 * 25 * 0.9
    sold.counts()
    library = fs._core()._core.library
    assert library.fetches == 0
    assert all(not recording.users for recording in library.recordings())


def test_a_cancelled_task_ends_its_work(config: Path, sold: Vendor) -> None:
    sold.sim.add_fault(Fault("stall", {"route": "reports"}, times=None))

    async def main() -> None:
        fs = VoxoFileSystem(config=config, asynchronous=True)
        task = asyncio.create_task(fs._ls(HOUR))
        while not sold.sim.log.requests.get("reports"):  # noqa: ASYNC110 - the simulator tells nobody
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not fs._core()._jobs or await _in_time(lambda: not fs._core()._jobs)

    asyncio.run(main())


async def _in_time(condition: Any) -> bool:
    for _ in range(500):
        if condition():
            return True
        await asyncio.sleep(0.01)
    return False


def test_an_ended_core_says_so_and_the_next_call_begins_another(fs: VoxoFileSystem, sold: Vendor) -> None:
    file = fs.open(LONG_ONE)
    sold.sim.add_fault(Fault("stall", {"route": "reports"}, times=None))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(fs.ls, "office/2024/03/20")
        while not any(entry.fault == "stall" for entry in sold.sim.requests("reports")):
            time.sleep(0.01)
        end_all()
        with raises(errno.ESHUTDOWN):
            waiting.result()
    with raises(errno.ESHUTDOWN):
        file.read(10)
    file.close()
    sold.sim.faults.clear()
    assert fs.cat(PATHS[0]) == truth(PATHS[0])


def test_a_core_that_cannot_begin_tells_why(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Any:
        raise PermissionError(errno.EACCES, "no sockets here")

    monkeypatch.setattr(cores, "open_core", refuse)
    with pytest.raises(PermissionError, match="no sockets here"):
        core_for(VoxoFileSystem(config=config, skip_instance_cache=True)._config)


def _read(config: str, path: str, results: Any) -> None:
    """In a child."""
    results.put(VoxoFileSystem(config=config).cat(path))


def _read_pickled(pickled: bytes, path: str, results: Any) -> None:
    """In a child."""
    results.put(pickle.loads(pickled).cat(path))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_new_file_system_works_in_a_child(
    method: str, fs: VoxoFileSystem, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = (ROOT, ROOT / "tests", ROOT / "tests/fsspec")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, places)))
    assert fs.cat(PATHS[1]) == truth(PATHS[1])
    context = multiprocessing.get_context(method)
    results = context.Queue()
    work = [(_read, (str(config), PATHS[1], results)), (_read_pickled, (pickle.dumps(fs), PATHS[2], results))]
    for target, arguments in work:
        child = context.Process(  # type: ignore[attr-defined]
            target=target, args=arguments
        )
        child.start()
        assert results.get(timeout=30) == truth(arguments[1])
        child.join(30)
        assert child.exitcode == 0
    assert fs.cat(PATHS[1]) == truth(PATHS[1]), "the parent's goes on"


def test_an_old_one_says_so_in_a_fork(fs: VoxoFileSystem) -> None:
    file = fs.open(PATHS[1])
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - in the child
        said = []
        looks = (lambda: fs.ls(HOUR), lambda: fs.open(PATHS[0]), lambda: file.read(1), lambda: fs.entry(""))
        for look in looks:
            try:
                look()
                said.append("nothing")
            except RuntimeError as error:
                said.append("fork" if "fork" in str(error) else str(error))
        file.close()
        os.write(writes, repr(said).encode())
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads, "rb") as pipe:
        assert pipe.read().decode() == repr(["fork"] * 4)
    os.waitpid(child, 0)
    assert file.read() == truth(PATHS[1])
    file.close()


def test_what_one_process_fetched_another_reads_from_the_disk(
    sold: Vendor, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes at once with one `disk=` and its key, beside a third that has been there before."""
    places = (ROOT, ROOT / "tests", ROOT / "tests/fsspec")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, places)))
    context = multiprocessing.get_context("spawn")
    results, go_on = context.Queue(), context.Event()
    tier = {"disk": str(tmp_path / "tier"), "key_file": str(tmp_path / "key")}
    make_key_file(tmp_path / "key")

    def begin(role: str, wanted: list[str]) -> Any:
        child = context.Process(target=_read_with_disk, args=(str(config), tier, wanted, results, go_on))
        child.start()
        assert results.get(timeout=60) == {path: truth(path) for path in wanted}, role
        return child

    first = begin("fetches", PATHS[:6])
    assert sold.counts() == {"reports": 1, "link": 6, "audio": 6}
    sold.reset()
    second = begin("reads what the first has, which still runs, and fetches more", PATHS)
    assert sold.counts() == {"link": 6, "audio": 6}
    sold.reset()
    third = begin("reads what both have", PATHS)
    assert sold.counts() == {}
    go_on.set()
    for child in (first, second, third):
        child.join(60)
        assert child.exitcode == 0


async def _settled(core: Core) -> None:
    """What it fetched is on the disk."""
    assert core.disk is not None
    await core.disk.settle()


def _read_with_disk(config: str, tier: dict[str, Any], paths: list[str], results: Any, go_on: Any) -> None:
    """In a child, which stays until it is told to go."""
    fs = VoxoFileSystem(config=config, **tier)
    found = {path: fs.cat(path) for path in fs.find(HOUR[1:]) if path in paths}
    fs._core().run_sync(_settled)
    results.put(found)
    go_on.wait(120)


PROGRAM = """
import sys, threading
import fsspec
fs = fsspec.filesystem("voxofs", config=sys.argv[1])
assert len(fs.cat(sys.argv[2] + "/*")) == 12
left = fs.open(sys.argv[2] + "/" + sys.argv[3])
left.read(10)
{ending}
"""
ENDINGS = {
    "at the end": "",
    "by sys.exit": "sys.exit(0)",
    "while a thread reads": (
        "threading.Thread(target=lambda: [fs.cat(sys.argv[2] + '/*') for _ in range(20)]).start()"
    ),
    "while a daemon thread waits for ever": (
        "threading.Thread(target=lambda: fs.ls('office/2024/01/01'), daemon=True).start()"
    ),
    "in a forked child": (
        "import os\npid = os.fork()\n"
        "assert len(fsspec.filesystem('voxofs', config=sys.argv[1]).ls(sys.argv[2])) == 12\n"
        "if pid: assert os.waitpid(pid, 0)[1] == 0"
    ),
    "with an asyncio program": (
        "import asyncio\nasync def main():\n"
        "    fs = fsspec.filesystem('voxofs', config=sys.argv[1], asynchronous=True)\n"
        "    assert len(await fs._ls(sys.argv[2])) == 12\nasyncio.run(main())"
    ),
}  # fmt: skip


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_interpreter_ends_without_a_hang_or_a_warning(ending: str, sold: Vendor) -> None:
    with configured(sold.sim) as config:
        if "for ever" in ending:
            sold.sim.add_fault(Fault("stall", {"route": "reports"}, nth=2, times=None))
        program = PROGRAM.replace("{ending}", ENDINGS[ending])
        command = [sys.executable, "-W", "error", "-c", program, str(config), HOUR[1:], NAMES[0]]
        began_s = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert time.monotonic() - began_s < 30
