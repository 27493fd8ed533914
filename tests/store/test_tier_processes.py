"""Killed at any moment, and several at a time: the next start works, and each sees what the others brought.

VOXOFS_STORE_KILLS says how often to kill (6 when it is not set; 50 for a campaign).
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from tier_kit import Turned, audio_bytes, audio_files, bring, edition, files_of_index, held, opened

from voxofs.store.contents import purge
from voxofs.store.health import DiskState
from voxofs.store.shelf import Shelves

KILLS = int(os.environ.get("VOXOFS_STORE_KILLS", "6"))
MIB = 1 << 20
HERE = Path(__file__).parent


@contextmanager
def child(path: Path, size: int, first: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(HERE / "tier_child.py"), str(path), str(size), str(first)]
    environ = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _lines(process: subprocess.Popen[str], count: int) -> list[int]:
    assert process.stdout is not None
    return [int(process.stdout.readline()) for _ in range(count)]


async def test_killed_while_writing(tmp_path: Path) -> None:
    """What was settled is there; what was being written is whole, or not there; the room is counted right."""
    luck, settled = random.Random(9), []
    size = 12 * MIB
    for kill in range(KILLS):
        with child(tmp_path, size, 1 + kill * 1000) as process:
            settled += _lines(process, 2 + kill % 3)
            # Somewhere within the next ones: the moment is luck, what must hold is not.
            try:
                process.wait(luck.random() * 0.05)
            except subprocess.TimeoutExpired:
                process.kill()
            assert process.stdout is not None
            settled += [int(line) for line in process.stdout.read().split()]
        assert audio_bytes(tmp_path) <= size
        async with opened(tmp_path, size_bytes=size) as tier:
            assert tier.state is DiskState.WORKING
            await tier.settle()
            number = max(
                each for each in settled if each % 2
            )  # what is read is not evicted by what comes next
            last = edition(number, 150_000 + number % 7 * 300_000)
            assert await held(tier, last) == last.blocks
            for number in settled:
                await held(tier, edition(number, 150_000 + number % 7 * 300_000))
            assert tier.counts["damaged"] == 0
            await bring(tier, edition(10**6 + kill, 500_000), read=True)
            assert await held(tier, edition(10**6 + kill, 500_000)) == 8
            assert audio_bytes(tmp_path) <= size
            assert len(os.listdir(tmp_path / "users")) <= 2


async def test_what_a_dead_process_reserved_is_given_back_by_one_that_runs(tmp_path: Path) -> None:
    async with opened(tmp_path, size_bytes=6 * MIB) as tier:
        for kill in range(3):
            with child(tmp_path, 6 * MIB, 1 + kill * 1000) as process:
                _lines(process, 3)
            await tier.settle()
            assert audio_bytes(tmp_path) <= 6 * MIB
        rows = purge(tmp_path, None)
        assert rows.pieces > 0
        await tier.settle()
        assert audio_files(tmp_path) == []


async def test_two_write_at_once_within_one_bound_and_see_each_other(tmp_path: Path) -> None:
    size, clock = 8 * MIB, Turned()
    with child(tmp_path, size, 1) as one, child(tmp_path, size, 100_000) as two:
        async with opened(tmp_path, clock.clock, size_bytes=size) as tier:
            for _ in range(6):
                first, second = _lines(one, 1)[0], _lines(two, 1)[0]
                assert audio_bytes(tmp_path) <= size
                found = 0
                for number in (first, second):
                    each = edition(number, 150_000 + number % 7 * 300_000)
                    found += await held(tier, each)
                    assert await tier.version(each.recording) == each.version
                mine = edition(200_000 + first, 100_000)
                await bring(tier, mine, read=True)
                assert await held(tier, mine) == 2
                assert audio_bytes(tmp_path) <= size
            assert tier.counts["damaged"] == 0


async def test_what_another_deletes_under_a_reader_is_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found in the index, deleted by somebody else, looked for on the disk: a miss, and no damage."""
    mine = edition(1, 300_000)
    async with opened(tmp_path) as one, opened(tmp_path) as two:
        await bring(one, mine)
        read = Shelves.read

        def late(self: Shelves, *arguments: Any) -> list[bytes | None]:
            trio.from_thread.run_sync(two.forget, mine)
            trio.from_thread.run(two.settle)
            return read(self, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(Shelves, "read", late)
            assert await held(one, mine) == 0
        assert audio_files(tmp_path) == []
        await one.settle()
        assert one.counts["damaged"] == 0
        await bring(two, mine)
        assert await held(one, mine) == 5
        audio_files(tmp_path)[0].unlink()
        assert await held(one, mine) == 0
        await one.settle()
        assert one.counts["damaged"] == 1


async def test_two_mounts_of_one_process(tmp_path: Path) -> None:
    async with opened(tmp_path) as one, opened(tmp_path) as two:
        await bring(one, edition(1, 300_000))
        assert await held(two, edition(1, 300_000)) == 5
        await bring(two, edition(1, 300_000), edition(2, 300_000))
        assert await held(one, edition(2, 300_000)) == 5
        assert len(audio_files(tmp_path)) == 2
        one.forget(edition(2, 300_000))
        await one.settle()
        assert await held(two, edition(2, 300_000)) == 0


async def test_an_index_that_broke_is_replaced_under_those_who_use_it(tmp_path: Path) -> None:
    """The one who notices begins anew; the other one follows, and neither writes into what is gone."""
    clock = Turned()
    async with opened(tmp_path, clock.clock) as one:
        await bring(one, edition(1, 300_000))
        for each in files_of_index(tmp_path):
            each.unlink()
        (tmp_path / "index.db").write_bytes(b"junk" * 10_000)
        async with opened(tmp_path, clock.clock) as two:
            assert two.counts["damaged"] >= 1
            await bring(two, edition(2, 300_000))
            await one.settle()
            assert await held(one, edition(2, 300_000)) == 5
            await bring(one, edition(3, 300_000))
            assert await held(two, edition(3, 300_000)) == 5
            assert len(audio_files(tmp_path)) == 2


@pytest.mark.parametrize("key", [None, bytes(range(32))])
async def test_a_purge_beside_a_running_mount(tmp_path: Path, key: bytes | None) -> None:
    async with opened(tmp_path) as tier:
        await bring(tier, edition(1, 300_000), edition(2, 300_000, tenant="bcme"))
        purged = await trio.to_thread.run_sync(lambda: purge(tmp_path, key))
        assert (purged.pieces, purged.rows) == (2, 2)
        assert audio_files(tmp_path) == []
        assert await held(tier, edition(1, 300_000)) == 0
        assert await tier.version(edition(1, 300_000).recording) is None
        await bring(tier, edition(1, 300_000))
        assert await held(tier, edition(1, 300_000)) == 5
        assert tier.counts["damaged"] == 0
