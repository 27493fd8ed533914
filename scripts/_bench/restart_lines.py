"""The lines that what outlives a mount is held to."""

from __future__ import annotations

from lines import Line, above, against, as_fast, below, counted, quotient, rate_against, times, unknown
from runs import Results

_AGAIN, _DAY, _LONG = "cp -r restart", "ls -lR day, restart", "256 MiB, restart"
_MB = 1e6


def _better_peer(results: Results) -> float | None:
    """Of rclone's full cache and httpdirfs's, the one that is faster."""
    peers = [results.seconds(_AGAIN, system) for system in ("rclone-full", "httpdirfs-cache")]
    known = [seconds for seconds in peers if seconds is not None]
    return quotient(results.seconds(_AGAIN), min(known)) if known else None


def _above_none(results: Results) -> float | None:
    full, none = (
        results.of(work, lambda run: run.extra["rss_after_bytes"])
        for work in ("cp -r, full tier", "cp -r, no tier")
    )
    return None if full is None or none is None else (full - none) / _MB


LINES = (
    Line(
        "cp -r after a restart", "0.3 × the better peer", "tmpfs + 30 %", _better_peer, times,
        below(0.3), as_fast(_AGAIN, "tmpfs", 1.3),
    ),
    Line(
        "  against tmpfs", "", "1.3 ×", against(_AGAIN, "tmpfs"), times, unknown, below(1.3)
    ),
    counted("  its requests", _AGAIN, 0),
    Line(
        "ls -lR of 24,000 calls after a restart", "0.2 × cold", "plain find",
        lambda results: quotient(results.seconds(_DAY), results.seconds("ls -lR day, cold")), times,
        below(0.2), as_fast(_DAY, "voxofs", 1.0, "find day, restart"),
    ),
    Line(
        "  against find", "", "1.0 ×",
        lambda results: quotient(results.seconds(_DAY), results.seconds("find day, restart")), times,
        unknown, below(1.0),
    ),
    counted("  its requests", _DAY, 0),
    Line(
        "256 MiB from the tier", "0.5 × gocryptfs's rate", "1.0 ×", rate_against(_LONG, "gocryptfs"),
        times, above(0.5), above(1.0),
    ),
    counted("  its requests", _LONG, 0),
    Line(
        "cold cp -r, tier on against off", "1.10 ×", "1.02 ×",
        lambda results: quotient(results.seconds("cp -r, tier on"), results.seconds("cp -r, tier off")),
        times, below(1.1), below(1.02),
    ),
    Line(
        "RSS with 20 GiB in the tier, above one without", "40 MB", "10 MB", _above_none,
        lambda value: f"{value:.1f} MB", below(40), below(10),
    ),
)  # fmt: skip
