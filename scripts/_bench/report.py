"""The tables: every work on every system, the daemon's CPU by request and by recording, and the lines."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from lines import Line
from runs import Results, Run

_ROUTES = {
    "reports": "rep",
    "link": "link",
    "audio": "get",
    "plain": "get",
    "index": "idx",
    "tenant": "ten",
    "auth": "auth",
}
_MIB = 2**20
_OURS = ("voxofs", "before", "bare pyfuse3")
"""Whose CPU is told by request and by entry."""


Rows = list[list[str]]
"""The first is the head."""


def table(results: Results) -> Rows:
    """Every work and system: medians."""
    head = [
        "work", "system", "seconds", "least-most", "voxofs ÷ this", "requests", "fetched/needed MiB", "peak",
        "CPU s", "sim CPU", "peak RSS",
    ]  # fmt: skip
    rows = []
    for (work, system), runs in results.runs.items():
        ours = results.seconds(work)
        seconds = [run.seconds for run in runs]
        ratio = "" if system == "voxofs" or ours is None else f"{ours / median(seconds):.2f}"
        daemon = bool(runs[0].peak_rss_bytes)
        rows.append(
            [
                work,
                system,
                f"{median(seconds):.3f}",
                f"{min(seconds):.3f}-{max(seconds):.3f}",
                ratio,
                _requests(runs),
                _bytes(runs),
                _peak(runs),
                f"{median(run.cpu_s for run in runs):.2f}" if daemon else "",
                f"{median(run.sim_cpu_s for run in runs):.2f}",
                f"{median(run.peak_rss_bytes for run in runs) / _MIB:.0f} MiB" if daemon else "",
            ]
        )
    return [head, *rows]


def cpu(results: Results) -> Rows:
    """What the daemon spends on a request and on a recording, where a work goes over many."""
    rows = [["work", "system", "CPU s", "requests", "ms a request", "recordings", "µs a recording"]]
    for (work, system), runs in results.runs.items():
        entries = runs[0].entries
        if system not in _OURS or not entries or not runs[0].peak_rss_bytes:
            continue
        cpu_s = median(run.cpu_s for run in runs)
        requests = median(sum(run.requests.values()) for run in runs)
        a_request = f"{1e3 * cpu_s / requests:.2f}" if requests >= entries / 2 else ""
        an_entry = f"{1e6 * cpu_s / entries:.0f}"
        rows.append([work, system, f"{cpu_s:.3f}", f"{requests:g}", a_request, f"{entries}", an_entry])
    return rows


def verdicts(results: Results, lines: Sequence[Line]) -> Rows:
    """Those of the lines whose works were measured."""
    rows = [["line", "measured", "at the latest", "met", "aim", "met"]]
    for line in lines:
        value = line.measure(results)
        if value is not None:
            rows.append(
                [
                    line.work,
                    line.shown(value),
                    line.latest,
                    _word(line.latest_met(results, value)),
                    line.aim,
                    _word(line.aim_met(results, value)),
                ]
            )
    return rows


def _requests(runs: list[Run]) -> str:
    routes = {route for run in runs for route in run.requests}
    parts = []
    for short in dict.fromkeys(_ROUTES.values()):
        names = [route for route in routes if _ROUTES.get(route) == short]
        if names:
            parts.append(f"{median(sum(run.requests.get(n, 0) for n in names) for run in runs):g} {short}")
    return " ".join(parts) or "0"


def _bytes(runs: list[Run]) -> str:
    fetched, needed = median(run.fetched_bytes for run in runs), runs[0].needed_bytes
    if not fetched and not needed:
        return "0"
    return f"{fetched / _MIB:.2f}/{needed / _MIB:.2f}" if needed else f"{fetched / _MIB:.2f}"


def _peak(runs: list[Run]) -> str:
    return "+".join(f"{max(run.peak.get(origin, 0) for run in runs)}" for origin in ("api", "storage"))


def _word(met: bool | None) -> str:
    return "" if met is None else "yes" if met else "NO"


def aligned(rows: Rows) -> str:
    """For a terminal."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)


def compact(rows: Rows) -> str:
    """For a page: no spaces that another number would move."""
    lines = [f"| {' | '.join(cell.strip() for cell in row)} |" for row in rows]
    lines.insert(1, f"|{' --- |' * len(rows[0])}")
    return "\n".join(lines)
