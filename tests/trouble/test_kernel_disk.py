"""The disk tier under a real mount: what was read outlives the mount, and the disk's trouble is nobody's.

`remounted` is one mount after another on one directory; what the simulator was asked is counted.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
from harness.disks import fill, small_disk
from harness.fronts import first_word_said
from harness.mounts import Daemon, mounted
from harness.rig import Hands, open_rig
from harness.world import BYTES, CALLS, CHICAGO, HOUR, NAMES, noise, office, tenant, truth
from soaking.population import Population

from voxofs.simulator.server import Simulator
from voxofs.simulator.world import FixedTenant
from voxofs.store.key import make_key_file

pytestmark = pytest.mark.mounts

MIB = 1 << 20
T = TypeVar("T")


class Drive:
    """A directory for the tier, a simulator, and mounts of both that come and go."""

    def __init__(self, sim: Simulator, directory: Path, key_file: Path | None, **disk: Any) -> None:
        self.sim = sim
        self._section = {"path": directory, **disk} | ({} if key_file is None else {"key_file": key_file})

    @asynccontextmanager
    async def mount(self, **sections: Any) -> AsyncIterator[Daemon]:
        """A new daemon on a new mountpoint; requests are counted from here on."""
        folders = {each.code: each.id for each in self.sim.world.tenants.values()}
        given = {"mount": {"deadline_s": 10.0}, "disk": self._section, **sections}
        manager = mounted(self.sim.api_url, folders, token=self.sim.token, sections=given)
        daemon = await trio.to_thread.run_sync(manager.__enter__)
        await first_word_said(self.sim)
        self.sim.log.reset()
        try:
            yield daemon
            assert daemon.process.poll() is None, daemon.said()
            assert "Traceback" not in daemon.said(), daemon.said()
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(partial(manager.__exit__, None, None, None))

    def asked(self) -> dict[str, int]:
        """Requests by route since the last mount."""
        return {route: count for route, count in self.sim.log.requests.items() if count}


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A key that outlives the mount."""
    make_key_file(tmp_path / "disk.key")
    return tmp_path / "disk.key"


@asynccontextmanager
async def drive(
    directory: Path, key_file: Path | None, *tenants: FixedTenant, **disk: Any
) -> AsyncIterator[Drive]:
    async with Simulator(list(tenants) or [office()]) as sim:
        yield Drive(sim, directory, key_file, **disk)


async def aside(work: Callable[..., T], *arguments: Any) -> T:
    """In a thread: the simulator runs in this one."""
    return await trio.to_thread.run_sync(partial(work, *arguments))


async def tool(*command: str | Path) -> str:
    """A program's output; it must succeed."""
    done = await trio.run_process([str(word) for word in command], capture_stdout=True, capture_stderr=True)
    return done.stdout.decode()


def read(daemon: Daemon, path: str) -> bytes:
    return Path(daemon.path(path)).read_bytes()


def status_of(daemon: Daemon) -> dict[str, Any]:
    """What the status file says of the tier."""
    found: dict[str, Any] = json.loads(Path(daemon.directory, ".voxofs/status").read_text())["disk"]
    return found


def damaged(daemon: Daemon) -> int:
    """Pieces that were not what was written."""
    return int(status_of(daemon)["counts"].get("damaged", 0))


def hour_of(daemon: Daemon) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in Path(daemon.path(HOUR)).iterdir()}


def _written(daemon: Daemon) -> bool:
    """Whether all that was fetched lies on the disk by now."""
    counts = status_of(daemon)["counts"]
    return bool(counts.get("written", 0)) and not counts.get("dropped", 0)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what nobody announces."""
    with trio.fail_after(45):
        while not await aside(condition):  # noqa: ASYNC110
            await trio.sleep(0.05)


# --- after a restart


def _calls_that_ffprobe_reads() -> FixedTenant:
    population = Population([date(2024, 3, 5)])
    some = population.hours["/demo/2024/03/05/10"][:6]
    calls: dict[tuple[str, str], bytes | None] = {
        (each.unique_id, each.start): population.truth(each) for each in some
    }
    return tenant(calls)


async def test_what_was_read_is_read_again_with_no_request_and_no_network(
    tmp_path: Path, key_file: Path
) -> None:
    works: list[tuple[str, ...]] = [
        ("ls", "-lR", "--time-style=+%s"),
        ("du", "-b"),
        ("cp", "-r"),
        ("find", "-size", "+0", "-printf", "%P %s\n"),
    ]

    async def do(daemon: Daemon, copy: Path) -> list[str]:
        root = daemon.path(HOUR)
        said = []
        for command, *words in works:
            if command == "cp":
                await tool("cp", *words, root, copy)
            else:
                place = ["find", root, *words] if command == "find" else [command, *words, root]
                said.append((await tool(*place)).replace(str(daemon.directory), ""))
        for name in sorted(os.listdir(copy)):
            fields = "-show_entries", "format=duration,size,bit_rate"
            said.append(await tool("ffprobe", "-v", "error", "-of", "csv=p=0", *fields, f"{root}/{name}"))
        return said

    async with drive(tmp_path / "cache", key_file, _calls_that_ffprobe_reads()) as site:
        async with site.mount() as daemon:
            before = await do(daemon, tmp_path / "before")
            assert site.asked().keys() >= {"reports", "link", "audio"}
        for network in (True, False):
            await site.sim.refuse(api=not network, storage=not network)
            async with site.mount() as daemon:
                copy = tmp_path / f"after {network}"
                assert await do(daemon, copy) == before
                assert site.asked() == {}
                assert await aside(hour_of, daemon) == {
                    each.name: each.read_bytes() for each in (tmp_path / "before").iterdir()
                }
                assert damaged(daemon) == 0
        await site.sim.refuse(api=False, storage=False)


async def test_pieces_within_a_block_are_read_from_the_disk(tmp_path: Path, key_file: Path) -> None:
    """Reads that neither begin nor end where a block does, wherever in the recording: an answer without bytes
    would be an end of file. O_DIRECT asks for them as they are."""
    data = noise("long", 10 * 65_536 + 100)
    calls: dict[tuple[str, str], bytes | None] = {("long", "2024-03-05 10:00:00"): data}
    pieces = [(at + index * 65_536, 512) for index in range(10) for at in (0, 512, 33_280, 65_024)]
    async with drive(tmp_path / "tier", key_file, tenant(calls)) as it:
        async with it.mount() as daemon:
            assert await aside(Path(daemon.path(f"{HOUR}/long.mp3")).read_bytes) == data
        async with it.mount() as daemon:

            def read_pieces() -> None:
                descriptor = os.open(daemon.path(f"{HOUR}/long.mp3"), os.O_RDONLY | os.O_DIRECT)
                try:
                    for at, size in pieces:
                        buffer = mmap.mmap(-1, size)  # aligned, as O_DIRECT wants it (open(2))
                        assert os.preadv(descriptor, [buffer], at) == size, at
                        assert buffer[:] == data[at : at + size], at
                finally:
                    os.close(descriptor)

            await aside(read_pieces)
            assert it.asked() == {}


async def test_a_window_that_reaches_the_present_is_shown_stale_without_network(
    tmp_path: Path, key_file: Path
) -> None:
    start = datetime.fromtimestamp(time.time() - 60, CHICAGO).strftime("%Y-%m-%d %H:%M:%S")
    live = tenant({("just-now", start): noise("just-now", 1000)})
    folder = f"/office/{start[:4]}/{start[5:7]}/{start[8:10]}/{start[11:13]}"
    async with drive(tmp_path / "cache", key_file, live) as site:
        async with site.mount() as daemon:
            assert await aside(read, daemon, f"{folder}/just-now.mp3") == noise("just-now", 1000)
            await until(partial(_written, daemon))
        async with site.mount() as daemon:  # reached, so asked
            assert await aside(os.listdir, daemon.path(folder)) == ["just-now.mp3"]
            assert site.asked() == {"reports": 1}
        await site.sim.refuse(api=True, storage=True)
        async with site.mount() as daemon:
            assert await aside(os.listdir, daemon.path(folder)) == ["just-now.mp3"]
            assert await aside(read, daemon, f"{folder}/just-now.mp3") == noise("just-now", 1000)
            said = json.loads(await aside(read, daemon, "/.voxofs/status"))
            assert said["last_errors"], "that it is stale is said"


async def test_an_old_listing_is_shown_at_once_and_asked_for_again_behind(
    tmp_path: Path, key_file: Path
) -> None:
    """Kept eight days ago, by clocks that were turned; then a recording came late."""
    hands = Hands()
    hands.wall_s = time.time() - 8 * 86_400
    sections = {"disk": {"path": tmp_path / "cache", "key_file": key_file}}
    async with open_rig(sections=sections, hands=hands) as rig:
        names = tuple(name for name in HOUR.split("/") if name)
        listing = await rig.core.fs.listing(names)
        assert len(listing) == len(NAMES)
        assert rig.core.disk is not None
        await rig.core.disk.settle()
    late = tenant(CALLS | {("late", "2024-03-05 10:59:59"): noise("late", 10)})
    async with drive(tmp_path / "cache", key_file, late) as site:
        site.sim.api_delay_s = 1.0
        async with site.mount() as daemon:
            assert sorted(await aside(os.listdir, daemon.path(HOUR))) == sorted(NAMES)
            site.sim.api_delay_s = 0.0
            await until(lambda: site.asked().get("reports") == 1)
            await until(
                lambda: os.path.exists(daemon.path(f"{HOUR}/late.mp3")) or _forgets(daemon, "late.mp3")
            )
            assert site.asked()["reports"] == 1
        async with site.mount() as daemon:
            assert await aside(lambda: len(os.listdir(daemon.path(HOUR)))) == len(NAMES) + 1
            assert site.asked() == {}


def _forgets(daemon: Daemon, name: str) -> bool:
    """Whether the fresh listing has it: the kernel keeps what it knows of a settled folder."""
    return name in os.listdir(daemon.path(HOUR))


async def test_a_recording_replaced_while_nothing_was_mounted(tmp_path: Path, key_file: Path) -> None:
    """What is held is read; where some must be fetched, the new bytes are, and never a mix."""
    name, old = NAMES[10], BYTES[NAMES[10]]  # 400,000 bytes
    path, new = f"{HOUR}/{name}", noise("new", 380_000)
    async with drive(tmp_path / "cache", key_file) as site:
        async with site.mount(mount={"prefetch": False, "deadline_s": 10.0}) as daemon:
            assert await aside(_at, daemon.path(path), 0) == old[:4096]  # the head alone
            await until(partial(_written, daemon))
        site.sim.replace_audio(9, name.removesuffix(".mp3"), new)
        async with site.mount() as daemon:
            assert await aside(lambda: os.stat(daemon.path(path)).st_size) == len(old)
            with pytest.raises(OSError) as raised:  # noqa: PT011
                await aside(_at, daemon.path(path), 300_000)
            assert raised.value.errno in (errno.ESTALE, errno.EIO)
            # The kernel may keep the size for a day; the one who opens learns it.
            await until(lambda: _at(daemon.path(path), 0) == new[:4096])
            assert await aside(read, daemon, path) == new
        async with site.mount() as daemon:
            assert await aside(read, daemon, path) == new
            assert site.asked() == {}


def _at(path: str, offset: int) -> bytes:
    """A page of a file, without reading ahead."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        return os.pread(descriptor, 4096, offset)
    finally:
        os.close(descriptor)


async def test_two_mounts_on_one_directory(tmp_path: Path, key_file: Path) -> None:
    """Each sees what the other brought, and one that ends takes nothing away."""
    async with drive(tmp_path / "cache", key_file) as site, site.mount() as one:
        async with site.mount() as two:
            assert await aside(hour_of, one) == BYTES
            await until(partial(_written, one))
            await trio.sleep(0.5)  # what was written is visible with the next round of the writer
            site.sim.log.reset()
            assert await aside(hour_of, two) == BYTES
            assert site.asked() == {}
            assert await aside(read, two, "/office/2024/03/05/13/long.mp3") == truth("/x/long.mp3")
        assert await aside(read, one, "/office/2024/03/05/13/long.mp3") == truth("/x/long.mp3")
        assert damaged(one) == 0


async def test_without_a_key_file_nothing_is_left_for_the_next_mount(tmp_path: Path) -> None:
    async with drive(tmp_path / "cache", None) as site:
        for _ in range(2):
            async with site.mount() as daemon:
                assert await aside(hour_of, daemon) == BYTES
                assert site.asked()["reports"] == 1


# --- the disk's trouble


async def test_a_disk_that_is_full(tmp_path: Path, key_file: Path) -> None:
    with small_disk(tmp_path / "disk", 8 * MIB) as disk:
        async with drive(disk / "cache", key_file, keep_free="0 MiB") as site, site.mount() as daemon:
            ballast = fill(disk)
            assert await aside(hour_of, daemon) == BYTES
            assert await aside(read, daemon, "/office/2024/03/05/13/long.mp3") == truth("/x/long.mp3")
            await until(lambda: "rest" in status_of(daemon)["state"])
            assert "room" in status_of(daemon)["reason"]
            ballast.unlink()
            await until(lambda: bool(status_of(daemon)["state"] == "working"))
            assert await aside(hour_of, daemon) == BYTES


async def test_a_disk_that_is_read_only(tmp_path: Path, key_file: Path) -> None:
    with small_disk(tmp_path / "disk", 32 * MIB) as disk:
        async with drive(disk / "cache", key_file, keep_free="0 MiB") as site:
            async with site.mount() as daemon:
                assert await aside(hour_of, daemon) == BYTES
                await until(partial(_written, daemon))
            await tool("mount", "-o", "remount,ro", disk)
            async with site.mount() as daemon:
                assert await aside(hour_of, daemon) == BYTES
                assert "read-only" in status_of(daemon)["reason"]
                await tool("mount", "-o", "remount,rw", disk)
                await until(lambda: bool(status_of(daemon)["state"] == "working"))
            async with site.mount() as daemon:
                assert await aside(hour_of, daemon) == BYTES
                assert site.asked() == {}


async def test_a_disk_that_vanishes_and_comes_back(tmp_path: Path, key_file: Path) -> None:
    there, away = tmp_path / "there", tmp_path / "away"
    there.mkdir()
    async with drive(there / "cache", key_file) as site:
        async with site.mount() as daemon:
            assert await aside(hour_of, daemon) == BYTES
            await until(partial(_written, daemon))
        async with site.mount() as daemon:
            there.rename(away)
            assert await aside(hour_of, daemon) == BYTES
            assert await aside(read, daemon, "/office/2024/03/05/13/long.mp3") == truth("/x/long.mp3")
            await until(lambda: "rest" in status_of(daemon)["state"])
            assert re.search("is gone|cannot be opened", status_of(daemon)["reason"])
            away.rename(there)
            await until(lambda: bool(status_of(daemon)["state"] == "working"))
            assert await aside(hour_of, daemon) == BYTES


# --- what a thief finds


async def test_the_directory_tells_no_name_no_number_and_no_audio(tmp_path: Path, key_file: Path) -> None:
    calls = _calls_that_ffprobe_reads()
    async with drive(tmp_path / "cache", key_file, calls) as site, site.mount() as daemon:
        copied = await aside(lambda: {each.name: each.read_bytes() for each in _hour(daemon)})
        await until(partial(_written, daemon))
        words = [b"office", b"2024-03-05", b"2024/03", *(name[:-4].encode() for name in copied)]
        words += [value.encode() for record in calls.records for value in _personal(record)]
        words += [
            b"ID3",
            site.sim.token.encode(),
            (await aside(key_file.read_bytes)).strip(),
            b"ANSWERED",
            b"X-Amz",
        ]
        # Whatever of a recording is longer than chance: its frames, anywhere in it.
        samples = [data[at : at + 16] for data in copied.values() for at in range(0, len(data) - 16, 5003)]
        words += [sample for sample in samples if len(set(sample)) > 8]  # silence is everywhere
        assert len(words) > 100
        pieces = 0
        for each in (tmp_path / "cache").rglob("*"):
            assert each.stat().st_mode & 0o077 == 0, each
            if each.is_file():
                pieces += each.parent.parent.name == "audio"
                found = each.read_bytes()
                # Three letters occur by chance in a megabyte of noise; the tag is at a piece's beginning.
                told = [word for word in words if (found[:64] if len(word) < 5 else found).find(word) >= 0]
                assert told == [], each
        assert pieces >= len(copied)
        names = {each.name for each in (tmp_path / "cache").rglob("*")}
        known = {"audio", "users", "change", "index.db", "index.db-wal", "index.db-shm"}
        assert all(re.fullmatch(r"[0-9a-f]{16}|[0-9a-f]{4}", name) for name in names - known)


def _hour(daemon: Daemon) -> Iterator[Path]:
    return Path(daemon.path(HOUR)).iterdir()


def _personal(record: dict[str, Any]) -> list[str]:
    """What names people and numbers, as far as chance does not."""
    values = (str(record.get(key) or "") for key in ("callerIdName", "dialedNum", "whoAnswered", "id"))
    return [value for value in values if len(value) >= 8]
