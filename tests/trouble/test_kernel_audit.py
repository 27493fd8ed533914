"""The audit of a real mount: who opened what, over `cp -r`, logrotate and a disk that is full."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from harness.disks import fill, small_disk
from harness.fronts import MountFront, mount_front, raises
from harness.world import BYTES, HOUR, NAMES

pytestmark = pytest.mark.mounts


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def lines_at_last(path: Path, number: int) -> list[dict[str, Any]]:
    """So many lines; the kernel closes a file after its program has."""
    with trio.fail_after(20):
        while len(found := lines(path)) < number:  # noqa: ASYNC110
            await trio.sleep(0.01)
    return found


async def test_a_copy_of_an_hour_is_on_record(tmp_path: Path) -> None:
    audit = tmp_path / "audit.log"
    async with mount_front(sections={"audit": {"file": audit}}) as front:
        assert isinstance(front, MountFront)
        copy = subprocess.Popen(["cp", "-r", front.daemon.path(HOUR), str(tmp_path / "copy")])  # noqa: ASYNC220
        assert await trio.to_thread.run_sync(copy.wait) == 0
        found = await lines_at_last(audit, len(NAMES))
        assert {each["path"]: each["bytes"] for each in found} == {
            f"{HOUR}/{name}": len(data) for name, data in BYTES.items()
        }
        assert {(each["tenant"], each["program"], each["pid"], each["read"]) for each in found} == {
            ("office", "cp", copy.pid, "whole")
        }
        assert {each["uid"] for each in found} == {os.getuid()}

        audit.rename(tmp_path / "audit.log.1")  # logrotate, without a word to anybody
        path = front.daemon.path(f"{HOUR}/{NAMES[7]}")
        await trio.to_thread.run_sync(subprocess.check_output, ["head", "-c", "10", path])
        await trio.to_thread.run_sync(
            shutil.copy, path, tmp_path / "again"
        )  # what the kernel has is seen, too
        first, second = await lines_at_last(audit, 2)
        assert (first["program"], first["path"]) == ("head", f"{HOUR}/{NAMES[7]}")
        assert second["read"] == "whole"
        assert second["bytes"] == len(BYTES[NAMES[7]])
    assert Counter(each["path"] for each in lines(tmp_path / "audit.log.1")).most_common(1)[0][1] == 1


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB."""
    with small_disk(tmp_path / "disk", 131_072) as made:
        yield made


@pytest.mark.parametrize("required", [False, True])
async def test_a_full_disk(disk: Path, required: bool) -> None:
    sections = {"audit": {"file": disk / "audit.log", "required": required}}
    async with mount_front(sections=sections) as front:
        assert isinstance(front, MountFront)
        fill(disk)
        path = front.daemon.path(f"{HOUR}/{NAMES[0]}")

        def told() -> dict[str, Any]:
            found: dict[str, Any] = json.loads(Path(front.daemon.path("/.voxofs/status")).read_text())
            return found

        def state() -> str:
            return str(told()["audit"]["state"])

        if not required:
            for _ in range(40):
                assert await trio.to_thread.run_sync(Path(path).read_bytes) == BYTES[NAMES[0]]
        with trio.fail_after(20):
            while await trio.to_thread.run_sync(state) != "failing":  # noqa: ASYNC110
                await trio.sleep(0.01)
        said = front.daemon.said()
        assert said.count("the audit cannot be written to") == 1
        if required:
            with raises(errno.ENOSPC):
                await trio.to_thread.run_sync(Path(path).read_bytes)
            status = await trio.to_thread.run_sync(told)
            assert any("the audit is required" in error["message"] for error in status["last_errors"])
        (disk / "ballast").unlink()
        front.daemon.process.send_signal(signal.SIGHUP)  # nobody need wait for the next look
        with trio.fail_after(20):
            while await trio.to_thread.run_sync(state) != "working":  # noqa: ASYNC110
                await trio.sleep(0.01)
        assert await trio.to_thread.run_sync(Path(path).read_bytes) == BYTES[NAMES[0]]
        await lines_at_last(disk / "audit.log", 1 if required else 41)
