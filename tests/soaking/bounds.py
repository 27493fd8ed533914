"""How much one tenant may notice of another's trouble, and what the troubled one itself may see.

The unit is the calm tenant's own: an operation of a kind is measured against the same kind without trouble,
under the same number of workers. A machine of two cores that does other work as well gives single operations
a few tenths of a second now and then, so a unit is never less than `LEAST_UNIT_S`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from .troubles import Trouble
from .workers import Tally

SLOWEST_UNITS = 10.0
"""Against the slowest without trouble. A maximum of many more operations than the unit's is larger without
any reason. A rule of thumb: trouble that spreads costs deadlines, and the deadline is the bound where it is
less than this."""
MEDIAN_UNITS = 2.0
"""Against the median without trouble, over all rounds but those in which waiting is by design. A rule of
thumb: a median of hundreds moves by tenths; a gate narrowed by another's 429 may cost one more wait."""
LEAST_UNIT_S = 0.1
"""Scheduling of 32 tools on two cores."""
MARGIN_S = 5.0
"""Over a deadline: the watchdog looks once a second, the machine is busy, an answer takes its way."""
_ENOUGH = 5
"""From so many operations on, a median is one."""


class Figure(NamedTuple):
    """The times of one kind of operation."""

    number: int
    median_s: float
    slowest_s: float


def figure(times_s: list[float]) -> Figure:
    """Of at least one operation."""
    return Figure(len(times_s), median(times_s), max(times_s))


@dataclass
class Round:
    """One trouble's share of the run, from its begin to the next one's."""

    trouble: Trouble
    calm: Tally
    troubled: Tally
    """What began under the trouble."""
    after: Tally
    """Of the troubled tenant, what began when it was over."""
    hits: int = 0
    ended_s: float = 0.0
    """By the monotonic clock."""
    rest_s: float = 0.0
    """From then to the next trouble."""
    recovered_s: float = 0.0
    """After the end, the begin of the last step that was refused still; of those that ended in the rest."""

    def over(self, now_s: float) -> None:
        """The rest ends now: what is refused from now on may be the next trouble's."""
        self.rest_s = now_s - self.ended_s
        self.recovered_s = max(0.0, (self.after.last_refused_s or 0.0) - self.ended_s)


def units(calm: Tally) -> Mapping[str, Figure]:
    """By kind of operation, without trouble. One that chance left out is as slow as any other."""
    return {name: figure(times_s) for name, times_s in calm.latencies_s.items() if times_s}


def calm_problems(without: Tally, rounds: list[Round], deadline_s: float, slowest: float) -> Iterator[str]:
    """What the calm tenant noticed, one sentence a finding. `slowest` in units."""
    known = units(without)
    if not known:
        yield "the calm tenant did nothing while there was no trouble: there is no unit"
        return
    any_kind = figure([time_s for times_s in without.latencies_s.values() for time_s in times_s])
    pooled: dict[str, list[float]] = {}
    for each in rounds:
        if refused := dict(each.calm.refused_steps):
            yield f"{each.trouble.name}: the calm tenant saw {dict(each.calm.refused)} in {refused}"
        if not each.calm.steps:
            yield f"{each.trouble.name}: the calm tenant finished nothing"
        for name, times_s in each.calm.latencies_s.items():
            unit_s = max(LEAST_UNIT_S, known.get(name, any_kind).slowest_s)
            limit_s = min(slowest * unit_s, deadline_s) + each.trouble.allowed_s
            if (took_s := max(times_s)) > limit_s:
                yield (
                    f"{each.trouble.name}: the calm tenant's slowest {name} took {took_s:.2f} s, "
                    f"{took_s / unit_s:.1f} units of {unit_s:.2f} s; allowed are {limit_s:.2f} s"
                )
            if not each.trouble.allowed_s:
                pooled.setdefault(name, []).extend(times_s)
    for name, times_s in pooled.items():
        unit = known.get(name)
        if unit is None or min(unit.number, len(times_s)) < _ENOUGH:
            continue
        unit_s = max(LEAST_UNIT_S, unit.median_s)
        if (usual_s := median(times_s)) > MEDIAN_UNITS * unit_s:
            yield f"the calm tenant's {name} usually took {usual_s:.2f} s, {usual_s / unit_s:.1f} units"


def troubled_problems(rounds: list[Round], recovers_s: float) -> Iterator[str]:
    """Whether each trouble was one, and was over when it ended."""
    for name in dict.fromkeys(each.trouble.name for each in rounds):
        if not sum(each.hits for each in rounds if each.trouble.name == name):
            yield f"{name}: no request was spoilt, so nothing was tried"
    for each in rounds:
        if each.rest_s < recovers_s:
            continue
        if (late_s := each.recovered_s) > recovers_s:
            yield f"{each.trouble.name}: refused still in a step begun {late_s:.1f} s after its end"
        if not sum(each.after.steps.values()) - sum(each.after.refused.values()):
            yield f"{each.trouble.name}: nothing worked in {each.rest_s:.0f} s after its end"
