"""Descriptors and threads: what a flood of connections or a name server that hangs may not take."""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from harness import mounts
from harness.fronts import MountFront, mount_front
from harness.rig import until
from harness.world import BYTES, HOUR, NAMES
from trials.programs import MANY, in_thread, program, python

FLOOD = 1_100
ENDS_S = 3.0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    """Programs that begin now have 256; what they may raise it to stays."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


async def test_a_flood_of_connections_to_the_metrics_leaves_the_mount_alone() -> None:
    port = free_port()
    async with mount_front(sections={"metrics": {"listen": f"127.0.0.1:{port}"}}) as front:
        assert isinstance(front, MountFront)
        await until(lambda: _answers(port))
        held = []
        try:
            for _ in range(FLOOD):
                client = socket.socket()
                client.setblocking(False)
                assert client.connect_ex(("127.0.0.1", port)) in (0, errno.EINPROGRESS)
                held.append(client)
            await trio.sleep(1.0)
            assert descriptors(front.daemon.process.pid) < 100
            assert await front.listdir(HOUR) == NAMES
            data = await in_thread(Path(front.daemon.path(f"{HOUR}/{NAMES[3]}")).read_bytes)
            assert data == BYTES[NAMES[3]]
        finally:
            for client in held:
                client.close()
        await until(lambda: _answers(port))


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 2) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            return client.recv(12) == b"HTTP/1.1 200"
    except OSError:
        return False


async def test_descriptors_are_raised_to_what_the_connections_need(few_descriptors: None) -> None:
    sections = {"api": {"connections": 256}, "storage": {"connections": 256}}
    async with mount_front(sections=sections) as front:
        assert isinstance(front, MountFront)
        soft, _ = resource.prlimit(front.daemon.process.pid, resource.RLIMIT_NOFILE)
        assert soft >= 2 * 512


async def test_no_descriptor_left_is_no_refusal(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text("an-old-token")
    sections: dict[str, dict[str, Any]] = {"api": {"token_file": str(token)}, "mount": {"deadline_s": 5.0}}
    async with mount_front(sections=sections) as front:
        assert isinstance(front, MountFront)
        token.write_text(front.sim.token)
        pid = front.daemon.process.pid
        limit = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, limit[1]))
        with pytest.raises(OSError, match=r".") as failed:
            await front.listdir(HOUR)
        assert failed.value.errno in (errno.EIO, errno.EMFILE, errno.ETIMEDOUT)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)
        assert await front.listdir(HOUR) == NAMES


async def test_a_name_server_that_hangs_does_not_hold_up_the_unmount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import socket, time\n"
        "real = socket.getaddrinfo\n"
        "def getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):\n"
        "    name = host if isinstance(host, bytes) else str(host).encode()\n"
        "    if b'hangs' in name and not flags & socket.AI_NUMERICHOST:  # which asks nobody\n"
        "        time.sleep(40)\n"
        "    return real(host, port, family, type, proto, flags)\n"
        "socket.getaddrinfo = getaddrinfo\n"
    )
    monkeypatch.setattr(mounts, "ROOT", f"{mounts.ROOT}:{tmp_path}")
    sections: dict[str, dict[str, Any]] = {"mount": {"deadline_s": 30.0}, "api": {"connections": 128}}
    manager = mounts.mounted("https://hangs.invalid", {"office": 9}, token="any", sections=sections)
    daemon = await in_thread(manager.__enter__)
    try:
        days = [f"{month:02}/{day:02}" for month in (1, 2, 3) for day in range(1, 29)]
        hours = [daemon.path(f"/office/2023/{day}/10") for day in days]
        look = "import os\n" + MANY.format(work="os.stat(path)")
        async with program(*python(look), said="\n".join(hours)) as lookups:
            assert lookups.stdout is not None
            await in_thread(lookups.stdout.readline)
            await trio.sleep(2.0)  # they are all in getaddrinfo by now
        began_s = time.monotonic()
        daemon.process.send_signal(signal.SIGTERM)
        assert await in_thread(lambda: daemon.process.wait(60)) == 0
        assert time.monotonic() - began_s < ENDS_S
    finally:
        with trio.CancelScope(shield=True):
            await in_thread(lambda: manager.__exit__(None, None, None))
