"""The whole run: simulator and daemon as processes, workers over them, faults, rotation, invariants."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from harness.mounts import Daemon, mounted

from voxofs.simulator.process import SimulatorProcess, start_process
from voxofs.store.key import make_key_file

from .invariants import PATIENCE_S, Run, finish, look_for_secrets
from .population import SEED, TENANTS, WORLD, Population, weekdays
from .process import sample
from .workers import Tally, Watchdog, Worker

FAULT_RATE = 0.05
DEADLINE_S = 5.0
LINK_LIFETIME_S = 3.0
_ROTATES_S = 5.0
CONNECTIONS = 16

FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "status", "status": 429, "retry_after": "1"},
    {"kind": "status", "status": 500, "body": "html"},
    {"kind": "status", "status": 502, "body": "html"},
    {"kind": "status", "status": 503},
    {"kind": "reset_before"},
    {"kind": "reset_body"},
    {"kind": "truncate"},
    {"kind": "stall"},
    {"kind": "stall_body"},
    {"kind": "expired", "match": {"route": "link"}},
    {"kind": "garbage_json"},
)
"""Each with an equal share of the rate."""


@dataclass
class Outcome(Run):
    """Everything that the report tells."""

    tally: Tally = field(default_factory=Tally)
    requests: Counter[str] = field(default_factory=Counter)
    """By route and status, as the simulator saw them."""
    faults: Counter[str] = field(default_factory=Counter)
    rotations: int = 0

    @property
    def ok(self) -> bool:
        """Whether every promise was kept."""
        return not self.violations and not self.tally.wrongs


def soak(
    minutes: float,
    workers: int,
    say: Callable[[str], None],
    days: int = 12,
    *,
    disk: bool = False,
    transport: str = "direct",
) -> Outcome:
    """Run, with the disk tier on where that is said, over voxofs's own transport or httpx's. Raises only
    where the run itself could not be made."""
    outcome = Outcome(minutes, workers)
    population = Population(weekdays(date(2024, 3, 4), days))
    number = len(population.recordings)
    say(f"{number:,} recordings in {len(population.hours)} hours of {len(TENANTS)} tenants")
    with (
        tempfile.TemporaryDirectory(prefix="voxofs-soak-") as place,
        start_process(world=WORLD, seed=SEED, link_lifetime_s=LINK_LIFETIME_S) as simulator,
    ):
        token_file = Path(place, "token")
        tokens = [simulator.token]
        _write_token(token_file, simulator.token)
        sections: dict[str, dict[str, Any]] = {
            "api": {"token_file": str(token_file), "connections": CONNECTIONS},
            "storage": {"link_lifetime_s": LINK_LIFETIME_S, "connections": CONNECTIONS},
            "cache": {"memory": "16 MiB", "records": 4_000, "known_sizes": 1_000},
            "mount": {"deadline_s": DEADLINE_S},
            "http": {"transport": transport},
        }
        if disk:
            make_key_file(Path(place, "disk.key"))
            tier = {"path": f"{place}/tier", "key_file": f"{place}/disk.key", "size": "64 MiB"}
            sections["disk"] = tier | {"keep_free": "0 MiB"}
        with mounted(simulator.api_url, TENANTS, token=None, sections=sections) as daemon:
            scratch = Path(place, "copies")
            scratch.mkdir()
            crew = [Worker(n, daemon.directory, population, scratch, outcome.tally) for n in range(workers)]
            simulator.add_faults(*({**fault, "rate": FAULT_RATE / len(FAULTS)} for fault in FAULTS))
            _drive(crew, daemon, simulator, token_file, tokens, outcome, say)
            simulator.clear_faults()
            finish(daemon, outcome, CONNECTIONS, disk=disk)
            look_for_secrets(daemon, tokens, outcome)
    return outcome


def _drive(
    crew: list[Worker],
    daemon: Daemon,
    simulator: SimulatorProcess,
    token_file: Path,
    tokens: list[str],
    outcome: Outcome,
    say: Callable[[str], None],
) -> None:
    """Let the workers work until the time is over, and all of them have ended."""
    watchdog = Watchdog(crew, DEADLINE_S + 10.0, outcome.tally)
    began_s = time.monotonic()
    ends_s = began_s + 60 * outcome.minutes
    rotates_s = told_s = counted_s = began_s
    outcome.samples.append(sample(daemon.process.pid, 0.0))
    for worker in crew:
        worker.start()
    while (now_s := time.monotonic()) < ends_s:
        time.sleep(min(1.0, ends_s - now_s))
        watchdog.look()
        if daemon.process.poll() is not None:
            outcome.violations.append(f"the daemon ended with {daemon.process.returncode}")
            break
        outcome.samples.append(sample(daemon.process.pid, time.monotonic() - began_s))
        if now_s - rotates_s >= _ROTATES_S:
            rotates_s = now_s
            tokens.append(simulator.rotate_token())
            _write_token(token_file, tokens[-1])
            outcome.rotations += 1
        if now_s - counted_s >= 60:
            counted_s = now_s
            _count(simulator, outcome)
        if now_s - told_s >= 60:
            told_s = now_s
            now, steps = outcome.samples[-1], sum(outcome.tally.steps.values())
            size = f"RSS {now.rss_mib:.0f} MiB, {now.descriptors} descriptors"
            say(f"{now.at_s / 60:.0f} min: {steps:,} operations, {size}")
    for worker in crew:
        worker.stop()
    gives_up_s = time.monotonic() + PATIENCE_S
    for worker in crew:
        while not worker.join(1.0):
            watchdog.look()
            if time.monotonic() > gives_up_s:
                outcome.violations.append(f"worker {worker.number} did not end: {worker.doing}")
                break
    outcome.longest_still_s = watchdog.longest_s
    _count(simulator, outcome)


def _count(simulator: SimulatorProcess, outcome: Outcome) -> None:
    """Take the simulator's sums, which begin anew."""
    stats = simulator.stats()
    simulator.reset_log()
    outcome.requests.update(stats["statuses"])
    outcome.faults = Counter()
    for fault, rule in zip(FAULTS, stats["faults"], strict=True):
        outcome.faults[f"{rule['kind']} {fault.get('status', '')}".strip()] = rule["hits"]
    if stats["leaked_authorization"]:
        outcome.violations.append("the token was given to the storage")


def _write_token(path: Path, token: str) -> None:
    """As a rotating agent does: a new file in place of the old one."""
    fresh = path.with_suffix(".new")
    fresh.write_text(token)
    fresh.chmod(0o600)
    os.replace(fresh, path)
