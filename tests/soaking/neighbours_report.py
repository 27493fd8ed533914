"""The figures of two tenants, one of them in trouble."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from .bounds import LEAST_UNIT_S, Round, figure, units
from .neighbours import Neighbours
from .report import counts, process_facts, process_lines


def neighbours_facts(outcome: Neighbours) -> dict[str, Any]:
    """Everything as plain values."""
    by_trouble: dict[str, list[Round]] = {}
    for each in outcome.rounds:
        by_trouble.setdefault(each.trouble.name, []).append(each)
    return {
        "ok": outcome.ok,
        "minutes": outcome.minutes,
        "workers": outcome.workers,
        "deadline_s": outcome.deadline_s,
        "operations": dict(_operations(outcome)),
        "troubles": {name: _trouble(outcome, rounds) for name, rounds in by_trouble.items()},
        "longest_call_s": round(outcome.longest_call_s, 2),
        **process_facts(outcome),
        "wrong": outcome.wrongs(),
        "violations": outcome.violations,
    }


def _operations(outcome: Neighbours) -> Iterator[tuple[str, dict[str, Any]]]:
    """Of the calm tenant, by kind: without trouble, under it, and the slowest in units."""
    for name, unit in sorted(units(outcome.without).items()):
        told = [
            (time_s, each.trouble.name) for each in outcome.rounds for time_s in each.calm.latencies_s[name]
        ]
        if not told:
            continue
        under = figure([time_s for time_s, _ in told])
        yield (
            name,
            {
                "without": {key: round(value, 3) for key, value in unit._asdict().items()},
                "under": {key: round(value, 3) for key, value in under._asdict().items()},
                "median_units": round(under.median_s / max(LEAST_UNIT_S, unit.median_s), 1),
                "slowest_units": round(under.slowest_s / max(LEAST_UNIT_S, unit.slowest_s), 1),
                "slowest_under": max(told)[1],
            },
        )


def _trouble(outcome: Neighbours, rounds: list[Round]) -> dict[str, Any]:
    """Of both tenants, by kind of trouble."""
    known = units(outcome.without)
    slowest = max(
        (
            (max(times_s) / max(LEAST_UNIT_S, known[name].slowest_s), max(times_s), name)
            for each in rounds
            for name, times_s in each.calm.latencies_s.items()
            if times_s and name in known
        ),
        default=(0.0, 0.0, ""),
    )
    refused = sum((each.troubled.refused + each.after.refused for each in rounds), Counter[str]())
    return {
        "rounds": len(rounds),
        "spoilt": sum(each.hits for each in rounds),
        "calm_operations": sum(sum(each.calm.steps.values()) for each in rounds),
        "calm_refused": sum(sum(each.calm.refused.values()) for each in rounds),
        "calm_slowest_units": round(slowest[0], 1),
        "calm_slowest_s": round(slowest[1], 3),
        "calm_slowest_operation": slowest[2],
        "troubled_operations": sum(sum((each.troubled.steps + each.after.steps).values()) for each in rounds),
        "troubled_errors": dict(sorted(refused.items())),
        "recovered_s": round(max(each.recovered_s for each in rounds), 1),
    }


def neighbours_text(outcome: Neighbours) -> str:
    """The report for people."""
    return "\n".join(_lines(neighbours_facts(outcome)))


def _lines(found: dict[str, Any]) -> Iterator[str]:
    yield (
        f"soak of two tenants for {found['minutes']:g} min, {found['workers']} workers, "
        f"deadline {found['deadline_s']:g} s; times are those of tools and system calls"
    )
    yield (
        f"{'calm tenant':<12}{'without':>8}{'p50 s':>8}{'max s':>8}{'under':>8}{'p50 s':>8}{'max s':>8}"
        f"{'p50':>7}{'max':>7}  slowest under (p50 and max in units)"
    )
    for name, each in found["operations"].items():
        yield (
            f"{name:<12}"
            + "".join(
                f"{part['number']:>8,}{part['median_s']:>8.3f}{part['slowest_s']:>8.3f}"
                for part in (each["without"], each["under"])
            )
            + f"{each['median_units']:>7.1f}{each['slowest_units']:>7.1f}  {each['slowest_under']}"
        )
    yield (
        f"{'trouble':<22}{'rounds':>7}{'spoilt':>8}{'calm':>7}{'refused':>8}{'max s':>7}{'units':>6}"
        f" {'in':<9}{'troubled':>9}{'again s':>8}  its errors"
    )
    for name, each in found["troubles"].items():
        yield (
            f"{name:<22}{each['rounds']:>7}{each['spoilt']:>8,}{each['calm_operations']:>7,}"
            f"{each['calm_refused']:>8,}{each['calm_slowest_s']:>7.2f}{each['calm_slowest_units']:>6.1f} "
            f"{each['calm_slowest_operation']:<9}{each['troubled_operations']:>9,}{each['recovered_s']:>8.1f}"
            f"  {counts(each['troubled_errors'])}"
        )
    yield f"longest call, troubled     {found['longest_call_s']} s"
    yield from process_lines(found)
