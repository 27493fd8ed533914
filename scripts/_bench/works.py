"""The works: what is done on each mount, cold and then warm, and how its result is checked."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import longs
import restart
import tags
import walks
from mounts import Mounted, configuration, rclone
from processes import run
from programs import ROOT
from runs import Bench, Check, cold_and_warm
from truth import HOUR, HOUR_PATH, same

_MANY = 64
_AT_ONCE = 8
_HEAD_BYTES = 16_384
_FIRST_BYTES = 65_536
_MOUNTS = ("voxofs", "before", "rclone", "rclone-full", "httpdirfs")


def ls(bench: Bench) -> None:
    """`ls -l` of the hour: every size is needed, no byte."""

    def action(mount: Mounted) -> Check:
        output = run(["ls", "-l", mount.month / HOUR_PATH])
        return lambda: bench.truth.check_ls(output)

    cold_and_warm(bench, "ls -l", _MOUNTS, action, entries=len(bench.truth.names))


def copy(bench: Bench) -> None:
    """`cp -r` of the hour to memory, cold and again; the second time beside copies that are already local."""

    def action(mount: Mounted) -> Check:
        return bench.copied(mount.month / HOUR_PATH)

    systems = ["voxofs", "before", "rclone"]
    if not bench.world.round_trip_s:  # they take minutes far away: httpdirfs half a one near
        systems += ["rclone-full", "httpdirfs-cache"]
    cold_and_warm(
        bench,
        "cp -r",
        systems,
        action,
        needed_bytes=bench.truth.total_bytes,
        entries=len(bench.truth.names),
    )
    for _ in range(bench.runs):
        bench.measure("cp -r warm", "tmpfs", lambda: bench.copied(bench.local))


def first(bench: Bench) -> None:
    """The first 64 KiB of one recording, its folder having been listed by name before."""
    name = bench.truth.names[100]
    expected = bench.truth.read("bench", HOUR, name, 0, _FIRST_BYTES)

    def action(mount: Mounted) -> Check:
        data = _read(mount.month / HOUR_PATH / name, _FIRST_BYTES)
        return lambda: same(data == expected, True, f"the head of {name}")

    for _, system in bench.turns(*_MOUNTS):
        with bench.mount(system) as mount:
            os.listdir(mount.month / HOUR_PATH)
            bench.drained()
            for state in ("cold", "warm"):
                bench.measure(
                    f"first 64 KiB {state}",
                    system,
                    partial(action, mount),
                    daemon=mount,
                    needed_bytes=_FIRST_BYTES,
                )


def heads(bench: Bench) -> None:
    """The first 16 KiB of 64 recordings, 8 at a time."""
    names = bench.truth.names[:_MANY]
    expected = [bench.truth.read("bench", HOUR, name, 0, _HEAD_BYTES) for name in names]

    def action(mount: Mounted) -> Check:
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            found = list(threads.map(lambda name: _read(mount.month / HOUR_PATH / name, _HEAD_BYTES), names))
        return lambda: same(found == expected, True, "the heads of 64 recordings")

    cold_and_warm(bench, "64 heads", _MOUNTS[:-1], action, needed_bytes=_MANY * _HEAD_BYTES, entries=_MANY)


def _read(file: Path, size: int) -> bytes:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)


def export(bench: Bench) -> None:
    """`voxofs export` of the hour beside `rclone copy --transfers 32`: whole programs, from start to end."""
    for _, system in bench.turns("voxofs", "rclone"):
        home = bench.fresh_folder()
        home.mkdir()
        kept = home / "kept"
        if system == "voxofs":
            config = configuration(["bench"], bench.service, home)
            command: list[str | Path] = [sys.executable, "-m", "voxofs", "export", "--quiet"]
            command += ["--config", config, f"bench/2024/03/{HOUR_PATH}", kept]
            found = kept / "bench/2024/03" / HOUR_PATH
        else:
            command = rclone("copy", bench.service, home, f"bench/2024/03/{HOUR_PATH}")
            command += [kept, "--transfers", "32"]
            found = kept
        environment = {"PYTHONPATH": str(ROOT)} | bench.service.environment

        def action(
            command: list[str | Path] = command,
            home: Path = home,
            found: Path = found,
            environment: dict[str, str] = environment,
        ) -> Check:
            run(command, cwd=home, environment=environment)
            return lambda: bench.truth.check_copy(found)

        bench.measure("export", system, action, needed_bytes=bench.truth.total_bytes)
        shutil.rmtree(home)


FAR = ("ls", "cp", "first")
"""What is done in the worlds beside near, where nothing is named: works that wait for the network."""

UNASKED = ("ffprobe-all", "restart-day", "full-tier")
"""Done only where `--works` names them: they take long; the last two need root, and a disk with room."""

WORKS: dict[str, Callable[[Bench], None]] = {
    "ls": ls,
    "cp": copy,
    "first": first,
    "heads": heads,
    "ffprobe": tags.ffprobe,
    "tags": tags.tags,
    "month": walks.month,
    "big": longs.big,
    "random": longs.scattered,
    "export": export,
    "flood": walks.flood,
    "million": walks.million,
    "restart": restart.restart,
    "restart-day": restart.day,
    "full-tier": restart.full_tier,
    "ffprobe-all": tags.ffprobe_all,
}
"""By the name that `--works` takes."""
