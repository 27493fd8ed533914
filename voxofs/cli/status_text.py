"""Words for what a mount's status says, whatever it says: numbers, sizes, times, troubles.

The status comes from a file, and a newer or an older daemon may have written it: what is missing or has an
unexpected form counts as not said.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

_MOST_SENSIBLE = 1e18
"""No count is larger: an exabyte, in bytes. A rule of thumb that keeps nonsense out of the columns."""


def troubles(status: Mapping[str, object]) -> list[str]:
    """The last errors, one line a cause, without those that a tenant's line tells."""
    tenants = table_of(status.get("tenants")).values()
    told = {one_line(table_of(tenant).get("last_error")) for tenant in tenants}
    return [line + more for line, more in errors_of(status).items() if line not in told]


def errors_of(status: Mapping[str, object]) -> dict[str, str]:
    """Every last error on a line, and how often it came."""
    errors = status.get("last_errors")
    lines = {}
    for error in errors if isinstance(errors, list) else ():
        times = number(table_of(error).get("times"))
        lines[one_line(error)] = f" ({times:,.0f} times)" if times is not None and times > 1 else ""
    return lines


def gate_troubles(gate: Mapping[str, object]) -> list[str]:
    """Why requests to one origin have to wait, where they have to."""
    words = []
    if resting_s := number(gate.get("resting_s")):
        words.append(f"at rest for {duration(resting_s)}")
    for tenant, value in table_of(gate.get("lost")).items():
        if (lost_s := number(value)) is not None:
            words.append(f"out of reach for {one_line(tenant)} ({duration(lost_s)})")
    return words


def table_of(value: object) -> Mapping[str, object]:
    """The value where it is a table, else an empty one."""
    return value if isinstance(value, dict) else {}


def number(value: object) -> float | None:
    """The value where it is a sensible number. JSON as Python reads it has NaN and Infinity."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _MOST_SENSIBLE:
        return None
    return float(value)


def one_line(value: object) -> str:
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
