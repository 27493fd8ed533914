"""The fault matrix as data, and the machine that runs one cell of it.

A *cell* is a trouble, an operation, a place, and whether the trouble comes once or for good. The *place*
says which request is spoilt: that of the report, the link, the size (stat's only ranged GET), the first
audio of an open recording, or more of its audio when its head has been read. `TABLE` says what must come of
each: the right bytes, or which errno.

Every cell has a simulator, a core and recordings of its own; those of one test run side by side.
"""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio
from harness.world import call, noise

from voxofs.core.handles import Handle
from voxofs.errors import VoxofsError
from voxofs.simulator.faults import Fault
from voxofs.simulator.world import FixedTenant

from .virtual import DEADLINE_S, Trial, open_trial

HOUR = ("office", "2024", "03", "05", "10")
FAR_HOUR = ("office", "2023", "07", "01", "10")
TAPE_BYTES = 1_250_001
SIZES = {"tape": TAPE_BYTES, "reel": 200_001, "spool": 70_000}
AUDIO = {name: noise(name, size) for name, size in SIZES.items()}
_SLACK_S = 0.5
_RECOVERS_S = 61.0
"""Longer than a missing recording (30 s) and a refused sign-in (30 s) are remembered."""

PLACES = ("report", "link", "size", "audio", "more")
ROUTES = {"report": "reports", "link": "link", "size": "audio", "audio": "audio", "more": "audio"}

TABLE = """
trouble            report           link             size             audio            more
refused            right/EIO        right/EIO        right/EIO        right/EIO        right/EIO
reset before       right/EIO        right/EIO        right/EIO        right/EIO        right/EIO
reset inside       right/EIO        right/EIO        right/any        right/fails      right/fails
stall before       right/ETIMEDOUT  right/ETIMEDOUT  right/ETIMEDOUT  right/ETIMEDOUT  right/fails
stall inside       right/ETIMEDOUT  right/ETIMEDOUT  right/right      right/ETIMEDOUT  right/fails
truncation         right/EIO        right/EIO        right/right      right/EIO        right/EIO
429                right/EIO        right/EIO        right/EIO        right/EIO        right/EIO
429 Retry-After    right/EIO        right/EIO        right/EIO        right/EIO        right/fails
500 HTML           right/EIO        right/EIO        right/EIO        right/EIO        right/EIO
502 HTML           right/EIO        right/EIO        right/EIO        right/EIO        right/EIO
503 SlowDown       right/EIO        right/EIO        right/EIO        right/EIO        right/EIO
401                right/EACCES     right/EACCES     right/EACCES     right/EACCES     right/EACCES
403                EACCES/EACCES    EACCES/EACCES    right/EACCES     right/EACCES     right/EACCES
404                EIO/EIO          ENOENT/ENOENT    ENOENT/ENOENT    ENOENT/ENOENT    ENOENT/ENOENT
expired            -                right/EACCES     right/EACCES     right/EACCES     right/EACCES
clock +5 min       right/right      right/right      right/right      right/right      right/right
clock -5 min       right/right      right/right      right/right      right/right      right/right
replaced           -                -                right/-          right/-          EIO/-
garbage JSON       EIO/EIO          EIO/EIO          EIO/EIO          EIO/EIO          EIO/EIO
"""
"""Once/for good. `fails`: EIO or ETIMEDOUT, as the bytes that got through decide; `any`: that, or right."""

ALTERNATIVES = {"fails": {"EIO", "ETIMEDOUT"}, "any": {"right", "EIO", "ETIMEDOUT"}}

OPERATIONS = {
    "listing": ("report", "next report"),
    "stat": ("report", "link", "size", "next size"),
    "sequential read": ("report", "link", "audio", "more"),
    "seek": ("report", "link", "audio", "more"),
    "parallel readers": ("report", "link", "audio", "more"),
}
"""Which places an operation has. "next": on the second request of that kind."""

_FAULTS: dict[str, dict[str, Any]] = {
    "reset before": {"kind": "reset_before"},
    "reset inside": {"kind": "reset_body"},
    "stall before": {"kind": "stall"},
    "stall inside": {"kind": "stall_body"},
    "truncation": {"kind": "truncate"},
    "429": {"kind": "status", "status": 429},
    "429 Retry-After": {"kind": "status", "status": 429, "retry_after": "2"},
    "500 HTML": {"kind": "status", "status": 500, "body": "html"},
    "502 HTML": {"kind": "status", "status": 502, "body": "html"},
    "503 SlowDown": {"kind": "status", "status": 503, "body": "xml"},
    "401": {"kind": "status", "status": 401},
    "403": {"kind": "status", "status": 403},
    "404": {"kind": "status", "status": 404},
    "expired": {"kind": "expired"},
    "replaced": {"kind": "replace_midway"},
    "garbage JSON": {"kind": "garbage_json"},
}


def expectations() -> dict[str, dict[str, tuple[str, str]]]:
    """Trouble → place → what comes of it once, and for good."""
    _, *rows = (line for line in TABLE.splitlines() if line)
    table = {}
    for row in rows:
        trouble, cells = row[:19].strip(), row[19:].split()
        table[trouble] = {
            place: (cell.split("/")[0], cell.split("/")[-1])
            for place, cell in zip(PLACES, cells, strict=True)
        }
    return table


EXPECTED = expectations()


@dataclass(frozen=True)
class Cell:
    """One trial."""

    trouble: str
    operation: str
    place: str
    for_good: bool

    @property
    def kind(self) -> str:
        """The place without which of them."""
        return self.place.removeprefix("next ")

    @property
    def expected(self) -> str:
        """What must come of it; "-": there is no such cell."""
        return EXPECTED[self.trouble][self.kind][self.for_good]


def cells(trouble: str, operation: str) -> list[Cell]:
    """The cells of one operation under one trouble."""
    every = [
        Cell(trouble, operation, place, good) for place in OPERATIONS[operation] for good in (False, True)
    ]
    return [cell for cell in every if cell.expected != "-"]


def is_as_expected(cell: Cell, outcomes: set[str]) -> bool:
    """An operation of several reads may have been right in part, but must show the error somewhere."""
    allowed = ALTERNATIVES.get(cell.expected, {cell.expected})
    return outcomes <= {"right", *allowed} and bool(outcomes & allowed)


def tapes() -> FixedTenant:
    """A long recording and two short ones in one hour, and one in another window."""
    start = "2024-03-05 10:00:0"
    records = [call(name, f"{start}{second}") for second, name in enumerate(SIZES)]
    records.append(call("far", "2023-07-01 10:00:00"))
    return FixedTenant(9, "office", "Office", records, AUDIO | {"far": b"far away"})


class Run:
    """One cell at work: does the operation, and makes the trouble when its place is reached."""

    def __init__(self, cell: Cell, trial: Trial) -> None:
        self.cell = cell
        self.trial = trial
        self.fs = trial.core.fs
        self.outcomes: set[str] = set()
        self.slowest_s = 0.0
        self._moment: str | None = None

    async def perform(self, *, troubled: bool) -> set[str]:
        """The operation, with or without its trouble; gives what came of its parts."""
        self.outcomes = set()
        moments = {"report": "start", "link": "known", "size": "known", "audio": "known", "more": "begun"}
        self._moment = None
        if troubled:
            self._moment = "begun" if self.cell.place.startswith("next ") else moments[self.cell.kind]
        await self._reached("start")
        await {
            "listing": self._listing,
            "stat": self._stat,
            "sequential read": self._sequential,
            "seek": self._seek,
            "parallel readers": self._parallel,
        }[self.cell.operation]()
        return self.outcomes

    async def _reached(self, moment: str) -> None:
        if self._moment == moment:
            self._moment = None
            await self._make_trouble()

    async def _make_trouble(self) -> None:
        cell, sim = self.cell, self.trial.sim
        if cell.trouble.startswith("clock"):
            sim.skew_s = 300.0 if "+" in cell.trouble else -300.0
        elif cell.trouble == "refused":
            await sim.refuse(**{"storage" if ROUTES[cell.kind] == "audio" else "api": True})
            if not cell.for_good:
                sim._nursery.start_soon(self._reopen)  # type: ignore[union-attr]
        else:
            match: dict[str, Any] = {"route": ROUTES[cell.kind]}
            if cell.kind in ("link", "audio", "more"):
                match["unique_id"] = "tape"
            if cell.kind == "size":
                match["unique_id"] = "reel" if cell.place == "next size" else "tape"
            fault = dict(_FAULTS[cell.trouble])
            if cell.trouble in ("truncation", "reset inside") and cell.for_good:
                fault["after_bytes"] = 0  # half of what is left would always be progress
            sim.add_fault(Fault(match=match, times=None if cell.for_good else 1, **fault))

    async def _reopen(self) -> None:
        await trio.sleep(1)
        await self.mend()

    async def mend(self) -> None:
        """No more trouble."""
        sim = self.trial.sim
        sim.faults.clear()
        sim.skew_s = 0.0
        await sim.refuse(api=False, storage=False)

    async def _do(self, work: Callable[[], Awaitable[bool]]) -> bool:
        """One call of a program: its outcome, and whether it was right."""
        began_s = trio.current_time()
        try:
            outcome = "right" if await work() else "wrong bytes"
        except VoxofsError as error:
            outcome = errno.errorcode[error.errno]
        self.slowest_s = max(self.slowest_s, trio.current_time() - began_s)
        self.outcomes.add(outcome)
        return outcome == "right"

    async def _list(self, path: tuple[str, ...], names: Iterable[str]) -> bool:
        async def work() -> bool:
            listing = await self.fs.listing(path)
            return [listing.entry(index)[0] for index in range(len(listing))] == [f"{n}.mp3" for n in names]

        return await self._do(work)

    async def _listing(self) -> None:
        if await self._list(HOUR, sorted(SIZES)):
            await self._reached("begun")
            await self._list(FAR_HOUR, ["far"])

    async def _stat(self) -> None:
        async def has_its_size(name: str) -> bool:
            return (await self.fs.lookup((*HOUR, f"{name}.mp3"))).size == len(self._truth(name))

        if await self._list(HOUR, sorted(SIZES)):
            await self._reached("known")
            await self._do(lambda: has_its_size("tape"))
            await self._reached("begun")
            await self._do(lambda: has_its_size("reel"))

    async def _sequential(self) -> None:
        async with self._open("tape") as reader:
            if reader is not None and await reader.read(0, 65_536):
                await self._reached("begun")
                at = 65_536
                while at < TAPE_BYTES and await reader.read(at, 131_072):
                    at += 131_072

    async def _seek(self) -> None:
        async with self._open("tape") as reader:
            if reader is not None and await reader.read(0, 4_096):
                await self._reached("begun")
                for at in (1_000_000, 300_000, 1_249_000, 64):
                    await reader.read(at, 4_096)

    async def _parallel(self) -> None:
        async def whole(name: str) -> None:
            async with self._open(name) as reader:
                if reader is not None:
                    for at in range(0, SIZES[name], 65_536):
                        await reader.read(at, 65_536)

        async def part(reader: Reader, first: int) -> None:
            for at in range(first, first + 240_000, 60_000):
                await reader.read(at, 60_000)

        async with self._open("tape") as reader:
            if reader is not None and await reader.read(0, 4_096):
                await self._reached("begun")
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(whole, "reel")
                    nursery.start_soon(whole, "spool")
                    for first in (0, 400_000, 1_000_000):
                        nursery.start_soon(part, reader, first)

    @asynccontextmanager
    async def _open(self, name: str) -> AsyncIterator[Reader | None]:
        """An open recording, or None where opening it failed."""
        path = (*HOUR, f"{name}.mp3")
        handles: list[Handle] = []

        async def work() -> bool:
            handles.append(await self.fs.open(path))
            return True

        opened = False
        if await self._list(HOUR, sorted(SIZES)):
            await self._reached("known")
            opened = await self._do(work)
        try:
            yield Reader(self, name, handles[0]) if opened else None
        finally:
            for handle in handles:
                handle.close()

    def _truth(self, name: str) -> bytes:
        return self.trial.sim.audio_bytes(9, "2024-03-05 10", name)


class Reader:
    """A handle whose bytes must all be of the version that it was opened with."""

    def __init__(self, run: Run, name: str, handle: Handle) -> None:
        self._run = run
        self._handle = handle
        self._truth = run._truth(name)

    async def read(self, offset: int, size: int) -> bool:
        """Whether the read gave the right bytes, all that there are."""

        async def work() -> bool:
            return await self._handle.read(offset, size) == self._truth[offset : offset + size]

        return await self._run._do(work)


@dataclass(frozen=True)
class Finding:
    """What came of a cell. `wrong`: everything that should not be so; empty where all is well."""

    outcome: str
    wrong: str


async def try_cell(cell: Cell, password_file: Path, transport: str = "direct") -> Finding:
    """Do the operation in trouble, look for what is left behind, and do it again when the trouble is over."""
    account = {"email": "demo@example.com", "password_file": password_file}
    async with open_trial([tapes()], sections={"api": account, "http": {"transport": transport}}) as trial:
        run = Run(cell, trial)
        outcomes = await run.perform(troubled=True)
        failed = sorted(outcomes - {"right"})
        wrong = [] if is_as_expected(cell, outcomes) else [f"{sorted(outcomes)} and not {cell.expected}"]
        if run.slowest_s > DEADLINE_S + _SLACK_S:
            wrong.append(f"took {run.slowest_s:.1f} s")
        wrong += [f"left: {leak}" for leak in await trial.at_rest()]
        await run.mend()
        await trio.sleep(_RECOVERS_S)
        if (afterwards := await run.perform(troubled=False)) != {"right"}:
            wrong.append(f"did not recover: {sorted(afterwards)}")
        wrong += [f"left at the end: {leak}" for leak in await trial.at_rest()]
        return Finding("+".join(failed) or "right", "; ".join(wrong))


def printed(seen: dict[Cell, Finding]) -> str:
    """The outcomes as a table: a row for each trouble and operation, a column for each place."""
    lines = [f"{'trouble':<17}{'operation':<18}{'place: once/for good'}"]
    for trouble in EXPECTED:
        for operation in OPERATIONS:
            row = []
            for place in OPERATIONS[operation]:
                pair = [seen.get(Cell(trouble, operation, place, good)) for good in (False, True)]
                if any(pair):
                    once, good = (finding.outcome if finding else "-" for finding in pair)
                    row.append(f"{place}: {once}/{good}")
            if row:
                lines.append(
                    f"{trouble:<17}{operation:<18}{'   '.join(f'{cell:<28}' for cell in row).rstrip()}"
                )
    return "\n".join(lines)
