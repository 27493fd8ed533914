"""Plain HTML folders, in the form of a web server's directory listing.

For peers in benchmarks that mount an HTTP index (`rclone mount :http:`, httpdirfs): the same bytes as the
signed links give, behind the same delay, in the same tree `code/YYYY/MM/DD/HH/uniqueId.mp3`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html import escape
from urllib.parse import quote

from .world import Tenant, World

_PLACE = re.compile(r"(\d{4})(?:/(\d\d)(?:/(\d\d)(?:/(\d\d))?)?)?")


def folder(world: World, key: str, now_s: float) -> str | None:
    """The page of one folder (`` is the root); None where there is no such folder."""
    if not key:
        return _page("/", [_row(f"{code}/", "-", now_s) for code in sorted(world.by_code)])
    code, _, rest = key.partition("/")
    tenant = world.by_code.get(code)
    if tenant is None:
        return None
    if not rest:
        return _parts(tenant, "", 4, key, now_s)
    match = _PLACE.fullmatch(rest)
    if match is None:
        return None
    year, month, day, hour = match.groups()
    if hour:
        return _hour(tenant, f"{year}-{month}-{day} {hour}", key, now_s, world)
    prefix = "-".join(part for part in (year, month, day) if part)
    return _parts(tenant, prefix + (" " if day else "-"), 2, key, now_s)


def _parts(tenant: Tenant, prefix: str, width: int, key: str, now_s: float) -> str | None:
    names = tenant.parts(prefix, width, now_s)
    return _page(f"/{key}/", [_row(f"{name}/", "-", now_s) for name in names]) if names else None


def _hour(tenant: Tenant, wall: str, key: str, now_s: float, world: World) -> str | None:
    rows = []
    for unique_id, _, _ in tenant.names(wall, now_s):
        audio = world.audio(tenant, wall, unique_id, now_s)
        if audio is not None:
            rows.append(_row(f"{unique_id}.mp3", str(audio.size), audio.modified_s))
    return _page(f"/{key}/", rows) if rows else None


def _row(name: str, size: str, modified_s: float) -> str:
    stamp = datetime.fromtimestamp(modified_s, UTC).strftime("%d-%b-%Y %H:%M")
    return f'<a href="{quote(name)}">{escape(name)}</a>{" " * max(1, 51 - len(name))}{stamp}{size:>20}'


def _page(title: str, rows: list[str]) -> str:
    name = f"Index of {escape(title)}"
    head = f"<html>\n<head><title>{name}</title></head>\n<body>\n<h1>{name}</h1><hr>"
    body = "\n".join(['<pre><a href="../">../</a>', *rows])
    return f"{head}{body}\n</pre><hr></body>\n</html>\n"
