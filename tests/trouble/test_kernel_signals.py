"""Ctrl-C and kill, while a program waits for a network that does not answer."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest
from harness.fronts import MountFront, mount_front
from harness.rig import until
from harness.world import HOUR, NAMES
from trials.programs import in_thread, program, python

from voxofs.simulator.faults import Fault

LONG = "/office/2024/03/05/13/long.mp3"
SOON_S = 2.5
"""Two seconds are promised; half of one for a machine that is busy."""
SECTIONS = {"mount": {"deadline_s": 30.0, "prefetch": False}}


async def ends_soon(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """It ends by this signal, and within the time that is promised."""
    began_s = time.monotonic()
    process.send_signal(number)
    assert await in_thread(lambda: process.wait(60)) == -number
    assert time.monotonic() - began_s < SOON_S


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize(
    ("tool", "path"), [("stat", f"{HOUR}/{NAMES[0]}"), ("ls", HOUR), ("cat", LONG)], ids=["stat", "ls", "cat"]
)
async def test_a_program_that_waits_can_be_killed(tool: str, path: str, number: signal.Signals) -> None:
    async with mount_front(sections=SECTIONS) as front:
        assert isinstance(front, MountFront)
        front.sim.add_fault(Fault("stall", times=None))
        async with program(tool, front.daemon.path(path)) as process:
            await until(lambda: any(front.sim.log.in_flight.values()))
            await ends_soon(process, number)


async def test_a_reader_of_many_threads_can_be_killed() -> None:
    """Its pages are read in the foreground, where the kernel does not let go of it (MADV_RANDOM)."""
    async with mount_front(sections=SECTIONS) as front:
        assert isinstance(front, MountFront)
        path = front.daemon.path(LONG)
        await in_thread(lambda: Path(path).stat())
        front.sim.add_fault(Fault("stall", {"route": "audio"}, times=None))
        code = f"""
import mmap, threading
file = open({path!r}, "rb")
pages = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
pages.madvise(mmap.MADV_RANDOM)
threads = [threading.Thread(target=lambda at=at: pages[at]) for at in range(1_000_000, 5_000_000, 1_000_000)]
for thread in threads:
    thread.start()
"""
        async with program(*python(code)) as process:
            await until(lambda: front.sim.log.in_flight["storage"])
            await ends_soon(process, signal.SIGKILL)


async def test_a_signal_that_is_caught_or_ignored_ends_nothing() -> None:
    async with mount_front(sections=SECTIONS) as front:
        assert isinstance(front, MountFront)
        front.sim.add_fault(Fault("delay", {"route": "reports"}, delay_s=3.0))
        code = f"""
import os, signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, lambda *_: print("caught", flush=True))
print(len(os.listdir({front.daemon.path(HOUR)!r})), flush=True)
"""
        async with program(*python(code)) as process:
            await until(lambda: front.sim.log.in_flight["api"])
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGWINCH):
                process.send_signal(number)
            assert await in_thread(lambda: process.wait(30)) == 0
            assert process.stdout is not None
            assert process.stdout.read().split() == [b"caught", str(len(NAMES)).encode()]
