"""What is right: names, sizes, hashes and bytes, computed past the network from the simulator's own world."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

from voxofs.simulator.server import Simulator
from voxofs.simulator.tenants import WORLDS
from voxofs.simulator.world import Tenant

SEED = 1
HOUR = "2024-03-05 10"
HOUR_PATH = Path("05/10")
"""The hour that most is done with, below the month."""


class WrongBytes(Exception):
    """A mount showed something else than what the simulator holds."""


class Truth:
    """The world `bench`, in this process. The simulator that is measured is another one, of the same seed."""

    def __init__(self) -> None:
        self._world = Simulator(WORLDS["bench"], seed=SEED).world
        self._now_s = time.time()
        tenant = self._tenant("bench")
        self.sizes = {f"{uid}.mp3": size for uid, size, _ in tenant.names(HOUR, self._now_s)}
        """Sizes of the busy hour's recordings by name, in the order of the names."""
        self.hashes = {
            name: hashlib.sha256(self.read("bench", HOUR, name, 0, size)).hexdigest()
            for name, size in self.sizes.items()
        }
        self.names = list(self.sizes)
        self.total_bytes = sum(self.sizes.values())
        self.big, self.big_size, _ = max(
            self._tenant("big").names(HOUR, self._now_s), key=lambda found: found[1]
        )
        self.big += ".mp3"

    def read(self, code: str, hour: str, name: str, start: int, stop: int) -> bytes:
        """Bytes of a recording."""
        return b"".join(self.pieces(code, hour, name, start, stop))

    def pieces(self, code: str, hour: str, name: str, start: int, stop: int) -> Iterator[bytes]:
        """Bytes of a recording, piece by piece."""
        tenant = self._tenant(code)
        audio = self._world.audio(tenant, hour, name.removesuffix(".mp3"), self._now_s)
        if audio is None:
            raise KeyError(name)
        while start < stop:
            piece = audio.read(start, stop)
            start += len(piece)
            yield piece

    def big_hash(self) -> str:
        """Of the recording of 256 MiB."""
        digest = hashlib.sha256()
        for piece in self.pieces("big", HOUR, self.big, 0, self.big_size):
            digest.update(piece)
        return digest.hexdigest()

    def tree(self, code: str, first: date, days: int) -> dict[str, int]:
        """Size by path (`YYYY/MM/DD/HH/name.mp3`) of everything in these days."""
        tenant = self._tenant(code)
        found = {}
        for day in (first + timedelta(n) for n in range(days)):
            for hour in range(24):
                folder = f"{day:%Y/%m/%d}/{hour:02}"
                for uid, size, _ in tenant.names(f"{day} {hour:02}", self._now_s):
                    found[f"{folder}/{uid}.mp3"] = size
        return found

    def write_hour(self, folder: Path) -> None:
        """The busy hour as plain files, for comparison with a local disk."""
        folder.mkdir(parents=True)
        for name, size in self.sizes.items():
            (folder / name).write_bytes(self.read("bench", HOUR, name, 0, size))

    def check_copy(self, folder: Path) -> None:
        """Every file of a copy of the hour, and no other. Raises `WrongBytes`."""
        found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
        same(found, self.hashes, "a copy of the hour")

    def check_ls(self, output: bytes) -> None:
        """What `ls -l` of the hour printed."""
        found = {}
        for line in output.decode().splitlines():
            fields = line.split()
            if len(fields) >= 9:
                found[fields[-1]] = int(fields[4])
        same(found, self.sizes, "ls -l of the hour")

    def _tenant(self, code: str) -> Tenant:
        return self._world.by_code[code]


def same(found: object, expected: object, what: str) -> None:
    """Raises `WrongBytes` where they differ, with an example."""
    if found == expected:
        return
    example = ""
    if isinstance(found, dict) and isinstance(expected, dict):
        differing = [name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)]
        name = min(differing)
        example = f": {len(differing)} differ, such as {name}: {found.get(name)} for {expected.get(name)}"
    raise WrongBytes(f"{what} differs from what the simulator holds{example}")
