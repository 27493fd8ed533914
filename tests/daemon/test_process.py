"""The daemon's report to its caller: a real fork, a mount that is none."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

_DAEMON = """
import os, sys, trio
from datetime import date
from pathlib import Path
from voxofs.daemon import process
from voxofs.config import sections
from voxofs.config import settings as config
from voxofs import errors
from voxofs.daemon.preflight import Host
folder, what = sys.argv[1:]
class Session:
    async def serve(self, mountpoint, *, on_ready):
        if what == "fail":
            raise errors.VoxofsError("Signature=abcdef the kernel said no")
        if what == "config":
            raise errors.ConfigError(["api.token: bad"])
        if what == "surprise":
            raise ZeroDivisionError("oh")
        if what == "die":
            os.kill(os.getpid(), 9)
        await on_ready()
        async with await trio.open_file(folder + "/go") as go:  # a pipe: opened by the test when it likes
            await go.read()
    async def reload(self): pass
    def log_statistics(self): pass
    def status_line(self): return "fine"
    async def first_word(self): return "a word" if what == "word" else ""
made = config.Config(tenants={}, log=sections.LogSection(file=Path(folder, "log")))
host = Host(fuse_device=Path("/dev/null"), is_root=True)
mnt = os.path.join(folder, "mnt")
sys.exit(process.run_background(made, mnt, make=lambda _config: Session(), host=host))
"""


def daemonise(tmp_path: Path, what: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "mnt").mkdir()
    os.mkfifo(tmp_path / "go")
    # capture_output waits for the end of both pipes: it returns only if the daemon has let go of them.
    return subprocess.run(
        [sys.executable, "-c", _DAEMON, str(tmp_path), what],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_parent_returns_once_the_mount_answers(tmp_path: Path) -> None:
    result = daemonise(tmp_path, "serve")
    assert (result.returncode, result.stderr, result.stdout) == (0, "", "")
    with open(tmp_path / "go", "w"):  # opens only because the daemon is alive and reads it
        pass


def test_the_parent_passes_on_what_whoever_mounts_should_know(tmp_path: Path) -> None:
    result = daemonise(tmp_path, "word")
    mountpoint = tmp_path / "mnt"
    assert (result.returncode, result.stderr) == (0, f"voxofs: {mountpoint}: a word\n")
    with open(tmp_path / "go", "w"):
        pass


def test_the_log_has_a_line_at_the_start_and_at_the_end(tmp_path: Path) -> None:
    assert daemonise(tmp_path, "serve").returncode == 0
    with open(tmp_path / "go", "w"):
        pass
    mountpoint, gives_up_s = tmp_path / "mnt", time.monotonic() + 30
    while "unmounted" not in (said := (tmp_path / "log").read_text()):
        assert time.monotonic() < gives_up_s, said
        time.sleep(0.02)
    assert [line.partition(" info: ")[2] for line in said.splitlines()] == [
        f"{mountpoint}: mounted, fine",
        f"{mountpoint}: unmounted",
    ]


@pytest.mark.parametrize(
    ("what", "code", "reason"),
    [
        ("fail", 32, "voxofs: Signature=******** the kernel said no\n"),
        ("config", 1, "voxofs: api.token: bad\n"),
        ("die", 32, "voxofs: the daemon died while it started (signal SIGKILL)\n"),
    ],
)
def test_the_parent_says_why_the_mount_failed(tmp_path: Path, what: str, code: int, reason: str) -> None:
    result = daemonise(tmp_path, what)
    assert (result.returncode, result.stderr, result.stdout) == (code, reason, "")


def test_a_surprise_is_one_line_too(tmp_path: Path) -> None:
    result = daemonise(tmp_path, "surprise")
    assert result.returncode == 2
    assert "unexpected failure: ZeroDivisionError: oh" in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "ZeroDivisionError" in (tmp_path / "log").read_text()
