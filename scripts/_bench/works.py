"""The works: what is done on each mount, cold and then warm, and how its result is checked."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from random import Random

from harness import Bench, Check
from mounts import Mounted
from processes import run
from truth import HOUR, same

HOUR_PATH = Path("05/10")
"""The hour that everything is done with, below the month."""
_MANY = 64
_AT_ONCE = 8
_HEAD_BYTES = 16_384
_FIRST_BYTES = 65_536
_RANDOM_READS = 64
_RANDOM_BYTES = 4_096

SLOW = ("httpdirfs", "httpdirfs-cache")

Action = Callable[[Mounted], Check | None]


def cold_and_warm(bench: Bench, work: str, systems: list[str], action: Action, needed_bytes: int) -> None:
    """The same action on a fresh mount and once more on the same mount, on every system in turn.

    httpdirfs takes so long that it is mounted once; its second time is repeated where it has a cache.
    """
    for number in range(bench.runs):
        for system in systems:
            if number and system in SLOW:
                continue
            again = bench.runs if system == "httpdirfs-cache" else 1
            with bench.mount(system) as mount:
                for state in ("cold", *["warm"] * again):
                    bench.measure(
                        f"{work} {state}",
                        system,
                        lambda mount=mount: action(mount),
                        daemon=mount,
                        needed_bytes=needed_bytes,
                    )


def ls(bench: Bench) -> None:
    """`ls -l` of the hour: every size is needed, no byte."""

    def action(mount: Mounted) -> Check:
        output = run(["ls", "-l", mount.month / HOUR_PATH])
        return lambda: bench.truth.check_ls(output)

    cold_and_warm(bench, "ls -l", bench.present("voxofs", "rclone", "rclone-full", "httpdirfs"), action, 0)


def copy(bench: Bench) -> None:
    """`cp -r` of the hour to memory, cold and again; the second time beside copies that are already local."""

    def action(mount: Mounted) -> Check:
        return _copy(bench, mount.month / HOUR_PATH)

    systems = bench.present("voxofs", "rclone", "rclone-full", "httpdirfs-cache")
    cold_and_warm(bench, "cp -r", systems, action, bench.truth.total_bytes)
    for _ in range(bench.runs):
        bench.measure("cp -r warm", "tmpfs", lambda: _copy(bench, bench.local))


def _copy(bench: Bench, source: Path) -> Check:
    target = bench.fresh_folder()
    run(["cp", "-r", source, target])

    def check() -> None:
        bench.truth.check_copy(target)
        shutil.rmtree(target)

    return check


def first(bench: Bench) -> None:
    """The first 64 KiB of one recording, its folder having been listed by name before."""
    name = bench.truth.names[100]
    expected = bench.truth.read("bench", HOUR, name, 0, _FIRST_BYTES)

    def action(mount: Mounted) -> Check:
        data = _read(mount.month / HOUR_PATH / name, _FIRST_BYTES)
        return lambda: same(data == expected, True, f"the head of {name}")

    for _ in range(bench.runs):
        for system in bench.present("voxofs", "rclone", "rclone-full", "httpdirfs"):
            with bench.mount(system) as mount:
                os.listdir(mount.month / HOUR_PATH)
                bench.drained()
                for state in ("cold", "warm"):
                    bench.measure(
                        f"first 64 KiB {state}",
                        system,
                        lambda mount=mount: action(mount),
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

    systems = bench.present("voxofs", "rclone", "rclone-full", "httpdirfs")
    cold_and_warm(bench, "64 heads", systems, action, _MANY * _HEAD_BYTES)


def ffprobe(bench: Bench) -> None:
    """64 × ffprobe, 8 at a time, on every system and on a local copy just before it."""
    names = bench.truth.names[:_MANY]
    expected = _probe(bench.local, names)
    for number in range(bench.runs):
        for system in bench.present("voxofs", "rclone", "rclone-full", "httpdirfs"):
            if number and system in SLOW:
                continue
            local = bench.measure(
                "64 ffprobe cold", "local", lambda: _probe_check(bench.local, names, expected)
            )
            with bench.mount(system) as mount:
                for state in ("cold", "warm"):
                    done = bench.measure(
                        f"64 ffprobe {state}",
                        system,
                        lambda mount=mount: _probe_check(mount.month / HOUR_PATH, names, expected),
                        daemon=mount,
                    )
                    done.extra["above_local_s"] = done.seconds - local.seconds


def _probe(folder: Path, names: list[str], at_once: int = _AT_ONCE) -> list[str]:
    """What ffprobe says about each file; a shell user's line."""
    command = ["xargs", "-0", "-n1", f"-P{at_once}", "ffprobe", "-v", "error", "-of", "csv=p=0"]
    fields = ["-show_entries", "format=filename,duration,size,bit_rate:format_tags"]
    output = run([*command, *fields], cwd=folder, input="\0".join(names).encode())
    return sorted(output.decode().splitlines())


def _probe_check(folder: Path, names: list[str], expected: list[str], at_once: int = _AT_ONCE) -> Check:
    found = _probe(folder, names, at_once)
    return lambda: same(found, expected, "what ffprobe says")


def ffprobe_all(bench: Bench) -> None:
    """ffprobe of every recording of the hour, one after another: how much is fetched."""
    names = bench.truth.names
    expected = _probe(bench.local, names)
    for _ in range(bench.runs):
        with bench.mount("voxofs") as mount:
            bench.measure(
                "200 ffprobe cold",
                "voxofs",
                lambda mount=mount: _probe_check(mount.month / HOUR_PATH, names, expected, 1),
                daemon=mount,
            )


def month(bench: Bench) -> None:
    """`find` over the 31 days of March: names only."""
    expected = sorted(bench.truth.tree("bench", date(2024, 3, 1), 31))

    def action(mount: Mounted) -> Check:
        output = run(["find", mount.month, "-name", "*.mp3", "-printf", "%P\n"])
        found = sorted(f"2024/03/{line}" for line in output.decode().splitlines())
        return lambda: same(found, expected, "find over a month")

    cold_and_warm(bench, "find month", bench.present("voxofs", "rclone"), action, 0)


def big(bench: Bench) -> None:
    """One recording of 256 MiB from its first byte to its last, without delay and with; curl in between."""
    expected = bench.truth.big_hash()
    for work, storage_delay_s in (("256 MiB, no delay", 0.0), ("256 MiB, 30 ms", 0.03)):
        bench.delays(0.08 if storage_delay_s else 0.0, storage_delay_s)
        for number in range(bench.runs):
            for system in ("voxofs", "curl", "rclone", "curl", "rclone-full"):
                if system in bench.present(system):
                    _big(bench, work, system, expected, check=number == 0)
    bench.delays()


def _big(bench: Bench, work: str, system: str, expected: str, *, check: bool) -> None:
    size = bench.truth.big_size
    if system == "curl":
        url = f"{bench.sim.storage_url}/plain/big/2024/03/{HOUR_PATH}/{bench.truth.big}"
        bench.measure(
            work, "curl", lambda: _nothing(run(["curl", "-sSf", "-o", "/dev/null", url])), needed_bytes=size
        )
        return
    with bench.mount(system, "big") as mount:
        file = mount.month / HOUR_PATH / bench.truth.big
        os.listdir(file.parent)
        bench.drained()

        def action() -> Check | None:
            run(["dd", f"if={file}", "of=/dev/null", "bs=1M", "status=none"])
            return _hash_check(file, expected) if check else None

        bench.measure(work, system, action, daemon=mount, needed_bytes=size)


def _hash_check(file: Path, expected: str) -> Check:
    """The bytes are still in the kernel's pages or the daemon's cache, or are fetched the same way again."""

    def check() -> None:
        with file.open("rb") as stream:
            same(hashlib.file_digest(stream, "sha256").hexdigest(), expected, f"{file.name}, all 256 MiB")

    return check


def scattered(bench: Bench) -> None:
    """Reads of 4 KiB at places of the long recording that have nothing to do with each other."""
    block_bytes = 65_536
    blocks = Random(4).sample(range(2, bench.truth.big_size // block_bytes - 1), _RANDOM_READS)
    offsets = [block * block_bytes + Random(block).randrange(0, 15) * 4_096 for block in blocks]
    expected = [
        bench.truth.read("big", HOUR, bench.truth.big, offset, offset + _RANDOM_BYTES) for offset in offsets
    ]
    for _ in range(bench.runs):
        with bench.mount("voxofs", "big") as mount:
            file = os.open(mount.month / HOUR_PATH / bench.truth.big, os.O_RDONLY)
            try:
                bench.drained()  # opening has asked for the size, and got the first block with it

                def action(file: int = file) -> Check:
                    found = [os.pread(file, _RANDOM_BYTES, offset) for offset in offsets]
                    return lambda: same(found == expected, True, "random reads of 4 KiB")

                needed_bytes = _RANDOM_READS * _RANDOM_BYTES
                done = bench.measure(
                    "random 4 KiB", "voxofs", action, daemon=mount, needed_bytes=needed_bytes
                )
                done.extra["requests_a_read"] = done.requests.get("audio", 0) / _RANDOM_READS
                done.extra["blocks_a_read"] = done.fetched_bytes / _RANDOM_READS / block_bytes
            finally:
                os.close(file)


def flood(bench: Bench) -> None:
    """`ls -lR` of a day of 24,000 calls, once, without delay: how much memory that takes."""
    expected = bench.truth.tree("flood", date(2024, 3, 5), 1)
    bench.delays(0.0, 0.0)
    with bench.mount("voxofs", "flood") as mount:

        def action() -> Check:
            output = run(["ls", "-lR", "."], cwd=mount.month / "05")
            return lambda: same(_sizes(output, "2024/03/05"), expected, "ls -lR of a day")

        done = bench.measure("ls -lR, 24,000 calls", "voxofs", action, daemon=mount)
        done.extra["idle_rss_bytes"] = mount.idle_rss_bytes
        done.extra["rss_after_bytes"] = mount.rss_bytes()
    bench.delays()


def _sizes(output: bytes, root: str) -> dict[str, int]:
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
            done = bench.measure(work, "voxofs", action, daemon=mount)
            done.extra["idle_rss_bytes"] = mount.idle_rss_bytes
            done.extra["rss_after_bytes"] = mount.rss_bytes()
    bench.delays()


def _read(file: Path, size: int) -> bytes:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)


def _nothing(_: object) -> None:
    """Nothing to check."""


WORKS: dict[str, Callable[[Bench], None]] = {
    "ls": ls,
    "cp": copy,
    "first": first,
    "heads": heads,
    "ffprobe": ffprobe,
    "ffprobe-all": ffprobe_all,
    "month": month,
    "big": big,
    "random": scattered,
    "flood": flood,
    "million": million,
}
"""By the name that `--works` takes."""
