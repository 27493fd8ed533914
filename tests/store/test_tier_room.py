"""Where others need the room: the index does not grow into it, and what is too old goes all the same."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from tier_kit import (
    NOW_S,
    Turned,
    audio_bytes,
    audio_files,
    bring,
    edition,
    files_of_index,
    held,
    opened,
    records,
    state,
)

from voxofs.store.health import DiskState
from voxofs.store.place import Directory
from voxofs.store.tier import DiskTier

GIB = 1 << 30
MIB = 1 << 20
DAY_S = 86_400


class Room:
    """What is free on the disk: so much, and what audio gives back."""

    def __init__(self, path: Path, patch: pytest.MonkeyPatch) -> None:
        self.others_leave = 10 * GIB
        patch.setattr(Directory, "free_bytes", lambda _: self.others_leave - audio_bytes(path))


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    return Room(tmp_path, monkeypatch)


async def _keep_rows(tier: DiskTier, first: int) -> None:
    """A thousand versions and a window."""
    for number in range(first, first + 1000):
        tier.keep_version(edition(number, 5000).recording, edition(number, 5000).version)
    tier.keep_window("acme", first, records(1000), NOW_S)
    await tier.settle()


async def test_the_index_does_not_grow_into_what_stays_free(tmp_path: Path, room: Room) -> None:
    async with opened(tmp_path, keep_free_bytes=GIB) as tier:
        await _keep_rows(tier, 0)
        assert tier.counts["rows dropped"] == 0
        before = sum(each.stat().st_size for each in files_of_index(tmp_path))
        room.others_leave = GIB - 1
        for first in range(1000, 9000, 1000):
            await _keep_rows(tier, first)
            assert await tier.window("acme", first) is None
        assert tier.counts["rows dropped"] == 8 * 1001
        assert await tier.version(edition(1000, 5000).recording) is None
        assert sum(each.stat().st_size for each in files_of_index(tmp_path)) <= before
        assert state(tier) is DiskState.WORKING
        assert await tier.version(edition(0, 5000).recording) == edition(0, 5000).version
        room.others_leave = GIB
        await _keep_rows(tier, 1000)
        assert await tier.version(edition(1000, 5000).recording) == edition(1000, 5000).version
        assert await tier.window("acme", 1000) is not None
        assert tier.counts["rows dropped"] == 8 * 1001


async def test_without_room_no_version_goes_on_telling_what_is_not_so(tmp_path: Path, room: Room) -> None:
    async with opened(tmp_path, keep_free_bytes=GIB) as tier:
        await _keep_rows(tier, 0)
        room.others_leave = GIB - 1
        newer = edition(1, 6000, etag='"two"')
        tier.keep_version(newer.recording, newer.version)
        await tier.settle()
        assert await tier.version(newer.recording) == newer.version
        assert tier.counts["rows dropped"] == 0


async def test_audio_gives_way_to_rows(tmp_path: Path, room: Room) -> None:
    async with opened(tmp_path, keep_free_bytes=GIB) as tier:
        await bring(tier, edition(1, 3 * MIB))
        room.others_leave = GIB + MIB
        await _keep_rows(tier, 0)
        assert tier.counts["rows dropped"] == 0
        assert await tier.version(edition(9, 5000).recording) == edition(9, 5000).version
        assert audio_bytes(tmp_path) <= MIB


async def test_audio_grows_too_old_while_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Turned()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with opened(tmp_path, clock.clock, max_age_s=30 * DAY_S) as tier:
        await bring(tier, edition(1, 300_000), edition(2, 300_000))
        clock.turn(29 * DAY_S)
        await bring(tier, edition(3, 300_000))
        monkeypatch.setattr(os, "writev", full)
        monkeypatch.setattr(os, "fsync", full)
        await bring(tier, edition(4, 300_000))
        assert state(tier) is DiskState.READ_ONLY
        assert len(audio_files(tmp_path)) == 3
        clock.turn(2 * DAY_S)
        await tier.settle()
        assert state(tier) is DiskState.READ_ONLY
        assert len(audio_files(tmp_path)) == 1
        assert tier.counts["expired"] == 2
        assert await held(tier, edition(3, 300_000)) == 5
