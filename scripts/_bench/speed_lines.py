"""The lines that speed is held to, near and far.

`before` is the voxofs that this one is compared with; a line against it needs `--base`.
"""

from __future__ import annotations

from lines import (
    Figure,
    Line,
    above,
    as_fast,
    at_most,
    below,
    counted,
    quotient,
    rate_against,
    ratio,
    times,
    unknown,
    value,
)
from runs import Results, Run
from worlds import WORLDS

_MB = 1e6
_LS, _CP, _AGAIN, _FIRST = "ls -l cold", "cp -r cold", "cp -r warm", "first 64 KiB cold"
_PROBE, _FIND, _FULL, _LR = "64 ffprobe cold", "find month cold", "find full month", "ls -lR, 24,000 calls"
_BIG, _SLOW, _MILLION = "256 MiB, no delay", "256 MiB, 30 ms", "million, walk"


def _cpu(run: Run) -> float:
    return run.cpu_s


def _an_entry_us(run: Run) -> float:
    return 1e6 * run.cpu_s / run.entries


def _a_request_ms(run: Run) -> float:
    return 1e3 * run.cpu_s / max(1, sum(run.requests.values()))


def _cpu_line(title: str, work: str, latest: float, aim: float) -> Line:
    return at_most(title, work, "before", latest, aim, of=ratio(work, _cpu, "before"))


def _first(world_name: str, round_trips: int, latest: float, aim: float | None) -> Line:
    """The first bytes of a recording against what link and GET cannot do without."""
    world = WORLDS[world_name]
    least_s = round_trips * world.round_trip_s + world.api_delay_s + world.storage_delay_s
    return Line(
        f"{world.prefix}first 64 KiB, listing known",
        f"{latest} × {least_s * 1000:.0f} ms",
        "" if aim is None else f"{aim} ×",
        lambda results: quotient(results.seconds(world.prefix + _FIRST), least_s),
        times,
        below(latest),
        unknown if aim is None else below(aim),
    )


def _beyond_cpu(results: Results) -> float | None:
    """Seconds less the CPU seconds of daemon and `find`, in API delays."""
    waited_s = results.of(_FIND, lambda run: run.seconds - run.cpu_s - run.client_cpu_s)
    return quotient(waited_s, WORLDS["near"].api_delay_s)


def _after(number: int) -> Figure:
    return value(f"{_MILLION} {number}", lambda run: run.extra["rss_after_bytes"] / _MB)


def _growth(results: Results) -> float | None:
    return quotient(_after(2)(results), _after(1)(results))


def _a_record_bytes(run: Run) -> float:
    return (run.extra["rss_after_bytes"] - run.extra["idle_rss_bytes"]) / max(1.0, run.extra["records"])


def _floors(results: Results, number: float) -> bool | None:
    found = ratio(_FULL, _an_entry_us, "bare pyfuse3")(results)
    return None if found is None else found <= 2.0


_FAR_TLS = WORLDS["far-tls"].prefix

LINES = (
    at_most("cold ls -l", _LS, "rclone", 0.65, 0.45),
    at_most("cold cp -r", _CP, "rclone", 0.13, 0.09),
    Line(
        "cp -r again", "0.5 × rclone's full cache", "tmpfs × 1.5",
        lambda results: quotient(results.seconds(_AGAIN), results.seconds(_AGAIN, "rclone-full")),
        times, below(0.5), as_fast(_AGAIN, "tmpfs", 1.5),
    ),
    counted("  its requests", _AGAIN, 0),
    at_most("first 16 KiB of 64, 8 at a time, cold", "64 heads cold", "rclone", 0.4, 0.25),
    Line(
        "64 × ffprobe, 8 at a time: CPU", "0.25 s", "0.15 s",
        value(_PROBE, _cpu), lambda number: f"{number:.2f} s", below(0.25), below(0.15),
    ),
    _cpu_line("cold ls -l: CPU", _LS, 0.55, 0.3),
    _cpu_line("cold cp -r: CPU", _CP, 0.5, 0.3),
    Line(
        "find over 18,575 files, cold: CPU an entry", "0.4 × before", "2 × bare pyfuse3",
        ratio(_FULL, _an_entry_us, "before"), times, below(0.4), _floors,
    ),
    Line(
        "  against bare pyfuse3", "", "2 ×", ratio(_FULL, _an_entry_us, "bare pyfuse3"), times, unknown,
        below(2.0),
    ),
    at_most("256 MiB sequential, no delay", _BIG, "before", 0.5, None),
    Line(
        "  against curl", "", "2 × its time",
        lambda results: quotient(results.seconds(_BIG), results.seconds(_BIG, "curl")), times, unknown,
        below(2.0),
    ),
    Line(
        "256 MiB sequential, 30 ms", "rclone's rate", "2 × curl's time",
        rate_against(_SLOW, "rclone"), lambda number: f"{number:.2f} × rclone's", above(1.0),
        as_fast(_SLOW, "curl", 2.0),
    ),
    Line(
        "a million records: RSS after walk 1", "160 MB", "100 MB", _after(1),
        lambda number: f"{number:.0f} MB", below(160), below(100),
    ),
    Line("  after walk 2", "the same (1.05 ×)", "", _growth, times, below(1.05), unknown),
    Line(
        "  RSS a record", "400 B", "", value(f"{_MILLION} 1", _a_record_bytes),
        lambda number: f"{number:.0f} B", below(400), unknown,
    ),
    at_most(
        "ls -lR of 24,000 calls: CPU a request", _LR, "before", 0.4, 0.3,
        of=ratio(_LR, _a_request_ms, "before"),
    ),
    _first("near", 0, 1.05, None),
    counted("  its requests", _FIRST, 2),
    at_most(f"{_FAR_TLS}cold ls -l", _FAR_TLS + _LS, "rclone", 0.6, 0.4),
    at_most(f"{_FAR_TLS}cold cp -r", _FAR_TLS + _CP, "rclone", 0.12, 0.08),
    _first("far-tls", 2, 1.2, 1.05),
    _cpu_line(f"{_FAR_TLS}cold cp -r: CPU", _FAR_TLS + _CP, 0.5, 0.35),
    at_most("export of the hour", "export", "rclone", 2.0, 1.2),
    Line(
        "find over a month, cold", "4 × API delay + CPU", "2 × + CPU", _beyond_cpu,
        lambda number: f"{number:.2f} × + CPU", below(4.0), below(2.0),
    ),
    counted("  its report requests", _FIND, 16, "reports"),
    Line(
        "random 4 KiB reads, blocks a read", "1", "1",
        value("random 4 KiB", lambda run: run.extra["blocks_a_read"]),
        lambda number: f"{number:.2f}", below(1.0), below(1.0),
    ),
    Line(
        "bytes fetched: cp -r", "1.05 × the files", "1.0",
        value(_CP, lambda run: run.fetched_bytes / run.needed_bytes),
        lambda number: f"{number:.4f} ×", below(1.05), below(1.0),
    ),
    *(
        Line(
            f"bytes fetched: {tool}, a recording", "", "",
            value(f"{tool} × 200", lambda run: run.fetched_bytes / run.entries / 1024),
            lambda number: f"{number:.1f} KiB", unknown, unknown,
        )
        for tool in ("exiftool", "mediainfo", "mutagen", "file")
    ),
)  # fmt: skip
