"""The real daemon on a real mount, against the simulator: mount, refuse, hold, crash, heal, unmount."""

from __future__ import annotations

import json
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from voxofs.daemon import mount_table as mounts
from voxofs.simulator.process import SimulatorProcess, start_process

_ROOT = str(Path(__file__).parents[2])
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    with start_process(world="demo") as process:
        yield process


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty folder whose name needs escapes in mountinfo; nothing stays mounted there."""
    made = tmp_path / "my calls"
    made.mkdir()
    yield made
    while mounts.entry_at(str(made)) is not None:
        mounts.unmount(str(made), lazy=True)


@pytest.fixture
def run(tmp_path: Path, simulator: SimulatorProcess) -> Run:
    """Run voxofs with a configuration for the simulator."""
    (tmp_path / "token").write_text(simulator.token)
    (tmp_path / "token").chmod(0o600)
    config = tmp_path / "voxofs.toml"
    config.write_text(
        f'[api]\nbase_url = "{simulator.api_url}"\ntoken_file = "token"\n[log]\nfile = "log"\n'
        f"[tenants.demo]\nid = 37\nsince = 2021-01-01\n"
    )

    def run(command: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        configuration = ["--config", str(config)] if command in ("mount", "check") else []
        result = subprocess.run(
            [sys.executable, "-m", "voxofs", command, *configuration, *map(str, arguments)],
            capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": _ROOT},
        )  # fmt: skip
        assert "Traceback" not in result.stderr
        assert simulator.token not in result.stdout + result.stderr
        return result

    return run


def daemon_of(folder: Path) -> int:
    """The pid of the daemon that serves the mount, as its status says."""
    return int(json.loads((folder / ".voxofs/status").read_text())["pid"])


@contextmanager
def ending(pid: int) -> Iterator[None]:
    """A block in which the process is made to end; leaves it when it has."""
    descriptor = os.pidfd_open(pid)  # it is not our child, so this is what tells
    try:
        yield
        assert select.select([descriptor], [], [], 30)[0], "the daemon did not end"
    finally:
        os.close(descriptor)


def kill(pid: int, number: signal.Signals) -> None:
    """Send the signal and wait for the end."""
    with ending(pid):
        os.kill(pid, number)


def test_a_mount_answers_when_the_command_returns(run: Run, folder: Path) -> None:
    result = run("mount", folder)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert os.listdir(folder) == ["demo"]
    entry = mounts.entry_at(str(folder))
    assert entry is not None
    assert entry.fs_type == "fuse.voxofs"
    assert {"ro", "nodev", "nosuid", "noexec"} <= set(entry.options.split(","))
    assert run("stats", folder).stdout.startswith("voxofs ")
    with ending(daemon_of(folder)):
        result = run("umount", folder)
        assert (result.returncode, result.stderr) == (0, "")
        assert os.listdir(folder) == []


def test_a_second_mount_is_refused(run: Run, folder: Path) -> None:
    assert run("mount", folder).returncode == 0
    result = run("mount", folder)
    assert result.returncode == 32
    assert f"{folder}: voxofs is already mounted here" in result.stderr
    assert os.listdir(folder) == ["demo"]


def test_a_busy_mount_names_its_holder(run: Run, folder: Path) -> None:
    assert run("mount", folder).returncode == 0
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, cwd=folder) as holder:
        result = run("umount", folder)
        assert result.returncode == 32
        assert f"in use by cat (pid {holder.pid}, working directory {folder})" in result.stderr
        assert os.listdir(folder) == ["demo"]
        assert run("umount", "--lazy", folder).returncode == 0
        assert os.listdir(folder) == []
        holder.communicate()


def test_a_signal_unmounts(run: Run, folder: Path) -> None:
    assert run("mount", folder).returncode == 0
    kill(daemon_of(folder), signal.SIGTERM)
    assert mounts.entry_at(str(folder)) is None


def test_a_killed_daemon_leaves_an_error_and_the_next_start_heals_it(run: Run, folder: Path) -> None:
    assert run("mount", folder).returncode == 0
    os.stat(folder)  # the kernel keeps the root's attributes and would answer this again after the death
    kill(daemon_of(folder), signal.SIGKILL)
    assert mounts.is_dead(str(folder))
    with pytest.raises(OSError, match="not connected"):
        os.listdir(folder)
    assert "the daemon behind this mount is gone" in run("stats", folder).stderr
    assert f"! {folder}: a dead mount was left behind" in run("check", folder).stdout
    result = run("mount", folder)
    assert result.returncode == 0
    assert "removed the dead mount that an earlier voxofs left behind" in result.stderr
    assert os.listdir(folder) == ["demo"]
    assert run("umount", folder).returncode == 0
    assert mounts.entry_at(str(folder)) is None


def test_a_dead_mount_can_be_unmounted(run: Run, folder: Path) -> None:
    assert run("mount", folder).returncode == 0
    kill(daemon_of(folder), signal.SIGKILL)
    assert run("umount", folder).returncode == 0
    assert os.listdir(folder) == []


def test_the_service_manager_hears_ready_when_the_mount_answers(
    run: Run, folder: Path, tmp_path: Path, simulator: SimulatorProcess
) -> None:
    config = tmp_path / "voxofs.toml"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "100000", "PYTHONPATH": _ROOT}
        with subprocess.Popen(
            [sys.executable, "-m", "voxofs", "mount", "--foreground", "--config", str(config), str(folder)],
            env={**os.environ, **environ},
        ) as daemon:
            assert manager.recv(4096).startswith(b"READY=1\nSTATUS=Serving ")
            assert os.listdir(folder) == ["demo"]
            beats = [manager.recv(4096) for _ in range(3)]
            assert all(beat.startswith(b"WATCHDOG=1\n") for beat in beats)
            daemon.send_signal(signal.SIGHUP)
            while not (message := manager.recv(4096)).startswith(b"RELOADING=1\nMONOTONIC_USEC="):
                assert message.startswith(b"WATCHDOG=1\n")
            daemon.send_signal(signal.SIGTERM)
            while not (message := manager.recv(4096)).startswith(b"STOPPING=1"):
                assert message.startswith((b"WATCHDOG=1\n", b"READY=1\n"))
            assert daemon.wait(30) == 0
    assert mounts.entry_at(str(folder)) is None


def test_check_finds_everything_ready(run: Run, folder: Path) -> None:
    result = run("check", folder)
    assert result.returncode == 0, result.stdout
    assert "✓ a mount can be made" in result.stdout
    assert "✓ tenant demo (37) is reachable: " in result.stdout


@pytest.mark.parametrize("words", [[], ["new/calls"]], ids=["a-folder-of-its-own", "a-folder-to-make"])
def test_the_demo_gives_a_tour_and_cleans_up(folder: Path, words: list[str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "voxofs", "demo", *words], cwd=folder, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": _ROOT, "TMPDIR": str(folder)},
    ) as demo:  # fmt: skip
        assert demo.stdout is not None
        tour = [next(demo.stdout)]
        while "Ctrl-C" not in tour[-1]:
            tour.append(next(demo.stdout))
        [told] = [line for line in tour if "$ ffprobe" in line]
        recording = folder / shlex.split(told)[-1]
        assert recording.read_bytes()[:3] == b"ID3"
        demo.send_signal(signal.SIGINT)
        assert demo.wait(30) == 0
        assert "Unmounted" in demo.stdout.read()
    assert list(folder.iterdir()) == []


def test_the_demo_keeps_a_folder_that_was_there_and_says_where_none_can_be_made(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    done = subprocess.run(
        [sys.executable, "-m", "voxofs", "demo", str(tmp_path / "file/calls")],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": _ROOT},
    )  # fmt: skip
    assert done.returncode == 2
    assert "cannot be made (Not a directory); name another one" in done.stderr
    with subprocess.Popen(
        [sys.executable, "-m", "voxofs", "demo", str(folder)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": _ROOT},
    ) as demo:  # fmt: skip
        assert demo.stdout is not None
        while "Ctrl-C" not in next(demo.stdout):
            pass
        demo.send_signal(signal.SIGINT)
        assert demo.wait(30) == 0
    assert list(folder.iterdir()) == []
