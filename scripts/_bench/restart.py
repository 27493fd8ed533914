"""What outlives the mount: the disk tier of voxofs, the caches of rclone and httpdirfs, and gocryptfs.

Everything that is kept lies below /var/tmp, on a disk, sealed or not as each system does it; the kernel's
caches are written out and dropped before every run, which needs root.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import mkdtemp

import trio
from longs import hash_check
from mounts import Mounted
from processes import Failed, run, start, unmount, wait_until_mounted
from runs import Action, Bench, Check
from truth import HOUR, HOUR_PATH, same
from walks import sizes

from voxofs.clock import Clock
from voxofs.model import BLOCK_BYTES, Edition, RecordingKey, Version
from voxofs.store.key import read_key_file
from voxofs.store.settings import DiskSettings
from voxofs.store.tier import open_tier

_ON_DISK = Path("/var/tmp")
"""What outlives a boot (file-hierarchy(7)), and so is on a disk."""
_FULL_GIB = 20
_CALL_BYTES = 290_000
"""As in the benchmark's hour."""
_PASSWORD = ["-extpass", "echo bench"]


def drop_caches() -> None:
    """Make the kernel forget every file. Raises `Failed` where this user may not."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except PermissionError:
        raise Failed("the restart works drop the kernel's caches: run them as root") from None


@contextmanager
def _kept() -> Iterator[Path]:
    folder = Path(mkdtemp(prefix="voxofs-bench-", dir=_ON_DISK))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def restart(bench: Bench) -> None:
    """What was read before a restart is read again: an hour, and a long recording."""
    _hour(bench)
    _long(bench)


def _hour(bench: Bench) -> None:
    def copy(mount: Mounted) -> Check:
        return bench.copied(mount.month / HOUR_PATH)

    needed = bench.truth.total_bytes
    for _ in range(bench.runs):
        drop_caches()
        with bench.mount("voxofs") as mount:
            bench.measure(
                "cp -r, tier off", "voxofs", partial(copy, mount), daemon=mount, needed_bytes=needed
            )
        with _kept() as kept:
            drop_caches()
            with bench.mount("voxofs", kept=kept) as mount:
                bench.measure(
                    "cp -r, tier on", "voxofs", partial(copy, mount), daemon=mount, needed_bytes=needed
                )
            _again(bench, "voxofs", kept, copy)
        bench.measure("cp -r restart", "tmpfs", lambda: bench.copied(bench.local))
    for system in bench.present("rclone-full", "httpdirfs-cache"):
        with _kept() as kept:
            with bench.mount(system, kept=kept) as mount:
                bench.measure("cp -r, before", system, partial(copy, mount), daemon=mount, keep=False)
            for _ in range(bench.plan.peer_runs):
                _again(bench, system, kept, copy)


def _again(bench: Bench, system: str, kept: Path, copy: Action) -> None:
    drop_caches()
    with bench.mount(system, kept=kept) as mount:
        action = partial(copy, mount)
        bench.measure("cp -r restart", system, action, daemon=mount, needed_bytes=bench.truth.total_bytes)


def day(bench: Bench) -> None:
    """`ls -lR` of a day of 24,000 calls, cold and after a restart, and `find` after one; without delay."""
    expected = bench.truth.tree("flood", date(2024, 3, 5), 1)
    bench.delays(0.0, 0.0)
    with _kept() as kept:
        for work in ("ls -lR day, cold", *["ls -lR day, restart"] * bench.runs):
            drop_caches()
            with bench.mount("voxofs", "flood", kept=kept) as mount:
                done = bench.measure(work, "voxofs", partial(_ls, mount, expected), daemon=mount)
                done.extra["rss_after_bytes"] = mount.rss_bytes()
        for _ in range(bench.runs):
            drop_caches()
            with bench.mount("voxofs", "flood", kept=kept) as mount:
                bench.measure("find day, restart", "voxofs", partial(_find, mount, expected), daemon=mount)
    bench.delays()


def _ls(mount: Mounted, expected: dict[str, int]) -> Check:
    output = run(["ls", "-lR", "."], cwd=mount.month / "05")
    return lambda: same(sizes(output, "2024/03/05"), expected, "ls -lR of a day")


def _find(mount: Mounted, expected: dict[str, int]) -> Check:
    output = run(["find", ".", "-name", "*.mp3"], cwd=mount.month / "05")
    return lambda: same(len(output.split()), len(expected), "find over a day")


def _long(bench: Bench) -> None:
    expected, size = bench.truth.big_hash(), bench.truth.big_size
    with _kept() as kept:
        file = Path("big/2024/03") / HOUR_PATH / bench.truth.big
        with bench.mount("voxofs", "big", kept=kept) as mount:
            _sequential(mount.path / file)
            bench.drained()
        for number in range(bench.runs):
            drop_caches()
            with bench.mount("voxofs", "big", kept=kept) as mount:
                action = partial(_read_all, mount.path / file, expected if number == 0 else None)
                bench.measure("256 MiB, restart", "voxofs", action, daemon=mount, needed_bytes=size)
        if "gocryptfs" in bench.present("gocryptfs"):
            _gocryptfs(bench, kept)


def _gocryptfs(bench: Bench, kept: Path) -> None:
    """The same bytes in gocryptfs's folder on the same disk, mounted anew for each run."""
    sealed, clear, log = kept / "sealed", kept / "clear", kept / "log"
    sealed.mkdir()
    clear.mkdir()
    run(["gocryptfs", "-init", "-q", *_PASSWORD, sealed])
    for number in range(bench.runs + 1):
        drop_caches()
        log.touch()
        process = start(["gocryptfs", "-q", "-fg", *_PASSWORD, sealed, clear], log)
        try:
            wait_until_mounted(clear, process, log, patience_s=30)
            if number == 0:
                with (clear / "long").open("wb") as file:
                    pieces = bench.truth.pieces("big", HOUR, bench.truth.big, 0, bench.truth.big_size)
                    file.writelines(pieces)
            else:
                bench.measure("256 MiB, restart", "gocryptfs", lambda: _sequential(clear / "long"))
        finally:
            unmount(clear)
            process.wait(30)


def _sequential(file: Path) -> None:
    run(["dd", f"if={file}", "of=/dev/null", "bs=1M", "status=none"])


def _read_all(file: Path, expected: str | None) -> Check | None:
    _sequential(file)
    return None if expected is None else hash_check(file, expected)


def full_tier(bench: Bench) -> None:
    """The daemon's memory with 20 GiB in the tier against one without: after a copy of the hour."""

    def copy(mount: Mounted) -> Check:
        return bench.copied(mount.month / HOUR_PATH)

    with _kept() as kept:
        for work, tier in (("cp -r, no tier", None), ("cp -r, empty tier", kept), ("cp -r, full tier", kept)):
            if "full" in work:
                trio.run(_fill, kept)
            drop_caches()
            with bench.mount("voxofs", kept=tier) as mount:
                trio.run(trio.sleep, 5.0)  # what a start compares is compared
                done = bench.measure(work, "voxofs", partial(copy, mount), daemon=mount)
                done.extra["rss_after_bytes"] = mount.rss_bytes()
                if tier is not None:
                    status = json.loads((mount.path / ".voxofs/status").read_text())
                    done.extra["held_bytes"] = status["disk"]["bytes"]


async def _fill(kept: Path) -> None:
    """Recordings of another tenant, as a mount would have brought them."""
    settings = DiskSettings(
        path=kept / "tier", key=read_key_file(kept / "disk.key"), size_bytes=2 * _FULL_GIB << 30
    )
    noise = random.Random(1).randbytes(BLOCK_BYTES)
    async with trio.open_nursery() as nursery:
        async with open_tier(settings, Clock(), nursery) as tier:
            for number in range((_FULL_GIB << 30) // _CALL_BYTES):
                key = RecordingKey("other", f"call-{number}", "2024-03-05 10:00:00")
                edition = Edition(key, Version(_CALL_BYTES, '"one"', None))
                for index in range(edition.blocks):
                    length = min(BLOCK_BYTES, _CALL_BYTES - index * BLOCK_BYTES)
                    tier.offer(edition, index, noise[:length], read=True)
                tier.keep_version(key, edition.version)
                if number % 80 == 79:  # three quarters of what may be pending
                    await tier.settle()
            await tier.settle()
            if tier.counts["dropped"]:
                raise Failed(f"the tier was not filled: {tier.state}, {tier.reason}, {dict(tier.counts)}")
        nursery.cancel_scope.cancel()
