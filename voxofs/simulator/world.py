"""Which calls exist: a pure function of (seed, tenant, hour), computed when somebody asks.

Nothing is stored but a bounded number of recently used hours, so a tenant of a million calls costs no more
memory than one of ten. What is random about an hour comes from a generator seeded with its name; a
tenant's `Calls` says how many calls there are and how long they last, the rest (numbers, names, ids)
is drawn here.

A call is reported once it has ended. Until then the API does not know it, and neither does the storage.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from random import Random
from typing import Any, NamedTuple, Protocol

import msgspec

from .audio import FRAME_BYTES, Audio, FixedAudio, Label, ToneAudio, size_of
from .calls import Call, Calls, Moment, earlier_form
from .central import HOUR_S, hours_of, is_switch_day, local, wall_hour

_CALLS_KEPT = 60_000
"""Two days of the busiest ready-made tenant (24,000 calls a day) and some; 0.4 KB each (measured)."""

_WRITTEN_S = 1_700_000_000.0
"""When recordings of written tenants were stored (November 2023); any time will do that never changes."""


@dataclass(frozen=True)
class TenantSpec:
    """A tenant whose calls are computed."""

    id: int
    code: str
    name: str
    calls: Calls
    unrecorded: float = 0.0
    """Fraction of calls with `recorded` 0 and no audio."""
    foreign_ids: float = 0.0
    """Fraction of uniqueIds that are not `atl-ast2-<epoch second>.<n>`."""


@dataclass(frozen=True)
class FixedTenant:
    """A tenant written by hand. Records may be any JSON value: to feed garbage.

    A record whose start can be read is reported for the ranges that hold it; every other one is in every
    report. `audio` maps a uniqueId to its bytes; a recording without an entry is missing in the storage.
    """

    id: int
    code: str
    name: str
    records: Sequence[Any] = ()
    audio: Mapping[str, bytes] = field(default_factory=dict)


class Found(NamedTuple):
    """A recording that exists: its place in the storage."""

    unique_id: str
    wall: str
    """`YYYY-MM-DD HH` of its folder."""
    has_audio: bool


class Tenant(Protocol):
    """What API and storage ask of a tenant, computed or written."""

    id: int
    code: str
    name: str

    def report(self, start: str, end: str, inclusive: bool, later: bool, now_s: float) -> Iterator[bytes]:
        """JSON records from `start` to `end`, newest first, in pieces without brackets and outer commas."""

    def find(self, unique_id: str, start: str, later: bool, now_s: float) -> Found | None:
        """The recording with exactly this uniqueId and start string."""

    def audio(self, wall: str, unique_id: str, revision: int, now_s: float) -> Audio | None:
        """The recording stored in folder `wall` under that name."""

    def names(self, wall: str, now_s: float) -> list[tuple[str, int, float]]:
        """(uniqueId, size, modified) of everything stored in that folder, sorted by name."""

    def parts(self, prefix: str, width: int, now_s: float) -> list[str]:
        """The distinct next `width` characters of all `YYYY-MM-DD HH` that begin so and hold recordings."""


class Hour:
    """The calls of one hour, newest first."""

    __slots__ = ("by_id", "calls", "encoded", "ended_s", "later")

    def __init__(self, calls: list[Call]) -> None:
        self.calls = calls
        self.by_id = {call.unique_id: call for call in calls}
        self.ended_s = max((call.start_s + call.duration_s for call in calls), default=0)
        self.encoded: bytes | None = None
        self.later = False


class Hours:
    """The recently used hours of all tenants, bounded by the calls they hold."""

    def __init__(self) -> None:
        self._hours: OrderedDict[tuple[int, int], Hour] = OrderedDict()
        self._held = 0

    def get(self, key: tuple[int, int]) -> Hour | None:
        hour = self._hours.get(key)
        if hour is not None:
            self._hours.move_to_end(key)
        return hour

    def put(self, key: tuple[int, int], hour: Hour) -> None:
        self._hours[key] = hour
        self._held += len(hour.calls) + 8  # an empty hour is not free
        while self._held > _CALLS_KEPT and len(self._hours) > 1:
            _, old = self._hours.popitem(last=False)
            self._held -= len(old.calls) + 8


class ComputedTenant:
    """A `TenantSpec` at work."""

    def __init__(self, spec: TenantSpec, seed: int, hours: Hours, live_from_s: float) -> None:
        self.id = spec.id
        self.code = spec.code
        self.name = spec.name
        self._spec = spec
        self._seed = seed
        self._hours = hours
        self._parts: dict[tuple[str, int], tuple[int, list[str]]] = {}
        """What `parts` found, and in which hour: a new one may add a folder."""
        self._live_from = int(live_from_s // HOUR_S)
        self._first = hours_of(f"{spec.calls.since} 00")[0]

    def hour(self, hour: int) -> Hour:
        """The calls of that hour since the epoch, whether they have ended or not."""
        key = (self.id, hour)
        known = self._hours.get(key)
        if known is None:
            known = Hour(self._compute(hour))
            self._hours.put(key, known)
        return known

    def _compute(self, hour: int) -> list[Call]:
        if hour < self._first:
            return []
        random = Random(f"{self._seed}/{self.id}/{hour}")
        wall = local(hour * HOUR_S)
        moment = Moment(hour, wall.replace(tzinfo=None), is_switch_day(wall.date()), hour >= self._live_from)
        slots = sorted(self._spec.calls.plan(moment, random), reverse=True)
        bits = random.randbytes(16 * len(slots)).hex()
        prefix = wall_hour(hour)
        first_s = hour * HOUR_S
        unrecorded, foreign = int(self._spec.unrecorded * 65_536), int(self._spec.foreign_ids * 65_536)
        first_n = hour * 37 % 9_000 + len(slots)
        calls = []
        for index, (offset, duration, size) in enumerate(slots):
            own = bits[index * 32 : index * 32 + 32]
            start_s = first_s + offset
            if foreign and int(own[24:28], 16) < foreign:
                unique_id = f"web-{own[:16]}"
            else:
                unique_id = f"atl-ast2-{start_s}.{first_n - index}"
            start = f"{prefix}:{offset // 60:02d}:{offset % 60:02d}"
            recorded = 0 if unrecorded and int(own[28:], 16) < unrecorded else 1
            if index == 0 and moment.switch_day:
                recorded = 1  # so that every hour of that day has its folder
            calls.append(Call(start_s, start, unique_id, duration, size or size_of(duration), recorded, own))
        return calls

    def report(self, start: str, end: str, inclusive: bool, later: bool, now_s: float) -> Iterator[bytes]:
        first = _naive_hour(start) + 5
        last = min(_naive_hour(end) + 6, int(now_s // HOUR_S))
        for index in range(last, max(first, self._first) - 1, -1):
            prefix = wall_hour(index)
            low, high = f"{prefix}:00:00", f"{prefix}:59:59"
            if high < start or low > end:
                continue
            hour = self.hour(index)
            if not hour.calls:
                continue
            if start <= low and high < end and hour.ended_s <= now_s:
                if hour.encoded is None or hour.later != later:
                    hour.encoded, hour.later = _encode(hour.calls, later), later
                yield hour.encoded
                continue
            chosen = [
                call
                for call in hour.calls
                if start <= call.start
                and (call.start < end or (inclusive and call.start == end))
                and call.start_s + call.duration_s <= now_s
            ]
            if chosen:
                yield _encode(chosen, later)

    def find(self, unique_id: str, start: str, later: bool, now_s: float) -> Found | None:
        wall = earlier_form(start) if later else start
        call = self._stored(wall[:13], unique_id, now_s)
        if call is None or call.start != wall:
            return None
        return Found(unique_id, wall[:13], call.recorded == 1)

    def _stored(self, wall: str, unique_id: str, now_s: float) -> Call | None:
        for index in hours_of(wall):
            call = self.hour(index).by_id.get(unique_id)
            if call is not None and call.start_s + call.duration_s <= now_s:
                return call
        return None

    def audio(self, wall: str, unique_id: str, revision: int, now_s: float) -> Audio | None:
        call = self._stored(wall, unique_id, now_s)
        if call is None or not call.recorded:
            return None
        number, _, dialled, _, _ = call.people()
        label = Label(unique_id, f"{number} → {dialled}", call.start, self.code)
        size = call.size + revision * 100 * FRAME_BYTES  # longer, by whole frames, so that it stays an MP3
        seed = f"{self._seed}/{self.id}/{revision}"
        return ToneAudio(seed, label, size, float(call.start_s + call.duration_s))

    def names(self, wall: str, now_s: float) -> list[tuple[str, int, float]]:
        return sorted(
            (call.unique_id, call.size, float(call.start_s + call.duration_s))
            for index in hours_of(wall)
            for call in self.hour(index).calls
            if call.recorded and call.start_s + call.duration_s <= now_s
        )

    def parts(self, prefix: str, width: int, now_s: float) -> list[str]:
        last = int(now_s // HOUR_S)
        known = self._parts.get((prefix, width))
        if known is None or known[0] != last:
            known = self._parts[prefix, width] = last, self._find_parts(prefix, width, now_s)
        return known[1]

    def _find_parts(self, prefix: str, width: int, now_s: float) -> list[str]:
        at, shown = len(prefix), set[str]()
        index, last = self._first, int(now_s // HOUR_S)
        if prefix:
            index = max(index, _naive_hour(prefix + "0000-01-01 00"[at:]) + 5)
            last = min(last, _naive_hour(prefix + "9999-12-28 23"[at:]) + 3 * 24 + 6)
        while index <= last:
            wall = wall_hour(index)
            part = wall[at : at + width]
            if wall.startswith(prefix) and part not in shown and self.names(wall, now_s):
                shown.add(part)
                if not prefix:  # years: on to the next one
                    index = hours_of(f"{int(part) + 1}-01-01 00")[0]
                    continue
            index += 1
        return sorted(shown)


class WrittenTenant:
    """A `FixedTenant` at work."""

    def __init__(self, spec: FixedTenant) -> None:
        self.id = spec.id
        self.code = spec.code
        self.name = spec.name
        self._records = spec.records
        self._audio = spec.audio

    def report(self, start: str, end: str, inclusive: bool, later: bool, now_s: float) -> Iterator[bytes]:
        for record in self._records:
            begun = _start_of(record)
            if begun is None or (start <= begun and (begun < end or (inclusive and begun == end))):
                # not msgspec: garbage includes lone surrogates and NaN, which only json will write
                yield json.dumps(record).encode()

    def find(self, unique_id: str, start: str, later: bool, now_s: float) -> Found | None:
        for record in self._records:
            if isinstance(record, dict) and record.get("uniqueId") == unique_id:
                begun = _start_of(record)
                if begun is not None and start in (record.get("start"), record.get("time")):
                    return Found(unique_id, begun[:13], True)
        return None

    def audio(self, wall: str, unique_id: str, revision: int, now_s: float) -> Audio | None:
        data = self._audio.get(unique_id)
        if data is None:
            return None
        return FixedAudio(data if not revision else data[::-1] + b"%d" % revision, _WRITTEN_S)

    def names(self, wall: str, now_s: float) -> list[tuple[str, int, float]]:
        ids = {
            record["uniqueId"]
            for record in self._records
            if (begun := _start_of(record)) is not None and begun.startswith(wall)
        }
        return sorted((name, len(self._audio[name]), _WRITTEN_S) for name in ids if name in self._audio)

    def parts(self, prefix: str, width: int, now_s: float) -> list[str]:
        starts = {begun for record in self._records if (begun := _start_of(record)) is not None}
        at = len(prefix)
        return sorted({start[at : at + width] for start in starts if start.startswith(prefix)})


def _encode(calls: Sequence[Call], later: bool) -> bytes:
    return msgspec.json.encode([call.record(later) for call in calls])[1:-1]


def _naive_hour(wall: str) -> int:
    naive = datetime.strptime(wall[:13], "%Y-%m-%d %H")
    return (naive - datetime(1970, 1, 1)).days * 24 + naive.hour


def _start_of(record: Any) -> str | None:
    """The record's start in the canonical form; None where it is no record or has no readable start."""
    if not isinstance(record, dict) or not isinstance(record.get("uniqueId"), str):
        return None
    for key, pattern in (("start", "%Y-%m-%d %H:%M:%S"), ("time", "%m/%d/%y %H:%M:%S")):
        text = record.get(key)
        if isinstance(text, str) and (start := _parsed(text, pattern)) is not None:
            return start
    return None


@lru_cache(maxsize=200_000)
def _parsed(text: str, pattern: str) -> str | None:
    try:
        return datetime.strptime(text, pattern).strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return None


class World:
    """All tenants, and what has been done to their recordings since."""

    def __init__(self, tenants: Sequence[TenantSpec | FixedTenant], seed: int, live_from_s: float) -> None:
        hours = Hours()
        self.tenants: dict[int, Tenant] = {}
        for spec in tenants:
            if isinstance(spec, TenantSpec):
                self.tenants[spec.id] = ComputedTenant(spec, seed, hours, live_from_s)
            else:
                self.tenants[spec.id] = WrittenTenant(spec)
        self.by_code = {tenant.code: tenant for tenant in self.tenants.values()}
        self._changed: dict[tuple[int, str], FixedAudio | int | None] = {}

    def audio(self, tenant: Tenant, wall: str, unique_id: str, now_s: float) -> Audio | None:
        """The stored object as it is now: replaced, removed or as it was made."""
        changed = self._changed.get((tenant.id, unique_id), 0) if self._changed else 0
        if isinstance(changed, int):
            return tenant.audio(wall, unique_id, changed, now_s)
        return changed

    def replace(self, tenant_id: int, unique_id: str, data: bytes | None, now_s: float) -> None:
        """Put `data` in the recording's place; None puts another recording of the same call there."""
        if data is not None:
            self._changed[tenant_id, unique_id] = FixedAudio(data, now_s)
        else:
            before = self._changed.get((tenant_id, unique_id))
            self._changed[tenant_id, unique_id] = before + 1 if isinstance(before, int) else 1

    def remove(self, tenant_id: int, unique_id: str) -> None:
        """Delete the recording's object; its record stays."""
        self._changed[tenant_id, unique_id] = None
