"""One measured run: seconds, requests, bytes, what the daemon spent; and what a work needs around it."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from mounts import Mounted, compute_index, mounted
from processes import Failed, busy_s, own_s
from processes import run as run_program
from programs import ROOT
from truth import Truth
from worlds import Service

ONCE = ("httpdirfs", "httpdirfs-cache")
"""They take so long that one mount has to do."""
_DRAIN_S = 15.0
_QUIET_S = 0.06
"""A rule of thumb: longer than a daemon that has more to ask for thinks between two requests."""
_HANDSHAKES = 4
"""Round trips in which the servers see nothing of a request: a connection's, two of TLS, and its own way."""

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
    entries: int = 0
    """Recordings that the work went over, where it went over many."""
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


@dataclass(frozen=True)
class Plan:
    """Who takes part and how often."""

    runs: int
    peer_runs: int
    systems: tuple[str, ...]
    """Beside voxofs."""
    before: Path | None = None
    """The tree of the voxofs that this one is compared with."""

    def times(self, system: str) -> int:
        """How often a work is done on this system."""
        if system in ONCE:
            return 1
        return self.runs if system in ("voxofs", "before") else self.peer_runs


class Bench:
    """A service, the truth, a folder in memory, and the results so far."""

    def __init__(self, service: Service, base: Path, plan: Plan, truth: Truth, results: Results) -> None:
        self.service = service
        self.world = service.world
        self.sim = service.sim
        self.base = base
        self.plan = plan
        self.truth = truth
        self.results = results
        self._numbers = count(1)
        self._computed: set[str] = set()
        self.local = base / "local"
        """The hour as plain files in memory."""
        if not self.local.exists():
            self.truth.write_hour(self.local)

    @property
    def runs(self) -> int:
        """How often a work is done on voxofs."""
        return self.plan.runs

    def mount(self, system: str, *tenants: str, kept: Path | None = None) -> AbstractContextManager[Mounted]:
        """A fresh mount of these tenants; `kept` is where its cache outlives it."""
        tenants = tenants or ("bench",)
        for tenant in set(tenants) - self._computed:
            compute_index(tenant, self.service)
            self._computed.add(tenant)
        source = self.plan.before if system == "before" else ROOT
        return mounted(system, tenants, self.service, self.base, source=source or ROOT, kept=kept)

    def present(self, *systems: str) -> list[str]:
        """Those of these systems that are installed and wanted; voxofs always is."""
        return [system for system in systems if system == "voxofs" or system in self.plan.systems]

    def turns(self, *systems: str) -> Iterator[tuple[int, str]]:
        """Each of these systems in turn as often as the plan says: (number of the run, system). In turn, so
        that what else happens on the machine hits all of them."""
        for number in range(self.plan.runs):
            for system in self.present(*systems):
                if number < self.plan.times(system):
                    yield number, system

    def fresh_folder(self) -> Path:
        """A name in memory that is not taken."""
        return self.base / f"copy{next(self._numbers)}"

    def copied(self, source: Path) -> Check:
        """`cp -r` of the hour to memory, and how that is checked; the copy is gone afterwards."""
        target = self.fresh_folder()
        run_program(["cp", "-r", source, target])

        def check() -> None:
            self.truth.check_copy(target)
            shutil.rmtree(target)

        return check

    def delays(self, api_s: float | None = None, storage_s: float | None = None) -> None:
        """Set how long the simulator's answers take from now on; None: as the world has it."""
        self.sim.settings(
            api_delay_s=self.world.api_delay_s if api_s is None else api_s,
            storage_delay_s=self.world.storage_delay_s if storage_s is None else storage_s,
        )

    def measure(
        self,
        work: str,
        system: str,
        action: Callable[[], Check | None],
        *,
        daemon: Mounted | None = None,
        needed_bytes: int = 0,
        entries: int = 0,
        keep: bool = True,
    ) -> Run:
        """Time an action, count what it caused, then check what it brought (not timed, not counted)."""
        self.sim.reset_log()
        daemon_cpu_s = 0.0 if daemon is None else daemon.cpu_s()
        sim_cpu_s = self.service.cpu_s()
        client_cpu_s = own_s()
        others_s = self._others_s(daemon)
        begun_s = time.monotonic()
        check = action()
        run = Run(time.monotonic() - begun_s, needed_bytes=needed_bytes, entries=entries)
        run.client_cpu_s = own_s() - client_cpu_s
        others_s = self._others_s(daemon) - others_s
        run.others_share = max(0.0, others_s / max(run.seconds, 0.01) / (os.cpu_count() or 1))
        stats = self.drained()
        run.requests = {name: number for name, number in stats["requests"].items() if number}
        run.fetched_bytes = stats["bytes"].get("audio", 0) + stats["bytes"].get("plain", 0)
        run.peak = stats["peak_in_flight"]
        run.sim_cpu_s = self.service.cpu_s() - sim_cpu_s
        if daemon is not None:
            run.cpu_s = daemon.cpu_s() - daemon_cpu_s
            run.peak_rss_bytes = daemon.peak_rss_bytes()
        if check is not None:
            check()
        if keep:
            self.results.add(f"{self.world.prefix}{work}", system, run)
            say(f"  {work:<22} {system:<16} {run.seconds:8.3f} s")
        return run

    def _others_s(self, daemon: Mounted | None) -> float:
        """CPU time so far of what is neither of the benchmark nor its daemon."""
        ours_s = own_s() + self.service.cpu_s() + self.service.relay_cpu_s()
        return busy_s() - ours_s - (daemon.cpu_s() if daemon else 0.0)

    def drained(self) -> dict[str, Any]:
        """The simulator's sums once nothing is in flight: what was asked for ahead counts, too."""
        until_s = time.monotonic() + _DRAIN_S
        quiet_s = _QUIET_S + _HANDSHAKES * self.world.round_trip_s
        last_s = time.monotonic()
        while True:
            stats = self.sim.stats()
            now_s = time.monotonic()
            if any(stats["in_flight"].values()):
                last_s = now_s
            if now_s - last_s >= quiet_s:
                return stats
            if now_s > until_s:
                raise Failed(f"requests are still in flight after {_DRAIN_S:g} s: {stats['in_flight']}")
            time.sleep(0.02)


Action = Callable[[Mounted], Check | None]


def cold_and_warm(
    bench: Bench,
    work: str,
    systems: Sequence[str],
    action: Action,
    *,
    needed_bytes: int = 0,
    entries: int = 0,
) -> None:
    """The same action on a fresh mount and once more on the same mount, on every system in turn.

    A peer without a cache on disk begins anew the second time, as long as it takes: that is done once, near.
    httpdirfs is mounted once; its second time is repeated where it has a cache.
    """
    for number, system in bench.turns(*systems):
        again = bench.runs if system == "httpdirfs-cache" else 1
        if system == "rclone" and (number or bench.world.round_trip_s):
            again = 0
        with bench.mount(system) as mount:
            for state in ("cold", *["warm"] * again):
                bench.measure(
                    f"{work} {state}",
                    system,
                    partial(action, mount),
                    daemon=mount,
                    needed_bytes=needed_bytes,
                    entries=entries,
                )


def say(text: str) -> None:
    """Progress goes to stderr, so that stdout holds the tables alone."""
    print(text, file=sys.stderr, flush=True)
