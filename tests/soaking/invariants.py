"""What must hold when a run is over, whichever it was: gauges at zero, nothing grown, no secret told."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.mounts import Daemon

from .process import Sample, sample

PATIENCE_S = 60.0
"""For workers to end and gauges to fall: many deadlines."""
_MOST_GROWTH = 1.15
_MOST_GROWTH_MIB = 24.0
"""Rules of thumb: what an allocator keeps."""


@dataclass
class Run:
    """What every run reports."""

    minutes: float
    workers: int
    samples: list[Sample] = field(default_factory=list)
    longest_still_s: float = 0.0
    status: dict[str, Any] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def warm(self) -> Sample:
        """The sample from which on memory must be flat: a third of the way."""
        return self.samples[len(self.samples) // 3]


_MOST_THREADS = 4
_TIER_THREADS = 5
"""Of the disk tier: four that read, one that writes (`voxofs.store.tier`)."""


def finish(daemon: Daemon, run: Run, connections: int, *, disk: bool = False) -> None:
    """Every gauge is back at zero, and nothing has grown. `connections`: to each of the two origins; `disk`:
    with the disk tier on."""
    if daemon.process.poll() is not None:
        return
    gives_up_s = time.monotonic() + PATIENCE_S
    while (busy := _busy(daemon, run)) and time.monotonic() < gives_up_s:
        time.sleep(0.2)
    run.violations += [f"not at rest: {what}" for what in busy]
    first, warm = run.samples[0], run.warm()
    last = sample(daemon.process.pid, run.samples[-1].at_s)
    run.samples.append(last)
    if last.rss_mib > warm.rss_mib * _MOST_GROWTH + _MOST_GROWTH_MIB:
        run.violations.append(f"memory grew from {warm.rss_mib:.0f} to {last.rss_mib:.0f} MiB")
    if last.descriptors > first.descriptors + 2 * connections:
        run.violations.append(f"{last.descriptors} descriptors, {first.descriptors} at the start")
    if last.threads > first.threads + _MOST_THREADS + disk * _TIER_THREADS:
        run.violations.append(f"{last.threads} threads, {first.threads} at the start")


def _busy(daemon: Daemon, run: Run) -> list[str]:
    text = Path(daemon.directory, ".voxofs/status").read_text()
    run.status = status = json.loads(text)
    gauges = {"fetches": status["fetches"]}
    for name, gate in status["in_flight"].items():
        gauges |= {f"{name} in flight": gate["now"], f"{name} waiting": gate["waiting"]}
    # The handle through which this status is read is one of them.
    gauges["handles"] = max(0, status["kernel"]["handles"] - 1)
    return [f"{name} {value}" for name, value in gauges.items() if value]


def look_for_secrets(daemon: Daemon, tokens: Sequence[str], run: Run) -> None:
    """Neither a secret nor a defect is told by the log, the status or a command line."""
    said = daemon.said() + json.dumps(run.status)
    command = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    if any(token in said or token in command for token in tokens) or "Signature=" in said:
        run.violations.append("a secret in the log, the status or a command line")
    for sign in ("Traceback", "a defect in voxofs", "never awaited"):
        if sign in said:
            run.violations.append(f"the log tells of a defect: {_around(said, sign)}")


def _around(text: str, sign: str) -> str:
    at = text.index(sign)
    return " ".join(text[max(0, at - 300) : at + 700].split())
