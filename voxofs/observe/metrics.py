"""Prometheus metrics on a local address: the status file's numbers in the text format, version 0.0.4.

Off unless `[metrics] listen` names an address. Serves /metrics and nothing else.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import h11
import trio

Facts = Mapping[str, Any]

_CONNECTIONS = 16
"""Connections at once. A mount has one or two Prometheus servers. A rule of thumb."""
_PATIENCE_S = 5.0
"""For one request and its answer; half of Prometheus's own `scrape_timeout`."""
_REQUEST_BYTES = 16_384
"""Of a request's head, h11's own limit."""

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
    ("voxofs_cache_hits_total", "Blocks that had been read before.", ("cache", "hits")),
    ("voxofs_cache_ahead_total", "Blocks that had been fetched ahead.", ("cache", "ahead")),
    ("voxofs_cache_misses_total", "Blocks that were waited for.", ("cache", "misses")),
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
    if (disk := facts.get("disk")) is not None:
        yield from _disk(disk)
    if (audit := facts.get("audit")) is not None:
        working = {"": int(audit["state"] == "working")}
        yield from _metric("voxofs_audit_working", "gauge", "1 while the audit is written.", working)
    healthy = {name: int(tenant["healthy"]) for name, tenant in facts["tenants"].items()}
    yield from _metric("voxofs_tenant_healthy", "gauge", "1 while all is well.", _labelled("tenant", healthy))


def _disk(disk: Facts) -> Iterator[str]:
    working = int(disk["state"] == "working")
    yield from _metric("voxofs_disk_working", "gauge", "1 while the disk tier works.", {"": working})
    yield from _metric("voxofs_disk_bytes", "gauge", "Bytes of audio on the disk.", {"": disk["bytes"]})
    yield from _metric(
        "voxofs_disk_limit_bytes", "gauge", "Most bytes of audio on the disk.", {"": disk["limit_bytes"]}
    )
    yield from _metric(
        "voxofs_disk_events_total", "counter", "What the disk tier did.", _labelled("event", disk["counts"])
    )


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
    """Answer /metrics on `listen` ("127.0.0.1:9847") until cancelled. Raises `OSError` where it is taken.

    One connection, one request; whoever takes long over it, or is one of too many, is hung up on. An answer
    takes a few milliseconds, so those who ask are served however many only hold a connection open.
    """
    host, _, port = listen.rpartition(":")
    listeners = await trio.open_tcp_listeners(int(port), host=host.strip("[]"), backlog=_CONNECTIONS)
    open_connections: OrderedDict[trio.SocketStream, trio.CancelScope] = OrderedDict()

    async def serve(stream: trio.SocketStream) -> None:
        if len(open_connections) >= _CONNECTIONS:
            open_connections.popitem(last=False)[1].cancel()
        with trio.move_on_after(_PATIENCE_S) as scope:
            open_connections[stream] = scope
            try:
                await _answer(stream, facts)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # the other side is gone
            finally:
                open_connections.pop(stream, None)

    await trio.serve_listeners(serve, listeners)


async def _answer(stream: trio.SocketStream, facts: Callable[[], Facts]) -> None:
    """Read one request and answer it."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_REQUEST_BYTES)
    head_only = False
    try:
        while (event := connection.next_event()) is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some(_REQUEST_BYTES))
        if not isinstance(event, h11.Request):
            return
        status, text = _page(event, facts)
        head_only = event.method == b"HEAD"
    except h11.RemoteProtocolError as error:
        status, text = error.error_status_hint, "this is no request\n"
    body = text.encode()
    headers = [
        ("content-type", "text/plain; version=0.0.4; charset=utf-8"),
        ("content-length", str(len(body))),
        ("connection", "close"),
    ]
    with suppress(h11.LocalProtocolError):  # the other side's mistake may leave no place for an answer
        parts = [
            connection.send(h11.Response(status_code=status, headers=headers)),
            connection.send(h11.Data(data=b"" if head_only else body)),
            connection.send(h11.EndOfMessage()),
        ]
        await stream.send_all(b"".join(part for part in parts if part))


def _page(request: h11.Request, facts: Callable[[], Facts]) -> tuple[int, str]:
    if request.target.partition(b"?")[0] != b"/metrics":
        return 404, "there is /metrics and nothing else\n"
    if request.method not in (b"GET", b"HEAD"):
        return 405, "/metrics can only be read\n"
    return 200, exposition(facts())
