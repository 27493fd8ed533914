"""Trouble with what the vendor says, seen through the kernel: clocks, tokens, links, bombs, redirects."""

from __future__ import annotations

import errno
import gzip
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from harness.fronts import MountFront, mount_front, raises, settle
from harness.mounts import Daemon, mounted
from harness.world import BYTES, HOUR, NAMES, call, epoch_s, sized_hour, tenant
from trials.hostile import Answers, _answer

from voxofs.simulator.faults import Fault

DAY = "/office/2024/03/05"
TAPE = f"{DAY}/10/tape.mp3"


@asynccontextmanager
async def hostile_mount(answers: Answers) -> AsyncIterator[Daemon]:
    """A daemon on a real mount whose API and storage are one hostile origin."""
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"

        async def serve(stream: trio.SocketStream) -> None:
            try:
                request = b""
                while b"\r\n\r\n" not in request:
                    request += await stream.receive_some(65_536)
                await stream.send_all(_answer(answers, request.split(b" ")[1], url))
                await stream.send_eof()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return

        nursery.start_soon(trio.serve_listeners, serve, [listener])
        manager = mounted(url, {"office": 9}, token="a-token", sections={"mount": {"deadline_s": 10.0}})
        daemon = await trio.to_thread.run_sync(manager.__enter__)
        try:
            yield daemon
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(partial(manager.__exit__, None, None, None))
        nursery.cancel_scope.cancel()


async def in_thread(work: str, path: str) -> object:
    """listdir or read, in a thread."""
    return await trio.to_thread.run_sync(
        os.listdir if work == "list" else (lambda p: Path(p).read_bytes()), path
    )


async def test_a_machine_ahead_of_the_server_settles_nothing() -> None:
    """The server has the evening of the day; this machine is years ahead, so by it all has settled."""
    clock = epoch_s("2024-03-05 18:00:00") - time.time()
    calls = sized_hour([1_000, 2_000])
    office = tenant(calls)
    sections = {"cache": {"live_ttl_s": 1.0}}
    async with mount_front([office], sections=sections, clock=lambda: time.time() + clock) as front:
        assert len(await front.listdir(HOUR)) == 2
        assert isinstance(office.records, list)
        office.records.append(call("late", "2024-03-05 12:00:00"))
        with trio.fail_after(15):
            while "12" not in await front.listdir(DAY):  # noqa: ASYNC110
                await trio.sleep(0.25)


async def test_a_copy_survives_a_token_that_is_written_six_seconds_late(tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_text("not-yet")
    token_file.chmod(0o600)
    calls = sized_hour([70_000] * 60)
    async with mount_front([tenant(calls)], sections={"api": {"token_file": str(token_file)}}) as front:
        assert isinstance(front, MountFront)
        token_file.write_text(front.sim.token + " \n")
        assert len(await front.listdir(HOUR)) == 60
        fresh = front.sim.rotate_token()
        command = ["cp", "-r", front.daemon.path(HOUR), str(tmp_path / "copy")]
        copy = partial(subprocess.run, command, check=False, capture_output=True, text=True)
        async with trio.open_nursery() as nursery:

            async def write() -> None:
                await trio.sleep(6)
                token_file.write_text(fresh + "\n")

            nursery.start_soon(write)
            done = await trio.to_thread.run_sync(copy)
        assert done.returncode == 0, done.stderr
        assert len(list((tmp_path / "copy").iterdir())) == 60


async def test_a_token_that_stays_refused_is_waited_for_once(tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_text("not-yet")
    token_file.chmod(0o600)
    sections: dict[str, dict[str, Any]] = {
        "api": {"token_file": str(token_file)},
        "mount": {"deadline_s": 4.0},
    }
    async with mount_front(sections=sections) as front:
        token_file.write_text(front.sim.token)
        await front.listdir(HOUR)
        front.sim.rotate_token()
        began_s = time.monotonic()
        with raises(errno.EACCES):
            await front.stat(f"{HOUR}/{NAMES[0]}")
        first_s = time.monotonic() - began_s
        assert 2.5 < first_s < 4.5
        began_s = time.monotonic()
        for name in NAMES[1:6]:
            with raises(errno.EACCES):
                await front.stat(f"{HOUR}/{name}")
        assert time.monotonic() - began_s < 2.0
        await settle(front)


@pytest.mark.parametrize(
    "link", ["http://" + "ey-" * 20_000 + "/a", "http://169.254.169.254/latest/meta-data/"]
)
async def test_a_link_that_is_no_storage_s_is_an_error_at_once(link: str) -> None:
    async with hostile_mount(Answers(link=link)) as daemon:
        began_s = time.monotonic()
        with raises(errno.EIO):
            await in_thread("read", daemon.path(TAPE))
        assert time.monotonic() - began_s < 2.0
        status = await trio.to_thread.run_sync(Path(daemon.path("/.voxofs/status")).read_bytes)
        assert len(status) < 8_192
        assert json.loads(status)["last_errors"]


async def test_a_bomb_leaves_the_mount_well() -> None:
    bomb = gzip.compress(b"[" + b" " * 2**28 + b"]")
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n"
    async with hostile_mount(Answers(report=bomb, api_head=head)) as daemon:
        before_kib = peak_kib(daemon)
        with raises(errno.EIO):
            await in_thread("list", daemon.path(DAY))
        assert peak_kib(daemon) - before_kib < 65_536


def peak_kib(daemon: Daemon) -> int:
    """The most memory that the daemon has held so far."""
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


async def test_a_link_that_leads_to_nobody_is_not_believed_for_its_life() -> None:
    """A storage that has moved, or an API that was wrong for a moment: the same read has the next link."""
    async with mount_front() as front:
        assert isinstance(front, MountFront)
        front.sim.add_fault(Fault("elsewhere", {"route": "link"}, host="127.0.0.1:1", times=1))
        path = Path(front.daemon.path(f"{HOUR}/{NAMES[0]}"))
        assert await in_thread("read", str(path)) == BYTES[path.name]
        assert front.sim.log.requests["link"] == 2


async def test_an_object_that_is_elsewhere_for_the_time_being() -> None:
    """307 with a Location, as S3 answers for a new bucket of another region."""
    answers = Answers()
    answers.head = b"HTTP/1.1 307 Temporary Redirect\r\nlocation: /call-tape\r\ncontent-length: 0\r\n"
    answers.report = json.dumps([call("tape", "2024-03-05 10:00:00")]).encode()
    async with hostile_mount(answers) as daemon:
        # Whatever is asked for beside the audio, this origin answers with its report.
        assert await in_thread("read", daemon.path(TAPE)) == answers.report
