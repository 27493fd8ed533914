"""The fault matrix, and what the faults do to everything around the operation that meets them.

All of it in a time that jumps (trials.virtual): deadlines, waits and lifetimes are the real ones.
`pytest tests/trouble/test_faults.py -k matrix -s` prints the matrix as it was found.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import pytest
import trio
from harness.fronts import Front, MountFront, cat, mount_front, settle
from harness.world import asterisk_id, noise, sized_hour, tenant
from trials.matrix import (
    AUDIO,
    EXPECTED,
    HOUR,
    OPERATIONS,
    SIZES,
    Cell,
    Finding,
    cells,
    printed,
    tapes,
    try_cell,
)
from trials.virtual import Trial, jumping_clock, open_trial, timed
from trio.testing import MockClock

from voxofs.errors import AccessDenied, VoxofsError
from voxofs.simulator.faults import Fault
from voxofs.traffic.demand import Demand, Priority
from voxofs.traffic.gate import Gate

Path_ = tuple[str, ...]

# --- the matrix


@pytest.fixture
def jumping() -> MockClock:
    """Asked for by tests whose time jumps."""
    return jumping_clock()


@pytest.fixture(scope="module")
def findings() -> Iterator[dict[Cell, Finding]]:
    """What came of every cell that was tried; printed at the end."""
    found: dict[Cell, Finding] = {}
    yield found
    print(f"\n{printed(found)}")


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    """The account's password, as the simulator knows it."""
    path = tmp_path / "password"
    path.write_text("correct horse")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("trouble", EXPECTED)
@pytest.mark.parametrize("transport", ["stock", "direct"])
async def test_matrix(
    transport: str,
    trouble: str,
    operation: str,
    jumping: MockClock,
    findings: dict[Cell, Finding],
    password_file: Path,
) -> None:
    async def attempt(cell: Cell) -> None:
        findings[cell] = await try_cell(cell, password_file, transport)

    wanted = cells(trouble, operation)
    async with trio.open_nursery() as nursery:
        for cell in wanted:
            nursery.start_soon(attempt, cell)
    wrong = {
        f"{cell.place}, {'for good' if cell.for_good else 'once'}": findings[cell].wrong for cell in wanted
    }
    assert not any(wrong.values()), {place: said for place, said in wrong.items() if said}


def test_matrix_leaves_nothing_out() -> None:
    """Every trouble is tried on every operation, at its first and at a later request where it can happen."""
    for trouble, row in EXPECTED.items():
        if trouble == "expired" or trouble == "replaced":
            continue  # a report's request bears no link, and is no object
        assert "-" not in {outcome for pair in row.values() for outcome in pair}, trouble
        for operation in OPERATIONS:
            assert len({cell.place for cell in cells(trouble, operation)}) == len(OPERATIONS[operation])


# --- adaptive load


def numbered(count: int, size: int = 70_000) -> dict[tuple[str, str], bytes | None]:
    """An hour with that many recordings."""
    return sized_hour([size] * count)


def path_of(number: int, tenant_name: str = "office") -> Path_:
    """The path of a recording of `numbered`."""
    start = f"2024-03-05 10:{number // 60:02}:{number % 60:02}"
    return (tenant_name, *HOUR[1:], f"{asterisk_id(start, number)}.mp3")


async def whole(trial: Trial, path: Path_) -> bytes:
    """A recording, read to its end."""
    handle = await trial.core.fs.open(path)
    try:
        parts: list[bytes] = []
        while not parts or parts[-1]:
            parts.append(bytes(await handle.read(sum(map(len, parts)), 131_072)))
        return b"".join(parts)
    finally:
        handle.close()


@pytest.mark.parametrize(
    "overload",
    [
        Fault("status", {"route": "audio"}, times=4, status=429),
        Fault("status", {"route": "audio"}, times=4, status=503),
    ],
    ids=lambda fault: f"{fault.kind} {fault.status}",
)
async def test_fewer_requests_at_once_while_the_origin_asks_for_less(
    overload: Fault, jumping: MockClock
) -> None:
    calls = numbered(60)
    async with open_trial([tenant(calls)], connections=16, sections={"mount": {"prefetch": False}}) as trial:
        gate = trial.core.gates[1]
        trial.sim.add_fault(overload)
        for number in range(4):
            with suppress(VoxofsError):
                assert len(await whole(trial, path_of(number))) == 70_000
        assert gate.limit <= 0.8 * gate.most, "a fifth less; refusals in a row are one, once it serves again"
        assert gate.shrunk
        async with trio.open_nursery() as nursery:
            for number in range(4, 30):
                nursery.start_soon(whole, trial, path_of(number))
        shrunk = gate.limit
        for number in range(30, 60):
            await whole(trial, path_of(number))
        assert shrunk <= gate.limit
        for again in range(20):
            trial.core.cache.__init__(trial.core.cache.limit_bytes)  # type: ignore[misc]
            async with trio.open_nursery() as nursery:
                for number in range(30):
                    nursery.start_soon(whole, trial, path_of((again + number) % 60))
        assert gate.limit == gate.most, "it has grown back"


async def test_work_ahead_yields_before_readers_do(jumping: MockClock) -> None:
    gate = Gate("storage", 16, monotonic_s=trio.current_time)
    gate.refused("demo", None)
    served: list[Priority] = []

    async def request(priority: Priority) -> None:
        async with gate.place(Demand("demo", priority)):
            served.append(priority)
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(request, Priority.PREFETCH)
        await trio.sleep(0.5)
        assert gate.limit == 12
        assert gate.in_use == 6, "background work has half of what is left"
        began_s = trio.current_time()
        async with gate.place(Demand("demo", Priority.READER)):
            assert trio.current_time() == began_s, "a reader found a place free"
    assert len(served) == 30
    assert (gate.in_use, gate.waiting) == (0, 0)


# --- one broken tenant


@pytest.mark.parametrize("broken", ["stalls", "is forbidden", "is too slow", "fails"])
async def test_a_broken_tenant_delays_no_other(broken: str, jumping: MockClock) -> None:
    calls = numbered(40)
    tenants = [tenant(calls, 9, "office"), tenant(calls, 10, "other")]
    async with open_trial(tenants, connections=8) as trial:
        faults = {
            "stalls": Fault("stall", {"tenant": 9}, times=None),
            "is forbidden": Fault("status", {"tenant": 9}, times=None, status=403),
            "is too slow": Fault("delay", {"tenant": 9}, times=None, delay_s=9.0),
            "fails": Fault("status", {"tenant": 9}, times=None, status=503),
        }
        await trial.core.fs.listing(HOUR)
        trial.sim.add_fault(faults[broken])

        async def suffer(number: int) -> None:
            for _ in range(3):
                with suppress(VoxofsError):
                    await whole(trial, path_of(number))

        async with trio.open_nursery() as nursery:
            for number in range(16):
                nursery.start_soon(suffer, number)
            slowest_s = 0.0
            for number in range(40):
                data, took_s = await timed(partial(whole, trial, path_of(number, "other")))
                assert len(data) == 70_000
                _, root_s = await timed(partial(trial.core.fs.listing, ()))
                assert root_s == 0
                slowest_s = max(slowest_s, took_s)
                await trio.sleep(2)
            nursery.cancel_scope.cancel()
        assert slowest_s < 1.0
        assert trial.core.health.tenant("other") is None
        trial.sim.faults.clear()
        assert await trial.at_rest() == []


# --- listings that are older than they should be

OUTAGES = {
    "502": Fault("status", {"route": "reports"}, times=None, status=502, body="html"),
    "stall": Fault("stall", {"route": "reports"}, times=None),
    "garbage JSON": Fault("garbage_json", {"route": "reports"}, times=None),
    "a login page": Fault(
        "garbage_json", {"route": "reports"}, times=None, body="<html>Sign in to Wi-Fi</html>"
    ),
    "404": Fault("status", {"route": "reports"}, times=None, status=404),
}


@pytest.mark.parametrize("outage", OUTAGES)
async def test_stale_beats_nothing_and_says_so_where_the_user_looks(outage: str, jumping: MockClock) -> None:
    async with open_trial([tapes()], wall="2024-03-06 12:00:00") as trial:
        fs = trial.core.fs
        day = HOUR[:4]

        async def names(path: Path_) -> list[str]:
            listing = await fs.listing(path)
            return [listing.entry(index)[0] for index in range(len(listing))]

        known = await names(HOUR)
        assert known == sorted(f"{name}.mp3" for name in SIZES)
        assert await fs.xattr(day, "user.voxofs.error") is None
        trial.sim.add_fault(OUTAGES[outage])
        for _ in range(2):
            await trio.sleep(31)
            assert await names(HOUR) == known
            assert await names(day) == ["10"]
            for path in (day, HOUR):
                said = await fs.xattr(path, "user.voxofs.error")
                assert said is not None, path
                assert "refresh" in said
                assert "user.voxofs.error" in await fs.xattr_names(path)
        failure = trial.core.health.tenant("office")
        assert failure is not None
        assert failure.retry_at_s is not None
        trial.sim.faults.clear()
        await trio.sleep(31)
        assert await names(day) == ["10"]
        assert await fs.xattr(day, "user.voxofs.error") is None
        assert await fs.xattr(HOUR, "user.voxofs.error") is None
        assert trial.core.health.tenant("office") is None
        assert await trial.at_rest() == []


async def test_a_refusal_is_no_outage(jumping: MockClock) -> None:
    async with open_trial([tapes()], wall="2024-03-06 12:00:00") as trial:
        await trial.core.fs.listing(HOUR)
        trial.sim.forbidden = {9}
        await trio.sleep(31)
        for path in (HOUR, HOUR[:4]):
            with pytest.raises(AccessDenied, match="403"):
                await trial.core.fs.listing(path)
            assert "EACCES" in (await trial.core.fs.xattr(path, "user.voxofs.error") or "")


async def test_cached_audio_stays_readable_offline(jumping: MockClock) -> None:
    async with open_trial([tapes()]) as trial:
        before = {name: await whole(trial, (*HOUR, f"{name}.mp3")) for name in SIZES}
        await trial.sim.refuse(api=True, storage=True)
        await trio.sleep(7_200)
        for name, data in before.items():
            assert data == AUDIO[name]
            again, took_s = await timed(partial(whole, trial, (*HOUR, f"{name}.mp3")))
            assert again == data
            assert took_s == 0, "nobody was asked"


# --- time


async def test_a_reader_that_pauses_for_hours_reads_on(jumping: MockClock) -> None:
    async with open_trial([tapes()], sections={"cache": {"memory_bytes": 4 * 65_536}}) as trial:
        handle = await trial.core.fs.open((*HOUR, "tape.mp3"))
        for number, pause_s in enumerate((59, 61, 3_600, 55, 40_000, 600)):
            at = number * 200_000
            assert await handle.read(at, 100_000) == AUDIO["tape"][at : at + 100_000]
            await trio.sleep(pause_s)
        handle.close()
        assert trial.sim.log.statuses["audio 403"] == 0, "no link was used after its end"


async def test_a_suspended_machine_goes_on_where_it_was(jumping: MockClock) -> None:
    """Leases have run out meanwhile; the request under way has lost its connection and is made again."""
    async with open_trial([tapes()]) as trial:
        handle = await trial.core.fs.open((*HOUR, "tape.mp3"))
        assert await handle.read(0, 10) == AUDIO["tape"][:10]
        trial.offset.slept_s += 3_600
        assert await handle.read(300_000, 10) == AUDIO["tape"][300_000:300_010]
        assert trial.sim.log.statuses["audio 403"] == 0
        trial.sim.add_fault(Fault("stall", {"route": "audio"}))
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                assert await handle.read(900_000, 10) == AUDIO["tape"][900_000:900_010]

            nursery.start_soon(read)
            await trio.sleep(1)
            trial.offset.slept_s += 3_600
        handle.close()
        assert await trial.at_rest() == []


@pytest.mark.parametrize("jump_s", [86_400.0, 3_600.0, -3_600.0, -86_400.0, -40_000_000.0])
async def test_a_wall_clock_that_jumps_changes_neither_bytes_nor_leases(
    jump_s: float, jumping: MockClock
) -> None:
    async with open_trial([tapes()]) as trial:
        handle = await trial.core.fs.open((*HOUR, "tape.mp3"))
        assert await handle.read(0, 10) == AUDIO["tape"][:10]
        trial.offset.wall_s = jump_s
        for at in (300_000, 600_000, 900_000):
            assert await handle.read(at, 10) == AUDIO["tape"][at : at + 10]
            await trio.sleep(40)
        handle.close()
        assert trial.sim.log.statuses["audio 403"] == 0
        assert trial.sim.log.requests["link"] <= 3
        trial.offset.wall_s = 0.0
        assert len(await trial.core.fs.listing(HOUR)) == len(SIZES)
        assert await trial.at_rest() == []


@pytest.mark.parametrize("kind", ["stall", "stall_body", "reset_before", "garbage_json", "trickle"])
async def test_a_sign_in_that_fails_is_no_end_of_the_mount(
    kind: str, jumping: MockClock, password_file: Path
) -> None:
    account = {"email": "demo@example.com", "password_file": password_file}
    async with open_trial([tapes()], sections={"api": account}) as trial:
        trial.sim.add_fault(Fault(kind, {"route": "auth"}, times=None, bytes_per_s=1))  # type: ignore[arg-type]
        for _ in range(2):
            (_, took_s) = await timed(partial(_refused, trial))
            assert took_s <= 30.5
        trial.sim.faults.clear()
        await trio.sleep(61)
        assert await whole(trial, (*HOUR, "reel.mp3")) == AUDIO["reel"]
        trial.sim.rotate_token()
        trial.sim.add_fault(Fault(kind, {"route": "auth"}, bytes_per_s=1))  # type: ignore[arg-type]
        with suppress(VoxofsError):
            await whole(trial, (*HOUR, "spool.mp3"))
        trial.sim.faults.clear()
        await trio.sleep(61)
        assert await whole(trial, (*HOUR, "spool.mp3")) == AUDIO["spool"]
        assert await trial.at_rest() == []


@pytest.mark.parametrize("trouble", ["refuses connections", "hangs", "429"])
async def test_a_sign_in_that_cannot_be_had_costs_one_patience_and_not_one_a_name(
    trouble: str, jumping: MockClock, password_file: Path
) -> None:
    account = {"email": "demo@example.com", "password_file": password_file}
    async with open_trial([tapes()], sections={"api": account}) as trial:
        auth = {"route": "auth"}
        if trouble == "429":
            trial.sim.add_fault(Fault("status", auth, times=None, status=429, retry_after="3600"))
        elif trouble == "hangs":
            trial.sim.add_fault(Fault("stall", auth, times=None))
        else:
            await trial.sim.refuse(api=True)
        took_s = [(await timed(partial(_refused, trial)))[1] for _ in range(5)]
        assert took_s[0] + took_s[1] <= 30.5 + 1.1
        assert max(took_s[2:]) <= 1.1
        if trouble == "429":
            assert max(took_s) < 0.1, "nobody waits for an hour"
            assert trial.sim.log.requests["auth"] == 1
        assert await trial.at_rest() == []


async def _refused(trial: Trial) -> None:
    with pytest.raises(VoxofsError):
        await trial.core.fs.listing(HOUR)


# --- as programs see it

TRIED = {"EIO", "ETIMEDOUT"}
"""What passes is tried again to the end of a short deadline: either may come first."""

SEEN_BY_PROGRAMS = (
    ("403", Fault("status", {"route": "reports"}, status=403), "listing", {"EACCES"}),
    ("502", Fault("status", {"route": "reports"}, times=None, status=502, body="html"), "listing", TRIED),
    ("garbage JSON", Fault("garbage_json", {"route": "reports"}), "listing", {"EIO"}),
    ("stall", Fault("stall", {"route": "reports"}, times=None), "listing", {"ETIMEDOUT"}),
    ("link 403", Fault("status", {"route": "link"}, status=403), "stat", {"EACCES"}),
    ("audio 403", Fault("status", {"route": "audio"}, times=None, status=403), "stat", {"EACCES"}),
    ("audio 404", Fault("status", {"route": "audio"}, status=404), "stat", {"ENOENT"}),
    ("audio 500", Fault("status", {"route": "audio"}, times=None, status=500, body="html"), "stat", TRIED),
    ("expired", Fault("expired", {"route": "link"}, times=None), "read", {"EACCES"}),
    ("stall", Fault("stall", {"route": "audio"}, times=None), "read", {"ETIMEDOUT"}),
    (
        "stall inside",
        Fault("stall_body", {"route": "audio"}, times=None, after_bytes=1_000),
        "read",
        {"ETIMEDOUT"},
    ),
    ("truncation", Fault("truncate", {"route": "audio"}, times=None, after_bytes=0), "read", TRIED),
    ("reset before", Fault("reset_before", {"route": "audio"}, times=None), "read", TRIED),
)
_MOUNT_DEADLINE_S = 1.0
_NOISE_S = 5.0


async def test_errnos_as_programs_see_them_on_a_mount() -> None:
    """Every row on a recording, and a window, of its own; afterwards each of them is readable."""
    days = [date(2023, 9, 1) + timedelta(days=6 * number) for number in range(len(SEEN_BY_PROGRAMS))]
    calls: dict[tuple[str, str], bytes | None] = {
        (f"call-{day}", f"{day} 10:00:00"): noise(day, 90_000) for day in days
    }
    async with mount_front([tenant(calls)], sections={"mount": {"deadline_s": _MOUNT_DEADLINE_S}}) as front:
        for day, (name, fault, operation, expected) in zip(days, SEEN_BY_PROGRAMS, strict=True):
            folder = f"/office/{day:%Y/%m/%d}/10"
            path = f"{folder}/call-{day}.mp3"
            if operation != "listing":
                await front.listdir(folder)
            front.sim.add_fault(fault)
            began_s = trio.current_time()
            with pytest.raises(OSError, match=r"\[Errno") as raised:
                await _as_a_program(front, operation, folder, path)
            took_s = trio.current_time() - began_s
            assert errno.errorcode[raised.value.errno or 0] in expected, name
            assert took_s < 2 * _MOUNT_DEADLINE_S + _NOISE_S, name  # a read may have opened first
            front.sim.faults.clear()
        for day, (name, *_) in zip(days, SEEN_BY_PROGRAMS, strict=True):
            if name != "audio 404":  # remembered for half a minute
                assert await cat(front, f"/office/{day:%Y/%m/%d}/10/call-{day}.mp3") == noise(day, 90_000), (
                    name
                )
        assert isinstance(front, MountFront)
        await settle(front)
        status = json.loads(
            await trio.to_thread.run_sync(Path(front.daemon.path("/.voxofs/status")).read_text)
        )
        assert status["fetches"] == 0
        assert {gate["now"] + gate["waiting"] for gate in status["in_flight"].values()} == {0}


async def _as_a_program(front: Front, operation: str, folder: str, path: str) -> None:
    if operation == "listing":
        await front.listdir(folder)
    elif operation == "stat":
        await front.stat(path)
    else:
        await cat(front, path)
