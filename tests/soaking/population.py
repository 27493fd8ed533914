"""Which recordings the soak reads, and their true bytes: a simulator of the same seed, never started."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from voxofs.simulator.server import Simulator
from voxofs.simulator.tenants import WORLDS

SEED = 1
WORLD = "all"
TENANTS = {"demo": 37, "acme": 432, "bench": 200}


@dataclass(frozen=True)
class Recording:
    """One recording: where the mount shows it, and how the simulator knows it."""

    folder: str
    name: str
    tenant: int
    start: str
    unique_id: str

    @property
    def path(self) -> str:
        """From the mountpoint."""
        return f"{self.folder}/{self.name}"


class Population:
    """The recordings of some days of some tenants, which the mount shows under the names given here."""

    def __init__(self, days: list[date], tenants: Mapping[str, int] = TENANTS) -> None:
        self._sim = Simulator(WORLDS[WORLD], seed=SEED)
        self._lock = threading.Lock()
        self.hours: dict[str, list[Recording]] = {}
        for code, tenant in tenants.items():
            for day in days:
                self._add(code, tenant, day)
        self.recordings = [recording for hour in self.hours.values() for recording in hour]

    def _add(self, code: str, tenant: int, day: date) -> None:
        begin, end = (f"{each} 00:00:00" for each in (day, day + timedelta(days=1)))
        for record in self._sim.records(tenant, begin, end):
            if record["recorded"]:
                start = record["start"]
                folder = f"/{code}/{start[:4]}/{start[5:7]}/{start[8:10]}/{start[11:13]}"
                name = f"{record['uniqueId']}.mp3"
                found = Recording(folder, name, tenant, start, record["uniqueId"])
                self.hours.setdefault(folder, []).append(found)

    def names(self, folder: str) -> list[str]:
        """What an hour must list."""
        return sorted(recording.name for recording in self.hours[folder])

    def truth(self, recording: Recording) -> bytes:
        """The recording's bytes."""
        with self._lock:
            return self._sim.audio_bytes(recording.tenant, recording.start, recording.unique_id)


def weekdays(first: date, number: int) -> list[date]:
    """That many days from Monday to Friday."""
    days = [first + timedelta(days=step) for step in range(2 * number + 7)]
    return [day for day in days if day.weekday() < 5][:number]
