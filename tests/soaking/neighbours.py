"""Two tenants on one mount: one in trouble that changes, the other held to what it needs without.

    without trouble | trouble 1, rest | trouble 2, rest | ...

Workers of both tenants go on all the time, at a pace that two cores can keep, so that what waits is the mount
and not the processor. The rest after a trouble is longer than a deadline: only then can be told whether
the troubled tenant works again.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from harness.mounts import Daemon, mounted

from voxofs.simulator.process import SimulatorProcess, start_process

from .bounds import MARGIN_S, SLOWEST_UNITS, Round, calm_problems, troubled_problems
from .invariants import PATIENCE_S, Run, finish, look_for_secrets
from .population import SEED, WORLD, Population, weekdays
from .process import sample
from .troubles import TROUBLES, Trouble
from .workers import Tally, Watchdog, Worker

CALM, TROUBLED = 37, 432
_CALM_SHARE = 4
"""One worker in four: three in four can fill every gate and queue that tenants share."""
_INTERVAL_S = 0.5
"""Between the begins of a worker's steps: 32 workers start 64 tools a second, half of two cores' time."""
_CONNECTIONS = 16
_API_DELAY_S, _STORAGE_DELAY_S = 0.08, 0.03
"""As in the benchmark, so that a unit is an origin's time and not the scheduler's."""


@dataclass(frozen=True)
class Plan:
    """How long what lasts."""

    minutes: float
    workers: int = 32
    warm_s: float = 30.0
    """Before it: every folder is unknown then, which it is never again."""
    without_s: float = 90.0
    """Some 1,400 steps of the calm tenant: a hundred and more of most kinds."""
    trouble_s: float = 20.0
    rest_s: float = 10.0
    deadline_s: float = 5.0
    troubles: Sequence[Trouble] = TROUBLES
    slowest: float = SLOWEST_UNITS

    def rounds(self) -> int:
        """As many as the time allows, one at least."""
        return max(
            1, math.floor((60 * self.minutes - self.warm_s - self.without_s) / (self.trouble_s + self.rest_s))
        )


@dataclass
class Neighbours(Run):
    """Everything that the report tells."""

    deadline_s: float = 0.0
    warming: Tally = field(default_factory=Tally)
    """The calm tenant at first."""
    without: Tally = field(default_factory=Tally)
    """The calm tenant from then to the first trouble: the units."""
    before: Tally = field(default_factory=Tally)
    """The troubled one; its last steps end in the first trouble."""
    rounds: list[Round] = field(default_factory=list)
    longest_call_s: float = 0.0
    """Of a system call into the troubled tenant, as far as it was timed alone."""

    def tallies(self) -> list[tuple[str, Tally]]:
        """Each with its place."""
        found = [
            ("calm, warming", self.warming),
            ("calm, without trouble", self.without),
            ("troubled, before", self.before),
        ]
        for each in self.rounds:
            found += [
                (f"calm, {each.trouble.name}", each.calm),
                (f"troubled, {each.trouble.name}", each.troubled),
                (f"troubled, after {each.trouble.name}", each.after),
            ]
        return found

    def wrongs(self) -> list[str]:
        """Every byte, name, size or errno that was not so, and whoever got nowhere."""
        return [f"{place}: {wrong}" for place, tally in self.tallies() for wrong in tally.wrongs]

    @property
    def ok(self) -> bool:
        """Whether every promise was kept."""
        return not self.violations and not self.wrongs()


class _Crews:
    """The workers of both tenants, and what looks after them."""

    def __init__(self, plan: Plan, daemon: Daemon, simulator: SimulatorProcess, scratch: Path) -> None:
        self.outcome = Neighbours(plan.minutes, plan.workers, deadline_s=plan.deadline_s)
        self.daemon = daemon
        self.simulator = simulator
        days = weekdays(date(2024, 3, 4), 6)
        calm, troubled = Population(days, {"calm": CALM}), Population(days, {"troubled": TROUBLED})
        number = max(1, plan.workers // _CALM_SHARE)
        self.calm = [
            Worker(n, daemon.directory, calm, scratch, self.outcome.warming, _INTERVAL_S)
            for n in range(number)
        ]
        self.troubled = [
            Worker(n, daemon.directory, troubled, scratch, self.outcome.before, _INTERVAL_S)
            for n in range(number, plan.workers)
        ]
        self.stalls = Tally()
        self.watchdog = Watchdog([*self.calm, *self.troubled], plan.deadline_s + MARGIN_S, self.stalls)
        self._began_s = time.monotonic()

    def start(self) -> None:
        """All of them, spread over an interval."""
        self.outcome.samples.append(sample(self.daemon.process.pid, 0.0))
        crew = [*self.calm, *self.troubled]
        for worker in crew:
            worker.start()
            time.sleep(_INTERVAL_S / len(crew))

    def go_on(self, for_s: float) -> bool:
        """Let them work; whether the daemon lives still."""
        ends_s = time.monotonic() + for_s
        while (left_s := ends_s - time.monotonic()) > 0:
            time.sleep(min(1.0, left_s))
            self.watchdog.look()
            if self.daemon.process.poll() is not None:
                self.outcome.violations.append(f"the daemon ended with {self.daemon.process.returncode}")
                return False
            at_s = time.monotonic() - self._began_s
            self.outcome.samples.append(sample(self.daemon.process.pid, at_s))
        return True

    def round(self, trouble: Trouble, trouble_s: float, rest_s: float) -> bool:
        """One trouble and the rest after it; whether the daemon lives still."""
        new = Round(trouble, Tally(), Tally(), Tally())
        self.outcome.rounds.append(new)
        self.simulator.add_faults(*trouble.rules(TROUBLED))
        self.write_to(self.calm, new.calm)
        self.write_to(self.troubled, new.troubled)
        alive = self.go_on(trouble_s)
        new.hits = sum(rule["hits"] for rule in self.simulator.stats()["faults"])
        self.simulator.clear_faults()
        new.ended_s = time.monotonic()
        self.write_to(self.troubled, new.after)
        alive = alive and self.go_on(rest_s)
        new.over(time.monotonic())
        if self.simulator.stats()["leaked_authorization"]:
            self.outcome.violations.append("the token was given to the storage")
        self.simulator.reset_log()
        return alive

    @staticmethod
    def write_to(crew: list[Worker], tally: Tally) -> None:
        """What they begin from now on."""
        for worker in crew:
            worker.tally = tally

    def stop(self) -> None:
        """All of them, and wait."""
        crew = [*self.calm, *self.troubled]
        for worker in crew:
            worker.stop()
        gives_up_s = time.monotonic() + PATIENCE_S
        for worker in crew:
            while not worker.join(1.0):
                self.watchdog.look()
                if time.monotonic() > gives_up_s:
                    self.outcome.violations.append(f"worker {worker.number} did not end: {worker.doing}")
                    break
        self.outcome.longest_still_s = self.watchdog.longest_s
        self.outcome.violations += self.stalls.wrongs
        self.outcome.longest_call_s = max(worker.step.longest_call_s for worker in self.troubled)


def soak_neighbours(plan: Plan, say: Callable[[str], None], *, transport: str = "direct") -> Neighbours:
    """Run. Raises only where the run itself could not be made."""
    sections: dict[str, dict[str, Any]] = {
        "api": {"connections": _CONNECTIONS},
        "storage": {"connections": _CONNECTIONS},
        # Small, so that both tenants go on asking both origins.
        "cache": {"memory": "16 MiB", "records": 1_000, "known_sizes": 1_000},
        "mount": {"deadline_s": plan.deadline_s},
        "http": {"transport": transport},
    }
    tenants = {"calm": CALM, "troubled": TROUBLED}
    delays = {"api_delay_s": _API_DELAY_S, "storage_delay_s": _STORAGE_DELAY_S}
    with (
        tempfile.TemporaryDirectory(prefix="voxofs-soak-") as scratch,
        start_process(world=WORLD, seed=SEED, **delays) as simulator,
        mounted(simulator.api_url, tenants, token=simulator.token, sections=sections) as daemon,
    ):
        crews = _Crews(plan, daemon, simulator, Path(scratch))
        outcome = crews.outcome
        crews.start()
        alive = crews.go_on(plan.warm_s)
        crews.write_to(crews.calm, outcome.without)
        alive = alive and crews.go_on(plan.without_s)
        number = plan.rounds()
        for n, trouble in enumerate(islice(cycle(plan.troubles), number), 1):
            if not alive:
                break
            last_s = plan.deadline_s + 1 if n == number else 0.0
            alive = crews.round(trouble, plan.trouble_s, max(plan.rest_s, last_s))
            say(_told(n, outcome))
        crews.stop()
        finish(daemon, outcome, _CONNECTIONS)
        look_for_secrets(daemon, [simulator.token], outcome)
        _judge(plan, outcome)
    return outcome


def _judge(plan: Plan, outcome: Neighbours) -> None:
    outcome.violations += calm_problems(outcome.without, outcome.rounds, plan.deadline_s, plan.slowest)
    # A step that joins what was begun under the trouble ends with it, one deadline later at most.
    outcome.violations += troubled_problems(outcome.rounds, plan.deadline_s)
    if refused := outcome.warming.refused + outcome.without.refused:
        outcome.violations.append(f"the calm tenant saw {dict(refused)} before there was any trouble")
    if outcome.longest_call_s > plan.deadline_s + MARGIN_S:
        outcome.violations.append(f"a system call took {outcome.longest_call_s:.1f} s")


def _told(n: int, outcome: Neighbours) -> str:
    last, now = outcome.rounds[-1], outcome.samples[-1]
    slowest_s = max((max(times_s) for times_s in last.calm.latencies_s.values() if times_s), default=0.0)
    return (
        f"{now.at_s / 60:.1f} min, round {n}, {last.trouble.name}: calm {sum(last.calm.steps.values()):,} "
        f"operations, slowest {slowest_s:.2f} s; troubled {sum(last.troubled.steps.values()):,}, refused "
        f"{sum(last.troubled.refused.values()):,}; RSS {now.rss_mib:.0f} MiB, {now.descriptors} descriptors"
    )
