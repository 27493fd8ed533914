"""What is fetched before it is asked for: counts of requests and bytes, never times."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date
from random import Random
from typing import Any

import pytest
import trio
from conftest import EnterFront
from harness.fronts import CoreFront, MountFile, MountFront, cat, mount_front, settle
from harness.rig import PATIENCE_S, Rig, open_rig, until
from harness.world import BLOCK, HOUR, asterisk_id, noise, sized_hour, tenant

from voxofs.catalog.calls import Rows
from voxofs.catalog.window import Hour
from voxofs.core.ahead import Walk
from voxofs.model import Caller
from voxofs.simulator.faults import Fault
from voxofs.traffic.transport import Transport

KIB = 1_024
LONG = 20_000_000
LONG_ONE = f"{HOUR}/long.mp3"
Sized = dict[tuple[str, str], bytes | None]


def hour_of(sizes: Sequence[int], **options: Any) -> Sized:
    return sized_hour(list(sizes), **options)


def paths(hour: Sized) -> list[str]:
    """In the order of the listing."""
    return [f"{HOUR}/{unique_id}.mp3" for unique_id, _ in sorted(hour)]


@asynccontextmanager
async def listed(hour: Sized, **options: Any) -> AsyncIterator[tuple[Rig, CoreFront]]:
    """A core, and a process that has just listed one of its hours."""
    async with over(hour, **options) as (rig, _):
        front = CoreFront(rig.sim, rig.core.fs, Caller(pid=7))
        await front.listdir(HOUR)
        yield rig, front


@asynccontextmanager
async def over(hour: Sized, **options: Any) -> AsyncIterator[tuple[Rig, CoreFront]]:
    """A core over one hour whose listing is known."""
    async with open_rig([tenant(hour)], **options) as rig:
        front = CoreFront(rig.sim, rig.core.fs)
        await front.listdir(HOUR)
        rig.sim.reset_log()
        yield rig, front


def asked(rig: Rig) -> list[str]:
    """Paths of the recordings that the storage was asked for, in the order of their first request."""
    return list(dict.fromkeys(f"{HOUR}/{entry.unique_id}.mp3" for entry in rig.sim.requests("audio")))


def fetched(front: Any) -> int:
    return sum(entry.bytes_sent for entry in front.sim.requests("audio"))


async def head(front: Any, path: str, size: int = 16 * KIB) -> None:
    async with front.opened(path) as file:
        assert len(await file.read(0, size)) == size


async def head_and_tail(front: Any, path: str, total: int) -> None:
    """As ffprobe does: some of the beginning, then the tag at the very end."""
    async with front.opened(path) as file:
        assert len(await file.read(0, 16 * KIB)) == 16 * KIB
        assert len(await file.read(total - 128, 128)) == 128


# --- stat-ahead


async def test_stat_ahead_starts_on_the_second_lookup_and_is_earned_step_by_step() -> None:
    hour = hour_of([1_000] * 300)
    async with over(hour) as (rig, front):
        for step, many in enumerate((1, 3, 5, 8, 13, 22)):
            await front.stat(paths(hour)[step])
            await rig.idle()
            assert rig.counts() == {"link": many, "audio": many}
            assert set(asked(rig)) == set(paths(hour)[:many]), "the names that follow, and no others"


@pytest.mark.parametrize("order", ["by name", "by start"])
async def test_who_listed_the_folder_and_begins_at_its_start_has_all_look_ahead_at_once(order: str) -> None:
    hour = hour_of([1_000] * 300)
    if order == "by start":
        hour = {(f"{Random(n).random():.9f}", start): noise(n, 1_000) for n, (_, start) in enumerate(hour)}
    way = [f"{HOUR}/{unique_id}.mp3" for unique_id, _ in hour] if order == "by start" else paths(hour)
    async with listed(hour) as (rig, front):
        await front.stat(way[0])
        await rig.idle()
        assert rig.counts() == {"link": 65, "audio": 1}, (
            "links, as nobody knows yet what is wanted behind them"
        )
        await front.stat(way[1])
        await rig.idle()
        assert 32 <= rig.counts()["audio"] <= 66
        if order == "by name":
            assert set(asked(rig)) == set(way[: len(asked(rig))])
            assert rig.counts()["link"] == 65, "no link is asked for twice"


async def test_who_listed_the_folder_and_begins_elsewhere_earns_it() -> None:
    hour = hour_of([1_000] * 300)
    async with listed(hour) as (rig, front):
        for place in (100, 101, 0, 1):  # what is looked at first tells what the listing was for
            await front.stat(paths(hour)[place])
        await rig.idle()
        assert rig.counts() == {"link": 6, "audio": 6}


async def test_another_process_has_not_listed_the_folder() -> None:
    hour = hour_of([1_000] * 300)
    async with listed(hour) as (rig, _):
        other = CoreFront(rig.sim, rig.core.fs, Caller(pid=8))
        for path in paths(hour)[:2]:
            await other.stat(path)
        await rig.idle()
        assert rig.counts() == {"link": 3, "audio": 3}


async def test_a_listing_of_long_ago_is_no_beginning() -> None:
    hour = hour_of([1_000] * 300)
    async with listed(hour) as (rig, front):
        rig.hands.advance(60.0)
        await front.stat(paths(hour)[0])
        await rig.idle()
        assert rig.counts() == {"link": 1, "audio": 1}


async def test_a_folder_whose_first_sizes_are_known_begins_behind_them() -> None:
    hour = hour_of([1_000] * 300)
    async with over(hour) as (rig, front):
        await front.stat(paths(hour)[0])
        walker = CoreFront(rig.sim, rig.core.fs, Caller(pid=7))
        await walker.listdir(HOUR)
        await walker.stat(paths(hour)[1])  # the listing has told the first
        await walker.stat(paths(hour)[2])
        await rig.idle()
        assert rig.counts()["audio"] >= 32


async def test_a_sample_costs_at_most_twice_what_was_looked_at() -> None:
    hour = hour_of([1_000] * 200)
    for seed in range(5):
        async with listed(hour) as (rig, front):
            for path in Random(seed).sample(paths(hour), 20):
                await front.stat(path)
            await rig.idle()
            assert max(rig.counts().values()) <= 40


async def test_a_walk_that_is_left_gives_up_the_links_that_were_not_sent() -> None:
    hour = hour_of([1_000] * 300)
    async with listed(hour, sections={"api": {"connections": 2}, "storage": {"connections": 2}}) as (
        rig,
        front,
    ):
        await front.stat(paths(hour)[0])
        await front.stat(paths(hour)[200])
        await rig.idle()
        assert rig.counts()["link"] <= 8


@pytest.mark.parametrize(("pause_s", "least", "most"), [(0.0, 32, 32), (1.0, 8, 9)])
async def test_a_walk_that_takes_its_time_has_no_more_ahead_than_keeps_it_from_waiting(
    pause_s: float, least: int, most: int
) -> None:
    hour = hour_of([1_000] * 300)
    async with over(hour) as (rig, front):
        for path in paths(hour)[:60]:
            await front.stat(path)
            await rig.idle()
            rig.hands.advance(pause_s)
        assert least <= rig.counts()["audio"] - 60 <= most


def test_a_pause_is_no_pace_and_a_slower_pace_is_noticed() -> None:
    walk, now_s = Walk(Hour(date(2024, 3, 5), "10", Rows()), 0), 0.0
    paces = (0.01, 20, 0.009, 0.011), (600.0, 1, 0.01, 0.02), (1.0, 30, 0.9, 1.1)
    for step_s, steps, least_s, most_s in paces:
        for _ in range(steps):
            now_s += step_s
            walk.took_steps(1, now_s)
        assert least_s <= walk.step_s <= most_s


async def test_stat_ahead_stops_when_the_caller_stops() -> None:
    hour = hour_of([1_000] * 300)
    async with over(hour) as (rig, front):
        for path in paths(hour)[:2]:
            await front.stat(path)
        await rig.idle()
        counts = rig.counts()
        assert counts["audio"] <= 64, "a few names ahead, not the folder"
        for path in paths(hour)[:2] * 5:
            await front.stat(path)
        await rig.idle()
        assert rig.counts() == counts


@pytest.mark.parametrize("order", ["forwards", "by start"])
async def test_every_name_is_probed_once_and_many_at_a_time(order: str) -> None:
    hour = hour_of([1_000] * 120)
    if order == "by start":  # as tools that sort by inode do; the names say nothing about it
        hour = {(f"{Random(n).random():.9f}", start): noise(n, 1_000) for n, (_, start) in enumerate(hour)}
    way = [f"{HOUR}/{unique_id}.mp3" for unique_id, _ in hour] if order == "by start" else paths(hour)
    async with over(hour, storage_delay_s=0.01) as (rig, front):
        for path in way:
            await front.stat(path)
        await rig.idle()
        assert rig.counts() == {"link": 120, "audio": 120}
        assert rig.sim.log.peak["storage"] >= 8
        rig.sim.reset_log()
        for path in way:
            await front.stat(path)
        assert rig.counts() == {}, "a size that is known costs nothing again"


async def test_lookups_without_order_are_not_looked_ahead_of() -> None:
    hour = hour_of([1_000] * 400)
    async with over(hour) as (rig, front):
        for place in (10, 200, 60, 350, 120, 280):
            await front.stat(paths(hour)[place])
        await rig.idle()
        assert rig.counts() == {"link": 6, "audio": 6}


async def test_nothing_is_looked_at_ahead_where_that_is_switched_off() -> None:
    hour = hour_of([100_000] * 20)
    async with over(hour, sections={"mount": {"prefetch": False}}) as (rig, front):
        for path in paths(hour)[:10]:
            await cat(front, path)
        await rig.idle()
        assert asked(rig) == paths(hour)[:10]


async def test_a_listing_with_sizes_is_one_wait_on_a_mount(enter: EnterFront) -> None:
    hour = hour_of([1_000] * 100)
    async with enter([tenant(hour)], api_delay_s=0.05, storage_delay_s=0.05) as front:
        for path in [f"{HOUR}/{name}" for name in await front.listdir(HOUR)]:
            await front.stat(path)
        assert await settle(front) == {"reports": 1, "link": 100, "audio": 100}
        assert front.sim.log.peak["api"] >= 8


@pytest.mark.mounts
async def test_programs_that_go_through_are_looked_ahead_of_and_samples_are_not() -> None:
    """Real processes on one mount: who has listed what is known by who asks."""
    hours = {label: sized_hour([1_000] * 100, hour=label) for label in ("10", "11", "12", "13")}
    calls = {key: data for hour in hours.values() for key, data in hour.items()}

    async with mount_front([tenant(calls)], api_delay_s=0.005, storage_delay_s=0.005) as front:
        assert isinstance(front, MountFront)

        async def costs(*command: str) -> dict[str, int]:
            front.sim.reset_log()
            await trio.run_process(command, capture_stdout=True)
            return await settle(front)

        def names(label: str, places: Sequence[int]) -> list[str]:
            listing = sorted(f"{unique_id}.mp3" for unique_id, _ in hours[label])
            return [front.daemon.path(f"/office/2024/03/05/{label}/{listing[place]}") for place in places]

        two_days = [front.daemon.path(f"/office/2024/03/{day}") for day in ("05", "08")]
        assert (await costs("sh", "-c", 'ls "$0"; ls "$1"', *two_days))["reports"] <= 4
        assert (await costs("stat", *names("10", (40, 41))))["link"] <= 4
        assert (await costs("stat", *names("11", Random(3).sample(range(100), 20))))["link"] <= 40
        assert await costs("ls", "-l", front.daemon.path("/office/2024/03/05/12")) == {
            "link": 100,
            "audio": 100,
        }
        assert front.sim.log.peak["api"] >= 8
        month = await costs("find", front.daemon.path("/office/2024/03"), "-name", "*.mp3")
        assert month["reports"] <= 14, "no window is asked for twice"


# --- prefetch of whole recordings


@pytest.mark.parametrize("order", ["name", "start"])
async def test_prefetch_follows_the_order(order: str) -> None:
    hour = hour_of([150_000] * 120)
    if order == "start":
        hour = {(f"{Random(n).random():.9f}", start): noise(n, 150_000) for n, (_, start) in enumerate(hour)}
    way = [f"{HOUR}/{unique_id}.mp3" for unique_id, _ in hour] if order == "start" else paths(hour)
    async with over(hour) as (rig, front):
        for path in way[:6]:
            await cat(front, path)
        await rig.idle()
        ahead = set(asked(rig)) - set(way[:6])
        assert len(ahead) >= 8
        assert ahead == set(way[6 : 6 + len(ahead)]), "the next ones, all of them, and no others"
        rig.sim.reset_log()
        for path in way[6:9]:
            await cat(front, path)
        assert not set(asked(rig)) & set(way[6:9]), "what was prefetched is read from memory"


async def test_a_folder_read_through_is_fetched_once_in_large_pieces(enter: EnterFront) -> None:
    sizes = [Random(n).randrange(50_000, 500_000) for n in range(60)]
    hour = hour_of(sizes)
    async with enter([tenant(hour)]) as front:
        names = await front.listdir(HOUR)
        for name in names:
            assert await cat(front, f"{HOUR}/{name}") == hour[next(k for k in hour if f"{k[0]}.mp3" == name)]
        counts = await settle(front)
        assert counts["link"] == 60
        assert counts["audio"] <= 60 + 10, "one range each, but for the first few"
        assert fetched(front) == sum(sizes)


async def test_order_shuffled_by_eight_workers_is_order_still() -> None:
    hour = hour_of([150_000] * 120)
    way = paths(hour)
    async with over(hour, api_delay_s=0.005, storage_delay_s=0.005) as (rig, front):
        queue = iter(way)
        done: list[str] = []

        async def worker() -> None:
            for path in queue:
                await cat(front, path)
                done.append(path)
                if len(done) >= 48:
                    return

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(worker)
        await rig.idle()
        assert len(asked(rig)) >= len(done) + 16
        assert set(asked(rig)) == set(way[: len(asked(rig))])
        assert fetched(rig) <= 150_000 * len(asked(rig))
        for path in way:
            await cat(front, path)
        await rig.idle()
        assert rig.counts()["link"] == 120
        assert fetched(rig) == 120 * 150_000


async def test_prefetch_keeps_within_its_share_of_the_memory() -> None:
    hour = hour_of([200_000] * 80)
    async with over(hour, sections={"cache": {"memory_bytes": 16 * 2**20}}) as (rig, front):
        for done, path in enumerate(paths(hour), 1):
            await cat(front, path)
            if done % 10 == 0:
                await rig.idle()
                assert fetched(rig) - done * 200_000 <= rig.core.cache.unread_limit_bytes
        assert fetched(rig) == 80 * 200_000, "what was prefetched pushed itself out"


async def test_prefetch_is_dropped_on_a_miss() -> None:
    hour = hour_of([150_000] * 200)
    few = {"api": {"connections": 2}, "storage": {"connections": 2}}
    async with listed(hour, sections=few) as (rig, front):
        rig.sim.api_delay_s = 0.05
        for path in paths(hour)[:4]:
            await cat(front, path)
        api = rig.core.gates[0]
        assert api.waiting >= 4, "a queue of prefetches"
        await front.stat(paths(hour)[190])
        assert api.waiting <= 1, "given up"
        rig.sim.api_delay_s = 0.0
        before = len(asked(rig))
        await rig.idle()
        assert len(asked(rig)) - before <= 4


async def test_a_reader_overtakes_a_full_queue_of_prefetches() -> None:
    hour = hour_of([150_000] * 200)
    other: Sized = {("urgent", "2024-03-05 11:00:00"): noise("urgent", 150_000)}
    few = {"api": {"connections": 4}, "storage": {"connections": 4}}
    async with listed(hour | other, sections=few) as (rig, front):
        rig.sim.api_delay_s = 0.03
        for path in paths(hour)[:5]:
            await cat(front, path)
        assert rig.core.gates[0].waiting >= 4, "a queue of prefetches"
        rig.sim.api_delay_s = 1.0  # nobody leaves before the reader has come, on a slow machine either
        before = len(rig.sim.requests("link"))
        await until(lambda: len(rig.sim.requests("link")) >= before + 4)  # those that have just begun stay
        at = len(rig.sim.requests("link"))
        data = await cat(front, "/office/2024/03/05/11/urgent.mp3")
        assert data == noise("urgent", 150_000)
        links = [entry.unique_id for entry in rig.sim.requests("link")]
        # The four places become free together, and who of the four that follow is logged first is chance.
        assert links.index("urgent") < at + 4, "it is among the first for whom a place becomes free"
        assert rig.core.gates[0].waiting >= 1, "the queue was still there"


# --- headers only


async def test_a_sweep_of_heads_pulls_heads_only() -> None:
    hour = hour_of([300_000] * 60)
    async with over(hour) as (rig, front):
        for path in paths(hour)[:40]:
            await head(front, path)
        await rig.idle()
        assert fetched(rig) == BLOCK * (len(asked(rig)) + 2), (
            "a head each, two blocks for those looks that are no way through the folder yet"
        )
        assert rig.counts()["audio"] == len(asked(rig)) <= 60


async def test_a_crawl_for_sizes_alone_stops_fetching_heads() -> None:
    hour = hour_of([100_000] * 600)
    async with over(hour) as (rig, front):
        for path in paths(hour):
            assert (await front.stat(path)).size == 100_000
        await rig.idle()
        assert rig.counts()["audio"] == 600
        heads = sum(1 for path in paths(hour) if _bytes_of(rig, path) >= BLOCK)
        assert 64 <= heads <= 300, "hundreds of heads that nobody reads are enough"
        assert all(_bytes_of(rig, path) == 1 for path in paths(hour)[400:])
        assert await cat(front, paths(hour)[-1]) == sorted(hour.items())[-1][1], "a size alone is no block"


async def test_a_sweep_of_heads_and_tails_pulls_heads_and_tails_only() -> None:
    hour = hour_of([300_000] * 60)
    async with over(hour) as (rig, front):
        for path in paths(hour)[:40]:
            await head_and_tail(front, path, 300_000)
        await rig.idle()
        tail = 300_000 % BLOCK
        assert fetched(rig) == BLOCK * (len(asked(rig)) + 2) + tail * 40


async def test_who_opens_one_here_and_one_there_has_the_kernels_first_read_with_the_size() -> None:
    hour = hour_of([300_000] * 200)
    async with over(hour) as (rig, front):
        for index in (100, 20, 150, 60):
            async with front.opened(paths(hour)[index]) as file:
                assert len(await file.read(0, 2 * BLOCK)) == 2 * BLOCK
        assert rig.counts()["audio"] == 4


LOOKS = {  # offset and size as the kernel asks, by root's 512 KiB and by 128; below 0 is from the end
    "exiftool": [(0, 32 * KIB), (-448, 448), (32 * KIB, 64 * KIB)],
    "mutagen": [(0, 16 * KIB), (-352, 352), (16 * KIB, 64 * KIB)],
    "mediainfo": [(0, 128 * KIB), (-4_000, 4_000), (-20_000, 16 * KIB)],
    "head -c 64k": [(0, 32 * KIB), (32 * KIB, 64 * KIB), (96 * KIB, 128 * KIB)],
}


@pytest.mark.parametrize("readahead_kib", [512, 128])
@pytest.mark.parametrize("tool", LOOKS)
async def test_a_look_at_head_and_tail_is_no_reading_through(tool: str, readahead_kib: int) -> None:
    size = 2_300_000
    hour = hour_of([size] * 8)
    async with listed(hour) as (rig, front):
        rig.core.fs.read_by(readahead_kib * KIB)
        for path in paths(hour):
            async with front.opened(path) as file:
                for offset, count in LOOKS[tool]:
                    assert len(await file.read(offset % size, count)) == count
        await rig.idle()
        assert all(_bytes_of(rig, path) <= 256 * KIB for path in paths(hour))


async def test_a_first_read_that_takes_all_it_can_get_is_a_reading_through(long_hour: Sized) -> None:
    async with over(long_hour) as (rig, front):
        rig.core.fs.read_by(512 * KIB)
        async with front.opened(LONG_ONE) as file:
            await file.read(0, 256 * KIB)
        await rig.idle()
        assert fetched(rig) >= 2**20


async def test_a_kernel_that_reads_little_at_once_is_looked_ahead_of_when_the_reader_goes_on(
    long_hour: Sized,
) -> None:
    async with over(long_hour) as (rig, front):
        rig.core.fs.read_by(128 * KIB)
        async with front.opened(LONG_ONE) as file:
            await file.read(0, 128 * KIB)
            await rig.idle()
            assert fetched(rig) <= 128 * KIB
            for begin in range(128 * KIB, 1024 * KIB, 128 * KIB):
                await file.read(begin, 128 * KIB)
            await rig.idle()
            assert fetched(rig) >= 2**20
            assert len(asked(rig)) <= 6


async def test_what_one_process_did_in_a_folder_says_nothing_of_another_one() -> None:
    hours = {label: sized_hour([300_000] * 20, hour=label) for label in ("10", "11")}
    async with open_rig([tenant({k: v for hour in hours.values() for k, v in hour.items()})]) as rig:
        one, other = (CoreFront(rig.sim, rig.core.fs, Caller(pid=pid)) for pid in (7, 8))
        for unique_id, _ in hours["10"]:
            await cat(one, f"/office/2024/03/05/10/{unique_id}.mp3")
        await head(other, f"/office/2024/03/05/11/{next(iter(hours['11']))[0]}.mp3")
        await rig.idle()
        others = {unique_id for unique_id, _ in hours["11"]}
        sent = sum(entry.bytes_sent for entry in rig.sim.requests("audio") if entry.unique_id in others)
        assert sent <= 2 * BLOCK


@pytest.mark.mounts
async def test_tag_readers_on_a_mount_fetch_what_they_look_at() -> None:
    """With the buffers that Python, Perl and stdio take from `st_blksize`: the kernel makes more of them."""
    size = 1_500_000
    hour = hour_of([size] * 6)
    async with mount_front([tenant(hour)]) as front:
        assert isinstance(front, MountFront)
        names = [front.daemon.path(path) for path in paths(hour)]
        await trio.to_thread.run_sync(_look_at_tags, names)
        await settle(front)
        assert fetched(front) <= len(names) * 256 * KIB


def _look_at_tags(names: list[str]) -> None:
    for name in names:
        with open(name, "rb") as file:
            assert len(file.read(10)) == 10
            file.seek(-128, os.SEEK_END)
            assert len(file.read()) == 128
            file.seek(0)
            assert len(file.read(8_000)) == 8_000


async def test_a_sweep_of_heads_after_whole_reads_comes_down_to_heads() -> None:
    hour = hour_of([300_000] * 150)
    async with over(hour) as (rig, front):
        for path in paths(hour)[:4]:
            await cat(front, path)
        await rig.idle()
        for path in paths(hour)[4:100]:
            await head(front, path)
        await rig.idle()
        whole = sum(1 for path in asked(rig) if _bytes_of(rig, path) > BLOCK)
        assert whole <= 4 + 3 * 32, "the pattern has changed"
        assert all(_bytes_of(rig, path) <= BLOCK for path in paths(hour)[95:100])


def _bytes_of(rig: Rig, path: str) -> int:
    name = path.rsplit("/", 1)[1].removesuffix(".mp3")
    return sum(entry.bytes_sent for entry in rig.sim.requests("audio") if entry.unique_id == name)


async def test_heads_on_a_mount_stay_small(enter: EnterFront) -> None:
    hour = hour_of([300_000] * 40)
    async with enter([tenant(hour)]) as front:
        for name in await front.listdir(HOUR):
            await head_and_tail(front, f"{HOUR}/{name}", 300_000)
        await settle(front)
        assert fetched(front) <= 40 * 160 * KIB


# --- within one recording


async def test_a_small_recording_is_two_ranges_from_a_cold_start(enter: EnterFront) -> None:
    hour = hour_of([400_000, 1_000_000, 1_040_000])
    async with enter([tenant(hour)], sections={"mount": {"prefetch": False}}) as front:
        for number, path in enumerate(paths(hour), 1):
            await cat(front, path)
            counts = await settle(front)
            assert (counts["link"], counts["audio"]) == (number, 2 * number)
        assert fetched(front) == 2_440_000


@pytest.fixture
def long_hour() -> Sized:
    return {("long", "2024-03-05 10:00:00"): noise("long", LONG)}


async def test_random_reads_fetch_the_block_they_touch(enter: EnterFront, long_hour: Sized) -> None:
    data = noise("long", LONG)
    async with enter([tenant(long_hour)]) as front:
        blocks = Random(7).sample(range(2, LONG // BLOCK, 3), 40)
        async with front.opened(LONG_ONE) as file:
            await settle(front)
            front.sim.reset_log()
            for block in blocks:
                offset = block * BLOCK + 8 * KIB
                assert await file.read(offset, 4 * KIB) == data[offset : offset + 4 * KIB]
        await settle(front)
        wanted = [f"bytes={block * BLOCK}-{(block + 1) * BLOCK - 1}" for block in blocks]
        assert [entry.range for entry in front.sim.requests("audio")] == wanted


async def test_a_long_recording_is_a_few_flowing_transfers(enter: EnterFront, long_hour: Sized) -> None:
    async with enter([tenant(long_hour)]) as front:
        assert await cat(front, LONG_ONE) == noise("long", LONG)
        counts = await settle(front)
        assert counts["link"] == 1
        assert counts["audio"] <= 10, "its transfers double: a megabyte, two, four, …"
        assert fetched(front) == LONG


async def test_readahead_collapses_on_a_seek_and_grows_again(long_hour: Sized) -> None:
    async with over(long_hour) as (rig, front), front.opened(LONG_ONE) as file:
        for offset in range(0, 3_000_000, 128 * KIB):
            await file.read(offset, 128 * KIB)
        await rig.idle()
        rig.sim.reset_log()
        await file.read(15_000_000, 4 * KIB)
        await rig.idle()
        assert fetched(rig) == BLOCK
        for offset in range(15_000_000, 17_000_000, 128 * KIB):
            await file.read(offset, 128 * KIB)
        await rig.idle()
        assert rig.counts()["audio"] <= 8
        assert fetched(rig) <= 5_100_000


async def test_readers_that_stop_are_read_ahead_of_by_a_bounded_amount(long_hour: Sized) -> None:
    async with over(long_hour, sections={"cache": {"memory_bytes": 16 * 2**20}}) as (rig, front):
        async with front.opened(LONG_ONE) as file:
            for offset in range(0, 4_000_000, 128 * KIB):
                await file.read(offset, 128 * KIB)
        await rig.idle()
        assert fetched(rig) <= 4_000_000 + 128 * KIB + rig.core.cache.unread_limit_bytes


async def test_two_readers_in_one_recording_do_not_fetch_it_twice(long_hour: Sized) -> None:
    async with over(long_hour) as (rig, front):
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(cat, front, LONG_ONE)
        await rig.idle()
        assert fetched(rig) == LONG


# --- windows


async def test_whoever_listed_a_month_and_begins_with_its_first_day_has_it_asked_together() -> None:
    async with open_rig(api_delay_s=0.1) as rig:
        front = CoreFront(rig.sim, rig.core.fs, Caller(pid=7))
        await front.listdir("/office/2024/03")
        await front.listdir("/office/2024/03/01")
        await rig.idle()
        assert rig.counts() == {"reports": 2}, "no more before it is known how large and how fast they are"
        await front.listdir("/office/2024/03/03")
        await rig.idle()
        assert rig.counts() == {"reports": 16}, "to the end of the month, and not beyond"
        assert rig.sim.log.peak["api"] >= 8
        for day in range(1, 32):
            await front.listdir(f"/office/2024/03/{day:02}")
        assert rig.counts() == {"reports": 16}


async def test_windows_ahead_of_anybody_else_are_earned_step_by_step() -> None:
    async with open_rig() as rig:
        front = CoreFront(rig.sim, rig.core.fs)
        for day, many in (("01", 1), ("03", 3), ("05", 5), ("07", 8), ("09", 13), ("11", 16)):
            await front.listdir(f"/office/2024/03/{day}")
            await rig.idle()
            assert rig.counts() == {"reports": many}


async def test_windows_are_not_read_ahead_of_a_person() -> None:
    async with open_rig() as rig:
        front = CoreFront(rig.sim, rig.core.fs)
        for day in ("01", "03", "05", "07"):
            await front.listdir(f"/office/2024/03/{day}")
            await rig.idle()
            rig.hands.advance(3.0)
        assert rig.counts() == {"reports": 4}


async def test_windows_are_not_read_ahead_of_somebody_who_jumps() -> None:
    async with open_rig() as rig:
        front = CoreFront(rig.sim, rig.core.fs)
        for day in ("01", "11", "05", "21"):
            await front.listdir(f"/office/2024/03/{day}")
        await rig.idle()
        assert rig.counts() == {"reports": 4}


async def test_windows_are_read_ahead_within_the_catalogs_room() -> None:
    calls: Sized = {}
    for day in range(1, 32):
        calls |= {
            (asterisk_id(f"2024-03-{day:02} 10:00:00", n), f"2024-03-{day:02} 10:00:00"): b""
            for n in range(100)
        }
    async with open_rig([tenant(calls)], sections={"cache": {"records": 1_000}}) as rig:
        front = CoreFront(rig.sim, rig.core.fs)
        for day in range(1, 32):
            assert await front.listdir(f"/office/2024/03/{day:02}") == ["10"]
            await rig.idle()
            assert rig.core.catalog.records <= 1_000
        assert rig.counts() == {"reports": 16}, "what was read ahead pushed itself out"


async def test_readahead_that_fails_is_nobodys_error() -> None:
    hour = hour_of([150_000] * 40)
    async with over(hour) as (rig, front):
        victim = sorted(hour)[10][0]
        rig.sim.add_fault(Fault("status", {"route": "link", "unique_id": victim}, status=500))
        for path in paths(hour):
            assert len(await cat(front, path)) == 150_000
        assert rig.sim.faults.hits()[0][1] == 1


async def test_a_second_read_asks_nobody(enter: EnterFront) -> None:
    hour = hour_of([150_000] * 3)
    async with enter([tenant(hour)]) as front:
        for path in paths(hour) * 2:
            await cat(front, path)
        counts = await settle(front)
        assert counts["link"] == 3


@pytest.mark.mounts
async def test_a_second_read_of_a_cached_recording_does_not_even_reach_the_daemon() -> None:
    """The daemon is stopped: what is answered now, the kernel answers from its page cache."""
    hour = hour_of([150_000] * 2)
    async with mount_front([tenant(hour)]) as front:
        assert isinstance(front, MountFront)
        for path in paths(hour):
            await cat(front, path)
        daemon = front.daemon.process
        async with front.opened(paths(hour)[0]) as file:
            assert isinstance(file, MountFile)
            daemon.send_signal(signal.SIGSTOP)
            try:
                with trio.fail_after(PATIENCE_S):
                    again = await trio.to_thread.run_sync(
                        os.pread, file.descriptor, 150_000, 0, abandon_on_cancel=True
                    )
                seen = os.fstat(file.descriptor)
            finally:
                daemon.send_signal(signal.SIGCONT)
        assert again == hour[sorted(hour)[0]]
        assert seen.st_size == 150_000


# --- connections


def idle(rig: Rig) -> tuple[int, int]:
    """Idle connections to the API and to the storage."""
    api, storage = (client.transport for client in rig.core.clients)
    assert isinstance(api, Transport)
    assert isinstance(storage, Transport)
    return api.idle, storage.idle


async def test_a_listed_hour_has_a_few_connections_opened_to_whatever_origins_are_known() -> None:
    async with over(hour_of([1_000] * 3)) as (rig, front):
        await until(lambda: idle(rig) == (4, 0))  # no link has told yet where the storage is
        await front.stat(paths(hour_of([1_000] * 3))[0])
        for _ in range(3):
            await front.listdir(HOUR)
        await until(lambda: idle(rig) == (4, 4))
        await rig.idle()
        assert idle(rig) == (4, 4), "no more of them for a second listing"
        assert rig.counts() == {"link": 1, "audio": 1}


async def test_links_that_were_asked_for_ahead_have_connections_opened_to_where_they_lead() -> None:
    async with listed(hour_of([1_000] * 100)) as (rig, front):
        await front.stat(paths(hour_of([1_000] * 100))[0])
        await rig.idle()
        assert 8 <= idle(rig)[1] <= 17
        assert rig.counts()["audio"] == 1


async def test_an_origin_that_cannot_be_reached_ahead_is_nobodys_error() -> None:
    async with over(hour_of([1_000] * 3)) as (rig, front):
        await rig.core.clients[0].warm("http://127.0.0.1:1", 4)
        await front.listdir(HOUR)
        await rig.idle()
