"""Walks over many recordings: names and sizes of a month, of a day of 24,000 calls, of a million."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import mkdtemp

from floor import FILES
from mounts import Mounted
from processes import end, rss_bytes, run, start, unmount, wait_until_mounted
from runs import Bench, Check, cold_and_warm
from truth import same

_FLOOR = Path(__file__).with_name("floor.py")


def month(bench: Bench) -> None:
    """`find` over the 31 days of March, names only: of 586 recordings, with rclone, and of 18,575, with the
    least that a file system of this kind costs."""
    _few(bench)
    _full(bench)


def _few(bench: Bench) -> None:
    expected = sorted(bench.truth.tree("bench", date(2024, 3, 1), 31))

    def action(mount: Mounted) -> Check:
        output = run(["find", mount.month, "-name", "*.mp3", "-printf", "%P\n"])
        found = sorted(f"2024/03/{line}" for line in output.decode().splitlines())
        return lambda: same(found, expected, "find over a month")

    cold_and_warm(bench, "find month", ("voxofs", "before", "rclone"), action, entries=len(expected))


def _full(bench: Bench) -> None:
    expected = sorted(bench.truth.tree("month", date(2024, 3, 1), 31))

    def action(mount: Mounted) -> Check:
        output = run(["find", mount.month, "-name", "*.mp3", "-printf", "%P\n"])
        found = sorted(f"2024/03/{line}" for line in output.decode().splitlines())
        return lambda: same(found, expected, "find over a full month")

    def bare(mount: Mounted) -> Check:
        output = run(["find", mount.path, "-name", "*.mp3"])
        return lambda: same(len(output.splitlines()), FILES, "find over the bare file system")

    for _, system in bench.turns("voxofs", "before"):
        with bench.mount(system, "month") as mount:
            bench.measure(
                "find full month", system, partial(action, mount), daemon=mount, entries=len(expected)
            )
        if system == "voxofs":
            with _floor(bench.base) as mount:
                bench.measure(
                    "find full month", "bare pyfuse3", partial(bare, mount), daemon=mount, entries=FILES
                )


@contextmanager
def _floor(base: Path) -> Iterator[Mounted]:
    """A file system that has its names in lists and does nothing else: what pyfuse3 itself costs."""
    home = Path(mkdtemp(prefix="floor-", dir=base))
    path, log = home / "mnt", home / "log"
    path.mkdir()
    process = start([sys.executable, _FLOOR, path], log)
    try:
        wait_until_mounted(path, process, log, patience_s=30.0)
        path.stat()
        yield Mounted("bare pyfuse3", path, path, process, rss_bytes(process.pid))
    finally:
        unmount(path)
        end(process)
        shutil.rmtree(home, ignore_errors=True)


def flood(bench: Bench) -> None:
    """`ls -lR` of a day of 24,000 calls, once, without delay: what a request costs, and how much memory."""
    expected = bench.truth.tree("flood", date(2024, 3, 5), 1)
    bench.delays(0.0, 0.0)
    for system in bench.present("voxofs", "before"):
        with bench.mount(system, "flood") as mount:

            def action(folder: Path = mount.month / "05") -> Check:
                output = run(["ls", "-lR", "."], cwd=folder)
                return lambda: same(sizes(output, "2024/03/05"), expected, "ls -lR of a day")

            done = bench.measure("ls -lR, 24,000 calls", system, action, daemon=mount, entries=len(expected))
            done.extra["idle_rss_bytes"] = mount.idle_rss_bytes
            done.extra["rss_after_bytes"] = mount.rss_bytes()
    bench.delays()


def sizes(output: bytes, root: str) -> dict[str, int]:
    """Size by path from what `ls -lR .` printed."""
    found, folder = {}, root
    for line in output.decode().splitlines():
        if line.startswith("./") and line.endswith(":"):
            folder = f"{root}/{line[2:-1]}"
        elif line.endswith(".mp3"):
            fields = line.split()
            found[f"{folder}/{fields[-1]}"] = int(fields[4])
    return found


def million(bench: Bench) -> None:
    """Two walks over a million calls, once each, without delay: memory after the first and the second."""
    expected = sorted(bench.truth.tree("million", date(2024, 1, 1), 88))
    bench.delays(0.0, 0.0)
    with bench.mount("voxofs", "million") as mount:

        def action() -> Check:
            output = run(["find", "01", "02", "03", "-name", "*.mp3"], cwd=mount.path / "million/2024")
            found = sorted(f"2024/{name}" for name in output.decode().split())
            return lambda: same(found, expected, "find over a million calls")

        for work in ("million, walk 1", "million, walk 2"):
            done = bench.measure(work, "voxofs", action, daemon=mount, entries=len(expected))
            done.extra["idle_rss_bytes"] = mount.idle_rss_bytes
            done.extra["rss_after_bytes"] = mount.rss_bytes()
            status = json.loads((mount.path / ".voxofs/status").read_text())
            done.extra["records"] = status["catalog"]["records"]
    bench.delays()
