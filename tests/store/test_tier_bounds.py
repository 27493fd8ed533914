"""The bounds hold at all times: looked at after every single write, not when everything has settled."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tier_kit import audio_bytes, audio_files, bring, edition, files_of_index, held, opened

from voxofs.store.contents import show

MIB = 1 << 20
HERE = Path(__file__).parent

DIES = """
import os, signal, sys
sys.path.insert(0, sys.argv[3])
import trio
from pathlib import Path
from tier_kit import bring, edition, opened

real, left = os.writev, [int(sys.argv[2])]

def dies(*arguments):
    written = real(*arguments)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return written

os.writev = dies

async def main():
    async with opened(Path(sys.argv[1])) as tier:
        await bring(tier, edition(1, 5_000_000))

trio.run(main)
"""


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the audio took after each write."""
    after: list[int] = []
    real: Callable[..., int] = os.writev

    def write(*arguments: object) -> int:
        count = real(*arguments)
        after.append(audio_bytes(tmp_path))
        return count

    monkeypatch.setattr(os, "writev", write)
    return after


async def test_size_holds_after_every_write(tmp_path: Path, written: list[int]) -> None:
    async with opened(tmp_path, size_bytes=4 * MIB) as tier:
        for number in range(30):
            await bring(tier, edition(number, 700_000), read=True)
    assert len(written) == 30
    assert 3 * MIB < max(written) <= 4 * MIB


async def test_size_holds_where_the_index_has_forgotten_what_lies_there(
    tmp_path: Path, written: list[int]
) -> None:
    """As after a power cut that took the last transactions."""
    async with opened(tmp_path, size_bytes=4 * MIB) as tier:
        await bring(tier, *(edition(number, 700_000) for number in range(5)), read=True)
    db = sqlite3.connect(tmp_path / "index.db")
    db.execute("DELETE FROM pieces")
    db.execute("UPDATE room SET used = 0, unread = 0")
    db.commit()
    db.close()
    async with opened(tmp_path, size_bytes=4 * MIB) as tier:
        await bring(tier, *(edition(number, 700_000) for number in range(10, 14)), read=True)
        assert tier.counts["damaged"] == 5
    assert max(written) <= 4 * MIB


async def test_nothing_is_written_into_an_index_that_was_replaced(tmp_path: Path, written: list[int]) -> None:
    async with opened(tmp_path) as one:
        await bring(one, edition(1, 300_000))
        for each in files_of_index(tmp_path):
            each.unlink()
        async with opened(tmp_path) as two:
            written.clear()
            await bring(one, edition(2, 300_000))
            assert written == []
            await bring(one, edition(2, 300_000))
            assert await held(two, edition(2, 300_000)) == 5


@pytest.mark.parametrize("write", [1, 3, 5])
async def test_what_a_process_had_reserved_when_it_died_is_given_back(tmp_path: Path, write: int) -> None:
    """By one that runs on beside it, at its next look."""
    async with opened(tmp_path) as tier:
        await bring(tier, edition(2, 300_000))
        command = [sys.executable, "-c", DIES, str(tmp_path), str(write), str(HERE)]
        environ = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
        process = subprocess.run(command, env=environ)  # noqa: ASYNC221
        assert process.returncode == -9
        assert len(audio_files(tmp_path)) == 1 + write
        assert show(tmp_path, None)[0].bytes >= 5_000_000
        await tier.settle()
        assert len(audio_files(tmp_path)) == 1
        assert show(tmp_path, None)[0].bytes == audio_bytes(tmp_path)
        assert tier.counts["damaged"] == 0
        assert len(os.listdir(tmp_path / "users")) == 1
