"""The tier as its users see it: what was brought is there after a restart, within its bounds and its age."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import trio
from tier_kit import (
    Turned,
    audio_bytes,
    audio_files,
    bring,
    content,
    contents,
    edition,
    files_of_index,
    held,
    opened,
    records,
)

from voxofs.model import BLOCK_BYTES, Edition, Version
from voxofs.store.health import DiskState

MIB = 1 << 20


async def test_what_was_brought_is_there_after_a_restart(tmp_path: Path) -> None:
    editions = [edition(1, 1), edition(2, 290_000), edition(3, 3 * MIB + 5), edition(4, BLOCK_BYTES)]
    async with opened(tmp_path / "disk") as tier:
        assert (tier.state, tier.reason) == (DiskState.WORKING, None)
        await bring(tier, *editions)
    async with opened(tmp_path / "disk") as tier:
        for each in editions:
            assert await tier.read(each, 0, each.blocks) == contents(each)
            assert await tier.version(each.recording) == each.version
        assert tier.counts["hits"] == sum(each.blocks for each in editions)
        assert not tier.counts["damaged"]


async def test_any_part_of_a_recording_can_be_read(tmp_path: Path) -> None:
    one = edition(1, 40 * BLOCK_BYTES + 7)
    async with opened(tmp_path) as tier:
        for index in (0, 1, 2, 5, 15, 16, 17, 40):
            tier.offer(one, index, content(one, index))
        await tier.settle()
        for first, stop in [(0, 1), (1, 3), (0, 41), (14, 18), (3, 5), (40, 41), (4, 6)]:
            expected = [
                content(one, index) if index in (0, 1, 2, 5, 15, 16, 17, 40) else None
                for index in range(first, stop)
            ]
            assert await tier.read(one, first, stop) == expected


async def test_blocks_are_written_in_few_files_and_not_twice(tmp_path: Path) -> None:
    one = edition(1, 33 * BLOCK_BYTES)
    async with opened(tmp_path) as tier:
        await bring(tier, one)
        await bring(tier, one, read=True)
        assert len(audio_files(tmp_path)) == 3


async def test_another_version_tenant_or_recording_is_not_there(tmp_path: Path) -> None:
    one = edition(1, 100_000)
    async with opened(tmp_path) as tier:
        await bring(tier, one)
        for other in (
            edition(1, 100_000, etag='"two"'),
            edition(1, 100_001),
            edition(2, 100_000),
            edition(1, 100_000, tenant="acm"),
            Edition(one.recording, Version(100_000, '"one"', None)),
        ):
            assert await held(tier, other) == 0


async def test_a_block_of_the_wrong_length_is_not_kept(tmp_path: Path) -> None:
    one = edition(1, 100_000)
    async with opened(tmp_path) as tier:
        tier.offer(one, 0, b"short")
        tier.offer(one, 1, bytes(BLOCK_BYTES))
        await tier.settle()
        assert await tier.read(one, 0, 2) == [None, None]


async def test_a_forgotten_edition_is_gone_and_its_successor_stays(tmp_path: Path) -> None:
    old, new = edition(1, 100_000), edition(1, 90_000, etag='"two"')
    async with opened(tmp_path) as tier:
        await bring(tier, old)
        tier.forget(old)
        await bring(tier, new)
        assert (await held(tier, old), await held(tier, new)) == (0, 2)
        assert await tier.version(new.recording) == new.version
        tier.offer(new, 0, content(new, 0))
        tier.keep_version(new.recording, new.version)
        tier.forget(new)  # while it is pending
        await tier.settle()
        assert await held(tier, new) == 0
        assert await tier.version(new.recording) is None
    assert audio_files(tmp_path) == []


async def test_versions_of_many_come_together(tmp_path: Path) -> None:
    editions = [edition(number, number) for number in range(1, 1001)]
    async with opened(tmp_path) as tier:
        for each in editions[::2]:
            tier.keep_version(each.recording, each.version)
        await tier.settle()
        found = await tier.versions([each.recording for each in editions])
        assert found == {each.recording: each.version for each in editions[::2]}


async def test_a_window_comes_back_as_it_was(tmp_path: Path) -> None:
    kept = records(2_500)
    async with opened(tmp_path) as tier:
        tier.keep_window("acme", 7, kept, 1_699_999_999.5)
        tier.keep_window("acme", 8, [], 1_600_000_000)
    async with opened(tmp_path) as tier:
        window = await tier.window("acme", 7)
        assert window == (kept, 1_699_999_999)
        assert await tier.window("acme", 8) == ([], 1_600_000_000)
        assert await tier.window("acme", 9) is None
        assert await tier.window("bcme", 7) is None


async def test_a_record_that_looked_different_when_it_was_kept_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path) as tier:
        with monkeypatch.context() as patch:
            patch.setattr("voxofs.store.keeper.encode_records", lambda _: b"\xc1another format")
            tier.keep_window("acme", 7, records(3), 1.0)
            await tier.settle()
        assert await tier.window("acme", 7) is None
        assert tier.state is DiskState.WORKING
        await tier.settle()
        assert tier.counts["damaged"] == 1


async def test_windows_that_were_kept_in_an_earlier_form_count_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path) as tier:
        with monkeypatch.context() as patch:
            patch.setattr("voxofs.store.names._WINDOW_FORM", 1)
            tier.keep_window("acme", 7, records(3), 1.0)
            await tier.settle()
        assert await tier.window("acme", 7) is None
        await tier.settle()
        assert tier.counts["damaged"] == 0


async def test_audio_is_gone_when_it_is_too_old_and_not_before(tmp_path: Path) -> None:
    clock, old, new = Turned(), edition(1, 200_000), edition(2, 200_000)
    async with opened(tmp_path, clock.clock, max_age_s=1000) as tier:
        await bring(tier, old)
        clock.turn(600)
        await bring(tier, new)
        clock.turn(399)
        assert await held(tier, old) == 4
        clock.turn(1)
        assert await held(tier, old) == 0  # though it has been read, and nobody has tidied up
        await tier.settle()
        assert len(audio_files(tmp_path)) == 1
        assert await held(tier, new) == 4
        assert await tier.version(old.recording) == old.version
        await bring(tier, old)
        assert await held(tier, old) == 4  # asked for again, kept again


async def test_a_clock_that_was_wrong_keeps_nothing_for_ever(tmp_path: Path) -> None:
    clock, one = Turned(), edition(1, 1000)
    async with opened(tmp_path, clock.clock, max_age_s=1000) as tier:
        clock.turn(1e6)
        await bring(tier, one)
        clock.turn(-1e6)
        assert await held(tier, one) == 0
        await tier.settle()
        assert audio_files(tmp_path) == []


async def test_the_bound_holds_after_each_batch_and_old_goes_before_new(tmp_path: Path) -> None:
    size = 4 * MIB
    clock, editions = Turned(), [edition(number, 300_000) for number in range(40)]
    async with opened(tmp_path, clock.clock, size_bytes=size) as tier:
        for each in editions:
            await bring(tier, each, read=True)
            clock.turn(1)
            assert audio_bytes(tmp_path) <= size
        there = [await held(tier, each) for each in editions]
        assert there == sorted(there)
        assert set(there) == {0, 5}
        assert audio_bytes(tmp_path) > size * 0.8


async def test_what_is_read_outlives_what_is_newer(tmp_path: Path) -> None:
    clock, editions = Turned(), [edition(number, 300_000) for number in range(20)]
    async with opened(tmp_path, clock.clock, size_bytes=2 * MIB) as tier:
        for each in editions:
            await bring(tier, each, read=True)
            clock.turn(100)
            assert await held(tier, editions[0]) == 5
            await tier.settle()
        assert await held(tier, editions[1]) == 0


async def test_what_nobody_has_read_does_not_push_out_what_somebody_has(tmp_path: Path) -> None:
    clock, wanted = Turned(), [edition(number, 300_000) for number in range(10)]
    async with opened(tmp_path, clock.clock, size_bytes=4 * MIB) as tier:
        await bring(tier, *wanted, read=True)
        clock.turn(100)
        for number in range(100, 160):
            await bring(tier, edition(number, 60_000))
            clock.turn(1)
        assert [await held(tier, each) for each in wanted] == [5] * 10


async def test_a_smaller_size_holds_from_the_next_start(tmp_path: Path) -> None:
    async with opened(tmp_path) as tier:
        await bring(tier, *(edition(number, 300_000) for number in range(10)))
    async with opened(tmp_path, size_bytes=MIB) as tier:
        await tier.settle()
        assert audio_bytes(tmp_path) <= MIB


async def test_more_than_can_be_written_is_dropped_and_counted(tmp_path: Path) -> None:
    one = edition(1, 64 * BLOCK_BYTES)
    async with opened(tmp_path, pending_bytes=MIB) as tier:
        for index in range(one.blocks):
            tier.offer(one, index, content(one, index))
        assert tier.counts["dropped"] == 48
        await tier.settle()
        assert await held(tier, one) == 16


async def test_an_index_within_its_bound_forgets_what_was_not_used_for_longest(tmp_path: Path) -> None:
    clock, day_s = Turned(), 86_400
    async with opened(tmp_path, clock.clock, index_bytes=MIB // 2) as tier:
        for number in range(60):
            tier.keep_window("acme", number, records(1_000), clock.wall)
            await tier.settle()
            assert await tier.window("acme", 0) is not None
            clock.turn(day_s)
        await tier.settle()
        kept = [await tier.window("acme", number) is not None for number in range(60)]
        assert kept[0]
        assert kept[-5:] == [True] * 5
        assert not all(kept)
    assert sum(each.stat().st_size for each in files_of_index(tmp_path)) < 4 * MIB


async def test_nobody_else_may_read_folders_and_files(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    before = os.umask(0)
    try:
        async with opened(path) as tier:
            await bring(tier, edition(1, 300_000))
            every = [path, *path.rglob("*")]
            assert path / "index.db-wal" in every
            assert path / "index.db-shm" in every
            for each in every:
                mode = stat.S_IMODE(each.stat().st_mode)
                assert mode == (0o700 if each.is_dir() else 0o600), each
    finally:
        os.umask(before)


async def test_a_directory_that_is_too_open_is_narrowed(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    async with opened(path) as tier:
        await bring(tier, edition(1, 1000))
    path.chmod(0o755)
    (path / "index.db").chmod(0o644)
    async with opened(path) as tier:
        assert await held(tier, edition(1, 1000)) == 1
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert stat.S_IMODE((path / "index.db").stat().st_mode) == 0o600


async def test_a_directory_of_somebody_else_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.mkdir(mode=0o700)
    os.chown(path, 65_534, 65_534)
    async with opened(path) as tier:
        assert tier.state is DiskState.RESTING
        assert "belongs to another user" in str(tier.reason)
        await bring(tier, edition(1, 1000))
        assert await held(tier, edition(1, 1000)) == 0
    assert list(path.iterdir()) == []


async def test_a_cancelled_reader_leaves_the_tier_whole(tmp_path: Path) -> None:
    one = edition(1, 300_000)
    async with opened(tmp_path) as tier:
        await bring(tier, one)
        for deadline_s in (0, 0.0001, 0.001):
            for _ in range(10):
                with trio.move_on_after(deadline_s):
                    await tier.read(one, 0, one.blocks)
        assert await held(tier, one) == 5


async def test_many_readers_at_once_get_what_is_theirs(tmp_path: Path) -> None:
    editions = [edition(number, 300_000) for number in range(40)]

    async def check(each: Edition) -> None:
        assert await held(tier, each) == 5

    async with opened(tmp_path) as tier:
        await bring(tier, *editions)
        async with trio.open_nursery() as nursery:
            for each in editions * 3:
                nursery.start_soon(check, each)
        assert tier.counts["misses"] == 0
