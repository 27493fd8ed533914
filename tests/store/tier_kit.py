"""Recordings to keep, a clock to turn, and tiers that are opened and settled."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from voxofs.clock import Clock
from voxofs.model import BLOCK_BYTES, Edition, Record, RecordingKey, Version, packed_details
from voxofs.store.health import DiskState
from voxofs.store.settings import DiskSettings
from voxofs.store.tier import DiskTier, open_tier

KEY = bytes(range(32))
NOW_S = 1_700_000_000.0


@dataclass
class Turned:
    """Both clocks, standing still until they are turned."""

    wall: float = NOW_S
    steady: float = 1000.0
    clock: Clock = field(init=False)

    def __post_init__(self) -> None:
        self.clock = Clock(monotonic_s=lambda: self.steady, wall_s=lambda: self.wall)

    def turn(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


def edition(number: int, size: int, *, tenant: str = "acme", etag: str | None = '"one"') -> Edition:
    key = RecordingKey(tenant, f"atl-ast2-{1628901419 + number}.{number}", "2021-08-13 19:36:59")
    return Edition(key, Version(size, etag, "Fri, 13 Aug 2021 19:40:00 GMT"))


def content(of: Edition, index: int) -> bytes:
    """What the block of that edition is, and no other."""
    length = min(BLOCK_BYTES, of.size - index * BLOCK_BYTES)
    return random.Random(f"{of.recording}{of.version}{index}").randbytes(length)


def contents(of: Edition) -> list[bytes]:
    return [content(of, index) for index in range(of.blocks)]


def records(count: int) -> list[Record]:
    return [
        Record(
            f"atl-ast2-{1628901419 + i}.{i}",
            "2021-08-13 19:36:59",
            1628901419 + i,
            packed_details((i, "inbound", "Bob Miller")),
        )
        for i in range(count)
    ]


def settings(path: Path, **changed: Any) -> DiskSettings:
    values: dict[str, Any] = {"path": path, "key": KEY, "keep_free_bytes": 0, "patience_s": 20.0, **changed}
    return DiskSettings(**values)


@asynccontextmanager
async def opened(path: Path, clock: Clock | None = None, **changed: Any) -> AsyncIterator[DiskTier]:
    async with trio.open_nursery() as nursery:
        async with open_tier(settings(path, **changed), clock or Turned().clock, nursery) as tier:
            yield tier
        nursery.cancel_scope.cancel()


async def bring(tier: DiskTier, *editions: Edition, read: bool = False) -> None:
    """Offer all blocks of these, and wait until they are written."""
    for each in editions:
        for index, block in enumerate(contents(each)):
            tier.offer(each, index, block, read=read)
        tier.keep_version(each.recording, each.version)
    await tier.settle()


async def held(tier: DiskTier, of: Edition) -> int:
    """How many blocks are held; each must be right."""
    blocks = await tier.read(of, 0, of.blocks)
    for index, block in enumerate(blocks):
        assert block is None or block == content(of, index), f"a wrong byte in block {index} of {of}"
    return sum(block is not None for block in blocks)


def state(tier: DiskTier) -> DiskState:
    """What it does now; a call, because a type checker believes that a property stays what it was."""
    return tier.state


def audio_files(path: Path) -> list[Path]:
    return sorted(each for each in (path / "audio").rglob("*") if each.is_file())


def audio_bytes(path: Path) -> int:
    """What the audio takes, in pages."""
    total = 0
    for folder, _, names in os.walk(path / "audio"):
        for name in names:
            try:
                total += -(-os.lstat(os.path.join(folder, name)).st_size // 4096) * 4096
            except FileNotFoundError:
                continue
    return total


def files_of_index(path: Path) -> list[Path]:
    return sorted(path.glob("index.db*"))
