"""Prometheus metrics on a local address: the status file's numbers in the text format, version 0.0.4.

Off unless `[metrics] listen` names an address. Serves /metrics and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import trio
from hypercorn.config import Config as ServerConfig
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

Facts = Mapping[str, Any]

_GAUGES = (
    ("voxofs_uptime_seconds", "Seconds since the mount began.", ("uptime_s",)),
    ("voxofs_cache_bytes", "Bytes of audio in memory.", ("cache", "bytes")),
    ("voxofs_cache_limit_bytes", "Most bytes of audio in memory.", ("cache", "limit_bytes")),
    ("voxofs_catalog_records", "Records in memory.", ("catalog", "records")),
    ("voxofs_catalog_windows", "Report windows in memory.", ("catalog", "windows")),
    ("voxofs_fetches", "Fetches of audio under way.", ("fetches",)),
    ("voxofs_inodes", "Inodes that the kernel knows.", ("kernel", "inodes")),
    ("voxofs_handles", "Open files.", ("kernel", "handles")),
)
_COUNTERS = (
    ("voxofs_cache_hits_total", "Blocks that were in memory when wanted.", ("cache", "hits")),
    ("voxofs_cache_misses_total", "Blocks that were not.", ("cache", "misses")),
)


def exposition(facts: Facts) -> str:
    """The facts of a status file in Prometheus's text format."""
    return "\n".join(_lines(facts)) + "\n"


def _lines(facts: Facts) -> Iterator[str]:
    for kind, table in (("gauge", _GAUGES), ("counter", _COUNTERS)):
        for name, help_text, path in table:
            value: Any = facts
            for key in path:
                value = value[key]
            yield from _metric(name, kind, help_text, {"": value})
    requests, read = facts["requests"], facts["bytes"]
    yield from _metric("voxofs_requests_total", "counter", "Requests by kind.", _labelled("kind", requests))
    yield from _metric(
        "voxofs_bytes_total", "counter", "Bytes received by origin.", _labelled("origin", read)
    )
    flight = facts["in_flight"]
    for key, help_text in (
        ("now", "Requests under way."),
        ("waiting", "Requests waiting for their turn."),
        ("limit", "Most requests at once, at present."),
    ):
        values = {origin: gate[key] for origin, gate in flight.items()}
        yield from _metric(f"voxofs_requests_{key}", "gauge", help_text, _labelled("origin", values))
    healthy = {name: int(tenant["healthy"]) for name, tenant in facts["tenants"].items()}
    yield from _metric("voxofs_tenant_healthy", "gauge", "1 while all is well.", _labelled("tenant", healthy))


def _metric(name: str, kind: str, help_text: str, values: Mapping[str, float]) -> Iterator[str]:
    yield f"# HELP {name} {help_text}"
    yield f"# TYPE {name} {kind}"
    for label, value in values.items():
        yield f"{name}{label} {value}"


def _labelled(label: str, values: Mapping[str, float]) -> dict[str, float]:
    def escaped(text: str) -> str:
        return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

    return {f'{{{label}="{escaped(key)}"}}': value for key, value in values.items()}


async def serve_metrics(listen: str, facts: Callable[[], Facts]) -> None:
    """Answer /metrics on `listen` ("127.0.0.1:9847") until cancelled. Raises `OSError` where it is taken."""

    async def metrics(_: Request) -> PlainTextResponse:
        return PlainTextResponse(exposition(facts()), media_type="text/plain; version=0.0.4")

    config = ServerConfig()
    config.bind = [listen]
    config.accesslog = config.errorlog = None
    config.include_server_header = False
    application = Starlette(routes=[Route("/metrics", metrics)])
    await partial(serve, application, config, shutdown_trigger=trio.sleep_forever)()  # type: ignore[arg-type]
