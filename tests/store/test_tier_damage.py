"""Damage of any kind to any file: never a wrong byte, and the next start works. Nobody repairs anything."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
from tier_kit import Turned, audio_files, bring, edition, held, opened, records, state

from voxofs.model import BLOCK_BYTES
from voxofs.store.health import DiskState
from voxofs.store.ledger import Ledger

EDITIONS = [edition(1, 20 * BLOCK_BYTES + 9), edition(2, 290_000), edition(3, 290_000)]
BLOCKS = sum(each.blocks for each in EDITIONS)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(1 if len(content) < 50_000 else 5):
        if content:
            content[random.Random(len(content)).randrange(len(content))] ^= 0x10
    path.write_bytes(content)


def _flip_everywhere(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for at in range(7, len(content), 509):
        content[at] ^= 0xFF
    path.write_bytes(content)


def _halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _junk(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(max(1, path.stat().st_size)))


def _append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more" * 2000)


def _swap(path: Path) -> None:
    folder = path.parent
    other = next((each for each in sorted(folder.iterdir()) if each != path and each.is_file()), None)
    if other is not None:
        mine, its = path.read_bytes(), other.read_bytes()
        path.write_bytes(its)
        other.write_bytes(mine)


def _remove(path: Path) -> None:
    path.unlink()


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "junk").write_bytes(b"junk")


def _link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


DAMAGES: list[Callable[[Path], None]] = [
    *(_flip, _flip_everywhere, _halve, _empty, _zero, _junk, _append, _swap, _remove, _folder, _link)
]

FILES: dict[str, Callable[[Path], Path]] = {
    "index": lambda base: base / "index.db",
    "wal": lambda base: base / "index.db-wal",
    "shm": lambda base: base / "index.db-shm",
    "change": lambda base: base / "change",
    "user": lambda base: next((base / "users").iterdir()),
    "first piece": lambda base: audio_files(base)[0],
    "second piece": lambda base: audio_files(base)[1],
    "last piece": lambda base: audio_files(base)[-1],
}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a process that was killed leaves behind: all of it, the write-ahead log and its index included."""
    base = tmp_path_factory.mktemp("image")

    async def make() -> None:
        async with opened(base / "alive") as tier:
            await bring(tier, *EDITIONS)
            tier.keep_window("acme", 7, records(500), 1_600_000_000)
            await tier.settle()
            shutil.copytree(base / "alive", base / "dead")

    trio.run(make)
    return base / "dead"


@pytest.fixture(scope="module")
def table() -> Iterator[dict[tuple[str, str], str]]:
    """What was read after each damage; printed at the end (`pytest -s`)."""
    rows: dict[tuple[str, str], str] = {}
    yield rows
    print(f"\n\n{'file':<14}{'damage':<17}blocks right, wrong, missing of {BLOCKS}; counted as damaged")
    for (file, damage), row in rows.items():
        print(f"{file:<14}{damage:<17}{row}")


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__[1:])
@pytest.mark.parametrize("file", FILES)
async def test_damage(
    image: Path,
    tmp_path: Path,
    file: str,
    damage: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
    table: dict[tuple[str, str], str],
) -> None:
    base = tmp_path / "disk"
    shutil.copytree(image, base)
    damage(FILES[file](base))
    async with opened(base) as tier:
        assert state(tier) is DiskState.WORKING, tier.reason
        found = [await held(tier, each) for each in EDITIONS]
        for each in EDITIONS:
            assert await tier.version(each.recording) in (each.version, None)
        assert await tier.window("acme", 7) in ((records(500), 1_600_000_000), None)
        await tier.settle()
        if sum(found) < BLOCKS and file != "wal":  # a log that was cut is what a kill leaves, too
            assert tier.counts["damaged"] > 0
            assert "asked for again" in caplog.text
        right = sum(found)  # `held` fails at a wrong byte
        table[file, damage.__name__[1:]] = f"{right:>3} 0 {BLOCKS - right:>3}; {tier.counts['damaged']}"
        if "piece" in file:
            # Damage to a piece costs blocks of that piece, and never more than that.
            assert sum(found) >= BLOCKS - 2 * 16
        await bring(tier, *EDITIONS)
        assert [await held(tier, each) for each in EDITIONS] == [each.blocks for each in EDITIONS]
        assert state(tier) is DiskState.WORKING, tier.reason
    async with opened(base) as tier:
        assert [await held(tier, each) for each in EDITIONS] == [each.blocks for each in EDITIONS]
        await tier.settle()
        assert tier.counts["damaged"] == 0


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__[1:])
async def test_damage_to_audio_under_a_running_tier(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(tmp_path) as tier:
        await bring(tier, *EDITIONS)
        for path in audio_files(tmp_path):
            if path.exists():
                damage(path)
        found = [await held(tier, each) for each in EDITIONS]
        assert sum(found) < BLOCKS
        assert [await held(tier, each) for each in EDITIONS] == found
        await tier.settle()
        assert tier.counts["damaged"] >= 1
        assert sum("asked for again" in record.message for record in caplog.records) <= 3
        await bring(tier, *EDITIONS)
        assert [await held(tier, each) for each in EDITIONS] == [each.blocks for each in EDITIONS]


async def test_rows_that_were_changed_are_no_other_rows(tmp_path: Path) -> None:
    """Whoever can write the index but has no key can make things go missing, and nothing else."""
    async with opened(tmp_path) as tier:
        await bring(tier, *EDITIONS)
        tier.keep_window("acme", 7, records(5), 1.0)
        tier.keep_window("acme", 8, records(6), 1.0)
    changes = [
        "UPDATE pieces SET edition = (SELECT edition FROM pieces WHERE id = 3) WHERE id = 1",
        "UPDATE pieces SET first = first + 1, stop = stop + 1 WHERE id = 2",
        "UPDATE pieces SET fetched_s = fetched_s + 1000 WHERE id = 3",
        "UPDATE versions SET value = (SELECT max(value) FROM versions)",
        "UPDATE windows SET value = (SELECT max(value) FROM windows)",
    ]
    with sqlite3.connect(tmp_path / "index.db") as db:
        for change in changes:
            db.execute(change)
    db.close()
    async with opened(tmp_path) as tier:
        assert sum([await held(tier, each) for each in EDITIONS]) <= 5
        right = [await tier.version(each.recording) for each in EDITIONS]
        assert sum(version is not None for version in right) == 1
        assert all(version in (None, each.version) for version, each in zip(right, EDITIONS, strict=True))
        windows = [await tier.window("acme", number) for number in (7, 8)]
        assert sum(window is not None for window in windows) == 1
        await tier.settle()
        await bring(tier, *EDITIONS)
        assert [await held(tier, each) for each in EDITIONS] == [each.blocks for each in EDITIONS]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE meta SET value = 2 WHERE name = 'format'",
        "UPDATE meta SET value = 0 WHERE name = 'format'",
        "DELETE FROM meta",
        "DROP TABLE pieces",
        "DROP TABLE room",
        "ALTER TABLE pieces ADD COLUMN more",
        "DELETE FROM room",
        "UPDATE room SET used = -99999999999",
        "UPDATE room SET used = 99999999999",
        "UPDATE pieces SET shelf = '../../etc', number = 0 WHERE id = 1",
        "UPDATE pieces SET bytes = 'many'",
        "UPDATE pieces SET fetched_s = 'long ago'",
    ],
)
async def test_an_index_that_another_wrote(tmp_path: Path, change: str) -> None:
    async with opened(tmp_path) as tier:
        await bring(tier, *EDITIONS)
    db = sqlite3.connect(tmp_path / "index.db")
    db.execute(change)
    db.commit()
    db.close()
    for _ in range(2):
        async with opened(tmp_path) as tier:
            for each in EDITIONS:
                await held(tier, each)
            await tier.settle()
            await tier.settle()
            await bring(tier, *EDITIONS)
            assert [await held(tier, each) for each in EDITIONS] == [each.blocks for each in EDITIONS]
            assert state(tier) is DiskState.WORKING


async def test_a_foreign_key_begins_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(tmp_path) as tier:
        await bring(tier, *EDITIONS)
    for key in (b"k" * 32, None, None):
        caplog.clear()
        async with opened(tmp_path, key=key) as tier:
            assert audio_files(tmp_path) == []
            assert "another key" in caplog.text
            assert await held(tier, EDITIONS[0]) == 0
            await bring(tier, *EDITIONS)
            assert await held(tier, EDITIONS[0]) == EDITIONS[0].blocks


async def test_a_key_in_memory_does_not_take_what_a_running_mount_keeps(tmp_path: Path) -> None:
    clock = Turned()
    async with opened(tmp_path) as tier:
        await bring(tier, *EDITIONS)
        async with opened(tmp_path, clock.clock, key=None) as other:
            assert other.state is DiskState.RESTING
            assert "another key" in str(other.reason)
            assert await held(tier, EDITIONS[0]) == EDITIONS[0].blocks
            await tier.close()
            clock.turn(60)
            await other.settle()
            assert state(other) is DiskState.WORKING


async def test_junk_in_the_directory_goes(tmp_path: Path) -> None:
    async with opened(tmp_path) as tier:
        await bring(tier, *EDITIONS)
    shelf = audio_files(tmp_path)[0].parent
    (shelf / "junk").write_bytes(b"junk" * 100_000)
    (shelf / "folder").mkdir()
    (tmp_path / "audio" / "junk").write_bytes(b"junk")
    (tmp_path / "audio" / "empty").mkdir()
    (tmp_path / "audio" / "full").mkdir()
    (tmp_path / "audio" / "full" / "0000").write_bytes(b"junk")
    async with opened(tmp_path) as tier:
        await tier.settle()
        assert [await held(tier, each) for each in EDITIONS] == [each.blocks for each in EDITIONS]
        assert tier.counts["damaged"] == 3
    assert len(audio_files(tmp_path)) == 4
    assert [each.name for each in (tmp_path / "audio").iterdir()] == [shelf.name]


async def test_a_defect_of_ours_rests_the_tier_and_costs_nothing_that_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    clock = Turned()
    async with opened(tmp_path, clock.clock) as tier:
        await bring(tier, *EDITIONS)
        for defective in ("find", "reserve", "expire"):
            with monkeypatch.context() as patch:
                patch.setattr(Ledger, defective, fail)
                assert await held(tier, EDITIONS[0]) in (0, EDITIONS[0].blocks)
                await bring(tier, edition(9, 1000))
                await tier.settle()
                assert state(tier) is not DiskState.WORKING
                assert "ZeroDivisionError" in str(tier.reason)
            clock.turn(60)
            await tier.settle()
            assert (state(tier), tier.reason) == (DiskState.WORKING, None)
            assert [await held(tier, each) for each in EDITIONS] == [each.blocks for each in EDITIONS]
        assert tier.counts["damaged"] == 0
