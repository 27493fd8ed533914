"""`voxofs cache`: a key is made, what is held is told, and it is deleted, beside a tier that runs, too."""

from __future__ import annotations

import base64
import json
import os
import re
import stat
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio
from harness.command import Run, command_in, configuration_in

from voxofs.cli import stats
from voxofs.cli.check_disk import disk
from voxofs.cli.finding import Grade
from voxofs.clock import Clock
from voxofs.config.sections import DiskSection
from voxofs.model import Edition, Record, RecordingKey, Version
from voxofs.store.key import make_key_file, read_key_file
from voxofs.store.settings import DiskSettings
from voxofs.store.tier import DiskTier, open_tier

DAY_S = 86_400


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return command_in(tmp_path)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    make_key_file(tmp_path / "disk.key")
    return tmp_path / "disk.key"


def edition(tenant: str, number: int) -> Edition:
    return Edition(RecordingKey(tenant, f"call-{number}", "2024-03-05 10:00:00"), Version(2000, '"e"', None))


async def _bring(tier: DiskTier, tenant: str, numbers: range) -> None:
    for number in numbers:
        each = edition(tenant, number)
        tier.offer(each, 0, bytes(2000))
        tier.keep_version(each.recording, each.version)
    tier.keep_window(tenant, 7, [Record("call-1", "2024-03-05 10:00:00", 1)], 1.0)
    await tier.settle()


@pytest.fixture
def held(tmp_path: Path, key_file: Path) -> Path:
    """Two recordings of acme fetched 40 days ago, three of bcme fetched now."""

    async def make() -> None:
        for age_s, tenant, numbers in ((40 * DAY_S, "acme", range(2)), (0, "bcme", range(3))):
            clock = Clock(wall_s=lambda age_s=age_s: time.time() - age_s)  # type: ignore[misc]
            settings = DiskSettings(
                path=tmp_path / "cache", key=read_key_file(key_file), keep_free_bytes=0, max_age_s=1e9
            )
            async with trio.open_nursery() as nursery:
                async with open_tier(settings, clock, nursery) as tier:
                    await _bring(tier, tenant, numbers)
                nursery.cancel_scope.cancel()

    trio.run(make)
    return tmp_path / "cache"


def test_a_key_is_made_and_never_overwritten(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "new.key"
    made = run("cache", "key", str(path))
    assert (made.returncode, made.stderr) == (0, "")
    assert f'key_file = "{path}"' in made.stdout
    line = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(base64.b64decode(line)) == 32
    assert line.strip() not in made.stdout
    again = run("cache", "key", str(path))
    assert again.returncode == 1
    assert "never overwritten" in again.stderr
    assert path.read_text() == line


def test_show(run: Run, held: Path, key_file: Path) -> None:
    shown = run("cache", "show", "--key-file", str(key_file), str(held))
    assert (shown.returncode, shown.stderr) == (0, "")
    assert [re.sub(r"\d+ (d|h|min|s)\b ?", "", line) for line in shown.stdout.splitlines()] == [
        "all        5 recordings, 20.0 KiB, oldest ; 5 sizes, 2 listings",
        "acme       2 recordings, 8.0 KiB, oldest ; 2 sizes, 1 listings",
        "bcme       3 recordings, 12.0 KiB, oldest ; 3 sizes, 1 listings",
    ]
    assert "oldest 40 d 0 h" in shown.stdout


def test_show_without_the_key_tells_sums_alone(run: Run, held: Path) -> None:
    shown = run("cache", "show", str(held))
    assert shown.returncode == 0
    assert shown.stdout.startswith("all        5 recordings")
    assert len(shown.stdout.splitlines()) == 1
    assert "--key-file" in shown.stderr
    assert "acme" not in shown.stdout + shown.stderr


@pytest.mark.parametrize("by", ["configuration", "configuration and path", "mountpoint"])
def test_directory_and_key_are_found(run: Run, held: Path, key_file: Path, tmp_path: Path, by: str) -> None:
    words = []
    if by == "mountpoint":
        (tmp_path / "mnt/.voxofs").mkdir(parents=True)
        facts = {"disk": {"path": str(held), "key_file": str(key_file)}}
        (tmp_path / "mnt" / stats.status_file()).write_text(json.dumps(facts))
        words = [str(tmp_path / "mnt")]
    else:
        config = configuration_in(tmp_path)
        config.write_text(f'{config.read_text()}[disk]\npath = "cache"\nkey_file = "disk.key"\n')
        words = ["--config", str(config), *([str(held)] if "path" in by else [])]
    assert "acme " in run("cache", "show", *words).stdout


def test_purge_of_one_tenant(run: Run, held: Path, key_file: Path) -> None:
    words = ["--key-file", str(key_file), str(held)]
    purged = run("cache", "purge", "--tenant", "acme", *words)
    assert (purged.returncode, purged.stderr) == (0, "")
    assert purged.stdout == "8.0 KiB of audio and 3 sizes and listings deleted\n"
    left = run("cache", "show", *words).stdout
    assert "acme" not in left
    assert "bcme       3 recordings" in left
    assert run("cache", "purge", "--tenant", "acme", *words).returncode == 2


@pytest.mark.parametrize("age", ["30d", "30 days", "720h"])
def test_purge_by_age_needs_no_key(run: Run, held: Path, age: str) -> None:
    assert run("cache", "purge", "--older-than", age, str(held)).stdout.startswith("8.0 KiB")
    assert run("cache", "show", str(held)).stdout.startswith("all        3 recordings, 12.0 KiB")


async def test_purge_beside_a_tier_that_runs(run: Run, tmp_path: Path, key_file: Path) -> None:
    settings = DiskSettings(path=tmp_path / "cache", key=read_key_file(key_file), keep_free_bytes=0)
    async with trio.open_nursery() as nursery:
        async with open_tier(settings, Clock(), nursery) as tier:
            await _bring(tier, "acme", range(4))
            assert await tier.read(edition("acme", 1), 0, 1) == [bytes(2000)]
            purged = await trio.to_thread.run_sync(partial(run, "cache", "purge", str(tmp_path / "cache")))
            assert purged.stdout == "16.0 KiB of audio and 5 sizes and listings deleted\n"
            assert await tier.read(edition("acme", 1), 0, 1) == [None]
            await _bring(tier, "acme", range(1))
            assert await tier.read(edition("acme", 0), 0, 1) == [bytes(2000)]
            assert tier.counts["damaged"] == 0
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 1, "key, show or purge"),
        (["show"], 1, "no tenant is configured"),
        (["show", "/nonexistent"], 2, "no disk tier there"),
        (["purge", "--older-than", "soon", "/nonexistent"], 1, "--older-than: must be a duration"),
        (["purge", "--tenant", "acme", "{held}"], 2, "name the key_file"),
        (["purge", "--key-file", "{other}", "--tenant", "acme", "{held}"], 2, "another key"),
        (["show", "--key-file", "/nonexistent", "{held}"], 1, "does not exist"),
        (["key", "/nonexistent/key"], 1, "cannot be written"),
    ],
)
def test_what_makes_no_sense_is_told(
    run: Run, held: Path, tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    make_key_file(tmp_path / "other.key")
    result = run("cache", *(word.format(held=held, other=tmp_path / "other.key") for word in words))
    assert (result.returncode, said in result.stderr) == (code, True), result.stderr


# --- voxofs check


def _found(section: DiskSection) -> list[tuple[Grade, str]]:
    return [(each.grade, f"{each.message} {each.remedy}") for each in disk(section)]


def test_check_of_a_tier_that_is_well(held: Path, key_file: Path) -> None:
    found = _found(DiskSection(path=held, key_file=key_file, size_bytes=1 << 26, keep_free_bytes=0))
    assert [grade for grade, _ in found] == [Grade.GOOD] * 3
    assert "5 recordings" in found[-1][1]


def test_check_says_nothing_of_a_tier_that_is_off() -> None:
    assert _found(DiskSection()) == []


def _loose(key_file: Path) -> None:
    key_file.chmod(0o644)


def _foreign(key_file: Path) -> None:
    key_file.unlink()
    make_key_file(key_file)


def _short(key_file: Path) -> None:
    key_file.write_text("c2hvcnQ=\n")


@pytest.mark.parametrize(
    ("harm", "grade", "said"),
    [
        (_loose, Grade.BROKEN, "chmod 600"),
        (_short, Grade.BROKEN, "voxofs cache key"),
        (_foreign, Grade.WARNING, "another key"),
    ],
)
def test_check_of_the_key(
    held: Path, key_file: Path, harm: Callable[[Path], None], grade: Grade, said: str
) -> None:
    harm(key_file)
    found = _found(DiskSection(path=held, key_file=key_file, keep_free_bytes=0))
    assert any(each == grade and said in text for each, text in found), found
    assert held.exists()


def test_check_of_room_and_of_a_key_in_memory(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    found = _found(DiskSection(path=tmp_path / "cache", keep_free_bytes=1 << 60))
    assert [grade for grade, _ in found] == [Grade.WARNING] * 2
    assert "voxofs cache key" in found[0][1]
    assert "keep_free" in found[1][1]
    found = _found(DiskSection(path=tmp_path / "cache", size_bytes=1 << 60, keep_free_bytes=0))
    assert "there is room for" in found[1][1]


def test_check_of_a_directory_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, said in ((tmp_path / "file", "is not a folder"), (tmp_path / "no/where", "install -d -m 700")):
        assert said in _found(DiskSection(path=path))[1][1]
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 65_534, 65_534)
    assert "another user" in _found(DiskSection(path=tmp_path / "theirs"))[1][1]
    assert not (tmp_path / "no").exists()
