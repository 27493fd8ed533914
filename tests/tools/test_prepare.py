"""What the scripts say and do where something is missing: by root, through sudo, and with neither."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("awk", "bash", "cat", "dirname", "grep", "mktemp", "rm", "sleep", "tail", "tr", "env")


class Machine:
    """A search path with a few tools, on which no Debian package is installed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for tool in TOOLS:
            (folder / tool).symlink_to(shutil.which(tool) or tool)
        self.has("dpkg-query", "exit 1")

    def has(self, command: str, does: str) -> None:
        (self._folder / command).write_text(f"#!/bin/bash\n{does}\n")
        (self._folder / command).chmod(0o755)

    def run(self, words: str) -> subprocess.CompletedProcess[str]:
        program = f"source {ROOT}/scripts/_prepare.sh; {words}; echo it goes on"
        return subprocess.run(
            ["bash", "-c", program],
            env={"PATH": str(self._folder)},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_a_way_to_become_root_it_says_what_root_would_type(machine: Machine) -> None:
    machine.has("id", "echo 1000")
    machine.has("apt-get", "echo must not run >&2; exit 1")
    done = machine.run("need_debian fuse3 gcc")
    assert (done.returncode, done.stdout) == (2, "")
    assert "as root:  apt-get install fuse3 gcc\n" in done.stderr
    done = machine.run("want_debian ffmpeg attr")
    assert done.returncode == 0
    assert done.stdout == (
        "Going on without ffmpeg attr; to have them, as root:  apt-get install ffmpeg attr\nit goes on\n"
    )


def test_who_may_not_use_sudo_is_told_what_root_would_type(machine: Machine) -> None:
    machine.has("id", "echo 1000")
    machine.has("apt-get", "echo must not run >&2; exit 1")
    machine.has("sudo", "echo 'me is not in the sudoers file.' >&2; exit 1")
    done = machine.run("need_debian fuse3 gcc")
    assert done.returncode == 2
    assert "not in the sudoers file" in done.stderr
    assert "as root:  apt-get install fuse3 gcc\n" in done.stderr
    assert "must not run" not in done.stderr
    done = machine.run("want_debian ffmpeg")
    assert (done.returncode, "it goes on" in done.stdout) == (0, True)
    assert "Going on without ffmpeg; to have them, as root:  apt-get install ffmpeg\n" in done.stdout


def test_without_apt_it_names_the_packages(machine: Machine) -> None:
    machine.has("id", "echo 0")
    done = machine.run("need_debian fuse3")
    assert done.returncode == 2
    assert "with your distribution's own tool; Debian calls them: fuse3" in done.stderr


@pytest.mark.parametrize(("user", "runs"), [("0", ["apt-get"]), ("1000", ["sudo", "apt-get"])])
def test_installing_says_what_how_many_and_how_long(
    machine: Machine, tmp_path: Path, user: str, runs: list[str]
) -> None:
    machine.has("id", f"echo {user}")
    machine.has("sudo", f'echo sudo >>{tmp_path}/ran; [ "$1" = -v ] || exec "$@"')
    machine.has(
        "apt-get",
        f"echo apt-get >>{tmp_path}/ran\n"
        "[[ $* != *--print-uris* ]] || printf \"'http://x/%s' %s 1500000 SHA256:0\\\\n\" gcc gcc cpp cpp",
    )
    done = machine.run("need_debian gcc")
    assert done.returncode == 0, done.stderr
    first, updated, plan, installed, last = done.stdout.splitlines()
    assert first.endswith("Installing Debian packages: gcc\033[0m")
    assert plan == "  2 archives to fetch, 3.0 MB"
    for step in (updated, installed):
        assert re.fullmatch(r" +done in \d+ s", step)
    assert last == "it goes on"
    assert (tmp_path / "ran").read_text().split() == [*runs[:-1], *runs, "apt-get", *runs]


def test_a_step_that_fails_shows_what_was_said_and_ends_it(machine: Machine) -> None:
    done = machine.run("counted bash -c 'echo no such package; exit 7'")
    assert done.returncode == 7
    assert "no such package" in done.stderr
    assert "it goes on" not in done.stdout


def test_the_demo_goes_on_where_an_optional_package_cannot_be_installed(machine: Machine) -> None:
    machine.has("id", "echo 0")
    machine.has("apt-get", "echo no network; exit 100")
    done = machine.run("want_debian ffmpeg")
    assert (done.returncode, "it goes on" in done.stdout) == (0, True)
    assert "no network" in done.stderr
    assert "Going on without ffmpeg" in done.stdout


@pytest.mark.parametrize("send", [os.killpg, os.kill])
def test_what_it_started_ends_with_it(tmp_path: Path, send: Callable[[int, int], None]) -> None:
    """Ctrl-C on the script, as a terminal sends it, to the whole group; and to the script alone, which
    is what it comes to where a command of its ends well at that moment: bash lets such a one pass."""
    for pipe in ("began", "told"):
        os.mkfifo(tmp_path / pipe)
    told = os.open(tmp_path / "told", os.O_RDWR | os.O_NONBLOCK)  # so that opening it waits for nobody
    wait = "while true; do sleep 0.05; done"
    child = f'trap "echo told >{tmp_path}/told; exit" TERM; echo >{tmp_path}/began; {wait}'
    with subprocess.Popen(
        ["bash", "-c", f"source {ROOT}/scripts/_prepare.sh; counted bash -c '{child}'"],
        env={"PATH": os.environ["PATH"]},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        # What runs in the background ignores Ctrl-C (POSIX, 2.11), and this test may run there.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as script:
        try:
            assert (tmp_path / "began").read_text() == "\n"
            send(script.pid, signal.SIGINT)
            assert script.wait(30) == 128 + signal.SIGINT
            assert select.select([told], [], [], 30)[0], "the child was not told to end"
            assert os.read(told, 100) == b"told\n"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(script.pid, signal.SIGKILL)
    os.close(told)
