"""The two clocks, injected everywhere so that tests can turn them.

Expiry is measured on a clock that nobody sets and that goes on while the machine sleeps (CLOCK_BOOTTIME):
a link obtained before a suspend must be dead after it. "Which day is it in Chicago" is asked of the wall
clock, which may jump. Nothing else in voxofs reads a clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


def _boottime_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Clock:
    """What time it is, twice."""

    monotonic_s: Callable[[], float] = _boottime_s
    """Seconds since some fixed point, suspended time included; never goes back."""
    wall_s: Callable[[], float] = time.time
    """Seconds since the epoch, as the machine believes."""
