"""`voxofs export` as a process: killed and started again, a full disk, read back, exit codes."""

from __future__ import annotations

import csv
import hashlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from harness import disks
from harness.offline import Shell, open_shell
from harness.world import HOUR, NAMES, noise, sized_hour, tenant

from voxofs.export.manifest import NAME

MANY = {key: noise(key, 60_000 + 1_000 * number) for number, key in enumerate(sized_hour([0] * 120))}
FOLDER = HOUR[1:]
TRUTH = {f"{FOLDER}/{unique_id}.mp3": data for (unique_id, _), data in MANY.items()}
_JOBS = 8


def recordings(root: Path) -> dict[str, bytes]:
    return {str(each.relative_to(root)): each.read_bytes() for each in root.rglob("*.mp3")}


def manifest(root: Path) -> list[dict[str, str]]:
    with (root / NAME).open(newline="") as file:
        return list(csv.DictReader(file))


async def some_more(shell: Shell, number: int) -> None:
    """Until so many recordings have been asked for."""
    with trio.fail_after(60):
        while shell.sim.log.requests.get("audio", 0) < number:  # noqa: ASYNC110
            await trio.sleep(0.002)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_killed_and_started_again_until_it_is_done(tmp_path: Path, how: signal.Signals) -> None:
    root = tmp_path / "archive"
    async with open_shell(tmp_path, [tenant(dict(MANY))], storage_delay_s=0.01) as shell:
        asked, kills, there = 0, 0, 0
        for number in (5, 17, 3, 40):
            process = await shell.start("export", "office/2024/03/05", "archive", "--jobs", str(_JOBS))
            await some_more(shell, asked + number)
            process.send_signal(how)
            code = await process.wait()
            assert code == (2 if how is not signal.SIGKILL else -how)
            kills += 1
            asked = shell.sim.log.requests["audio"]
            found = recordings(root)
            assert found.items() <= TRUTH.items(), "nothing half under its final name"
            assert len(found) >= there
            there = len(found)
            lines = (root / NAME).read_text().split("\n")[1:-1]
            assert set(found) <= {next(csv.reader([line]))[0] for line in lines}
        result = await shell.run("export", "office/2024/03/05", "archive")
        assert result.returncode == 0, result.stderr
        assert recordings(root) == TRUTH
        assert len(manifest(root)) == len(TRUTH)
        assert all(row["sha256"] == hashlib.sha256(TRUTH[row["path"]]).hexdigest() for row in manifest(root))
        # Whatever was not whole when it was killed, and a commit that was about to be made, is fetched again.
        assert shell.sim.log.requests["audio"] <= len(TRUTH) + kills * 2 * _JOBS
        shell.sim.log.reset()
        result = await shell.run("export", "office/2024/03/05", "archive")
        assert shell.sim.log.requests == {"reports": 1}
        assert b"120 were there already" in result.stderr
        assert sorted(os.listdir(root)) == [NAME, "office"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    with disks.small_disk(tmp_path / "small", 2_097_152) as folder:
        yield folder


@pytest.mark.mounts
async def test_a_full_disk_is_said_and_resumed(tmp_path: Path, small_disk: Path) -> None:
    async with open_shell(tmp_path, [tenant(dict(MANY))]) as shell:
        result = await shell.run("export", "office/2024/03/05", "small")
        assert result.returncode == 2
        assert (
            b"small: No space left on device: make room there and run the same command again" in result.stderr
        )
        found = recordings(small_disk)
        assert found
        assert found.items() <= TRUTH.items()
        asked = shell.sim.log.requests["audio"]
        await trio.run_process(["mount", "-o", "remount,size=64m", str(small_disk)])
        result = await shell.run("export", "office/2024/03/05", "small")
        assert result.returncode == 0, result.stderr
        assert recordings(small_disk) == TRUTH
        assert shell.sim.log.requests["audio"] - asked == len(TRUTH) - len(found)


async def test_dry_run_costs_reports_and_writes_nothing(tmp_path: Path) -> None:
    async with open_shell(tmp_path) as shell:
        result = await shell.run("export", HOUR, "--where", 'uniqueId != "x"', "archive", "--dry-run")
        assert result.stdout.decode().splitlines() == [f"{FOLDER}/{name}" for name in NAMES]
        assert b"12 recordings would be exported" in result.stderr
        assert shell.sim.log.requests == {"reports": 1}
        assert not (tmp_path / "archive").exists()


async def test_some_missing_is_3_and_they_are_named(tmp_path: Path) -> None:
    async with open_shell(tmp_path) as shell:
        result = await shell.run("export", "office/2024/03/05/14", "archive", "--quiet")
        assert result.returncode == 3
        [line] = result.stderr.decode().splitlines()
        assert line.startswith("voxofs: office/2024/03/05/14/gone.mp3: ")
        assert "404" in line


async def test_verify_and_repair(tmp_path: Path) -> None:
    file = tmp_path / "archive" / FOLDER / NAMES[2]
    async with open_shell(tmp_path) as shell:
        assert (await shell.run("export", HOUR, "archive")).returncode == 0
        shell.sim.log.reset()
        assert (await shell.run("export", "archive", "--verify")).returncode == 0
        whole = file.read_bytes()
        file.write_bytes(b"damaged")
        os.utime(tmp_path / "archive" / FOLDER / NAMES[3], (1, 1))
        result = await shell.run("export", "archive", "--verify")
        assert result.returncode == 3
        assert f"{FOLDER}/{NAMES[2]}: has 7 bytes instead of {len(whole):,}" in result.stderr.decode()
        assert (await shell.run("export", "office/2023/07", "archive", "--verify")).returncode == 0
        assert shell.sim.log.requests == {}
        assert (await shell.run("export", "archive", "--verify", "--repair")).returncode == 0
        assert shell.sim.log.requests == {"reports": 1, "link": 1, "audio": 1}
        assert file.read_bytes() == whole
        assert (await shell.run("export", "archive", "--verify")).returncode == 0
        assert len(manifest(tmp_path / "archive")) == len(NAMES)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["archive"], "only one word is given"),
        ([HOUR, "archive", "--repair"], "give both"),
        (["archive", "--verify", "--dry-run"], "takes neither"),
        ([HOUR, "archive", "--jobs", "0"], "--jobs must be from 1 to 256"),
        (["nobody/2024", "archive"], "no tenant is called nobody"),
        ([HOUR, "archive", "--where", "duration >"], "behind > stands"),
    ],
)
async def test_usage_is_1_and_nobody_is_asked(tmp_path: Path, words: list[str], problem: str) -> None:
    async with open_shell(tmp_path) as shell:
        result = await shell.run("export", *words)
        assert result.returncode == 1
        assert problem in result.stderr.decode()
        assert shell.sim.log.requests == {}
        assert not (tmp_path / "archive").exists()


async def test_a_destination_that_is_none_is_2(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with open_shell(tmp_path) as shell:
        for words, problem in (
            ([HOUR, "file"], "file: "),
            (["file", "--verify"], "nothing was exported there"),
        ):
            result = await shell.run("export", *words)
            assert result.returncode == 2
            assert problem in result.stderr.decode()


async def test_a_bar_on_a_terminal_and_a_line_at_the_end(tmp_path: Path) -> None:
    async with open_shell(tmp_path, storage_delay_s=0.2) as shell:
        shown = await shell.on_a_terminal("export", HOUR, "archive", "--jobs", "1")
        assert "of 12 recordings" in shown
        assert "12 recordings (1.6 MiB) exported to archive" in shown
