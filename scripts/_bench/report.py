"""The tables: every work on every system, and the lines that the benchmark is held to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from harness import API_DELAY_S, STORAGE_DELAY_S, Results, Run

PEERS = ("rclone", "rclone-full", "httpdirfs", "httpdirfs-cache", "curl", "tmpfs", "local")
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


@dataclass(frozen=True)
class Line:
    """One line of the issue. `measure` gives the figure, or None where a part of it was not measured."""

    work: str
    latest: str
    aim: str
    measure: Callable[[Results], float | None]
    shown: Callable[[float], str]
    latest_met: Callable[[Results, float], bool | None]
    aim_met: Callable[[Results, float], bool | None]


def table(results: Results) -> str:
    """Every work and system: medians."""
    head = [
        "work", "system", "seconds", "least-most", "voxofs/this", "requests", "fetched/needed MiB", "peak",
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
    return _aligned([head, *rows])


def verdicts(results: Results) -> str:
    """The lines of the issue whose works were measured."""
    rows = [["line", "measured", "at the latest", "met", "aim", "met"]]
    for line in LINES:
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
    return _aligned(rows)


def _requests(runs: list[Run]) -> str:
    routes = {route for run in runs for route in run.requests}
    parts = []
    for route, short in _ROUTES.items():
        if route in routes:
            parts.append(f"{median(run.requests.get(route, 0) for run in runs):g} {short}")
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


def _aligned(rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)


# The figures.


def _quotient(one: float | None, other: float | None) -> float | None:
    return None if one is None or not other else one / other


def _against(work: str, peer: str) -> Callable[[Results], float | None]:
    return lambda results: _quotient(results.seconds(work), results.seconds(work, peer))


def _rate_against(work: str, peer: str) -> Callable[[Results], float | None]:
    return lambda results: _quotient(results.seconds(work, peer), results.seconds(work))


def _requests_of(results: Results, work: str, *routes: str) -> float | None:
    return results.of(work, lambda run: sum(run.requests.get(r, 0) for r in routes or run.requests))


def _probe_ratio(results: Results) -> float | None:
    """Medians of the differences, each to the local run just before it."""
    mine, theirs = (
        results.of("64 ffprobe cold", lambda run: run.extra["above_local_s"], system)
        for system in ("voxofs", "rclone")
    )
    return _quotient(mine, theirs)


def _beyond_cpu(results: Results) -> float | None:
    """Seconds less the CPU seconds of daemon and `find`, in API delays."""
    waited_s = results.of("find month cold", lambda run: run.seconds - run.cpu_s - run.client_cpu_s)
    return _quotient(waited_s, API_DELAY_S)


def _extra(work: str, name: str) -> Callable[[Results], float | None]:
    return lambda results: results.of(work, lambda run: run.extra[name])


def _share(work: str) -> Callable[[Results], float | None]:
    return lambda results: results.of(work, lambda run: run.fetched_bytes / run.needed_bytes)


def _flood_growth(results: Results) -> float | None:
    work = "ls -lR, 24,000 calls"
    return results.of(work, lambda run: (run.peak_rss_bytes - run.extra["idle_rss_bytes"]) / 1e6)


def _million_growth(results: Results) -> float | None:
    after = [results.of(f"million, walk {n}", lambda run: run.extra["rss_after_bytes"]) for n in (1, 2)]
    return _quotient(after[1], after[0])


def _times(value: float) -> str:
    return f"{value:.2f} ×"


def _below(bound: float) -> Callable[[Results, float], bool | None]:
    return lambda results, value: value <= bound


def _above(bound: float) -> Callable[[Results, float], bool | None]:
    return lambda results, value: value >= bound


def _unknown(results: Results, value: float) -> bool | None:
    return None


def _ratio_line(title: str, work: str, latest: float, aim: float) -> Line:
    return Line(
        title,
        f"{latest} × rclone",
        f"{aim} ×",
        _against(work, "rclone"),
        _times,
        _below(latest),
        _below(aim),
    )


def _reached(work: str, peer: str, factor: float = 1.0) -> Callable[[Results, float], bool | None]:
    """Whether voxofs takes no longer than a peer."""

    def met(results: Results, value: float) -> bool | None:
        ratio = _quotient(results.seconds(work), results.seconds(work, peer))
        return None if ratio is None else ratio <= factor

    return met


_ROUND_TRIPS_S = API_DELAY_S + STORAGE_DELAY_S
_FIRST, _AGAIN, _MONTH = "first 64 KiB cold", "cp -r warm", "find month cold"
_BIG, _FAR = "256 MiB, no delay", "256 MiB, 30 ms"

LINES = (
    _ratio_line("cold ls -l", "ls -l cold", 0.7, 0.4),
    _ratio_line("cold cp -r", "cp -r cold", 0.2, 0.1),
    Line(
        "cold first 64 KiB, listing known",
        f"1.3 × {_ROUND_TRIPS_S * 1000:.0f} ms",
        "1.1 ×",
        lambda results: _quotient(results.seconds(_FIRST), _ROUND_TRIPS_S),
        _times,
        _below(1.3),
        _below(1.1),
    ),
    Line(
        "  its requests",
        "2",
        "2",
        lambda results: _requests_of(results, _FIRST),
        lambda value: f"{value:g}",
        lambda results, value: value == 2,
        lambda results, value: value == 2,
    ),
    Line(
        "cp -r again",
        "1.0 × httpdirfs's cached copy",
        "tmpfs",
        lambda results: _quotient(results.seconds(_AGAIN), results.seconds(_AGAIN, "httpdirfs-cache")),
        _times,
        _below(1.0),
        _reached(_AGAIN, "tmpfs"),
    ),
    Line(
        "  against tmpfs",
        "",
        "1.0 ×",
        _against(_AGAIN, "tmpfs"),
        _times,
        _unknown,
        _below(1.0),
    ),
    Line(
        "  its requests",
        "0",
        "0",
        lambda results: _requests_of(results, _AGAIN),
        lambda value: f"{value:g}",
        _below(0),
        _below(0),
    ),
    _ratio_line("first 16 KiB of 64, 8 at a time, cold", "64 heads cold", 0.5, 0.3),
    Line(
        "64 × ffprobe, 8 at a time, cold, above local",
        "0.5 × rclone's",
        "0.2 ×",
        _probe_ratio,
        _times,
        _below(0.5),
        _below(0.2),
    ),
    Line(
        "find over a month, cold",
        "4 × API delay + CPU",
        "2 × + CPU",
        _beyond_cpu,
        lambda value: f"{value:.2f} × + CPU",
        _below(4.0),
        _below(2.0),
    ),
    Line(
        "  its report requests",
        "16",
        "16",
        lambda results: _requests_of(results, _MONTH, "reports"),
        lambda value: f"{value:g}",
        lambda results, value: value == 16,
        lambda results, value: value == 16,
    ),
    Line(
        "256 MiB sequential, no delay",
        "0.5 × curl's rate",
        "0.8 ×",
        _rate_against(_BIG, "curl"),
        _times,
        _above(0.5),
        _above(0.8),
    ),
    Line(
        "256 MiB sequential, 30 ms",
        "rclone's rate",
        "curl's",
        _rate_against(_FAR, "rclone"),
        lambda value: f"{value:.2f} × rclone's",
        _above(1.0),
        _reached(_FAR, "curl"),
    ),
    Line(
        "  against curl",
        "",
        "1.0 ×",
        _rate_against(_FAR, "curl"),
        _times,
        _unknown,
        _above(1.0),
    ),
    Line(
        "random 4 KiB reads, blocks a read",
        "1",
        "1",
        _extra("random 4 KiB", "blocks_a_read"),
        lambda value: f"{value:.2f}",
        _below(1.0),
        _below(1.0),
    ),
    Line(
        "bytes fetched: cp -r",
        "1.05 × the files",
        "1.0",
        _share("cp -r cold"),
        lambda value: f"{value:.4f} ×",
        _below(1.05),
        _below(1.0),
    ),
    Line(
        "bytes fetched: ffprobe, a file",
        "160 KiB",
        "64 KiB",
        lambda results: results.of("200 ffprobe cold", lambda run: run.fetched_bytes / 200 / 1024),
        lambda value: f"{value:.1f} KiB",
        _below(160),
        _below(64),
    ),
    Line(
        "ls -lR of 24,000 calls, RSS above idle",
        "120 MB",
        "",
        _flood_growth,
        lambda value: f"{value:.0f} MB",
        _below(120),
        _unknown,
    ),
    Line(
        "a million records, RSS after walk 2 / walk 1",
        "the same (1.05 ×)",
        "",
        _million_growth,
        _times,
        _below(1.05),
        _unknown,
    ),
)
