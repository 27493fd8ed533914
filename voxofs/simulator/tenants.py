"""Ready-made tenants: two offices for the demo, and the works that benchmarks need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from random import Random

from .audio import BYTES_PER_S, TAG_BYTES
from .calls import Moment, Slot
from .world import TenantSpec


@dataclass(frozen=True)
class Office:
    """Busy office hours on weekdays, mostly empty nights, sparse weekends.

    On the two daylight-saving days every hour has a call. From the hour in which the simulator starts
    there is a call about every `live_every_s` seconds (0: live hours are as any other).
    """

    since: date = date(2021, 1, 1)
    live_every_s: int = 0

    def plan(self, moment: Moment, random: Random) -> Sequence[Slot]:
        if moment.live and self.live_every_s:
            return [
                Slot(begin + random.randrange(self.live_every_s), random.randint(5, 40))
                for begin in range(0, 3_600, self.live_every_s)
            ]
        count = max(self._count(moment, random), int(moment.switch_day))
        return [Slot(random.randrange(3_600), _duration_s(random)) for _ in range(count)]

    def _count(self, moment: Moment, random: Random) -> int:
        hour = moment.wall.hour
        if moment.wall.weekday() >= 5:
            return random.choice((0, 0, 1, 2)) if 9 <= hour < 16 else 0
        if 8 <= hour < 18:
            return random.randint(3, 15)
        if hour in (7, 18):
            return random.randint(0, 4)
        return int(random.random() < 0.1)


def _duration_s(random: Random) -> int:
    """Most calls are short, a few last long: median about a minute, at most half an hour."""
    return min(1_800, max(4, int(random.lognormvariate(4.1, 0.9))))


@dataclass(frozen=True)
class BenchMonth:
    """March 2024: two hours of 200 recordings, about 58 MB each, on the 5th; six calls on every day."""

    since: date = date(2024, 3, 1)

    def plan(self, moment: Moment, random: Random) -> Sequence[Slot]:
        day = moment.wall.date()
        if (day.year, day.month) != (2024, 3):
            return ()
        if day.day == 5 and moment.wall.hour in (10, 11):
            sizes = (int(random.triangular(50_000, 500_000, 320_000)) for _ in range(200))
            return [
                Slot(index * 18, (size - TAG_BYTES) // BYTES_PER_S, size) for index, size in enumerate(sizes)
            ]
        if moment.wall.hour in (9, 14):
            return [Slot(random.randrange(3_600), random.randint(25, 60)) for _ in range(3)]
        return ()


@dataclass(frozen=True)
class LongCalls:
    """2024-03-05 10: one recording of 256 MiB and one of 20 MiB (with the durations that go with them)."""

    since: date = date(2024, 3, 5)

    def plan(self, moment: Moment, random: Random) -> Sequence[Slot]:
        if (moment.wall.date(), moment.wall.hour) != (self.since, 10):
            return ()
        return [Slot(0, size // BYTES_PER_S, size) for size in (256 << 20, 20 << 20)]


@dataclass(frozen=True)
class Steady:
    """The same number of calls in every hour of some days."""

    since: date
    until: date
    """First day without calls."""
    an_hour: int

    def plan(self, moment: Moment, random: Random) -> Sequence[Slot]:
        if not self.since <= moment.wall.date() < self.until:
            return ()
        draw = random.random
        return [Slot(int(draw() * 3_600), 5 + int(draw() * 56)) for _ in range(self.an_hour)]


DEMO = TenantSpec(37, "demo", "Demonstration Ltd", Office(live_every_s=20), unrecorded=0.04)
ACME = TenantSpec(432, "acme", "Acme Corporation", Office(), unrecorded=0.04, foreign_ids=0.2)
BENCH = TenantSpec(200, "bench", "Two busy hours", BenchMonth())
BIG = TenantSpec(201, "big", "Very long calls", LongCalls())
FLOOD = TenantSpec(202, "flood", "24,000 calls in a day", Steady(date(2024, 3, 5), date(2024, 3, 6), 1_000))
MILLION = TenantSpec(203, "million", "A million calls", Steady(date(2024, 1, 1), date(2024, 3, 29), 475))
MONTH = TenantSpec(204, "month", "25 calls an hour", Steady(date(2024, 3, 1), date(2024, 4, 1), 25))

WORLDS = {
    "demo": (DEMO, ACME),
    "bench": (BENCH, BIG, FLOOD, MILLION, MONTH),
    "all": (DEMO, ACME, BENCH, BIG, FLOOD, MILLION, MONTH),
}
"""Sets of tenants by the name that the command line uses."""
