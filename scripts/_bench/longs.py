"""Works on one recording of 256 MiB: from end to end, and here and there."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from random import Random

from processes import run
from programs import needed
from runs import Bench, Check
from truth import HOUR, HOUR_PATH, same

_RANDOM_READS = 64
_RANDOM_BYTES = 4_096


def big(bench: Bench) -> None:
    """One recording of 256 MiB from its first byte to its last, without delay and with; curl in between."""
    expected = bench.truth.big_hash()
    for work, storage_delay_s in (("256 MiB, no delay", 0.0), ("256 MiB, 30 ms", 0.03)):
        bench.delays(0.08 if storage_delay_s else 0.0, storage_delay_s)
        for number, system in bench.turns("voxofs", "before", "rclone", "curl", "rclone-full"):
            _big(bench, work, system, expected, check=number == 0)
    bench.delays()


def _big(bench: Bench, work: str, system: str, expected: str, *, check: bool) -> None:
    size = bench.truth.big_size
    if system == "curl":
        url = f"{bench.sim.storage_url}/plain/big/2024/03/{HOUR_PATH}/{bench.truth.big}"
        trusted: list[str | Path] = (
            [] if bench.service.authority is None else ["--cacert", bench.service.authority]
        )
        command: list[str | Path] = [needed("curl"), "-sSf", *trusted, "-o", "/dev/null", url]
        bench.measure(work, "curl", lambda: _nothing(run(command)), needed_bytes=size)
        return
    with bench.mount(system, "big") as mount:
        file = mount.month / HOUR_PATH / bench.truth.big
        os.listdir(file.parent)
        bench.drained()

        def action() -> Check | None:
            run(["dd", f"if={file}", "of=/dev/null", "bs=1M", "status=none"])
            return hash_check(file, expected) if check else None

        bench.measure(work, system, action, daemon=mount, needed_bytes=size)


def hash_check(file: Path, expected: str) -> Check:
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
                done.extra["blocks_a_read"] = done.fetched_bytes / _RANDOM_READS / block_bytes
            finally:
                os.close(file)


def _nothing(_: object) -> None:
    """Nothing to check."""
