"""`voxofs stats`: the mount's own status file, read and laid out for people.

The file is `.voxofs/status` in the root of every mount, not listed, JSON. Whatever is missing from it or
has an unexpected form is left out of the printing: a newer daemon may say more and an older one less.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO

from voxofs.errors import Exit, VoxofsError

from .parser import Commands
from .status_text import duration, errors_of, gate_troubles, number, one_line, size, table_of, troubles

_HELP = """
examples:
  voxofs stats ~/calls
  voxofs stats ~/calls --watch             every second, until Ctrl-C
  voxofs stats ~/calls --json | jq .cache
"""

_WATCH_INTERVAL_S = 1.0
"""A rule of thumb: as often as a person can read the lines."""


def add_to(commands: Commands) -> None:
    parser = commands.add("stats", run, summary="show what a mount is doing", epilog=_HELP)
    parser.add_argument("--watch", "-w", action="store_true", help="every second, until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="as the mount's status file has it, one line")
    parser.add_argument("mountpoint", metavar="MOUNTPOINT")


def run(options: argparse.Namespace) -> int:
    """Show the status once, or until Ctrl-C. Raises VoxofsError."""
    try:
        show(options.mountpoint, watch=options.watch, as_json=options.json)
    except KeyboardInterrupt:
        if not options.watch:
            raise
    return Exit.OK


def show(
    mountpoint: str,
    *,
    watch: bool,
    as_json: bool,
    out: TextIO | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Print the status once, or every second until interrupted, which at a terminal is a screen. Raises
    VoxofsError."""
    stream = out or sys.stdout
    if watch and not as_json and out is None and sys.stdout.isatty():
        from .stats_screen import watch as watch_screen

        watch_screen(
            mountpoint, lambda: parse_status(read_status(mountpoint), mountpoint), pause, _WATCH_INTERVAL_S
        )
    while True:
        text = read_status(mountpoint)
        status = parse_status(text, mountpoint)
        lines = json.dumps(status, ensure_ascii=False) if as_json else report(status)
        print(lines, file=stream, flush=True)
        if not watch:
            return
        pause(_WATCH_INTERVAL_S)


def status_file() -> str:
    """The status file's path below the mountpoint."""
    from voxofs.core.tree import STATUS_FILE, STATUS_FOLDER

    return f"{STATUS_FOLDER}/{STATUS_FILE}"


def read_status(mountpoint: str) -> str:
    """The status file's text, for any path in a mount. Raises VoxofsError that says why there is none."""
    path = Path(mountpoint, status_file())
    try:
        try:
            return path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            path = Path(_root_of(mountpoint), status_file())
            return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise VoxofsError(f"{path}: is not UTF-8 text, so it is not voxofs's") from None
    except OSError as error:
        if error.errno in (errno.ENOTCONN, errno.ECONNABORTED):
            raise VoxofsError(
                f"{mountpoint}: the daemon behind this mount is gone; mount it again, or remove it with: "
                f"voxofs umount {shlex.quote(mountpoint)}"
            ) from None
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise VoxofsError(
                f"{mountpoint}: is not a mount of voxofs (there is no {status_file()})"
            ) from None
        raise VoxofsError(f"{path}: cannot be read: {error.strerror}") from None


def _root_of(path: str) -> str:
    """The mountpoint of the mount of ours that a path lies in. Raises FileNotFoundError for none."""
    from voxofs.daemon import mount_table as mounts

    entry = mounts.entry_above(mounts.real_path(path))
    if entry is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return entry.mountpoint


def parse_status(text: str, mountpoint: str) -> dict[str, object]:
    """The status as a table. Raises VoxofsError when it is none."""
    try:
        status = json.loads(text)
    except (ValueError, RecursionError):
        status = None
    if not isinstance(status, dict):
        raise VoxofsError(f"{mountpoint}: {status_file()} is not a JSON object")
    return status


def report(status: Mapping[str, object]) -> str:
    """The status for people, several lines."""
    lines = [_headline(status)]
    lines += _tenants(status)
    if cache := _cache(table_of(status.get("cache"))):
        lines.append(f"cache      {cache}")
    if tier := _disk(table_of(status.get("disk"))):
        lines.append(f"disk       {tier}")
    if audit := _audit(table_of(status.get("audit"))):
        lines.append(f"audit      {audit}")
    if requests := _counts(status.get("requests")):
        lines.append(f"requests   {requests}")
    if now := _in_flight(table_of(status.get("in_flight"))):
        lines.append(f"in flight  {now}")
    if trouble := _trouble(table_of(status.get("in_flight"))):
        lines.append(f"trouble    {trouble}")
    if errors := troubles(status):
        lines += ["last errors", *(f"  {error}" for error in errors)]
    return "\n".join(lines)


def _headline(status: Mapping[str, object]) -> str:
    words = [f"voxofs {one_line(status.get('version', '(unknown version)'))}"]
    if (uptime_s := number(status.get("uptime_s"))) is not None:
        words.append(f"up {duration(uptime_s)}")
    return ", ".join(words)


def _tenants(status: Mapping[str, object]) -> list[str]:
    lines, times = [], errors_of(status)
    for name, tenant in table_of(status.get("tenants")).items():
        details = table_of(tenant)
        error = details.get("last_error")
        state = "ok" if details.get("healthy", True) else "failing"
        note = f": {one_line(error)}{times.get(one_line(error), '')}" if error else ""
        lines.append(f"tenant     {one_line(name)} {state}{note}")
    return lines


def _cache(cache: Mapping[str, object]) -> str:
    parts = []
    used, limit = number(cache.get("bytes")), number(cache.get("limit_bytes"))
    if used is not None:
        parts.append(size(used) + (f" of {size(limit)}" if limit is not None else ""))
    counts = {name: number(cache.get(name)) for name in ("hits", "ahead", "misses")}
    hits, ahead, misses = counts.values()
    if hits is not None and misses is not None:
        rate = f" ({100 * hits / all_:.0f} %)" if (all_ := hits + (ahead or 0) + misses) > 0 else ""
        fetched = f"{ahead:,.0f} fetched ahead, " if ahead is not None else ""
        parts.append(f"{hits:,.0f} hits{rate}, {fetched}{misses:,.0f} misses")
    return ", ".join(parts)


def _disk(disk: Mapping[str, object]) -> str:
    """The disk tier: state and reason, what it holds, what it did."""
    if not disk:
        return ""
    reason = disk.get("reason")
    state = one_line(disk.get("state", "unknown"))
    if reason:
        return f"{state}: {one_line(reason)}"
    parts = [state]
    used, limit = number(disk.get("bytes")), number(disk.get("limit_bytes"))
    if used is not None and limit is not None:
        parts.append(f"{size(used)} of {size(limit)}")
    counts = table_of(disk.get("counts"))
    told = [(name, number(counts.get(name))) for name in ("hits", "misses", "dropped", "damaged")]
    parts += [f"{count:,.0f} {name}" for name, count in told if count]
    return ", ".join(parts)


def _audit(audit: Mapping[str, object]) -> str:
    """Whether lines are written, and how many wait or are lost."""
    if not audit:
        return ""
    reason = audit.get("reason")
    parts = [f"{one_line(audit.get('state', 'unknown'))}{f': {one_line(reason)}' if reason else ''}"]
    told = [(name, number(audit.get(name))) for name in ("written", "waiting", "lost")]
    parts += [f"{count:,.0f} {name}" for name, count in told if count]
    return ", ".join(parts)


def _counts(value: object) -> str:
    """ "12 reports, 3 links" from a table of numbers; other values are left out."""
    numbers = {one_line(name): number(count) for name, count in table_of(value).items()}
    return ", ".join(f"{count:,.0f} {name}" for name, count in numbers.items() if count is not None)


def _in_flight(gates: Mapping[str, object]) -> str:
    """ "api 2 of 32 (5 waiting), storage 0 of 32" from the gates of the origins."""
    words = []
    for name, gate in gates.items():
        now, limit = (number(table_of(gate).get(key)) for key in ("now", "limit"))
        waiting = number(table_of(gate).get("waiting"))
        if now is not None and limit is not None:
            queue = f" ({waiting:.0f} waiting)" if waiting else ""
            words.append(f"{one_line(name)} {now:.0f} of {limit:.0f}{queue}")
    return ", ".join(words)


def _trouble(gates: Mapping[str, object]) -> str:
    """ "api out of reach for acme (1 min 5 s), storage at rest for 59 min 3 s" where that is so."""
    return ", ".join(
        f"{one_line(name)} {trouble}"
        for name, gate in gates.items()
        for trouble in gate_troubles(table_of(gate))
    )
