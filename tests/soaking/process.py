"""A process as /proc shows it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """Memory, threads and descriptors of a process at one moment."""

    at_s: float
    rss_mib: float
    threads: int
    descriptors: int
    cpu_s: float


def sample(pid: int, at_s: float) -> Sample:
    """Look now. Raises OSError where the process is gone."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
    )
    times = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return Sample(
        at_s,
        int(status["VmRSS"].split()[0]) / 1024,
        int(status["Threads"]),
        len(os.listdir(f"/proc/{pid}/fd")),
        (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK"),
    )
