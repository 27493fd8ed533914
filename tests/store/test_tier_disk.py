"""A disk that is full, read-only, slow, gone or failing: readers go on, the tier rests and comes back."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from pathlib import Path

import pytest
import trio
import trio.testing
from harness.disks import fill, small_disk
from tier_kit import Turned, audio_bytes, bring, edition, held, opened, state

from voxofs.store.health import DiskState

MIB = 1 << 20


async def test_what_stays_free_stays_free(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 24 * MIB) as disk:
        async with opened(disk / "tier", keep_free_bytes=8 * MIB) as tier:
            for number in range(60):
                await bring(tier, edition(number, 500_000), read=True)
                room = os.statvfs(disk)
                # The index is not audio: it may take what it needs of the difference.
                assert room.f_bavail * room.f_frsize >= 8 * MIB - MIB
            assert state(tier) is DiskState.WORKING
            assert await held(tier, edition(59, 500_000)) == 8
            assert await held(tier, edition(0, 500_000)) == 0


async def test_what_others_need_is_given_to_them(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 24 * MIB) as disk:
        async with opened(disk / "tier", keep_free_bytes=4 * MIB) as tier:
            await bring(tier, *(edition(number, 500_000) for number in range(24)))
            before = audio_bytes(disk / "tier")
            (disk / "other").write_bytes(bytes(9 * MIB))
            await tier.settle()
            assert audio_bytes(disk / "tier") < before
            room = os.statvfs(disk)
            assert room.f_bavail * room.f_frsize >= 4 * MIB - MIB


async def test_a_full_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Turned()
    with small_disk(tmp_path / "disk", 12 * MIB) as disk:
        async with opened(disk / "tier", clock.clock) as tier:
            await bring(tier, edition(1, 3_000_000))
            ballast = fill(disk)
            for number in range(2, 8):
                await bring(tier, edition(number, 2_000_000))
            # Nothing was asked to stay free, so what is held stays, and is read.
            assert tier.state in (DiskState.READ_ONLY, DiskState.WORKING)
            await bring(tier, edition(8, 9_000_000))
            assert tier.counts["dropped"] > 0
            assert "room" in str(tier.reason) + caplog.text
            ballast.unlink()
            for _ in range(3):
                clock.turn(60)
                await tier.settle()
            assert (tier.state, tier.reason) == (DiskState.WORKING, None)
            await bring(tier, edition(9, 2_000_000))
            assert await held(tier, edition(9, 2_000_000)) == 31


async def test_a_disk_that_is_full_from_the_start(tmp_path: Path) -> None:
    clock = Turned()
    with small_disk(tmp_path / "disk", MIB) as disk:
        (disk / "other").write_bytes(bytes(MIB - 8192))
        async with opened(disk / "tier", clock.clock) as tier:
            assert tier.state is DiskState.RESTING
            await bring(tier, edition(1, 1000))
            assert await held(tier, edition(1, 1000)) == 0
            (disk / "other").unlink()
            clock.turn(60)
            await tier.settle()
            await bring(tier, edition(1, 1000))
            assert await held(tier, edition(1, 1000)) == 1


async def test_a_read_only_disk(tmp_path: Path) -> None:
    clock = Turned()
    with small_disk(tmp_path / "disk", 12 * MIB) as disk:
        async with opened(disk / "tier", clock.clock) as tier:
            await bring(tier, edition(1, 300_000))
        await trio.run_process(["mount", "-o", "remount,ro", str(disk)])
        async with opened(disk / "tier", clock.clock) as tier:
            assert tier.state is DiskState.RESTING
            assert "read-only" in str(tier.reason)
            await bring(tier, edition(2, 300_000))
            assert await held(tier, edition(2, 300_000)) == 0
            await trio.run_process(["mount", "-o", "remount,rw", str(disk)])
            clock.turn(60)
            await tier.settle()
            assert state(tier) is DiskState.WORKING
            assert await held(tier, edition(1, 300_000)) == 5


async def test_a_directory_that_is_removed(tmp_path: Path) -> None:
    clock = Turned()
    async with opened(tmp_path / "disk", clock.clock) as tier:
        await bring(tier, edition(1, 300_000))
        shutil.rmtree(tmp_path / "disk")
        assert await held(tier, edition(1, 300_000)) == 0
        await bring(tier, edition(2, 300_000))
        for _ in range(2):
            clock.turn(60)
            await tier.settle()
        await bring(tier, edition(3, 300_000))
        assert state(tier) is DiskState.WORKING
        assert await held(tier, edition(3, 300_000)) == 5


async def test_a_disk_that_is_gone_and_comes_back(tmp_path: Path) -> None:
    clock, path = Turned(), tmp_path / "there" / "tier"
    path.parent.mkdir()
    async with opened(path, clock.clock) as tier:
        await bring(tier, edition(1, 300_000))
        (tmp_path / "there").rename(tmp_path / "away")
        await bring(tier, edition(2, 300_000))
        assert tier.state is DiskState.RESTING
        assert "is gone" in str(tier.reason)
        assert await held(tier, edition(1, 300_000)) == 0
        for _ in range(3):
            clock.turn(60)
            await tier.settle()
        (tmp_path / "away").rename(tmp_path / "there")
        clock.turn(60)
        await tier.settle()
        assert (tier.state, tier.reason) == (DiskState.WORKING, None)
        assert await held(tier, edition(1, 300_000)) == 5


async def test_where_a_file_lies_in_the_directorys_place(tmp_path: Path) -> None:
    (tmp_path / "disk").write_text("not ours")
    async with opened(tmp_path / "disk") as tier:
        assert tier.state is DiskState.RESTING
        await bring(tier, edition(1, 1000))
    assert (tmp_path / "disk").read_text() == "not ours"


@pytest.mark.parametrize("call", ["preadv", "writev"])
async def test_a_failing_disk(tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Turned()

    def fail(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async with opened(tmp_path, clock.clock) as tier:
        await bring(tier, edition(1, 300_000))
        with monkeypatch.context() as patch:
            patch.setattr(os, call, fail)
            await bring(tier, edition(2, 300_000))
            await held(tier, edition(1, 300_000))
            await tier.settle()
            if call == "writev":
                assert tier.state is DiskState.RESTING
                assert "fails" in str(tier.reason)
        clock.turn(60)
        await tier.settle()
        assert state(tier) is DiskState.WORKING
        await bring(tier, edition(1, 300_000), edition(2, 300_000))
        assert await held(tier, edition(1, 300_000)) == await held(tier, edition(2, 300_000)) == 5


async def test_a_slow_disk_makes_no_reader_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, hang, real = Turned(), threading.Event(), os.preadv

    def wait(*arguments: object) -> int:
        hang.wait(20)
        return real(*arguments)  # type: ignore[arg-type]

    async with opened(tmp_path, clock.clock, patience_s=0.01) as tier:
        await bring(tier, edition(1, 300_000))
        monkeypatch.setattr(os, "preadv", wait)
        with trio.fail_after(5):
            for _ in range(20):
                assert await held(tier, edition(1, 300_000)) == 0
        assert tier.state is DiskState.RESTING
        assert "does not answer" in str(tier.reason)
        assert tier.counts["slow"] == 3
        hang.set()
        clock.turn(60)
        await tier.settle()
        assert state(tier) is DiskState.WORKING


async def test_a_disk_that_takes_no_writes_makes_nobody_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, hang, real = Turned(), threading.Event(), os.writev

    def wait(*arguments: object) -> int:
        hang.wait(20)
        return real(*arguments)  # type: ignore[arg-type]

    async with opened(tmp_path, clock.clock, pending_bytes=MIB) as tier:
        await bring(tier, edition(1, 300_000))
        monkeypatch.setattr(os, "writev", wait)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bring, tier, edition(2, 900_000))
            await trio.testing.wait_all_tasks_blocked(0.05)
            for number in range(3, 9):
                nursery.start_soon(bring, tier, edition(number, 900_000))
            await trio.testing.wait_all_tasks_blocked(0.05)
            clock.turn(60)
            assert tier.state is DiskState.RESTING
            assert "does not take" in str(tier.reason)
            assert tier.counts["dropped"] > 0
            hang.set()
        assert state(tier) is DiskState.WORKING
        assert await held(tier, edition(2, 900_000)) == 14
