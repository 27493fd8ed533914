"""The soak's figures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .campaign import DEADLINE_S, FAULT_RATE, LINK_LIFETIME_S, Outcome
from .invariants import Run


def facts(outcome: Outcome) -> dict[str, Any]:
    """Everything as plain values."""
    tally = outcome.tally
    return {
        "ok": outcome.ok,
        "minutes": outcome.minutes,
        "workers": outcome.workers,
        "fault_rate": FAULT_RATE,
        "deadline_s": DEADLINE_S,
        "link_lifetime_s": LINK_LIFETIME_S,
        "token_rotations": outcome.rotations,
        "operations": {name: _operation(outcome, name) for name in sorted(tally.steps)},
        "errors": dict(sorted(tally.refused.items())),
        "requests": dict(sorted(outcome.requests.items())),
        "faults": dict(sorted(outcome.faults.items())),
        **process_facts(outcome),
        "wrong": tally.wrongs,
        "violations": outcome.violations,
    }


def process_facts(run: Run) -> dict[str, Any]:
    """Of any run: the daemon's size, and what it held at the end."""
    first, warm, last = run.samples[0], run.warm(), run.samples[-1]
    return {
        "longest_without_progress_s": round(run.longest_still_s, 1),
        "rss_mib": {
            "start": round(first.rss_mib, 1),
            "warm": round(warm.rss_mib, 1),
            "peak": round(max(each.rss_mib for each in run.samples), 1),
            "end": round(last.rss_mib, 1),
        },
        "threads": {"start": first.threads, "warm": warm.threads, "end": last.threads},
        "descriptors": {"start": first.descriptors, "warm": warm.descriptors, "end": last.descriptors},
        "cpu_s": round(last.cpu_s, 1),
        "gauges": {name: run.status.get(name) for name in ("fetches", "in_flight", "kernel")},
        "disk": run.status.get("disk"),
    }


def _operation(outcome: Outcome, name: str) -> dict[str, Any]:
    times_s = sorted(outcome.tally.latencies_s[name])
    return {
        "number": len(times_s),
        "refused": outcome.tally.refused_steps[name],
        "p50_s": round(times_s[len(times_s) // 2], 3),
        "p99_s": round(times_s[int(len(times_s) * 0.99)], 3),
        "max_s": round(times_s[-1], 3),
    }


def text(outcome: Outcome) -> str:
    """The report for people."""
    return "\n".join(_lines(facts(outcome)))


def _lines(found: dict[str, Any]) -> Iterator[str]:
    yield (
        f"soak of {found['minutes']:g} min, {found['workers']} workers, {found['fault_rate']:.0%} faults, "
        f"links live {found['link_lifetime_s']:g} s, {found['token_rotations']} token rotations, "
        f"deadline {found['deadline_s']:g} s"
    )
    yield f"{'operation':<10}{'number':>9}{'refused':>9}{'p50 s':>9}{'p99 s':>9}{'max s':>9}"
    for name, each in found["operations"].items():
        yield (
            f"{name:<10}{each['number']:>9,}{each['refused']:>9,}"
            f"{each['p50_s']:>9.3f}{each['p99_s']:>9.3f}{each['max_s']:>9.3f}"
        )
    numbers = found["operations"].values()
    total, refused = sum(each["number"] for each in numbers), sum(each["refused"] for each in numbers)
    yield f"{'all':<10}{total:>9,}{refused:>9,}"
    yield f"errors that programs saw   {counts(found['errors'])}"
    yield f"requests                   {counts(found['requests'])}"
    yield f"spoilt by faults           {counts(found['faults'])}"
    yield from process_lines(found)


def process_lines(found: dict[str, Any]) -> Iterator[str]:
    """The end of any run's report: the daemon, and what was not kept."""
    yield f"longest without progress   {found['longest_without_progress_s']} s"
    for name, unit in (("rss_mib", " MiB"), ("threads", ""), ("descriptors", "")):
        yield f"{name.removesuffix('_mib'):<27}" + ", ".join(
            f"{when} {n}{unit}" for when, n in found[name].items()
        )
    yield f"daemon's CPU               {found['cpu_s']} s"
    yield f"gauges at the end          {found['gauges']}"
    if found["disk"] is not None:
        disk = found["disk"]
        yield f"disk tier: {disk['state']}, {disk['bytes'] / 2**20:.0f} MiB, {disk['counts']}"
    for kind in ("wrong", "violations"):
        yield f"{kind:<27}{len(found[kind]) or 'none'}"
        yield from (f"  {each}" for each in found[kind])
    yield "every promise kept" if found["ok"] else "FAILED"


def counts(table: dict[str, int]) -> str:
    """A table in one line."""
    return ", ".join(f"{name} {number:,}" for name, number in table.items()) or "none"
