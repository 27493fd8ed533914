"""What the core does as time passes: live windows, leases, bounds. Clocks are turned by hand."""

from __future__ import annotations

import errno
import logging

import pytest
import trio
import trio.lowlevel
from harness.fronts import CoreFront, cat, raises
from harness.rig import Hands, Rig, open_rig, until
from harness.world import BLOCK, BUSY, BYTES, CALLS, HOUR, LONG, NAMES, call, noise, sized_hour, tenant, truth

from voxofs.model import Caller
from voxofs.simulator.faults import Fault
from voxofs.simulator.world import FixedTenant

LONG_ONE = "/office/2024/03/05/13/long.mp3"
NOW = "2024-03-06 12:00:00"
"""Within the window of HOUR, which is live then."""

CRAWLER = Caller(crawls=True)
"""Nothing is asked for ahead of it."""


def names(path: str) -> tuple[str, ...]:
    return tuple(path.strip("/").split("/"))


# --- windows in time


async def test_a_live_window_is_asked_again_after_its_time_and_a_settled_one_is_not() -> None:
    hands = Hands(NOW)
    async with open_rig(hands=hands) as rig:
        front = CoreFront(rig.sim, rig.core.fs)
        for path in (HOUR, "/office/2024/03/02"):
            await front.listdir(path)
        assert rig.counts() == {"reports": 2}
        hands.advance(29.9)
        await front.listdir(HOUR)
        assert rig.counts() == {"reports": 2}
        hands.advance(0.2)
        await front.listdir(HOUR)
        await front.listdir("/office/2024/03/02")
        assert rig.counts() == {"reports": 3}
        hands.advance(86_400 + 43_200 + 14_400)  # the window is over, and late reports are in
        await front.listdir(HOUR)
        assert rig.counts() == {"reports": 4}
        hands.advance(10_000_000)
        await front.listdir(HOUR)
        assert rig.counts() == {"reports": 4}


@pytest.mark.parametrize("inclusive", [False, True])
async def test_a_record_at_a_windows_end_belongs_to_the_next_window_alone(inclusive: bool) -> None:
    async with open_rig(inclusive_end=inclusive) as rig:
        counted = []
        for day in ("05", "07"):
            await rig.core.fs.listing(("office", "2024", "03", day), CRAWLER)
            counted.append(rig.core.catalog.records)
        assert counted[1] - counted[0] == 1, "midnight, and nothing else"
        starts = [start for _, start in CALLS if "2024-03-05" <= start < "2024-03-07"]
        assert counted[0] == len(starts)


async def test_a_window_settles_only_when_late_reports_are_in() -> None:
    hands = Hands("2024-03-07 03:59:00")
    async with open_rig(hands=hands) as rig:
        front = CoreFront(rig.sim, rig.core.fs)
        await front.listdir(HOUR)
        hands.advance(120)
        await front.listdir(HOUR)
        assert rig.counts() == {"reports": 2}
        hands.advance(120)
        await front.listdir(HOUR)
        assert rig.counts() == {"reports": 2}


async def test_calls_appear_in_a_live_window() -> None:
    hands = Hands(NOW)
    records = [call("first", "2024-03-06 11:00:00")]
    office = FixedTenant(9, "office", "Office", records, {"first": b"1", "second": b"2"})
    async with open_rig([office], hands=hands) as rig:
        front = CoreFront(rig.sim, rig.core.fs)
        assert await front.listdir("/office/2024/03/06/11") == ["first.mp3"]
        with pytest.raises(OSError, match="does not exist"):
            await front.stat("/office/2024/03/06/11/second.mp3")
        records.append(call("second", "2024-03-06 11:30:00"))
        hands.advance(31)
        assert await front.listdir("/office/2024/03/06/11") == ["first.mp3", "second.mp3"]
        assert await cat(front, "/office/2024/03/06/11/second.mp3") == b"2"


async def test_the_future_begins_at_midnight_in_chicago() -> None:
    hands = Hands("2024-03-05 23:59:59")
    async with open_rig(hands=hands) as rig:
        front = CoreFront(rig.sim, rig.core.fs)
        assert (await front.listdir("/office/2024/03"))[-1] == "05"
        for path in ("/office/2024/03/06", "/office/2024/04", "/office/2025", "/office/2024/03/06/10/a.mp3"):
            with pytest.raises(OSError, match="does not exist"):
                await front.stat(path)
        assert rig.counts() == {}
        hands.advance(1)
        assert (await front.listdir("/office/2024/03"))[-1] == "06"
        assert (await front.stat("/office/2024/03/06")).is_folder


async def test_an_old_listing_is_shown_while_a_refresh_fails_and_a_refusal_is_not_papered_over(
    no_waits: None,
) -> None:
    hands = Hands(NOW)
    async with open_rig(hands=hands) as rig:
        front = CoreFront(rig.sim, rig.core.fs)
        assert await front.listdir(HOUR) == NAMES
        hands.advance(31)
        rig.sim.add_fault(Fault("status", {"route": "reports"}, status=502, body="html", times=None))
        assert await front.listdir(HOUR) == NAMES
        assert "502" in (await front.xattrs("/office/2024/03/05"))["user.voxofs.error"]
        rig.sim.faults.clear()
        rig.sim.forbidden = {9}
        hands.advance(31)
        with pytest.raises(OSError, match="403") as refused:
            await front.listdir(HOUR)
        assert refused.value.errno == errno.EACCES
        rig.sim.forbidden = set()
        assert await front.listdir(HOUR) == NAMES
        assert "user.voxofs.error" not in await front.xattrs("/office/2024/03/05")


async def test_a_window_that_was_never_seen_is_an_error_and_not_an_empty_folder(no_waits: None) -> None:
    async with open_rig() as rig:
        rig.sim.add_fault(Fault("status", {"route": "reports"}, status=502, body="html", times=None))
        with pytest.raises(OSError, match="502") as failed:
            await CoreFront(rig.sim, rig.core.fs).listdir(HOUR)
        assert failed.value.errno == errno.EIO


# --- bounds


async def test_the_catalog_is_bounded_and_its_oldest_window_leaves() -> None:
    calls = (
        sized_hour([1] * 100, "2024-03-05")
        | sized_hour([1] * 100, "2024-03-07")
        | sized_hour([1], "2024-03-09")
    )
    async with open_rig([tenant(calls)], sections={"cache": {"records": 260}}) as rig:
        for day, reports in (("05", 1), ("07", 2), ("05", 3), ("09", 4), ("05", 4), ("07", 5)):
            await rig.core.fs.listing(("office", "2024", "03", day, "10"), CRAWLER)
            assert rig.counts() == {"reports": reports}, day
            assert rig.core.catalog.records <= 260


async def test_a_window_larger_than_the_catalog_is_still_shown() -> None:
    async with open_rig([tenant(sized_hour([1] * 300))], sections={"cache": {"records": 100}}) as rig:
        front = CoreFront(rig.sim, rig.core.fs)
        assert len(await front.listdir(HOUR)) == 300
        assert len(await front.listdir(HOUR)) == 300
        assert rig.counts() == {"reports": 1}


async def test_known_sizes_are_bounded_and_recordings_in_use_are_not_forgotten() -> None:
    async with open_rig(sections={"cache": {"known_sizes": 3}, "mount": {"prefetch": False}}) as rig:
        front = CoreFront(rig.sim, rig.core.fs)
        async with front.opened(f"{HOUR}/{NAMES[7]}") as held:
            assert await held.read(0, 10) == BYTES[NAMES[7]][:10]
            for name in NAMES:
                await front.stat(f"{HOUR}/{name}")
            await rig.idle()
            assert len(rig.core.library) <= 4
            rig.sim.reset_log()
            assert await held.read(100_000, 10) == BYTES[NAMES[7]][100_000:100_010]
            assert rig.counts() == {"audio": 1}, "its link and its version were forgotten"


async def test_the_block_cache_stays_within_its_bytes_and_bytes_stay_right() -> None:
    async with open_rig(sections={"cache": {"memory_bytes": 8 * BLOCK}}) as rig:
        front = CoreFront(rig.sim, rig.core.fs)
        assert await cat(front, LONG_ONE) == truth(LONG_ONE)
        assert 0 < rig.core.cache.used_bytes <= 8 * BLOCK
        for name in NAMES:
            assert await cat(front, f"{HOUR}/{name}") == BYTES[name]
            assert rig.core.cache.used_bytes <= 8 * BLOCK


async def test_skipped_records_are_counted_and_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    when = "2024-03-06 10:00:00"
    records = [
        call("fine", when),
        call("a/b", when),
        call("c/d", when),
        call("", when),
        call("quiet", when, recorded=0),
    ]
    hands = Hands(NOW)
    with caplog.at_level(logging.INFO):
        async with open_rig([FixedTenant(9, "office", "Office", records)], hands=hands) as rig:
            front = CoreFront(rig.sim, rig.core.fs)
            for _ in range(3):
                assert await front.listdir("/office/2024/03/06/10") == ["fine.mp3"]
                hands.advance(31)
            assert rig.counts() == {"reports": 3}
    told = [record.getMessage() for record in caplog.records if "not shown" in record.getMessage()]
    assert len(told) == 1
    assert "3 records" in told[0]


# --- leases


async def test_a_link_is_used_while_it_lives_and_renewed_before_it_dies() -> None:
    async with open_rig() as rig:
        front = CoreFront(rig.sim, rig.core.fs)
        async with front.opened(LONG_ONE) as file:
            await file.read(0, 10)
            for number, (passes_s, links) in enumerate(
                [(30, 1), (20, 1), (10, 2), (50, 2), (9, 3), (3_600, 4)]
            ):
                rig.hands.advance(passes_s)
                offset = (number + 1) * 10 * BLOCK
                assert await file.read(offset, 10) == truth(LONG_ONE)[offset : offset + 10]
                assert rig.counts()["link"] == links, passes_s
        assert rig.sim.log.statuses["audio 403"] == 0


async def test_readers_of_one_recording_wait_for_one_link() -> None:
    async with open_rig() as rig:
        front = CoreFront(rig.sim, rig.core.fs)
        async with front.opened(LONG_ONE) as file:
            await file.read(0, 10)
            rig.hands.advance(60)
            rig.sim.api_delay_s = 0.1
            async with trio.open_nursery() as nursery:
                for number in range(1, 11):
                    nursery.start_soon(file.read, number * 7 * BLOCK, 10)
        assert rig.counts()["link"] == 2


async def test_a_transfer_that_flows_is_not_cut_when_its_link_dies() -> None:
    async with open_rig() as rig:
        front = CoreFront(rig.sim, rig.core.fs)
        rig.sim.add_fault(Fault("trickle", {"route": "audio"}, nth=2, bytes_per_s=2_000_000))
        async with front.opened(LONG_ONE) as file, trio.open_nursery() as nursery:
            await file.read(0, 10)
            read: list[bytes] = []

            async def reader() -> None:
                read.append(await file.read(BLOCK, 4 * BLOCK))

            nursery.start_soon(reader)
            await until(lambda: rig.sim.log.in_flight["storage"])
            rig.hands.advance(120)
        assert read == [truth(LONG_ONE)[BLOCK : 5 * BLOCK]]
        assert rig.counts()["link"] == 1


# --- bytes as they arrive, and readers that go away


async def test_a_reader_gets_its_block_while_the_rest_of_the_range_stalls() -> None:
    async with open_rig() as rig:
        front = CoreFront(rig.sim, rig.core.fs)
        rig.sim.add_fault(Fault("stall_body", {"route": "audio"}, nth=2, after_bytes=3 * BLOCK))
        data = truth(LONG_ONE)
        async with front.opened(LONG_ONE) as file, trio.open_nursery() as nursery:
            await file.read(0, BLOCK)
            nursery.start_soon(file.read, BLOCK, 8 * BLOCK)  # one range; its second half does not come
            await until(lambda: len(rig.sim.requests("audio")) == 2)
            for index in (1, 2, 3):
                assert await file.read(index * BLOCK, BLOCK) == data[index * BLOCK : (index + 1) * BLOCK]
            assert rig.core.library.fetches == 1
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("route", ["reports", "link", "audio"])
async def test_a_reader_that_goes_away_leaves_the_others_alone_and_nothing_behind(
    rig: Rig, route: str
) -> None:
    front = CoreFront(rig.sim, rig.core.fs)
    rig.sim.add_fault(Fault("delay", {"route": route}, delay_s=0.3))
    read: list[bytes] = []
    path = f"{HOUR}/{NAMES[7]}"

    async def reader(scope: trio.CancelScope) -> None:
        with scope:
            read.append(await cat(front, path))

    impatient, patient = trio.CancelScope(), trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader, impatient)
        await until(lambda: rig.sim.requests(route))
        nursery.start_soon(reader, patient)
        await trio.lowlevel.checkpoint()
        impatient.cancel()
    assert impatient.cancelled_caught
    assert read == [BYTES[NAMES[7]]]
    await rig.idle()
    assert (rig.counts()["reports"], rig.counts()["link"]) == (1, 1)
    assert all(recording.users == 0 for recording in rig.core.library.recordings())
    assert rig.core.fs is not None


async def test_a_missing_recording_is_not_asked_for_again_at_once_but_later_it_is() -> None:
    async with open_rig() as rig:
        front = CoreFront(rig.sim, rig.core.fs)
        path = "/office/2024/03/05/14/gone.mp3"
        for _ in range(3):
            with pytest.raises(OSError, match="404") as absent:
                await front.stat(path)
            assert absent.value.errno == errno.ENOENT
        assert rig.counts()["audio"] == 1
        rig.sim.replace_audio(9, "gone", b"back again")
        rig.hands.advance(31)
        assert await cat(front, path) == b"back again"


async def test_a_recording_replaced_between_two_handles_has_another_size() -> None:
    async with open_rig() as rig:
        front = CoreFront(rig.sim, rig.core.fs)
        assert (await front.stat(LONG_ONE)).size == LONG
        rig.sim.replace_audio(9, "long", noise("other", 77_777))
        with pytest.raises(OSError, match="replaced") as replaced:
            await cat(front, LONG_ONE)
        assert replaced.value.errno == errno.EIO
        assert await cat(front, LONG_ONE) == noise("other", 77_777)


async def test_equal_names_of_an_hour_are_one_file_with_the_later_start() -> None:
    records = [call("twice", "2024-03-05 10:00:00"), call("twice", "2024-03-05 10:30:00")]
    async with open_rig([FixedTenant(9, "office", "Office", records, {"twice": b"x"})]) as rig:
        front = CoreFront(rig.sim, rig.core.fs)
        assert await front.listdir(HOUR) == ["twice.mp3"]
        assert (await front.xattrs(f"{HOUR}/twice.mp3"))["user.voxo.start"] == "2024-03-05 10:30:00"


def test_the_world_has_no_two_recordings_alike() -> None:
    """A guard: a test that compares bytes can only see a mixture where all bytes differ."""
    assert len(set(BYTES.values())) == len(BUSY)


# --- defects of our own


async def test_a_defect_in_one_window_does_not_end_the_mount(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: object) -> None:
        raise ZeroDivisionError

    front = CoreFront(rig.sim, rig.core.fs)
    monkeypatch.setattr("voxofs.source.voxo.decoded", broken)
    with raises(errno.EIO):
        await front.listdir(HOUR)

    assert "ZeroDivisionError" in caplog.text
    monkeypatch.undo()
    assert await front.listdir(HOUR) == NAMES


async def test_a_defect_in_one_fetch_does_not_end_the_mount(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: object) -> None:
        raise ZeroDivisionError

    front = CoreFront(rig.sim, rig.core.fs)
    monkeypatch.setattr("voxofs.audio.library.Library._receive", broken)
    with raises(errno.EIO):
        await front.stat(f"{HOUR}/{NAMES[0]}")

    assert "ZeroDivisionError" in caplog.text
    monkeypatch.undo()
    assert await cat(front, f"{HOUR}/{NAMES[0]}") == BYTES[NAMES[0]]
