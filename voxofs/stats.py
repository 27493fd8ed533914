"""`voxofs stats`: the mount's own status file, read and laid out for people.

The file is `.voxofs/status` in the root of every mount, not listed, JSON. Whatever is missing from it or
has an unexpected form is left out of the printing: a newer daemon may say more and an older one less.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO

from .errors import VoxofsError

STATUS_FILE = ".voxofs/status"
_WATCH_INTERVAL_S = 1.0
_CLEAR = "\x1b[H\x1b[J"


def read_status(mountpoint: str) -> str:
    """The status file's text. Raises VoxofsError that says why there is none."""
    path = Path(mountpoint, STATUS_FILE)
    try:
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
            raise VoxofsError(f"{mountpoint}: is not a mount of voxofs (there is no {STATUS_FILE})") from None
        raise VoxofsError(f"{path}: cannot be read: {error.strerror}") from None


def parse_status(text: str, mountpoint: str) -> dict[str, object]:
    """The status as a table. Raises VoxofsError when it is none."""
    try:
        status = json.loads(text)
    except (ValueError, RecursionError):
        status = None
    if not isinstance(status, dict):
        raise VoxofsError(f"{mountpoint}: {STATUS_FILE} is not a JSON object")
    return status


def report(status: Mapping[str, object]) -> str:
    """The status for people, several lines."""
    lines = [_headline(status)]
    lines += _tenants(status.get("tenants"))
    if cache := _cache(_table(status.get("cache"))):
        lines.append(f"cache      {cache}")
    if requests := _counts(status.get("requests")):
        lines.append(f"requests   {requests}")
    if now := _in_flight(_table(status.get("in_flight"))):
        lines.append(f"in flight  {now}")
    errors = status.get("last_errors")
    if isinstance(errors, list) and errors:
        lines += ["last errors", *(f"  {_one_line(error)}" for error in errors)]
    return "\n".join(lines)


def _headline(status: Mapping[str, object]) -> str:
    words = [f"voxofs {_one_line(status.get('version', '(unknown version)'))}"]
    if (uptime_s := _number(status.get("uptime_s"))) is not None:
        words.append(f"up {duration(uptime_s)}")
    return ", ".join(words)


def _tenants(tenants: object) -> list[str]:
    lines = []
    for name, tenant in _table(tenants).items():
        details = _table(tenant)
        error = details.get("last_error")
        state = "ok" if details.get("healthy", True) else "failing"
        note = f": {_one_line(error)}" if error else ""
        lines.append(f"tenant     {_one_line(name)} {state}{note}")
    return lines


def _cache(cache: Mapping[str, object]) -> str:
    parts = []
    used, limit = _number(cache.get("bytes")), _number(cache.get("limit_bytes"))
    if used is not None:
        parts.append(size(used) + (f" of {size(limit)}" if limit is not None else ""))
    hits, misses = _number(cache.get("hits")), _number(cache.get("misses"))
    if hits is not None and misses is not None:
        rate = f" ({100 * hits / (hits + misses):.0f} %)" if hits + misses > 0 else ""
        parts.append(f"{hits:,.0f} hits, {misses:,.0f} misses{rate}")
    return ", ".join(parts)


def _counts(value: object) -> str:
    """ "12 reports, 3 links" from a table of numbers; other values are left out."""
    numbers = {_one_line(name): _number(count) for name, count in _table(value).items()}
    return ", ".join(f"{count:,.0f} {name}" for name, count in numbers.items() if count is not None)


def _in_flight(gates: Mapping[str, object]) -> str:
    """ "api 2 of 32 (5 waiting), storage 0 of 32" from the gates of the origins."""
    words = []
    for name, gate in gates.items():
        now, limit = (_number(_table(gate).get(key)) for key in ("now", "limit"))
        waiting = _number(_table(gate).get("waiting"))
        if now is not None and limit is not None:
            queue = f" ({waiting:.0f} waiting)" if waiting else ""
            words.append(f"{_one_line(name)} {now:.0f} of {limit:.0f}{queue}")
    return ", ".join(words)


def _table(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _number(value: object) -> float | None:
    """The value where it is a sensible number. JSON as Python reads it has NaN and Infinity."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e18:
        return None
    return float(value)


def _one_line(value: object) -> str:
    """Any JSON value on one line without control characters: a terminal obeys them."""
    if isinstance(value, dict) and isinstance(value.get("text"), str):
        value = value["text"]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(character if character.isprintable() else " " for character in text)


def size(count_bytes: float) -> str:
    """ "58.0 MiB" from bytes."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count_bytes) < 1024:
            return f"{count_bytes:.0f} B" if unit == "B" else f"{count_bytes:.1f} {unit}"
        count_bytes /= 1024
    return f"{count_bytes:.1f} TiB"


def duration(seconds: float) -> str:
    """ "3 d 4 h", "4 h 5 min", "5 min 6 s", "6 s"."""
    whole = max(0, int(seconds))
    days, hours, minutes = whole // 86_400, whole // 3_600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def run(
    mountpoint: str,
    *,
    watch: bool,
    as_json: bool,
    out: TextIO | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Print the status once, or every second until interrupted. Raises VoxofsError."""
    stream = out or sys.stdout
    while True:
        text = read_status(mountpoint)
        status = parse_status(text, mountpoint)
        lines = json.dumps(status, ensure_ascii=False) if as_json else report(status)
        clear = _CLEAR if watch and not as_json and os.isatty(1) else ""
        print(f"{clear}{lines}", file=stream, flush=True)
        if not watch:
            return
        pause(_WATCH_INTERVAL_S)
