"""What a line of the benchmark is: a figure from the results, what it must be, and what it should become."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from runs import Results, Run

Figure = Callable[[Results], float | None]
"""None where a part of it was not measured."""
Met = Callable[[Results, float], bool | None]
"""None where that cannot be said."""


@dataclass(frozen=True)
class Line:
    """One line."""

    work: str
    latest: str
    """At the latest, in words."""
    aim: str
    measure: Figure
    shown: Callable[[float], str]
    latest_met: Met
    aim_met: Met


def quotient(one: float | None, other: float | None) -> float | None:
    """None where one is missing."""
    return None if one is None or not other else one / other


def against(work: str, peer: str) -> Figure:
    """Seconds of voxofs by those of a peer, in the same work."""
    return lambda results: quotient(results.seconds(work), results.seconds(work, peer))


def rate_against(work: str, peer: str) -> Figure:
    """The other way round."""
    return lambda results: quotient(results.seconds(work, peer), results.seconds(work))


def value(work: str, of: Callable[[Run], float], system: str = "voxofs") -> Figure:
    """Median of something else."""
    return lambda results: results.of(work, of, system)


def ratio(work: str, of: Callable[[Run], float], peer: str) -> Figure:
    """Something else of voxofs by that of a peer."""
    return lambda results: quotient(results.of(work, of), results.of(work, of, peer))


def requests(work: str, *routes: str) -> Figure:
    """Requests of these routes; of all where none is named."""
    return value(work, lambda run: sum(run.requests.get(route, 0) for route in routes or run.requests))


def times(number: float) -> str:
    """`0.52 ×`."""
    return f"{number:.2f} ×"


def below(bound: float) -> Met:
    """At most so much."""
    return lambda results, number: number <= bound


def above(bound: float) -> Met:
    """At least so much."""
    return lambda results, number: number >= bound


def exactly(bound: float) -> Met:
    """So much."""
    return lambda results, number: number == bound


def unknown(results: Results, number: float) -> bool | None:
    """There is no such bound."""
    return None


def as_fast(work: str, peer: str, factor: float = 1.0, peer_work: str | None = None) -> Met:
    """Whether voxofs takes no longer than a peer, times a factor."""

    def met(results: Results, number: float) -> bool | None:
        found = quotient(results.seconds(work), results.seconds(peer_work or work, peer))
        return None if found is None else found <= factor

    return met


def at_most(
    title: str, work: str, peer: str, latest: float, aim: float | None, *, of: Figure | None = None
) -> Line:
    """The usual line: a ratio to a peer that must be small."""
    return Line(
        title,
        f"{latest} × {peer}",
        "" if aim is None else f"{aim} ×",
        of or against(work, peer),
        times,
        below(latest),
        unknown if aim is None else below(aim),
    )


def counted(title: str, work: str, number: int, *routes: str) -> Line:
    """So many requests, no more and no fewer."""
    return Line(
        title, f"{number}", f"{number}", requests(work, *routes), lambda n: f"{n:g}", exactly(number),
        exactly(number),
    )  # fmt: skip
