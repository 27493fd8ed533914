"""The core against a plain model: any order of looking, reading, replacing and of time passing.

The model is a dict of names with the versions that each recording has had. All versions differ in size, so
a handle's size says which one it is of; from then on it gives the bytes of that version, or an error where
that has been replaced, and never anything else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import stamina
import trio
from harness.rig import Hands, Rig, check_at_rest, open_rig
from harness.world import BLOCK, HOUR, call, noise
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from voxofs.core.handles import RecordingHandle
from voxofs.core.tree import NoSuchName
from voxofs.errors import Replaced
from voxofs.simulator.faults import Fault
from voxofs.simulator.world import FixedTenant

SIZES = (0, 1, 700, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5, 5 * BLOCK, 20 * BLOCK + 17)
FOLDER = tuple(HOUR.strip("/").split("/"))
LIVE_TTL_S = 30.0
HARMLESS = ("expired", "truncate", "reset_body", "reset_before", "ignore_range", "status")

WHICH = st.integers(0, 40)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["list", "stat", "stat", "open", "open", "whole", "close", "replace", "arrive"]),
            WHICH,
        ),
        st.tuples(
            st.just("read"), WHICH, st.integers(0, 21 * BLOCK), st.sampled_from([0, 1, 4_096, BLOCK, 131_072])
        ),
        st.tuples(st.just("on"), WHICH, st.integers(1, 8)),
        st.tuples(st.just("together"), WHICH, st.integers(2, 6)),
        st.tuples(st.just("advance"), st.sampled_from([0.5, 31.0, 55.0, 400.0])),
        st.tuples(st.just("fault"), st.sampled_from(HARMLESS), st.sampled_from(["link", "audio"])),
    ),
    min_size=5,
    max_size=40,
)


@dataclass
class Recording:
    """What the storage holds and has held under one name."""

    unique_id: str
    versions: list[bytes]
    oldest_possible: int = 0
    """A version that was seen is not followed by an older one."""


@dataclass
class Opened:
    """A handle, the version that it is of, and how far it was read."""

    handle: RecordingHandle
    recording: Recording
    version: int
    at: int = 0


@dataclass
class Model:
    """The expected world."""

    recordings: dict[str, Recording] = field(default_factory=dict)
    arrived_s: dict[str, float] = field(default_factory=dict)
    handles: list[Opened] = field(default_factory=list)
    records: list[Any] = field(default_factory=list)
    audio: dict[str, bytes] = field(default_factory=dict)
    sizes_used: int = 0

    def arrive(self, now_s: float) -> None:
        number = len(self.records)
        unique_id = f"call-{number * 7 % 10}{number:03}"  # so that names are in another order than starts
        data = self.fresh(unique_id, SIZES[number % len(SIZES)])
        self.records.append(call(unique_id, f"2024-03-05 10:{number // 60:02}:{number % 60:02}"))
        self.audio[unique_id] = data
        self.recordings[f"{unique_id}.mp3"] = Recording(unique_id, [data])
        self.arrived_s[f"{unique_id}.mp3"] = now_s

    def fresh(self, unique_id: str, size: int) -> bytes:
        self.sizes_used += 1
        return noise((unique_id, self.sizes_used), size + 50 * self.sizes_used)


class Run:
    """One list of operations, carried out on the core and compared with the model."""

    def __init__(self, rig: Rig, model: Model) -> None:
        self.rig = rig
        self.fs = rig.core.fs
        self.model = model

    def some(self, which: int) -> tuple[str, Recording]:
        """A recording that every listing holds: it arrived long enough ago."""
        certain = [
            n for n, at in self.model.arrived_s.items() if at + LIVE_TTL_S <= self.rig.hands.monotonic_s
        ]
        name = sorted(certain)[which % len(certain)]
        return name, self.model.recordings[name]

    async def do(self, what: str, *values: Any) -> None:
        await getattr(self, f"_{what}")(*values)
        cache = self.rig.core.cache
        assert cache.used_bytes <= cache.limit_bytes
        for gate in self.rig.core.gates:
            assert gate.in_use <= gate.most

    async def _list(self, which: int) -> None:
        listing = await self.fs.listing(FOLDER)
        entries = [listing.entry(index) for index in range(len(listing))]
        names = [name for name, _ in entries]
        now_s = self.rig.hands.monotonic_s
        certain = {name for name, at in self.model.arrived_s.items() if at + LIVE_TTL_S <= now_s}
        assert names == sorted(set(names))
        assert certain <= set(names) <= set(self.model.recordings)
        for name, attributes in entries:
            if attributes.size is not None:
                self._check_size(self.model.recordings[name], attributes.size)

    async def _stat(self, which: int) -> None:
        name, recording = self.some(which)
        attributes = await self.fs.lookup((*FOLDER, name))
        assert attributes.size is not None
        self._check_size(recording, attributes.size)
        try:
            await self.fs.lookup((*FOLDER, f"no-{name}"))
            raise AssertionError("a name that is not there was found")
        except NoSuchName:
            pass

    def _check_size(self, recording: Recording, size: int) -> int:
        sizes = [len(data) for data in recording.versions]
        version = sizes.index(size)
        assert version >= recording.oldest_possible, "an older version came back"
        recording.oldest_possible = version
        return version

    async def _open(self, which: int) -> Opened:
        name, recording = self.some(which)
        await self.fs.lookup((*FOLDER, name))
        handle = await self.fs.open((*FOLDER, name))
        assert isinstance(handle, RecordingHandle)
        opened = Opened(handle, recording, self._check_size(recording, handle.size))
        self.model.handles.append(opened)
        return opened

    async def _read(self, which: int, offset: int, size: int) -> None:
        if self.model.handles:
            await self._compare(self.model.handles[which % len(self.model.handles)], offset, size)

    async def _compare(self, opened: Opened, offset: int, size: int) -> bool:
        """False where the version was replaced."""
        data = opened.recording.versions[opened.version]
        try:
            found = await opened.handle.read(offset, size)
        except Replaced:
            assert opened.version < len(opened.recording.versions) - 1, "nobody replaced it"
            return False
        assert found == data[offset : offset + size], (
            opened.recording.unique_id,
            opened.version,
            offset,
            size,
        )
        return True

    async def _on(self, which: int, steps: int) -> None:
        """Read on where this handle is, as a player does."""
        if self.model.handles:
            opened = self.model.handles[which % len(self.model.handles)]
            for _ in range(steps):
                await self._compare(opened, opened.at, 131_072)
                opened.at += 131_072

    async def _whole(self, which: int) -> None:
        opened = await self._open(which)
        for offset in range(0, opened.handle.size + 1, 131_072):
            if not await self._compare(opened, offset, 131_072):
                break
        self._finish(opened)

    async def _together(self, which: int, number: int) -> None:
        """Several readers at once, of neighbours and of one and the same."""
        async with trio.open_nursery() as nursery:
            for n in range(number):
                nursery.start_soon(self._whole, which + n // 2)

    async def _close(self, which: int) -> None:
        if self.model.handles:
            self._finish(self.model.handles[which % len(self.model.handles)])

    def _finish(self, opened: Opened) -> None:
        opened.handle.close()
        self.model.handles = [each for each in self.model.handles if each is not opened]

    async def _replace(self, which: int) -> None:
        _, recording = self.some(which)
        data = self.model.fresh(recording.unique_id, SIZES[which % len(SIZES)])
        recording.versions.append(data)
        self.rig.sim.replace_audio(9, recording.unique_id, data)

    async def _arrive(self, which: int) -> None:
        self.model.arrive(self.rig.hands.monotonic_s)

    async def _advance(self, seconds: float) -> None:
        self.rig.hands.advance(seconds)

    async def _fault(self, kind: Any, route: str) -> None:
        """One more request that goes wrong in a way that nobody may notice."""
        if all(hits for _, hits in self.rig.sim.faults.hits()):
            self.rig.sim.add_fault(Fault(kind, {"route": route}))

    def finish(self) -> None:
        for opened in list(self.model.handles):
            self._finish(opened)


@given(
    operations=OPERATIONS,
    known=st.sampled_from([2, 1_000]),
    memory=st.sampled_from([4, 24, 400]),
    ahead=st.booleans(),
)
@example(  # a recording that the library forgets while it is being opened
    operations=[
        ("fault", "truncate", "link"),
        ("on", 8, 1),
        ("read", 13, 187, 4096),
        ("on", 8, 1),
        ("together", 17, 5),
        ("read", 22, 485049, 131072),
        ("advance", 31.0),
        ("fault", "truncate", "link"),
        ("together", 1, 2),
        ("open", 4),
        ("together", 23, 4),
    ],
    known=2,
    memory=4,
    ahead=False,
)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_core_does_what_the_model_says(
    operations: list[tuple[Any, ...]], known: int, memory: int, ahead: bool
) -> None:
    model = Model()
    for _ in range(12):
        model.arrive(float("-inf"))
    sections: dict[str, dict[str, Any]] = {
        "cache": {"memory_bytes": memory * BLOCK, "known_sizes": known, "live_ttl_s": LIVE_TTL_S},
        "mount": {"prefetch": ahead},
        "api": {"connections": 4},
        "storage": {"connections": 4},
    }
    tenant = FixedTenant(9, "office", "Office", model.records, model.audio)

    async def run() -> None:
        hands = Hands("2024-03-05 12:00:00")
        async with open_rig([tenant], sections=sections, hands=hands) as rig:
            one = Run(rig, model)
            for what, *values in operations:
                await one.do(what, *values)
            one.finish()
            await rig.idle()
            check_at_rest(rig.core)
            assert all(recording.users == 0 for recording in rig.core.library.recordings())
            assert len(rig.core.library) <= max(known, 2)

    with stamina.set_testing(True, attempts=4):
        trio.run(run)
