"""What the tree, the sizes and the bytes promise, sentence by sentence, on every front end."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from conftest import EnterFront
from harness.fronts import CAT_BYTES, Front, MountFront, cat, mount_front, raises, settle, walk
from harness.world import (
    BLOCK,
    BUSY,
    BYTES,
    CALLS,
    HOUR,
    LONG,
    NAMES,
    asterisk_id,
    call,
    epoch_s,
    folder,
    noise,
    sized_hour,
    tenant,
    truth,
)

from voxofs.simulator.faults import Fault
from voxofs.simulator.world import FixedTenant

BIGGEST = f"{HOUR}/{max(NAMES, key=lambda name: len(BYTES[name]))}"
SMALL = f"{HOUR}/{NAMES[0]}"
LONG_ONE = "/office/2024/03/05/13/long.mp3"


# --- the calendar: no request


async def test_the_calendar_asks_nobody(front: Front) -> None:
    assert await front.listdir("/") == ["office"]
    assert (await front.listdir("/office"))[:2] == ["2023", "2024"]
    assert await front.listdir("/office/2023") == [f"{month:02}" for month in range(1, 13)]
    assert await front.listdir("/office/2024/02") == [f"{day:02}" for day in range(1, 30)]
    assert (await front.stat("/office/2024/03/05")).is_folder
    assert (await front.stat("/")).is_folder
    assert await settle(front) == {}


NEVER = (
    "/.Trash-1000", "/autorun.inf", "/.hidden", "/nobody", "/office/.Trash", "/office/24", "/office/02024",
    "/office/2022", "/office/2022/12/31", "/office/9999", "/office/0000", "/office/2024/1", "/office/2024/13",
    "/office/2024/00", "/office/2024/02/30", "/office/2024/02/3", "/office/2024/02/.directory",
    "/office/2024/03/05/24", "/office/2024/03/05/1", "/office/2024/03/05/-1", "/office/2024/03/05/١٠",
    "/office/2024/03/05/desktop.ini", "/office/٢٠٢٤", "/office/2022/12/31/10/x.mp3", "/office/2024/03/0 5",
)  # fmt: skip


async def test_names_outside_the_grammar_are_absent_without_a_request(front: Front) -> None:
    for path in NEVER:
        with raises(errno.ENOENT):
            await front.stat(path)
        assert not front.sim.log.requests, path
    assert await settle(front) == {}


async def test_names_that_desktops_probe_for_cost_nothing_in_an_hour_either(front: Front) -> None:
    await front.listdir(HOUR)
    front.sim.reset_log()
    for name in (
        "folder.jpg",
        ".directory",
        "desktop.ini",
        NAMES[0].upper(),
        NAMES[0] + ".mp3",
        "x" * 252 + ".mp3",
    ):
        with pytest.RaisesExc(OSError):  # ENOENT, or ENAMETOOLONG from the kernel
            await front.stat(f"{HOUR}/{name}")
    assert await settle(front) == {}


# --- windows


async def test_a_plain_listing_of_an_hour_is_one_report(front: Front) -> None:
    assert await front.listdir(HOUR) == NAMES
    assert await settle(front) == {"reports": 1}
    [report] = front.sim.requests("reports")
    assert report.range == "2024-03-05 00:00:00/2024-03-07 00:00:00"
    assert report.tenant == 9


async def test_the_other_day_of_a_window_costs_nothing(front: Front) -> None:
    await front.listdir(HOUR)
    front.sim.reset_log()
    assert await front.listdir("/office/2024/03/06") == ["10", "23"]
    assert await front.listdir("/office/2024/03/06/10") == ["other-day.mp3"]
    assert await settle(front) == {}


async def test_one_window_is_asked_once_however_many_want_it(front: Front) -> None:
    front.sim.api_delay_s = 0.2
    found: list[list[str]] = []

    async def look(path: str) -> None:
        found.append(await front.listdir(path))

    async with trio.open_nursery() as nursery:
        for path in (HOUR, "/office/2024/03/05", "/office/2024/03/06", "/office/2024/03/06/23") * 4:
            nursery.start_soon(look, path)
    assert await settle(front) == {"reports": 1}
    assert found.count(NAMES) == 4
    assert found.count(["last-second.mp3"]) == 4


async def test_a_month_is_as_many_reports_as_it_has_windows_and_then_none(front: Front) -> None:
    found = await walk(front, "/office/2024/03")
    assert await settle(front) == {"reports": 16}
    assert {entry.range for entry in front.sim.requests("reports")} == {
        f"2024-03-{day:02} 00:00:00/{'2024-04-02' if day == 31 else f'2024-03-{day + 2:02}'} 00:00:00"
        for day in range(1, 32, 2)
    }
    recordings = {path for path in found if path.endswith(".mp3")}
    expected = {
        f"{folder(start)}/{unique_id}.mp3" for unique_id, start in CALLS if start.startswith("2024-03")
    }
    assert recordings == expected
    front.sim.reset_log()
    assert await walk(front, "/office/2024/03") == found
    assert await settle(front) == {}


async def test_entries_are_sorted_by_name(front: Front) -> None:
    assert await front.listdir("/office/2024/03/05") == ["10", "12", "13", "14"]
    assert await front.listdir("/office/2024/03/05/12") == ["apple.mp3", "zebra.mp3", "Ärger.mp3"]
    assert await front.listdir(HOUR) == sorted(NAMES)


async def test_a_name_that_a_listing_does_not_hold_costs_no_more_than_the_listing(front: Front) -> None:
    for name in ("10/nobody.mp3", "11", "11/nobody.mp3"):
        with raises(errno.ENOENT):
            await front.stat(f"/office/2024/03/05/{name}")
    assert await settle(front) == {"reports": 1}


@pytest.mark.parametrize("inclusive", [False, True])
async def test_windows_are_half_open_whatever_the_server_makes_of_end(
    enter: EnterFront, inclusive: bool
) -> None:
    async with enter(inclusive_end=inclusive) as front:
        found = await walk(front, "/office/2024/03")
    [midnight] = [path for path in found if path.endswith("/midnight.mp3")]
    assert midnight == "/office/2024/03/07/00/midnight.mp3"
    assert "/office/2024/03/06/23/last-second.mp3" in found
    assert sum(path.endswith(".mp3") for path in found) == sum(s.startswith("2024-03") for _, s in CALLS)


async def test_the_later_form_of_records_gives_the_same_tree_and_bytes(enter: EnterFront) -> None:
    records = [call(unique_id, None, time=f"03/05/24 {start[11:]}") for unique_id, start in BUSY]
    for record in records:
        del record["start"]
    audio = {unique_id: data for (unique_id, _), data in BUSY.items() if data is not None}
    async with enter([FixedTenant(9, "office", "Office", records, audio)], later_form=True) as front:
        assert await front.listdir(HOUR) == NAMES
        assert (await front.stat(SMALL)).mtime_s == epoch_s("2024-03-05 10:00:00")
        assert await cat(front, SMALL) == BYTES[NAMES[0]]


# --- daylight saving


async def test_both_one_o_clock_hours_are_in_one_folder_with_their_own_instants(front: Front) -> None:
    assert await front.listdir("/office/2023/11/05") == ["01"]
    names = await front.listdir("/office/2023/11/05/01")
    first, second = (asterisk_id("2023-11-05 01:30:00", fold + 1, fold) for fold in (0, 1))
    assert names == [f"{first}.mp3", f"{second}.mp3"]
    one, two = [await front.stat(f"/office/2023/11/05/01/{name}") for name in names]
    assert two.mtime_s - one.mtime_s == 3_600
    assert one.mtime_s == 1_699_165_800  # 2023-11-05 06:30:00 UTC
    assert await cat(front, f"/office/2023/11/05/01/{names[0]}") == b"first one o'clock"
    assert await cat(front, f"/office/2023/11/05/01/{names[1]}") == b"second one o'clock"


async def test_the_hour_that_daylight_saving_skips_has_no_folder(front: Front) -> None:
    assert await front.listdir("/office/2024/03/10") == ["01", "03"]
    with raises(errno.ENOENT):
        await front.listdir("/office/2024/03/10/02")
    before, after = [
        (await front.stat(f"/office/2024/03/10/{hour}/{asterisk_id(start, 1)}.mp3")).mtime_s
        for hour, start in (("01", "2024-03-10 01:59:59"), ("03", "2024-03-10 03:00:00"))
    ]
    assert after - before == 1


async def test_a_record_that_claims_the_skipped_hour_is_shown_there(enter: EnterFront) -> None:
    odd = tenant({("odd", "2024-03-10 02:30:00"): b"odd"})
    async with enter([odd]) as front:
        assert await front.listdir("/office/2024/03/10") == ["02"]
        assert await cat(front, "/office/2024/03/10/02/odd.mp3") == b"odd"


async def test_mtime_is_the_true_instant_of_the_call(front: Front) -> None:
    seen = await front.stat(SMALL)
    assert seen.mtime_s == epoch_s("2024-03-05 10:00:00") == 1_709_654_400
    summer = await front.stat("/office/2023/07/01/10/far.mp3")
    assert summer.mtime_s == 1_688_223_600  # 15:00 UTC: five hours behind, not six


# --- records that cannot be shown, bodies that make no sense


async def test_records_that_cannot_be_shown_are_skipped_and_the_others_are_not(enter: EnterFront) -> None:
    when = "2024-03-05 10:00:00"
    records: list[Any] = [
        call("good", when),
        call("unrecorded", when, recorded=0),
        call("", when), call(None, when), call(17, when), call(["x"], when),
        call("a/b", when), call("../../etc/passwd", when), call("nul\0", when), call(".", when),
        call("..", when),
        call("x" * 252, when), call("tab\tname", when), call("half\ud800", when),
        call("late", "soon"), call("none", None), call("number", 17), call("bad", "2024-13-45 10:00:00"),
        None, 17, "text", [],
        call("x" * 251, when),
        call("brandnew", when, unheardOf={"deep": [1, 2]}, duration={"not": "a number"}),
        call("twice", when), call("twice", when, duration=19),
    ]  # fmt: skip
    office = FixedTenant(9, "office", "Office", records, {"good": b"good", "twice": b"one file"})
    async with enter([office]) as front:
        names = ["brandnew.mp3", "good.mp3", "twice.mp3", "x" * 251 + ".mp3"]
        assert await front.listdir(HOUR) == names
        assert await front.listdir("/office/2024/03/05") == ["10"]
        assert await cat(front, f"{HOUR}/good.mp3") == b"good"
        assert await cat(front, f"{HOUR}/twice.mp3") == b"one file"


NO_LISTS = (
    "<html>sorry</html>", "", "{}", '{"data": []}', "null", "17", '"[]"', "[{]", '[{"uniqueId": "cut',
    "[" * 99_999,
)  # fmt: skip


async def test_a_body_that_is_no_list_is_an_error_and_not_an_empty_folder(front: Front) -> None:
    for body in NO_LISTS:
        front.sim.add_fault(Fault("garbage_json", {"route": "reports"}, body=body))
        with raises(errno.EIO):
            await front.listdir("/office/2024/03/05")
        front.sim.faults.clear()
    assert await front.listdir("/office/2024/03/05") == ["10", "12", "13", "14"]
    assert (await settle(front))["reports"] == len(NO_LISTS) + 1


# --- sizes


async def test_a_size_costs_one_link_and_one_range_that_brings_the_first_block(front: Front) -> None:
    await front.stat(HOUR)  # its listing is known; who lists it and begins with this one goes through it
    front.sim.reset_log()
    assert (await front.stat(SMALL)).size == 1_000
    assert await settle(front) == {"link": 1, "audio": 1}
    [probe] = front.sim.requests("audio")
    assert (probe.method, probe.range) == ("GET", f"bytes=0-{2 * BLOCK - 1}"), "what the kernel reads first"
    assert await cat(front, SMALL) == BYTES[NAMES[0]]
    assert (await front.stat(SMALL)).size == 1_000
    assert await settle(front) == {"link": 1, "audio": 1}


async def test_sizes_and_bytes_are_those_of_the_storage(front: Front) -> None:
    for name in NAMES:
        seen = await front.stat(f"{HOUR}/{name}")
        assert (seen.size, seen.is_folder) == (len(BYTES[name]), False)
        assert await cat(front, f"{HOUR}/{name}") == BYTES[name]


# --- bytes


@pytest.mark.parametrize("path", [BIGGEST, SMALL])
async def test_cat_of_a_known_name_is_one_link_and_the_fewest_ranges(front: Front, path: str) -> None:
    await front.stat(HOUR)  # its listing is known; who lists it and begins with this one goes through it
    front.sim.reset_log()
    assert await cat(front, path) == truth(path)
    counts = await settle(front)
    assert counts["link"] == 1
    assert counts["audio"] == (1 if len(truth(path)) <= BLOCK else 2)
    assert set(counts) == {"link", "audio"}
    assert sum(entry.bytes_sent for entry in front.sim.requests("audio")) == len(truth(path))


async def test_a_second_read_costs_nothing(front: Front) -> None:
    await cat(front, BIGGEST)
    await settle(front)
    front.sim.reset_log()
    assert await cat(front, BIGGEST) == truth(BIGGEST)
    assert await settle(front) == {}


async def test_reads_at_any_offset(front: Front) -> None:
    data = truth(LONG_ONE)
    async with front.opened(LONG_ONE) as file:
        for offset, size in [
            (0, 1), (1, 1), (BLOCK - 1, 2), (BLOCK, BLOCK), (3 * BLOCK - 7, 14), (LONG - 1, 1),
            (LONG - 1, 99), (LONG - BLOCK, 2 * BLOCK), (2_500_000, 100_001), (777_777, 3),
            (LONG, 10), (LONG + 5, 10), (0, 0),
        ]:  # fmt: skip
            assert await file.read(offset, size) == data[offset : offset + size], (offset, size)


async def test_a_long_recording_is_whole_and_no_byte_is_asked_for_twice(front: Front) -> None:
    assert hashlib.sha256(await cat(front, LONG_ONE)).digest() == hashlib.sha256(truth(LONG_ONE)).digest()
    await settle(front)
    assert sum(entry.bytes_sent for entry in front.sim.requests("audio")) == LONG
    assert len(front.sim.requests("link")) == 1


async def test_readers_of_one_recording_share_link_and_blocks(front: Front) -> None:
    front.sim.storage_delay_s = 0.05
    read: list[bytes] = []

    async def reader() -> None:
        read.append(await cat(front, BIGGEST))

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(reader)
    assert read == [truth(BIGGEST)] * 6
    counts = await settle(front)
    assert (counts["reports"], counts["link"]) == (1, 1)
    assert sum(entry.bytes_sent for entry in front.sim.requests("audio")) == len(truth(BIGGEST))


async def test_an_empty_recording_is_an_empty_file(front: Front) -> None:
    path = "/office/2024/03/05/14/empty.mp3"
    assert (await front.stat(path)).size == 0
    assert await cat(front, path) == b""


async def test_a_recording_whose_audio_is_missing_is_absent_when_it_is_wanted(front: Front) -> None:
    path = "/office/2024/03/05/14/gone.mp3"
    assert "gone.mp3" in await front.listdir("/office/2024/03/05/14")
    with raises(errno.ENOENT):
        await front.stat(path)
    assert (await front.stat("/office/2024/03/05/14/empty.mp3")).size == 0


@pytest.mark.parametrize("signature", ["v2", "v4"])
async def test_both_kinds_of_signature_are_followed(enter: EnterFront, signature: str) -> None:
    async with enter(signature=signature) as front:
        assert await cat(front, BIGGEST) == truth(BIGGEST)


# --- links, transfers and versions that go wrong


@pytest.mark.parametrize("route", ["link", "audio"])
@pytest.mark.parametrize("nth", [1, 2])
async def test_a_dead_link_is_renewed_once_unseen(front: Front, route: str, nth: int) -> None:
    front.sim.add_fault(Fault("expired", {"route": route}, nth=nth))
    assert await cat(front, BIGGEST) == truth(BIGGEST)
    counts = await settle(front)
    assert counts["link"] == (1 if (route, nth) == ("link", 2) else 2)


async def test_links_that_always_arrive_dead_are_a_refusal(front: Front) -> None:
    front.sim.sign_skew_s = -3_600
    with raises(errno.EACCES):
        await front.stat(SMALL)
    counts = await settle(front)
    assert (counts["link"], counts["audio"]) == (2, 2)


async def test_a_storage_clock_that_is_far_ahead_does_not_matter(enter: EnterFront) -> None:
    async with enter(skew_s=7_200.0) as front:
        assert await cat(front, BIGGEST) == truth(BIGGEST)
        assert (await settle(front))["link"] == 1


@pytest.mark.parametrize("kind", ["truncate", "reset_body"])
@pytest.mark.parametrize("nth", [1, 2])
async def test_a_transfer_that_stops_short_is_continued(
    front: Front, kind: str, nth: int, no_waits: None
) -> None:
    front.sim.add_fault(Fault(kind, {"route": "audio"}, nth=nth))  # type: ignore[arg-type]
    assert await cat(front, BIGGEST) == truth(BIGGEST)
    await settle(front)
    assert front.sim.faults.hits()[0][1] == 1


async def test_a_server_that_ignores_ranges_is_understood(front: Front) -> None:
    front.sim.add_fault(Fault("ignore_range", {"route": "audio"}, times=None))
    assert await cat(front, BIGGEST) == truth(BIGGEST)
    async with front.opened(LONG_ONE) as file:
        assert await file.read(3_000_000, 1_000) == truth(LONG_ONE)[3_000_000:3_001_000]


@pytest.mark.parametrize("size", [1_234, LONG, LONG + BLOCK])
async def test_a_replaced_recording_fails_old_handles_and_gives_its_new_bytes_to_new_ones(
    front: Front, size: int
) -> None:
    old, new = truth(LONG_ONE), noise("new", size)
    async with front.opened(LONG_ONE) as before:
        assert await before.read(0, 4_096) == old[:4_096]
        front.sim.replace_audio(9, "long", new)
        with raises(errno.EIO):
            await before.read(4_000_000, 4_096)
        assert front.sim.log.statuses["audio 412"] >= 1, "no byte of the new object came for the old handle"
        # A listing now tells a name whose size is unknown again: that must not reach the old handle.
        assert await front.listdir("/office/2024/03/05/13") == ["long.mp3"]
        assert await before.read(0, 4_096) == old[:4_096]
        async with front.opened(LONG_ONE) as after:
            assert await after.read(0, 4_096) == new[:4_096]
            assert await before.read(0, 4_096) == old[:4_096]  # what was read stays what it was
            with raises(errno.EIO):
                await before.read(2_000_000, 4_096)
        assert await cat(front, LONG_ONE) == new
        assert (await front.stat(LONG_ONE)).size == size


async def test_a_recording_that_is_replaced_midway_is_never_a_mixture(front: Front) -> None:
    """Replaced within the transfer of the second range, at an odd place."""
    front.sim.add_fault(Fault("replace_midway", {"route": "audio"}, nth=2, after_bytes=100_001))
    old = truth(LONG_ONE)
    with raises(errno.EIO):
        await cat(front, LONG_ONE)
    new = await cat(front, LONG_ONE)
    assert new == front.sim.audio_bytes(9, "2024-03-05 13", "long") != old


_MAPS = """
import mmap, sys
with open(sys.argv[1], "rb") as file:
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    seen = mapped[:4096]
    print("mapped", flush=True)
    sys.stdin.readline()
    assert mapped[:4096] == seen
    print(mapped[:4096].hex(), flush=True)
"""


async def test_a_listing_without_a_size_leaves_the_pages_of_those_who_have_the_recording_mapped() -> None:
    """A made-up size would cut the file short under them: SIGBUS."""
    async with mount_front() as front:
        assert isinstance(front, MountFront)
        command = [sys.executable, "-c", _MAPS, front.daemon.path(LONG_ONE)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:  # noqa: ASYNC220
            assert child.stdin is not None
            assert child.stdout is not None
            assert await trio.to_thread.run_sync(child.stdout.readline) == "mapped\n"
            front.sim.replace_audio(9, "long", noise("new", LONG))
            async with front.opened(LONG_ONE) as file:
                with raises(errno.EIO):
                    await file.read(4_000_000, 4_096)
            front.sim.reset_log()
            assert await front.listdir("/office/2024/03/05/13") == ["long.mp3"]
            assert await settle(front) == {}, "its size is not known now, and was not asked for"
            child.stdin.write("go on\n")
            child.stdin.flush()
            assert (
                await trio.to_thread.run_sync(child.stdout.readline) == truth(LONG_ONE)[:4_096].hex() + "\n"
            )
        assert child.returncode == 0


# --- failures are never an end of file, and each has its errno


FAILURES = (
    (Fault("status", {"route": "audio"}, status=404), errno.ENOENT),
    (Fault("status", {"route": "audio"}, status=403), errno.EACCES),
    (Fault("status", {"route": "audio"}, status=400), errno.EIO),
    (Fault("status", {"route": "link"}, status=404), errno.ENOENT),
    (Fault("status", {"route": "link"}, status=403), errno.EACCES),
    (Fault("status", {"route": "link"}, status=400), errno.EIO),
    (Fault("garbage_json", {"route": "link"}, body='{"uri": 5}'), errno.EIO),
    (Fault("garbage_json", {"route": "link"}, body='{"uri": "file:///etc/passwd"}'), errno.EIO),
    (Fault("garbage_json", {"route": "link"}, body="<html>"), errno.EIO),
)


@pytest.mark.parametrize("nth", [1, 2])
async def test_a_failure_has_its_errno_and_is_never_an_end_of_file(enter: EnterFront, nth: int) -> None:
    """At the size, and in the middle of the bytes."""
    hour = sized_hour([200_000] * len(FAILURES))
    async with enter([tenant(hour)], sections={"mount": {"prefetch": False}}) as front:
        for (unique_id, _), (fault, number) in zip(hour, FAILURES, strict=True):
            match = {**fault.match, "unique_id": unique_id}
            if fault.match["route"] == "link" and nth == 2:
                front.sim.add_fault(Fault("expired", {"route": "audio", "unique_id": unique_id}, nth=2))
            front.sim.add_fault(replace(fault, match=match, nth=nth, times=None))
            with raises(number):
                await cat(front, f"{HOUR}/{unique_id}.mp3")
            assert front.sim.faults.hits()[-1][1] > 0, fault
            front.sim.faults.clear()


@pytest.mark.parametrize(("status", "number"), [(403, errno.EACCES), (404, errno.EIO), (400, errno.EIO)])
async def test_a_report_that_is_refused_has_its_errno(front: Front, status: int, number: int) -> None:
    front.sim.add_fault(Fault("status", {"route": "reports"}, status=status))
    with raises(number):
        await front.listdir("/office/2024/03/05")
    assert await front.listdir("/office/2024/03/05") == ["10", "12", "13", "14"]


async def test_a_forbidden_tenant_is_refused_and_its_neighbour_is_not(enter: EnterFront) -> None:
    other = tenant({("theirs", "2024-03-05 10:00:00"): b"theirs"}, 10, "other")
    async with enter([tenant(CALLS), other], forbidden={9}) as front:
        assert await front.listdir("/") == ["office", "other"]
        with raises(errno.EACCES):
            await front.listdir(HOUR)
        assert await cat(front, "/other/2024/03/05/10/theirs.mp3") == b"theirs"


@pytest.mark.parametrize("route", ["reports", "link", "audio"])
async def test_what_never_answers_ends_at_the_deadline(enter: EnterFront, route: str) -> None:
    async with enter(sections={"mount": {"deadline_s": 0.5}}) as front:
        front.sim.add_fault(Fault("stall", {"route": route}, times=None))
        with raises(errno.ETIMEDOUT):
            await front.stat(SMALL)
        front.sim.faults.clear()
        assert await front.listdir("/") == ["office"]


async def test_a_read_that_never_gets_its_bytes_ends_at_the_deadline(enter: EnterFront) -> None:
    async with enter(sections={"mount": {"deadline_s": 0.5}}) as front:
        front.sim.add_fault(Fault("stall_body", {"route": "audio"}, nth=2, times=None, after_bytes=0))
        with raises(errno.ETIMEDOUT):
            await cat(front, BIGGEST)


# --- the token


async def test_a_token_that_goes_bad_is_read_again_from_its_file(enter: EnterFront, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text("not-yet")
    async with enter(sections={"api": {"token_file": file}}) as front:
        file.write_text(front.sim.token + "\n")
        assert await front.listdir(HOUR) == NAMES
        file.write_text(front.sim.rotate_token() + "\n")
        assert await cat(front, BIGGEST) == truth(BIGGEST)
        front.sim.rotate_token()  # and nobody writes it down
        with raises(errno.EACCES):
            await front.stat(SMALL)
        file.write_text(front.sim.token + "\n")
        assert await cat(front, SMALL) == truth(SMALL)


async def test_a_login_is_repeated_once_for_all_who_wait(enter: EnterFront, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.touch(0o600)
    password.write_text("correct horse\n")
    account = {"email": "demo@example.com", "password_file": password}
    async with enter(sections={"api": account}) as front:
        assert await front.listdir(HOUR) == NAMES
        assert (await settle(front)) == {"auth": 1, "reports": 1}
        front.sim.rotate_token()
        front.sim.reset_log()
        async with trio.open_nursery() as nursery:
            for name in NAMES:
                nursery.start_soon(front.stat, f"{HOUR}/{name}")
        assert (await settle(front))["auth"] == 1


async def test_the_token_goes_to_the_api_alone(front: Front) -> None:
    front.sim.add_fault(Fault("status", {"route": "audio"}, status=503, retry_after="0"))
    await cat(front, BIGGEST)
    await settle(front)
    assert front.sim.requests("audio")
    assert not any(entry.leaked_authorization for entry in front.sim.log.entries if entry.origin == "storage")
    assert front.sim.log.leaked_authorization == 0


# --- extended attributes


async def test_extended_attributes_carry_the_record_from_memory(front: Front) -> None:
    await front.listdir(HOUR)
    await front.stat(SMALL)
    await settle(front)
    front.sim.reset_log()
    found = await front.xattrs(SMALL)
    assert found["user.voxo.direction"] == "OUT"
    assert found["user.voxo.duration"] == "18"
    assert found["user.voxo.disposition"] == "ANSWERED"
    assert found["user.voxo.start"] == "2024-03-05 10:00:00"
    assert found["user.voxo.uniqueId"] + ".mp3" == NAMES[0]
    assert await settle(front) == {}


async def test_numbers_and_names_of_people_are_shown_only_where_they_are_listed(enter: EnterFront) -> None:
    personal = {"callerIdNumber": "1008", "callerIdName": "MRJINGLES", "dialedNum": "6016021302"}
    async with enter() as front:
        found = await front.xattrs(SMALL)
    assert not set(personal.values()) & set(found.values())
    async with enter(sections={"privacy": {"show": ["callerIdNumber"]}}) as front:
        found = await front.xattrs(SMALL)
    assert found["user.voxo.callerIdNumber"] == "1008"
    assert "MRJINGLES" not in found.values()
    assert "6016021302" not in found.values()


# --- what only a mount has


async def test_the_root_and_statfs_never_touch_the_network(enter: EnterFront) -> None:
    async with enter() as front:
        if isinstance(front, MountFront):
            await trio.to_thread.run_sync(os.statvfs, front.daemon.directory)
        assert (await front.stat("/")).is_folder
        assert await settle(front) == {}


async def test_cat_sized_reads_are_what_the_suite_thinks(front: Front) -> None:
    """A guard for the counts above: `cat` here reads as large as the kernel's own readahead."""
    async with front.opened(BIGGEST) as file:
        assert len(await file.read(0, CAT_BYTES)) == CAT_BYTES == 2 * BLOCK
