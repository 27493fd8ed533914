"""`voxofs demo`: the simulator as a child process, mounted like the real thing, with a tour of what to try.

The demo is `mount` pointed at the simulator: same code, another base URL. Its token goes from the child to
this process through a pipe and stays in memory. Everything made is taken away again: the mount, the child,
the folder.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from voxofs.errors import Exit, VoxofsError

from .parser import Commands

_HELP = """
examples:
  voxofs demo                              mounts below the temporary folder and says where
  voxofs demo ~/calls                      mounts there; makes the folder, and removes what it made

Starts a simulated phone system on this machine, mounts it and shows what to try. Needs no account and no
network. Ctrl-C unmounts and cleans up.
"""

_SINCE = date(2021, 1, 1)  # the simulated offices opened then
_API_DELAY_S, _STORAGE_DELAY_S = 0.08, 0.03
"""What the simulated service takes to answer: a rule of thumb for one across a country, so that the tour
shows times as they would be."""
_MOST_DAYS_BACK = 14
"""How far back a lively hour is looked for. A rule of thumb: two weeks hold working days, whatever the
holidays, and a world without calls is given up soon."""
_FEW_CALLS = 3
"""An hour with fewer shows little; a rule of thumb."""
_MOST_LINES = 14
"""Lines shown of a tool's output. A rule of thumb: the whole tour stays short enough to read."""


def add_to(commands: Commands) -> None:
    parser = commands.add(
        "demo", run, summary="mount a simulated phone system to try things on", epilog=_HELP
    )
    parser.add_argument(
        "mountpoint",
        metavar="MOUNTPOINT",
        nargs="?",
        help="an empty folder, or one to make (default: a new one)",
    )


def run(options: argparse.Namespace) -> int:
    """Mount the demo at the folder, or at a new one, until Ctrl-C. Raises VoxofsError."""
    from voxofs.config import sections
    from voxofs.config import settings as config
    from voxofs.config.secrets import Secret
    from voxofs.daemon import process
    from voxofs.simulator.process import start_process

    with _folder(options.mountpoint) as folder:
        try:
            simulator = start_process(
                world="demo", api_delay_s=_API_DELAY_S, storage_delay_s=_STORAGE_DELAY_S
            )
        except (RuntimeError, OSError) as error:
            raise VoxofsError(f"the demo's phone system did not start: {error}") from None
        with simulator:
            made = config.Config(
                tenants={
                    name: sections.TenantSection(id=number, since=_SINCE)
                    for name, number in simulator.tenants.items()
                },
                api=sections.ApiSection(base_url=simulator.api_url, token=Secret(simulator.token)),
                log=sections.LogSection(level="warning"),
            )
            print(f"Mounting a simulated phone system at {folder} …", flush=True)
            code = process.run_foreground(made, folder, look_around=lambda: look_around(folder))
    if code is Exit.OK:
        print("\nUnmounted. That was the demo.", flush=True)
    return code


@contextlib.contextmanager
def _folder(mountpoint: str | None) -> Iterator[Path]:
    """The folder to mount on, made where there is none; what was made for the demo is removed afterwards.

    Raises VoxofsError.
    """
    if mountpoint is None:
        folder = Path(tempfile.mkdtemp(prefix="voxofs-demo-"))
        made = [folder]
    else:
        folder = Path(mountpoint)
        made = _make(folder)
    try:
        yield folder
    finally:
        # Never recursively: were it still mounted, the mount's own files would be what is deleted.
        with contextlib.suppress(OSError):
            for each in reversed(made):
                each.rmdir()


def _make(folder: Path) -> list[Path]:
    """Make a folder with those above it that are missing; returns what was made, from the top down."""
    absolute = folder.absolute()  # so that it is found again from wherever
    missing = [each for each in (absolute, *absolute.parents) if not os.path.lexists(each)]
    made: list[Path] = []
    try:
        for each in reversed(missing):
            each.mkdir()
            made.append(each)
    except OSError as error:
        for each in reversed(made):
            each.rmdir()
        raise VoxofsError(
            f"the folder {folder} is not there and cannot be made ({error.strerror}); name another one, "
            f"or none at all for a temporary one"
        ) from None
    return made


def look_around(mountpoint: Path) -> None:
    """Show real tools at work on the mount, then say what else to try. A mount that does not answer shortens
    the tour."""
    hour = None
    with contextlib.suppress(OSError):
        hour = _recent_hour(mountpoint)
    if hour is not None:
        recording = max(hour.iterdir(), key=lambda path: path.name)
        with tempfile.TemporaryDirectory(prefix="voxofs-copy-") as copies:
            _show("ls", "-l", str(hour))
            _show("ffprobe", "-hide_banner", str(recording))
            _show("cp", "-a", str(hour), copies)
            _show("du", "-sh", copies)
    print(tour(mountpoint, hour), flush=True)


def _show(*command: str) -> None:
    """Run a command as a person would, where it is installed."""
    print(f"\n$ {shlex.join(command)}", flush=True)
    if shutil.which(command[0]) is None:
        print(f"({command[0]} is not installed here)", flush=True)
        return
    began_s = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    lines = done.stdout.splitlines()
    for line in [*lines[:_MOST_LINES], *(["…"] if len(lines) > _MOST_LINES else [])]:
        print(f"  {line}")
    print(f"  ({time.monotonic() - began_s:.2f} s)", flush=True)


def tour(mountpoint: Path, hour: Path | None) -> str:
    """What to try, with paths that exist."""
    lines = ["", f"A phone system's calls are mounted at {mountpoint}. In another terminal, try:", ""]
    lines.append(f"  ls {mountpoint}")
    if hour is not None:
        recording = max(hour.iterdir(), key=lambda path: path.name)
        day = hour.parent
        lines += [
            f"  ls -l {hour}",
            f"  find {day} -name '*.mp3' | wc -l",
            f"  ffprobe -hide_banner {recording}",
            f"  ffmpeg -i {recording} /tmp/call.wav",
            f"  getfattr -d {recording}",
            f"  cp -a {hour} /tmp/calls-copied",
        ]
    by_module = Path(sys.argv[0]).name == "__main__.py"
    command = f"{sys.executable} -m voxofs" if by_module else sys.argv[0]
    if shutil.which("voxofs"):
        command = "voxofs"
    return "\n".join([*lines, f"  {command} stats {mountpoint} --watch", "", "Ctrl-C here unmounts."])


def _recent_hour(mountpoint: Path) -> Path | None:
    """The latest hour that lies whole in the past and holds a few recordings; None when there is none."""
    days = 0
    for tenant in sorted(mountpoint.iterdir(), key=lambda path: path.name != "demo"):
        for year in _newest_first(tenant):
            for month in _newest_first(year):
                for day in _newest_first(month):
                    for hour in _newest_first(day)[1:]:
                        if len(os.listdir(hour)) >= _FEW_CALLS:
                            return hour
                    days += 1
                    if days >= _MOST_DAYS_BACK:
                        return None
    return None


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.iterdir(), reverse=True)
