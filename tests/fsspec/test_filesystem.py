"""Names, sizes and bytes as fsspec asks for them: what comes back, and what it costs."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.callbacks import Callback
from harness.file_systems import configured
from harness.fronts import raises
from harness.vendors import Vendor, vendor
from harness.world import (
    BLOCK,
    BUSY,
    BYTES,
    CALLS,
    HOUR,
    LONG,
    NAMES,
    epoch_s,
    noise,
    sized_hour,
    tenant,
    truth,
)

from voxofs.fsspec.cores import end_all
from voxofs.fsspec.filesystem import VoxoFileSystem
from voxofs.simulator.faults import Fault

ROOM = HOUR.strip("/")
PATHS = [f"{ROOM}/{name}" for name in NAMES]
BIG = max(PATHS, key=lambda path: len(truth(path)))
LONG_ONE = "office/2024/03/05/13/long.mp3"
MARCH = [
    f"office/{start[:10].replace('-', '/')}/{start[11:13]}/{unique_id}.mp3"
    for unique_id, start in CALLS
    if start.startswith("2024-03")
]


# --- names


def test_the_protocol_is_registered(config: Path) -> None:
    fs = fsspec.filesystem("voxofs", config=str(config))
    assert isinstance(fs, VoxoFileSystem)
    assert fs is fsspec.filesystem("voxofs", config=str(config))
    with fsspec.open(f"voxofs://{PATHS[0]}", "rb", config=str(config)) as file:
        assert file.read() == truth(PATHS[0])


@pytest.mark.parametrize("form", ["{}", "/{}", "voxofs://{}", "voxofs:///{}", "{}/"])
def test_a_path_has_many_forms(fs: VoxoFileSystem, form: str) -> None:
    assert fs.ls(form.format(ROOM), detail=False) == PATHS
    assert fs.info(form.format(PATHS[0]))["name"] == PATHS[0]


def test_a_listing_is_one_report_and_its_sizes_are_unknown_until_wanted(
    fs: VoxoFileSystem, sold: Vendor
) -> None:
    listed = fs.ls(ROOM)
    assert [info["name"] for info in listed] == PATHS
    assert {info["size"] for info in listed} == {None}
    assert {info["type"] for info in listed} == {"file"}
    assert listed[0]["mtime"] == epoch_s("2024-03-05 10:00:00")
    assert sold.counts() == {"reports": 1}
    assert [info["size"] for info in fs.ls(ROOM, sizes=True)] == [len(truth(path)) for path in PATHS]
    counts = sold.counts()
    assert (counts["reports"], counts["link"], counts["audio"]) == (1, len(PATHS), len(PATHS))
    assert [info["size"] for info in fs.ls(ROOM)] == [len(truth(path)) for path in PATHS]
    assert sold.counts() == counts


def test_a_file_is_listed_as_itself(fs: VoxoFileSystem) -> None:
    assert fs.ls(PATHS[0], detail=False) == [PATHS[0]]
    with pytest.raises(FileNotFoundError):
        fs.ls(f"{ROOM}/nobody.mp3")


def test_find_asks_for_a_month_at_once(fs: VoxoFileSystem, sold: Vendor) -> None:
    sold.sim.api_delay_s = 0.5
    assert fs.find("office/2024/03") == sorted(MARCH)
    assert sold.counts() == {"reports": 16}
    peak = max(entry.in_flight for entry in sold.sim.requests("reports"))
    assert peak > 8, "they were asked for one after another"


def test_find_with_folders_and_depths(fs: VoxoFileSystem, sold: Vendor) -> None:
    assert fs.find("office/2024/03/05", maxdepth=1, withdirs=True) == [
        "office/2024/03/05", *(f"office/2024/03/05/{hour}" for hour in ("10", "12", "13", "14"))
    ]  # fmt: skip
    assert fs.find("office/2024", maxdepth=1) == []
    assert fs.find("office/2024/03/05/14", withdirs=True) == [
        "office/2024/03/05/14", "office/2024/03/05/14/empty.mp3", "office/2024/03/05/14/gone.mp3"
    ]  # fmt: skip
    assert fs.find(PATHS[0]) == [PATHS[0]]
    assert fs.find("office/2024/13") == fs.find("nobody") == []
    assert sold.counts() == {"reports": 1}
    with pytest.raises(ValueError, match="maxdepth"):
        fs.find("office", maxdepth=0)


def test_find_and_walk_agree(fs: VoxoFileSystem) -> None:
    walked = [f"{path}/{name}" for path, _, files in fs.walk("office/2024/03") for name in files]
    assert sorted(walked) == fs.find("office/2024/03")
    deep = [path for path, _, _ in fs.walk("office/2024/03", maxdepth=2, topdown=False)]
    assert deep[-1] == "office/2024/03"
    assert len(deep) == 32


def test_a_pattern_asks_only_for_what_it_may_match(fs: VoxoFileSystem, sold: Vendor) -> None:
    assert fs.glob("office/2024/03/0[57]/*/*.mp3") == sorted(
        path for path in MARCH if path.startswith(("office/2024/03/05", "office/2024/03/07"))
    )
    assert sold.counts() == {"reports": 2}
    sold.reset()
    assert fs.glob("office/202[34]/07/01/10/f?r.mp3") == ["office/2023/07/01/10/far.mp3"]
    assert sold.counts() == {"reports": 2}
    assert fs.glob("office/2024/03/**/apple.mp3") == ["office/2024/03/05/12/apple.mp3"]
    assert fs.glob("office/2024/03/05/*/") == [
        f"office/2024/03/05/{hour}" for hour in ("10", "12", "13", "14")
    ]
    assert fs.glob("nobody/*") == []


def test_du_is_a_byte_of_each_many_at_once(fs: VoxoFileSystem, sold: Vendor) -> None:
    assert fs.du(ROOM) == sum(len(truth(path)) for path in PATHS)
    assert sold.counts() == {"reports": 1, "link": len(PATHS), "audio": len(PATHS)}
    assert sum(entry.bytes_sent for entry in sold.sim.requests("audio")) == len(PATHS)
    assert fs.du("office/2024/03/05/14", total=False) == {
        "office/2024/03/05/14/empty.mp3": 0,
        "office/2024/03/05/14/gone.mp3": 0,
    }


def test_existence_is_the_reports_business(fs: VoxoFileSystem, sold: Vendor) -> None:
    assert fs.exists(PATHS[0])
    assert fs.isfile(PATHS[0])
    assert not fs.isdir(PATHS[0])
    assert fs.isdir(ROOM)
    assert fs.isdir("")
    assert not fs.exists(f"{ROOM}/nobody.mp3")
    assert not fs.exists("office/2024/02/30")
    assert sold.counts() == {"reports": 1}


def test_a_failure_is_never_an_absence(fs: VoxoFileSystem, sold: Vendor) -> None:
    sold.sim.add_fault(Fault("status", {"route": "reports"}, times=None, status=403))
    looks: list[Any] = [
        lambda: fs.exists(PATHS[0]), lambda: fs.isfile(PATHS[0]), lambda: fs.isdir(ROOM), lambda: fs.ls(ROOM),
        lambda: fs.find("office/2024/03"), lambda: fs.du("office/2024/03"), lambda: fs.cat(PATHS[0]),
        lambda: fs.glob("office/2024/03/05/*/*.mp3"), lambda: list(fs.walk("office/2024/03/05")),
        lambda: fs.info(PATHS[0]), lambda: fs.open(PATHS[0]), lambda: fs.find("office/2024/03/05"),
    ]  # fmt: skip
    for look in looks:
        with pytest.raises(PermissionError):
            look()
    assert [step[0] for step in fs.walk("office/2024/03/05", on_error="omit")] == ["office/2024/03/05"]
    told: list[OSError] = []
    assert len(list(fs.walk("office/2024/03/05", on_error=told.append))) == 1
    assert [error.errno for error in told] == [errno.EACCES]


def test_a_deadline_has_its_errno_and_its_message(sold: Vendor) -> None:
    with configured(sold.sim, {"mount": {"deadline_s": 0.3}}) as config:
        fs = VoxoFileSystem(config=config, skip_instance_cache=True)
        sold.sim.add_fault(Fault("stall", {"route": "reports"}, times=None))
        for look in (lambda: fs.ls(ROOM), lambda: fs.cat(PATHS[:2]), lambda: list(fs.walk(ROOM))):
            with pytest.raises(TimeoutError, match="check the network") as caught:
                look()
            assert caught.value.errno == errno.ETIMEDOUT
        end_all()


def test_times_are_instants(fs: VoxoFileSystem) -> None:
    assert fs.modified(PATHS[0]) == datetime(2024, 3, 5, 16, tzinfo=UTC)
    assert fs.created(PATHS[0]) == fs.modified(PATHS[0])
    assert fs.modified(ROOM) == datetime(2024, 3, 5, 17, tzinfo=UTC), "the end of the hour"


def test_a_record_tells_its_fields(fs: VoxoFileSystem, sold: Vendor) -> None:
    fields = fs.fields(PATHS[0])
    assert fields["user.voxo.direction"] == "OUT"
    assert "user.voxo.callerIdNumber" not in fields
    assert sold.counts() == {"reports": 1}


def test_a_key_changes_with_the_bytes(fs: VoxoFileSystem, sold: Vendor) -> None:
    before = fs.ukey(LONG_ONE)
    assert fs.ukey(LONG_ONE) == before
    sold.do(lambda: sold.sim.replace_audio(9, "long", noise("new", LONG)))
    with raises(errno.EIO):
        fs.cat_file(LONG_ONE, 4_000_000, 4_000_010)
    assert fs.ukey(LONG_ONE) != before


def test_what_is_live_can_be_asked_again(fs: VoxoFileSystem) -> None:
    fs.ls(ROOM)
    fs.invalidate_cache()
    assert fs.exists(PATHS[0])


# --- bytes


def test_cat_of_an_hour_is_two_requests_a_recording(fs: VoxoFileSystem, sold: Vendor) -> None:
    assert fs.cat(PATHS) == {path: truth(path) for path in PATHS}
    assert sold.counts() == {"reports": 1, "link": len(PATHS), "audio": len(PATHS)}
    sold.reset()
    assert fs.cat(ROOM + "/*") == {path: truth(path) for path in PATHS}
    assert fs.cat(PATHS[3]) == truth(PATHS[3])
    assert sold.counts() == {}


def test_cat_of_a_long_recording_asks_for_no_byte_twice(fs: VoxoFileSystem, sold: Vendor) -> None:
    assert fs.cat(LONG_ONE) == truth(LONG_ONE)
    assert sold.counts()["link"] == 1
    assert sum(entry.bytes_sent for entry in sold.sim.requests("audio")) == LONG


def test_cat_of_what_is_missing(fs: VoxoFileSystem) -> None:
    gone = "office/2024/03/05/14/gone.mp3"
    with pytest.raises(FileNotFoundError):
        fs.cat(gone)
    found = fs.cat([gone, PATHS[0]], on_error="return")
    assert isinstance(found[gone], FileNotFoundError)
    assert found[PATHS[0]] == truth(PATHS[0])
    assert fs.cat("office/2024/03/05/14/empty.mp3") == b""


@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 10), (5, 70_000), (-10, None), (-100, -50), (None, 7), (10, None), (None, -1), (BLOCK, BLOCK + 1),
     (399_999, 500_000), (400_000, 400_001), (9, 9), (20, 10), (10**9, None), (-(10**9), 4)],
)  # fmt: skip
def test_ranges_are_slices(fs: VoxoFileSystem, start: int | None, end: int | None) -> None:
    assert fs.cat_file(BIG, start, end) == truth(BIG)[start:end]


def test_a_range_of_an_unknown_recording_is_one_get_where_it_can_be(fs: VoxoFileSystem, sold: Vendor) -> None:
    assert fs.cat_file(BIG, 70_000, 200_000) == truth(BIG)[70_000:200_000]
    assert sold.counts() == {"reports": 1, "link": 1, "audio": 1}
    [entry] = sold.sim.requests("audio")
    assert entry.range == f"bytes=0-{4 * BLOCK - 1}"


def test_many_ranges(fs: VoxoFileSystem, sold: Vendor) -> None:
    starts = list(range(0, 4_000_000, 250_000))
    ends = [start + 1_000 for start in starts]
    found = fs.cat_ranges([LONG_ONE] * len(starts), starts, ends)
    assert found == [truth(LONG_ONE)[start:end] for start, end in zip(starts, ends, strict=True)]
    assert sold.counts()["link"] == 1
    gone = fs.cat_ranges([f"{ROOM}/nobody.mp3"], [0], [1])
    assert isinstance(gone[0], FileNotFoundError)


class Told(Callback):  # type: ignore[misc]
    """Remembers what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.branches: list[Told] = []

    def branched(self, path_1: str, path_2: str, **kwargs: Any) -> Told:
        self.branches.append(Told())
        return self.branches[-1]


def test_get_copies_and_tells_how_far_it_is(fs: VoxoFileSystem, sold: Vendor, tmp_path: Path) -> None:
    told = Told()
    fs.get(ROOM, f"{tmp_path}/", recursive=True, callback=told)
    copied = {path.name: path.read_bytes() for path in (tmp_path / "10").iterdir()}
    assert copied == BYTES
    assert (told.size, told.value) == (len(NAMES) + 1, len(NAMES) + 1), "the recordings, and their folder"
    sizes = sorted(branch.value for branch in told.branches if branch.size)
    assert sizes == sorted(map(len, BYTES.values()))
    assert sold.counts() == {"reports": 1, "link": len(PATHS), "audio": len(PATHS)}


def test_get_leaves_no_half_of_a_recording(fs: VoxoFileSystem, sold: Vendor, tmp_path: Path) -> None:
    match = {"route": "audio", "unique_id": "long"}
    sold.sim.add_fault(Fault("status", match, nth=2, times=None, status=403))
    with pytest.raises(PermissionError):
        fs.get(LONG_ONE, str(tmp_path / "long.mp3"))
    assert list(tmp_path.iterdir()) == []


def test_get_into_an_open_file(fs: VoxoFileSystem) -> None:
    file = io.BytesIO()
    fs.get_file(PATHS[2], "", outfile=file)
    assert file.getvalue() == truth(PATHS[2])


def test_an_open_recording_is_a_file(fs: VoxoFileSystem) -> None:
    data = truth(LONG_ONE)
    with fs.open(LONG_ONE) as file:
        assert file.size == LONG
        assert file.read(10) == data[:10]
        assert file.seek(-5, os.SEEK_END) == LONG - 5
        assert file.read() == data[-5:]
        assert file.read(10) == b""
        file.seek(1_000_000)
        into = bytearray(70_000)
        assert file.readinto(into) == 70_000
        assert into == data[1_000_000:1_070_000]
        file.seek(0)
        assert file.readline() == data[: data.index(b"\n") + 1]
        assert file.info()["mtime"] == epoch_s("2024-03-05 13:00:00")
        assert not file.writable()
    with pytest.raises(ValueError, match="closed"):
        file.read(1)


def test_sequential_reads_are_the_cores_to_look_ahead_of(fs: VoxoFileSystem, sold: Vendor) -> None:
    """16 KiB at a time: a second cache would ask for other ranges, or for some bytes twice."""
    with fs.open(LONG_ONE) as file:
        parts = list(iter(lambda: file.read(16_384), b""))
    assert b"".join(parts) == truth(LONG_ONE)
    counts = sold.counts()
    assert counts["link"] == 1
    assert counts["audio"] <= 16
    assert sum(entry.bytes_sent for entry in sold.sim.requests("audio")) == LONG


def test_an_open_file_can_be_pickled(fs: VoxoFileSystem) -> None:
    with fs.open(PATHS[4]) as file:
        file.seek(100)
        with pickle.loads(pickle.dumps(file)) as again:
            assert again.read(50) == truth(PATHS[4])[100:150]
            assert again == file


def test_nothing_is_fetched_ahead_of_an_open_unless_asked(
    fs: VoxoFileSystem, sold: Vendor, config: Path
) -> None:
    for path in PATHS[:4]:
        with fs.open(path) as file:
            assert file.read() == truth(path)
    assert sold.counts()["link"] == 4
    ahead = VoxoFileSystem(config=config, prefetch=True)
    for path in PATHS[:6]:
        with ahead.open(path) as file:
            file.read()
    assert sold.counts()["link"] > 4 + 6


def test_a_replaced_recording_fails_the_open_file(fs: VoxoFileSystem, sold: Vendor) -> None:
    with fs.open(LONG_ONE) as file:
        assert file.read(100) == truth(LONG_ONE)[:100]
        sold.do(lambda: sold.sim.replace_audio(9, "long", noise("new", LONG)))
        file.seek(4_000_000)
        with raises(errno.EIO):
            file.read(100)


def test_asyncio_has_a_file_of_its_own(config: Path) -> None:
    async def main() -> None:
        fs = fsspec.filesystem("voxofs", config=str(config), asynchronous=True)
        assert await fs._ls(ROOM, detail=False) == PATHS
        file = await fs.open_async(LONG_ONE)
        assert await file.read(100) == truth(LONG_ONE)[:100]
        file.seek(3_000_000)
        assert await file.read(70_000) == truth(LONG_ONE)[3_000_000:3_070_000]
        await file.close()
        with pytest.raises(FileNotFoundError):
            await fs.open_async(f"{ROOM}/nobody.mp3")
        found = await asyncio.gather(*(fs._cat_file(path) for path in PATHS))
        assert found == [truth(path) for path in PATHS]

    asyncio.run(main())


# --- what would write


def test_nothing_can_be_written(fs: VoxoFileSystem, tmp_path: Path) -> None:
    local = tmp_path / "x"
    local.write_bytes(b"x")
    new = f"{ROOM}/new.mp3"
    attempts: tuple[Callable[[], object], ...] = (
        lambda: fs.open(PATHS[0], "wb"), lambda: fs.open(new, "w"), lambda: fs.open(PATHS[0], "ab"),
        lambda: fs.pipe(new, b"x"), lambda: fs.pipe_file(new, b"x"), lambda: fs.write_text(new, "x"),
        lambda: fs.put(str(local), new), lambda: fs.put_file(str(local), new), lambda: fs.touch(PATHS[0]),
        lambda: fs.rm(PATHS[0]), lambda: fs.rm_file(PATHS[0]), lambda: fs.rm(ROOM, recursive=True),
        lambda: fs.delete(PATHS[0]), lambda: fs.mkdir("office/new"), lambda: fs.makedirs("office/a/b"),
        lambda: fs.rmdir(ROOM), lambda: fs.cp(PATHS[0], new), lambda: fs.cp_file(PATHS[0], new),
        lambda: fs.mv(PATHS[0], new), lambda: fs.move(PATHS[0], new), lambda: fs.copy(PATHS[0], new),
    )  # fmt: skip
    for attempt in attempts:
        with raises(errno.EROFS):
            attempt()
    assert fs.ls(ROOM, detail=False) == PATHS


def test_names_in_a_deep_listing_are_those_of_many_days() -> None:
    """Two tenants, days with and without calls; nothing is mixed up where windows arrive in any order."""
    calls: dict[tuple[str, str], bytes | None] = {}
    for day in ("2024-03-04", "2024-03-05", "2024-03-06", "2024-03-31"):
        calls |= sized_hour([10, 20], day, "23") | sized_hour([5], day, "00")
    world = [tenant(calls, 9, "office"), tenant(BUSY, 10, "other")]
    with vendor(world) as sold, configured(sold.sim) as config:
        fs = VoxoFileSystem(config=config, skip_instance_cache=True)
        found = fs.find("office/2024", detail=True)
        assert len(found) == len(calls)
        assert list(found) == sorted(found)
        assert fs.du("office/2024/03") == 4 * 35
        assert len(fs.glob("*/2024/03/05/*/*")) == 3 + len(BUSY)
        end_all()
