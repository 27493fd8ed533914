"""Trouble with what a person configures and with whom voxofs talks to, on a real mount."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from harness.fronts import MountFront, mount_front, raises
from harness.mounts import ROOT, mounted, toml, wait_until_ready
from harness.systemd import Manager
from harness.world import HOUR, NAMES, office

from voxofs.simulator.server import Simulator


async def test_the_environment_s_token_is_gone_once_it_was_read() -> None:
    async with mount_front() as front:
        assert isinstance(front, MountFront)
        assert len(await front.listdir(HOUR)) == len(NAMES)
        environ = Path(f"/proc/{front.daemon.process.pid}/environ").read_bytes()  # noqa: ASYNC240
        assert b"VOXOFS_TOKEN=" in environ  # a guard: it was given there
        assert front.sim.token.encode() not in environ


async def test_a_log_file_is_its_owner_s(tmp_path: Path) -> None:
    log = tmp_path / "voxofs.log"
    async with mount_front(sections={"log": {"file": str(log), "level": "debug"}}) as front:
        await front.listdir(HOUR)
        assert stat.S_IMODE(log.stat().st_mode) == 0o600


async def test_stderr_that_nobody_reads_holds_nobody_up(tmp_path: Path) -> None:
    """A pipe of 64 KiB fills up with debug lines; before, the loop then waited for its reader for good."""
    async with Simulator([office()]) as sim:
        config, mountpoint, log = tmp_path / "voxofs.toml", tmp_path / "calls", tmp_path / "log"
        log.touch()
        mountpoint.mkdir()
        config.write_text(
            toml(sim.api_url, {"office": 9}, {"log": {"level": "debug"}, "mount": {"deadline_s": 5.0}})
        )
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        with suppress(BlockingIOError):
            while True:
                os.write(writer, b"x" * 4096)
        os.set_blocking(writer, True)
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "VOXOFS_TOKEN": sim.token}
        command = [
            sys.executable,
            "-m",
            "voxofs",
            "mount",
            "--foreground",
            "--config",
            str(config),
            str(mountpoint),
        ]
        manager = Manager(str(tmp_path / "notify"))
        environ |= manager.environ
        daemon = subprocess.Popen(command, env=environ, stderr=writer)  # noqa: ASYNC220
        try:
            with manager:
                await trio.to_thread.run_sync(wait_until_ready, daemon, manager, log)
            sim.forbidden.add(9)  # what fails is logged
            with trio.fail_after(10), raises(errno.EACCES):
                await trio.to_thread.run_sync(os.listdir, f"{mountpoint}{HOUR}")
        finally:
            unmount = ["fusermount3", "-u", "-z", str(mountpoint)]
            subprocess.run(unmount, check=False, capture_output=True)  # noqa: ASYNC221
            daemon.terminate()
            os.close(reader)
            daemon.wait(15)
            os.close(writer)


async def test_the_name_of_a_program_is_no_command_to_a_terminal(tmp_path: Path) -> None:
    """Who keeps a mount busy is named in the log; this one's name clears a screen and forges a line."""
    program = tmp_path / "\x1b[2J\nvoxofs"
    shutil.copy("/bin/sleep", program)
    async with mount_front() as front:
        assert isinstance(front, MountFront)
        day = front.daemon.path(HOUR.rpartition("/")[0])
        holder = await trio.to_thread.run_sync(lambda: subprocess.Popen([str(program), "60"], cwd=day))
        try:
            front.daemon.process.terminate()
            with trio.fail_after(15):
                while "still serving" not in front.daemon.said():  # noqa: ASYNC110
                    await trio.sleep(0.05)
        finally:
            holder.kill()
            holder.wait()
        said = front.daemon.said()
        assert "\x1b" not in said
        assert "\\x1b[2J\\nvoxofs" in said


def voxofs(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command with a token, in a folder."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(cwd), "PYTHONPATH": str(ROOT),
               "VOXOFS_TOKEN": "a-token", "VOXOFS_TENANTS_DEMO_ID": "37",
               "VOXOFS_TENANTS_DEMO_SINCE": "2021-01-01",
               "VOXOFS_API_BASE_URL": "http://127.0.0.1:9"}  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "voxofs", *arguments], cwd=cwd, env=environ, capture_output=True, text=True,
        timeout=60, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.parametrize("folder", ["", "/etc", "/", "/usr", "/proc/1"])
def test_mount_and_check_refuse_the_same_folders(folder: str, tmp_path: Path) -> None:
    mounted_there = voxofs("mount", "--foreground", folder, cwd=tmp_path)
    checked = voxofs("check", folder, cwd=tmp_path)
    assert mounted_there.returncode == 32
    assert not os.path.ismount(tmp_path)
    [reason] = mounted_there.stderr.splitlines()
    assert reason.removeprefix("voxofs: ").partition("; ")[0] in checked.stdout
    assert checked.returncode == 2


def test_a_pipe_as_configuration(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.toml"
    os.mkfifo(pipe)
    began_s = time.monotonic()
    result = voxofs("check", "--config", str(pipe), cwd=tmp_path)
    assert "this pipe brought nothing within 10 s" in result.stdout
    assert time.monotonic() - began_s < 30


def test_a_token_file_with_a_blank_works(tmp_path: Path) -> None:
    async def main() -> None:
        async with Simulator() as sim:
            token_file = tmp_path / "token"
            token_file.touch(0o600)
            token_file.write_text(f"{sim.token} \n")
            folders = {each.code: each.id for each in sim.world.tenants.values()}
            sections: dict[str, dict[str, Any]] = {
                "api": {"token_file": str(token_file)},
                "mount": {"deadline_s": 4.0},
            }
            manager = mounted(sim.api_url, folders, token=None, sections=sections)
            daemon = await trio.to_thread.run_sync(manager.__enter__)
            try:
                assert await trio.to_thread.run_sync(os.listdir, daemon.path("/demo/2024/03/05"))
                token_file.write_text("two words\n")
                sim.rotate_token()
                with raises(errno.EACCES):
                    await trio.to_thread.run_sync(os.listdir, daemon.path("/demo/2024/05/05"))
                assert "must be one word of printable ASCII" in daemon.said()
                assert "two words" not in daemon.said()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(lambda: manager.__exit__(None, None, None))

    trio.run(main)
