"""One measured run: seconds, requests, bytes, what the daemon spent; and what a work needs around it."""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from mounts import Mounted, mounted
from processes import Failed, busy_s, cpu_s, own_s
from truth import Truth

from voxofs.simulator import SimulatorProcess

API_DELAY_S, STORAGE_DELAY_S = 0.08, 0.03
_DRAIN_S = 15.0

Check = Callable[[], None]


@dataclass
class Run:
    """One work done once."""

    seconds: float
    requests: dict[str, int] = field(default_factory=dict)
    """By route of the simulator's log."""
    fetched_bytes: int = 0
    """Bodies of recordings that the storage sent, until it had nothing in flight any more."""
    needed_bytes: int = 0
    peak: dict[str, int] = field(default_factory=dict)
    """Requests at once, by origin."""
    cpu_s: float = 0.0
    """Of the daemon."""
    peak_rss_bytes: int = 0
    """Of the daemon, since it was mounted."""
    sim_cpu_s: float = 0.0
    """Of the simulator: with two cores, what it needs is missing elsewhere."""
    client_cpu_s: float = 0.0
    """Of the programs that did the work, and of this one where it read itself."""
    others_share: float = 0.0
    """Of the machine's CPU time, what programs used that have nothing to do with the benchmark."""
    extra: dict[str, float] = field(default_factory=dict)


class Results:
    """All runs, by work and system, in the order they were first done."""

    def __init__(self) -> None:
        self.runs: dict[tuple[str, str], list[Run]] = defaultdict(list)

    def add(self, work: str, system: str, run: Run) -> None:
        """File a run."""
        self.runs[work, system].append(run)

    def has(self, work: str, system: str) -> bool:
        """Whether that was measured."""
        return (work, system) in self.runs

    def of(self, work: str, value: Callable[[Run], float], system: str = "voxofs") -> float | None:
        """Median of a value over the runs of a work; None where it was not measured."""
        runs = self.runs.get((work, system))
        return None if not runs else median(value(run) for run in runs)

    def seconds(self, work: str, system: str = "voxofs") -> float | None:
        """Median seconds."""
        return self.of(work, lambda run: run.seconds, system)

    def others_share(self) -> float:
        """Of the machine's CPU time during all runs, what other programs used."""
        runs = [run for runs in self.runs.values() for run in runs]
        return sum(run.others_share * run.seconds for run in runs) / max(
            sum(run.seconds for run in runs), 0.01
        )

    def as_json(self) -> list[dict[str, Any]]:
        """Every run, nothing averaged."""
        return [
            {"work": work, "system": system, "runs": [asdict(run) for run in runs]}
            for (work, system), runs in self.runs.items()
        ]


class Bench:
    """The simulator, the truth, a folder in memory, and the results so far."""

    def __init__(self, sim: SimulatorProcess, base: Path, runs: int, systems: list[str]) -> None:
        self.sim = sim
        self.base = base
        self.runs = runs
        self.systems = systems
        self.truth = Truth()
        self.results = Results()
        self._numbers = count(1)
        self.local = base / "local"
        """The hour as plain files in memory."""
        self.truth.write_hour(self.local)

    def mount(self, system: str, tenant: str = "bench") -> AbstractContextManager[Mounted]:
        """A fresh mount."""
        return mounted(system, tenant, self.sim, self.base)

    def present(self, *systems: str) -> list[str]:
        """Those of these systems that are installed and wanted; voxofs always is."""
        return [system for system in systems if system == "voxofs" or system in self.systems]

    def fresh_folder(self) -> Path:
        """A name in memory that is not taken."""
        return self.base / f"copy{next(self._numbers)}"

    def delays(self, api_s: float = API_DELAY_S, storage_s: float = STORAGE_DELAY_S) -> None:
        """Set how long the simulator's answers take from now on."""
        self.sim.settings(api_delay_s=api_s, storage_delay_s=storage_s)

    def measure(
        self,
        work: str,
        system: str,
        action: Callable[[], Check | None],
        *,
        daemon: Mounted | None = None,
        needed_bytes: int = 0,
        keep: bool = True,
    ) -> Run:
        """Time an action, count what it caused, then check what it brought (not timed, not counted)."""
        self.sim.reset_log()
        daemon_cpu_s = 0.0 if daemon is None else daemon.cpu_s()
        sim_cpu_s = cpu_s(self.sim.pid)
        client_cpu_s = own_s()
        others_s = busy_s() - client_cpu_s - sim_cpu_s - daemon_cpu_s
        begun_s = time.monotonic()
        check = action()
        run = Run(time.monotonic() - begun_s, needed_bytes=needed_bytes)
        run.client_cpu_s = own_s() - client_cpu_s
        others_s = busy_s() - own_s() - cpu_s(self.sim.pid) - (daemon.cpu_s() if daemon else 0.0) - others_s
        run.others_share = max(0.0, others_s / max(run.seconds, 0.01) / (os.cpu_count() or 1))
        stats = self.drained()
        run.requests = {name: number for name, number in stats["requests"].items() if number}
        run.fetched_bytes = stats["bytes"].get("audio", 0) + stats["bytes"].get("plain", 0)
        run.peak = stats["peak_in_flight"]
        run.sim_cpu_s = cpu_s(self.sim.pid) - sim_cpu_s
        if daemon is not None:
            run.cpu_s = daemon.cpu_s() - daemon_cpu_s
            run.peak_rss_bytes = daemon.peak_rss_bytes()
        if check is not None:
            check()
        if keep:
            self.results.add(work, system, run)
            say(f"  {work:<22} {system:<16} {run.seconds:8.3f} s")
        return run

    def drained(self) -> dict[str, Any]:
        """The simulator's sums once nothing is in flight: what was asked for ahead counts, too."""
        until_s = time.monotonic() + _DRAIN_S
        quiet = 0
        while True:
            stats = self.sim.stats()
            quiet = 0 if any(stats["in_flight"].values()) else quiet + 1
            if quiet == 3:
                return stats
            if time.monotonic() > until_s:
                raise Failed(f"requests are still in flight after {_DRAIN_S:g} s: {stats['in_flight']}")
            time.sleep(0.02)


def say(text: str) -> None:
    """Progress goes to stderr, so that stdout holds the tables alone."""
    print(text, file=sys.stderr, flush=True)
