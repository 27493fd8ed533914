"""An export in one process with its simulator: what is there afterwards, what was asked for, what went
wrong."""

from __future__ import annotations

import csv
import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from harness.rig import SINCE, Rig, open_rig
from harness.world import BUSY, BYTES, CALLS, HOUR, LONG, NAMES, OFFICE, call, epoch_s, folder

from voxofs.central import CentralTime
from voxofs.core.tree import Calendar
from voxofs.errors import AccessDenied, VoxofsError
from voxofs.export import disk as disks
from voxofs.export.disk import PARTIAL, DestinationFailed, Disk, Landing
from voxofs.export.manifest import COLUMNS, NAME, Manifest, read
from voxofs.export.run import Export, Order, Tally, Watcher
from voxofs.export.selection import selected
from voxofs.export.verify import OTHER_TIME, differences, strangers
from voxofs.export.where import condition
from voxofs.model import Tenant
from voxofs.simulator.faults import Fault
from voxofs.simulator.world import FixedTenant

LATE = "2024-03-05"
DAY = "office/2024-03-05..2024-03-07"
THERE = {
    f"{folder(start)[1:]}/{unique_id}.mp3": data
    for (unique_id, start), data in CALLS.items()
    if data is not None and "2024-03-05" <= start < "2024-03-08"
}
"""What the three days have."""
GONE = "office/2024/03/05/14/gone.mp3"


class Seen:
    """A watcher that adds up."""

    def __init__(self) -> None:
        self.number = self.bytes = self.finished = 0
        self.all_listed = False
        self.told: dict[str, str] = {}

    def found(self, number: int) -> None:
        self.number += number

    def listed(self) -> None:
        self.all_listed = True

    def received(self, number_bytes: int) -> None:
        self.bytes += number_bytes

    def done(self) -> None:
        self.finished += 1

    def failed(self, path: str, reason: str) -> None:
        self.told[path] = reason


async def export(
    rig: Rig,
    root: Path,
    *paths: str,
    where: str | None = None,
    show: tuple[str, ...] = (),
    jobs: int = 4,
    watcher: Watcher | None = None,
    distrust: tuple[str, ...] = (),
) -> Tally:
    calendar = Calendar({"office": Tenant("office", OFFICE, SINCE)}, CentralTime(), rig.hands.clock())
    holds = None if where is None else condition(where, CentralTime(), show)
    order = Order(selected(paths or (DAY,), calendar), holds, jobs)
    manifest = Manifest(root, show)
    manifest.open()
    manifest.distrusted.update(distrust)
    try:
        return await Export(rig.core, calendar, Disk(root), manifest, order, watcher or Seen()).run()
    finally:
        manifest.close()


def tree(root: Path) -> dict[str, bytes]:
    """Every file below a folder but the manifest."""
    found = {str(each.relative_to(root)): each for each in root.rglob("*") if each.is_file()}
    return {path: each.read_bytes() for path, each in found.items() if path != NAME}


def times(root: Path) -> dict[str, int]:
    """When every recording was last changed, by path, in ns since the epoch: the time that nobody can set."""
    return {str(each): each.stat().st_ctime_ns for each in root.rglob("*.mp3")}


def lines(root: Path) -> list[dict[str, str]]:
    with (root / NAME).open(newline="") as file:
        return list(csv.DictReader(file))


async def test_tree_bytes_times_and_manifest(rig: Rig, tmp_path: Path) -> None:
    watcher = Seen()
    outcome = await export(rig, tmp_path, watcher=watcher)
    assert tree(tmp_path) == THERE
    assert [path for path, _ in outcome.missing] == [GONE] == list(watcher.told)
    assert "404" in watcher.told[GONE]
    assert (outcome.fetched, outcome.present) == (len(THERE), 0)
    assert outcome.fetched_bytes == watcher.bytes == sum(map(len, THERE.values()))
    assert (watcher.number, watcher.finished, watcher.all_listed) == (len(THERE) + 1, len(THERE), True)
    assert [row["path"] for row in lines(tmp_path)] == sorted(THERE)
    assert tuple(lines(tmp_path)[0]) == COLUMNS
    for row in lines(tmp_path):
        data = THERE[row["path"]]
        assert row["bytes"] == str(len(data))
        assert row["sha256"] == hashlib.sha256(data).hexdigest()
        assert row["ETag"].startswith('"') or not data  # an empty one is told of by a 416
        attributes = await rig.core.fs.lookup(tuple(row["path"].split("/")))
        assert attributes.mtime_s == (tmp_path / row["path"]).stat().st_mtime == epoch_s(row["start"])
        assert (row["direction"], row["disposition"], row["duration"]) == ("OUT", "ANSWERED", "18")
    for path in ("office/2024/03/05/10", "office/2024/03/05", "office/2024/03"):
        attributes = await rig.core.fs.lookup(tuple(path.split("/")))
        assert attributes.mtime_s == (tmp_path / path).stat().st_mtime
    assert not any(part.startswith(".") for part in os.listdir(tmp_path))


async def test_one_request_pair_a_recording_however_long(rig: Rig, tmp_path: Path) -> None:
    await export(rig, tmp_path, "office/2024/03/05/13")
    assert (tmp_path / "office/2024/03/05/13/long.mp3").stat().st_size == LONG
    assert rig.counts() == {"reports": 1, "link": 1, "audio": 1}


async def test_a_further_run_costs_the_reports_only(rig: Rig, tmp_path: Path) -> None:
    await export(rig, tmp_path, HOUR, "office/2024-03-05..2024-03-06", where='uniqueId != "gone"')
    before = times(tmp_path)
    content = (tmp_path / NAME).read_bytes()
    rig.sim.log.reset()
    rig.core.catalog.drop_live()
    outcome = await export(rig, tmp_path, "office/2024-03-05..2024-03-06", where='uniqueId != "gone"')
    assert (outcome.fetched, outcome.missing) == (0, [])
    assert outcome.present == len([path for path in THERE if "/07/" not in path])
    assert set(rig.counts()) <= {"reports"}
    assert (tmp_path / NAME).read_bytes() == content
    assert times(tmp_path) == before


async def test_only_the_reports_of_the_selection_are_asked_for(rig: Rig, tmp_path: Path) -> None:
    await export(rig, tmp_path, "office/2024-03-01..2024-03-07", where='uniqueId == "nobody"')
    assert rig.counts() == {"reports": 4}  # windows of two days


async def test_a_condition_and_a_single_recording(rig: Rig, tmp_path: Path) -> None:
    await export(rig, tmp_path, DAY, where='start >= "2024-03-06"')
    assert set(tree(tmp_path)) == {path for path in THERE if path > "office/2024/03/06"}
    outcome = await export(rig, tmp_path, f"{HOUR}/{NAMES[0]}", f"{HOUR}/nobody.mp3")
    assert outcome.fetched == 1
    assert outcome.missing == [(f"{HOUR[1:]}/nobody.mp3", "no report names it")]


async def test_personal_fields_only_where_they_are_shown(rig: Rig, tmp_path: Path) -> None:
    await export(rig, tmp_path, HOUR)
    assert "MRJINGLES" not in (tmp_path / NAME).read_text()
    rig.sim.log.reset()
    await export(rig, tmp_path, HOUR, show=("callerIdName",))
    assert tuple(lines(tmp_path)[0]) == (*COLUMNS, "callerIdName")
    assert {row["callerIdName"] for row in lines(tmp_path)} == {"MRJINGLES"}
    await export(rig, tmp_path, HOUR)
    assert "MRJINGLES" not in (tmp_path / NAME).read_text()
    assert "audio" not in rig.counts()


async def test_hostile_fields_make_one_line_each(tmp_path: Path) -> None:
    unique_id = 'a",\u202e=cmd()'
    record = call(
        unique_id, f"{LATE} 10:00:00", direction='IN"\x1b[2J\r\n,x\u2028', duration=None, disposition=[1]
    )
    world = FixedTenant(OFFICE, "office", "Office", records=[record], audio={unique_id: b"abc"})
    async with open_rig([world]) as rig:
        await export(rig, tmp_path, DAY)
        await export(rig, tmp_path, DAY)
        [row] = lines(tmp_path)
        assert row["path"] == f"office/2024/03/05/10/{unique_id}.mp3"
        assert row["direction"] == 'IN"\\x1b[2J\\r\\n,x\\u2028'
        assert row["duration"] == row["disposition"] == ""
        assert rig.counts()["audio"] == 1


@pytest.mark.parametrize("cut", ["last line", "in the header", "a line in the middle", "empty"])
async def test_a_torn_manifest_loses_what_is_torn_and_nothing_else(
    rig: Rig, tmp_path: Path, cut: str
) -> None:
    await export(rig, tmp_path, HOUR)
    file, whole = tmp_path / NAME, (tmp_path / NAME).read_bytes()
    rows = whole.split(b"\n")
    lost = {
        "last line": (whole[:-30], 1),
        "in the header": (whole[:25], len(BUSY)),
        "a line in the middle": (b"\n".join([*rows[:3], rows[3][:40], *rows[4:]]), 1),
        "empty": (b"", len(BUSY)),
    }
    content, number = lost[cut]
    file.write_bytes(content)
    assert (await export(rig, tmp_path, HOUR)).fetched == number
    assert file.read_bytes() == whole
    assert (await export(rig, tmp_path, HOUR)).fetched == 0


async def test_a_file_that_is_no_manifest_is_left_alone(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("my,own,table\n1,2,3\n")
    with pytest.raises(VoxofsError, match="is not a manifest of voxofs: choose another destination"):
        await export(rig, tmp_path, HOUR)
    assert (tmp_path / NAME).read_text() == "my,own,table\n1,2,3\n"


async def test_a_manifest_that_leads_out_of_the_destination_is_not_followed(rig: Rig, tmp_path: Path) -> None:
    root = tmp_path / "dest"
    await export(rig, root, f"{HOUR}/{NAMES[0]}")
    text = (root / NAME).read_text()
    (root / NAME).write_text(text.replace("\noffice/", "\n../office/", 1))
    assert read(root / NAME) == {}


async def test_one_export_at_a_time(rig: Rig, tmp_path: Path) -> None:
    holder = Manifest(tmp_path, ())
    holder.open()
    with pytest.raises(VoxofsError, match="another export is at work there"):
        await export(rig, tmp_path, HOUR)
    holder.close()
    await export(rig, tmp_path, HOUR)


# --- killed between any two steps; the process itself is killed in tests/cli


class Killed(BaseException):
    """The end of a process, as far as one process can play it."""


@pytest.mark.parametrize("step", ["before the line", "after the line", "between two names"])
async def test_killed_between_two_steps(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def kill(*_: object) -> None:
        raise Killed

    def kill_after_one(moves: Any) -> None:
        partial, final = next(iter(moves))
        partial.replace(final)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Landing, "discard", kill_nothing)
        if step == "before the line":
            patch.setattr(Manifest, "append", kill)
        else:
            then = kill if step == "after the line" else kill_after_one
            patch.setattr("voxofs.export.run.settle", at_the_second_call(then))
        with pytest.raises(BaseExceptionGroup):
            await export(rig, tmp_path, HOUR)
    fetched = set(read(tmp_path / NAME))
    assert set(tree_of_names(tmp_path)) <= fetched, "what has its name is in the manifest"
    await rig.idle()
    rig.sim.log.reset()
    outcome = await export(rig, tmp_path, HOUR)
    assert {path.rpartition("/")[2]: data for path, data in tree(tmp_path).items()} == BYTES
    assert rig.counts().get("audio", 0) == len(BUSY) - len(fetched) == outcome.fetched
    assert not (tmp_path / PARTIAL).exists()


async def kill_nothing(self: Landing) -> None:
    """A process that is killed does not tidy up."""


def at_the_second_call(work: Callable[[Any], None]) -> Callable[[Any], None]:
    """The first call is the run's own beginning, with nothing to do."""
    calls: list[object] = []

    def settle(moves: Any) -> None:
        calls.append(moves)
        if len(calls) > 1:
            work(moves)

    return settle


def tree_of_names(root: Path) -> list[str]:
    return [str(each.relative_to(root)) for each in root.rglob("*.mp3")]


# --- trouble


@pytest.mark.parametrize("kind", ["reset_body", "truncate", "stall_body"])
async def test_a_transfer_that_breaks_goes_on_where_it_was(tmp_path: Path, kind: Any) -> None:
    async with open_rig(sections={"mount": {"deadline_s": 3.0}}) as rig:
        rig.sim.add_fault(Fault(kind, {"route": "audio"}, nth=1, after_bytes=2_000_000))
        watcher = Seen()
        await export(rig, tmp_path, "office/2024/03/05/13", watcher=watcher)
        assert tree(tmp_path) == {path: data for path, data in THERE.items() if "/13/" in path}
        assert rig.counts()["audio"] == 2
        assert watcher.bytes == LONG


async def test_a_link_that_leads_to_nobody_is_not_believed_for_its_life(rig: Rig, tmp_path: Path) -> None:
    rig.sim.add_fault(Fault("elsewhere", {"route": "link"}, host="127.0.0.1:1", times=1))
    async with trio.open_nursery() as nursery:

        async def time_passes() -> None:
            while True:
                rig.hands.advance(0.1)
                await trio.sleep(0.01)

        nursery.start_soon(time_passes)
        await export(rig, tmp_path, "office/2024/03/05/13")
        nursery.cancel_scope.cancel()
    assert tree(tmp_path) == {path: data for path, data in THERE.items() if "/13/" in path}
    assert rig.counts()["link"] == 2


async def test_a_recording_that_is_replaced_under_way_is_the_new_one(rig: Rig, tmp_path: Path) -> None:
    rig.sim.add_fault(Fault("replace_midway", {"route": "audio"}, nth=1, after_bytes=2_000_000))
    await export(rig, tmp_path, "office/2024/03/05/13")
    [(path, data)] = tree(tmp_path).items()
    assert data == rig.sim.audio_bytes(OFFICE, "2024-03-05 13:00:00", "long") != THERE[path]
    assert lines(tmp_path)[0]["sha256"] == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("kind", ["ignore_range", "expired"])
async def test_what_needs_no_word(rig: Rig, tmp_path: Path, kind: Any) -> None:
    rig.sim.add_fault(Fault(kind, {"route": "audio"}, times=None if kind == "ignore_range" else 1))
    assert (await export(rig, tmp_path, HOUR)).missing == []
    assert {path.rpartition("/")[2]: data for path, data in tree(tmp_path).items()} == BYTES


async def test_a_report_that_cannot_be_had_is_named_and_the_others_go_on(
    tmp_path: Path, no_waits: None
) -> None:
    async with open_rig(sections={"mount": {"deadline_s": 1.0}}) as rig:
        rig.sim.add_fault(Fault("garbage_json", {"route": "reports"}, nth=1, times=2))
        outcome = await export(rig, tmp_path, "office/2024-03-05..2024-03-07", jobs=2)
        assert outcome.missing
        assert all("is not JSON" in reason for _, reason in outcome.missing)
        assert outcome.fetched


async def test_a_refusal_ends_it_and_what_was_fetched_stays(rig: Rig, tmp_path: Path) -> None:
    await export(rig, tmp_path, HOUR)
    rig.sim.forbidden.add(OFFICE)
    rig.core.catalog.drop_live()
    with pytest.raises(AccessDenied, match="ask the vendor for access"):
        await export(rig, tmp_path, "office/2023/07/01")
    assert len(tree(tmp_path)) == len(BUSY)


async def test_a_full_disk_ends_it_with_a_word_and_leaves_nothing_half(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync, calls = os.fsync, iter(range(100))

    def full(file: int) -> None:
        if next(calls) >= 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(file)

    with monkeypatch.context() as patch:
        patch.setattr("voxofs.export.disk.os.fsync", full)
        with pytest.raises(DestinationFailed, match="make room there and run the same command again"):
            await export(rig, tmp_path, HOUR, jobs=1)
    assert set(tree_of_names(tmp_path)) == set(read(tmp_path / NAME))
    assert not list((tmp_path / PARTIAL).iterdir())
    await export(rig, tmp_path, HOUR)
    assert {path.rpartition("/")[2]: data for path, data in tree(tmp_path).items()} == BYTES


async def test_a_name_that_the_disk_does_not_take_is_one_recordings_trouble(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_long(self: Landing) -> str:
        if self.path.endswith(NAMES[3]):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        return finish(self)

    finish = disks.Landing._finish
    monkeypatch.setattr(disks.Landing, "_finish", too_long)
    outcome = await export(rig, tmp_path, HOUR)
    assert outcome.missing == [
        (f"{HOUR[1:]}/{NAMES[3]}", "cannot be kept under its name: File name too long")
    ]
    assert outcome.fetched == len(BUSY) - 1


async def test_when_nothing_can_be_had_the_rest_is_not_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voxofs.export.run._HOPELESS", 3)
    async with open_rig() as rig:
        rig.sim.add_fault(Fault("garbage_json", {"route": "link"}, times=None))
        with pytest.raises(VoxofsError, match="3 recordings in a row cannot be had"):
            await export(rig, tmp_path, HOUR, jobs=1)
        assert rig.counts()["link"] == 3


# --- read back


async def test_verify_names_what_differs_and_a_second_fetch_mends_it(rig: Rig, tmp_path: Path) -> None:
    await export(rig, tmp_path, HOUR)
    files = [tmp_path / HOUR[1:] / name for name in NAMES]
    paths = [f"{HOUR[1:]}/{name}" for name in NAMES]
    status = files[0].stat()
    files[0].write_bytes(files[0].read_bytes()[::-1])
    os.utime(files[0], ns=(status.st_mtime_ns, status.st_mtime_ns))
    files[1].write_bytes(b"short")
    files[2].unlink()
    os.utime(files[3], (5, 5))
    (tmp_path / "office/mine.mp3").touch()
    looked: list[int] = []
    rows = read(tmp_path / NAME)
    assert await differences(Disk(tmp_path), rows, looked.append) == {
        paths[0]: "has other content than was fetched",
        paths[1]: "has 5 bytes instead of 65,536",
        paths[2]: "is not there",
        paths[3]: OTHER_TIME,
    }
    assert len(looked) == len(BUSY)
    assert strangers(tmp_path, rows) == ["office/mine.mp3"]
    rig.sim.log.reset()
    await export(rig, tmp_path, *paths[:3], distrust=tuple(paths[:3]))
    assert rig.counts()["audio"] == 3
    assert list(await differences(Disk(tmp_path), read(tmp_path / NAME), looked.append)) == [paths[3]]
