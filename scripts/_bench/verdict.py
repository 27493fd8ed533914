"""Whether one of two series of measurements is slower, said so that noise alone does not say it.

Noise on a machine only ever adds time, now to one run and now to another. So the least of a series is what
the work costs at best, and the median what it costs as a rule. Something is slower if both are, by more than
a bound: a burst of noise lifts the median and leaves the least alone; one lucky run lowers the least of the
other series and leaves the medians alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Bound:
    """How much slower is too much."""

    ratio: float
    """Above this, new by old."""
    at_least_s: float
    """And by this many seconds: small works differ by more than the ratio without a reason."""


CPU = Bound(1.10, 0.010)
"""The daemon's CPU. Rules of thumb, both: what a reviewer would ask about, and what an ls costs in all."""
WALL = Bound(1.15, 0.020)
"""Seconds on the wall hold the simulator's turns on the same cores, too: wider."""


@dataclass(frozen=True)
class Comparison:
    """One quantity of one work, in both."""

    work: str
    quantity: str
    bound: Bound
    new: Sequence[float]
    old: Sequence[float]

    @property
    def ratio(self) -> float:
        """Of the medians."""
        return _by(median(self.new), median(self.old))

    @property
    def least_ratio(self) -> float:
        """Of the least."""
        return _by(min(self.new), min(self.old))

    @property
    def slower(self) -> bool:
        """Beyond the bound, and beyond noise."""
        return all(
            new > old * self.bound.ratio and new - old > self.bound.at_least_s
            for new, old in ((median(self.new), median(self.old)), (min(self.new), min(self.old)))
        )

    @property
    def word(self) -> str:
        """For the table."""
        if self.slower:
            return "SLOWER"
        if self.ratio > self.bound.ratio and median(self.new) - median(self.old) > self.bound.at_least_s:
            return "noise"
        return ""


def _by(new: float, old: float) -> float:
    return new / old if old else 1.0


def rows(comparisons: Sequence[Comparison]) -> list[list[str]]:
    """A table with a line for each; the head first."""
    head = ["work", "", "this tree", "base", "ratio", "ratio of least", "at most", ""]
    return [
        head,
        *(
            [
                comparison.work,
                comparison.quantity,
                f"{median(comparison.new):.3f} s",
                f"{median(comparison.old):.3f} s",
                f"{comparison.ratio:.2f}",
                f"{comparison.least_ratio:.2f}",
                f"{comparison.bound.ratio:.2f}",
                comparison.word,
            ]
            for comparison in comparisons
        ),
    ]
