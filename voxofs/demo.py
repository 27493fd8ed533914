"""`voxofs demo`: the simulator as a child process, mounted like the real thing, with a tour of what to try.

The demo is `mount` pointed at the simulator: same code, another base URL. Its token goes from the child to
this process through a pipe and stays in memory. Everything made is taken away again: the mount, the child,
the folder.
"""

from __future__ import annotations

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

from . import config, service
from .errors import VoxofsError

_SINCE = date(2021, 1, 1)  # the simulated offices opened then
_MOST_DAYS_BACK = 14
_MOST_LINES = 14


def run(mountpoint: str | None) -> int:
    """Mount the demo at the folder, or at a new one, until Ctrl-C. Returns the exit code."""
    from .simulator.process import start_process

    with _folder(mountpoint) as folder:
        try:
            simulator = start_process(world="demo", api_delay_s=0.08, storage_delay_s=0.03)
        except (RuntimeError, OSError) as error:
            raise VoxofsError(f"the demo's phone system did not start: {error}") from None
        with simulator:
            made = config.Config(
                tenants={
                    name: config.Tenant(id=number, since=_SINCE) for name, number in simulator.tenants.items()
                },
                api=config.Api(base_url=simulator.api_url, token=config.Secret(simulator.token)),
                log=config.Log(level="warning"),
            )
            print(f"Mounting a simulated phone system at {folder} …", flush=True)
            code = service.run_foreground(made, folder, look_around=lambda: look_around(folder))
    if code == 0:
        print("\nUnmounted. That was the demo.", flush=True)
    return code


@contextlib.contextmanager
def _folder(mountpoint: str | None) -> Iterator[Path]:
    """The folder to mount on; one that was made for the demo is removed afterwards."""
    if mountpoint is not None:
        yield Path(mountpoint)
        return
    made = Path(tempfile.mkdtemp(prefix="voxofs-demo-"))
    try:
        yield made
    finally:
        # Never recursively: were it still mounted, the mount's own files would be what is deleted.
        with contextlib.suppress(OSError):
            made.rmdir()


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
            f"  cp -a {hour} /tmp/calls",
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
                        if len(os.listdir(hour)) >= 3:
                            return hour
                    days += 1
                    if days >= _MOST_DAYS_BACK:
                        return None
    return None


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.iterdir(), reverse=True)
