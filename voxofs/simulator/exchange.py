"""One request and its answer, faults and log included. Both apps answer through this.

An app reads the request, calls `begin` once it knows what is asked (that waits the origin's delay and lets
faults act), and then `answer` or `stream`. A fault that takes the answer over ends the app's part by
raising `Spoilt`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from email.utils import formatdate
from functools import lru_cache
from typing import Any, NoReturn

import msgspec
import trio

from .audio import PIECE_BYTES
from .bomb import gzip_bomb
from .faults import Fault
from .log import Entry
from .vendor import Vendor
from .wire import Connection, Receive, Scope, Send

_DRIP_BYTES = 1_024
"""The largest drop of a body that trickles: less than a packet, so that it is seen to trickle."""

Headers = list[tuple[bytes, bytes]]
_JSON = (b"content-type", b"application/json; charset=utf-8")
_XML = (b"content-type", b"application/xml")
_HTML = (b"content-type", b"text/html")

_FEATHERS = {
    400: ("BadRequest", "bad-request"),
    401: ("NotAuthenticated", "not-authenticated"),
    403: ("Forbidden", "forbidden"),
    404: ("NotFound", "not-found"),
    405: ("MethodNotAllowed", "method-not-allowed"),
    408: ("Timeout", "timeout"),
    429: ("TooManyRequests", "too-many-requests"),
    500: ("GeneralError", "general-error"),
    503: ("Unavailable", "unavailable"),
}
_S3_CODES = {400: "InvalidArgument", 403: "AccessDenied", 404: "NoSuchKey", 429: "SlowDown", 503: "SlowDown"}


class Spoilt(Exception):
    """A fault has answered, or broken, this request."""


class Exchange:
    """A request being answered."""

    __slots__ = (
        "_receive",
        "_send",
        "_storage",
        "connection",
        "entry",
        "fault",
        "headers",
        "scope",
        "vendor",
    )

    def __init__(
        self,
        vendor: Vendor,
        connection: Connection,
        scope: Scope,
        receive: Receive,
        send: Send,
        entry: Entry,
    ) -> None:
        self.vendor = vendor
        self.connection = connection
        self.scope = scope
        self.entry = entry
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.fault: Fault | None = None
        self._receive = receive
        self._send = send
        self._storage = entry.origin == "storage"

    async def body(self) -> bytes:
        """The request's body."""
        parts = []
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                raise Spoilt
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                return b"".join(parts)

    async def begin(self, tenant: int | None = None, unique_id: str | None = None) -> None:
        """Wait the origin's delay, then let a fault act. Raises `Spoilt` where it takes the answer over."""
        entry = self.entry
        entry.tenant, entry.unique_id = tenant, unique_id
        delay_s = self.vendor.storage_delay_s if self._storage else self.vendor.api_delay_s
        in_flight = self.vendor.log.in_flight[entry.origin]
        fault = self.vendor.faults.choose(
            entry.origin, entry.route, entry.method, tenant, unique_id, in_flight
        )
        if fault is not None:
            self.fault = fault
            entry.fault = fault.kind
            if fault.kind == "queue":
                await self.vendor.faults.turn(fault)
            elif fault.kind == "crowded":
                delay_s = 0.0
            else:
                delay_s += fault.delay_s
        if delay_s > 0:
            await trio.sleep(delay_s)
        if fault is not None:
            await self._act(fault)

    async def _act(self, fault: Fault) -> None:
        if fault.kind in ("status", "crowded"):
            await self._answer_fault(fault)
        elif fault.kind == "garbage_json":
            await self.answer(200, [_JSON], (fault.body or '[{"id": "f36bd91a-cd09", "sta').encode())
        elif fault.kind == "gzip_bomb":
            body = await trio.to_thread.run_sync(gzip_bomb, fault.size)
            await self.answer(200, [_JSON, (b"content-encoding", b"gzip")], body)
        elif fault.kind == "expired" and self._storage:
            await self.s3_error(403, "AccessDenied", "Request has expired")
        elif fault.kind == "replace_midway" and fault.after_bytes is None:
            self._replace()
            return
        elif fault.kind == "reset_before":
            self.vendor.log.end(self.entry)
            self.connection.reset()
        elif fault.kind == "stall":
            await self._until_gone()
        else:
            return
        raise Spoilt

    async def _answer_fault(self, fault: Fault) -> None:
        body, status = fault.body, fault.status
        extra = [] if fault.retry_after is None else [(b"retry-after", fault.retry_after.encode())]
        if body is None:
            body = "xml" if self._storage else "json"
        if body == "json":
            await self.api_error(status, "simulated fault", extra)
        elif body == "xml":
            await self.s3_error(status, _S3_CODES.get(status, "InternalError"), "Simulated fault.", extra)
        elif body == "html":
            page = f"<html><head><title>{status}</title></head><body><h1>{status}</h1><hr>nginx</body></html>"
            await self.answer(status, [_HTML, *extra], page.encode())
        else:
            await self.answer(status, [_JSON, *extra], body.encode())

    async def _until_gone(self) -> None:
        """Until the client has closed its side."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def api_error(self, status: int, message: str, extra: Headers | None = None) -> None:
        """An error in the form of the vendor's Feathers application."""
        name, class_name = _FEATHERS.get(status, ("GeneralError", "general-error"))
        error = {"name": name, "message": message, "code": status, "className": class_name, "errors": {}}
        await self.answer(status, [_JSON, *(extra or [])], msgspec.json.encode(error))

    async def s3_error(self, status: int, code: str, message: str, extra: Headers | None = None) -> None:
        """An error in S3's form."""
        page = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>'
            f"<RequestId>{self.entry.seq:016X}</RequestId></Error>"
        )
        await self.answer(status, [_XML, *(extra or [])], page.encode())

    async def json(self, value: Any, status: int = 200) -> None:
        """`value` as JSON."""
        await self.answer(status, [_JSON], msgspec.json.encode(value))

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer from memory."""

        async def read(start: int, stop: int) -> bytes:
            return body[start : min(stop, start + PIECE_BYTES)]

        await self.stream(status, headers, 0, len(body), read)

    async def stream(
        self,
        status: int,
        headers: Headers,
        start: int,
        stop: int,
        read: Callable[[int, int], Awaitable[bytes]],
    ) -> None:
        """An answer whose body is `read(start, stop)`, asked for piece by piece; body faults act here."""
        length = stop - start
        headers.append((b"content-length", b"%d" % length))
        headers.extend(self._date())
        self.entry.status = status
        cut = self._cut(length)
        self.connection.cork()
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        head_only = self.entry.method == "HEAD"
        at, end = start, start if head_only else stop if cut is None else start + cut
        drip = self._drip_bytes()
        if drip:
            await self.connection.flush()
        while at < end and not self.connection.gone:
            if drip and self.fault is not None:
                await trio.sleep(drip / self.fault.bytes_per_s)
            piece = await read(at, min(end, at + drip) if drip else end)
            at += len(piece)
            self.entry.bytes_sent += len(piece)
            if at >= stop:
                self._complete()
            await self._send({"type": "http.response.body", "body": piece, "more_body": at < stop})
        if self.connection.gone or (cut is not None and not head_only):
            await self._break_off()
        if at == start:  # no body: the head waits still
            self._complete()
            await self.connection.flush()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def _complete(self) -> None:
        """What must have happened when the client has read the answer's last byte."""
        fault = self.fault
        if fault is not None and fault.kind == "replace_midway" and fault.after_bytes is not None:
            self._replace()
        self.vendor.log.end(self.entry)

    def _cut(self, length: int) -> int | None:
        """After how many bytes of the body a fault breaks the answer off; None: it does not."""
        fault = self.fault
        if fault is None or fault.kind not in ("reset_body", "truncate", "stall_body", "replace_midway"):
            return None
        if fault.kind == "replace_midway" and fault.after_bytes is None:
            return None
        after = length // 2 if fault.after_bytes is None else fault.after_bytes
        return after if after < length else None

    async def _break_off(self) -> NoReturn:
        fault = self.fault
        await self.connection.flush()
        if fault is not None and fault.kind == "stall_body":
            await self._until_gone()
        elif fault is not None and fault.kind == "reset_body":
            self.vendor.log.end(self.entry)
            self.connection.reset()
        elif fault is not None and fault.kind == "replace_midway":
            self._replace()
        raise Spoilt  # truncate, replace_midway: the server closes, the length being unmet

    def _replace(self) -> None:
        if self.entry.tenant is not None and self.entry.unique_id is not None:
            self.vendor.replace_audio(self.entry.tenant, self.entry.unique_id)

    def _drip_bytes(self) -> int:
        """How much of a trickling body comes at a time, at least once a second; 0: it does not trickle."""
        if self.fault is None or self.fault.kind != "trickle":
            return 0
        return max(1, min(_DRIP_BYTES, int(self.fault.bytes_per_s)))

    def _date(self) -> Headers:
        """The Date header by this origin's clock, unless a fault has it otherwise."""
        now_s = self.vendor.storage_now() if self._storage else self.vendor.now()
        if self.fault is not None and self.fault.kind == "date":
            if self.fault.date is not None:
                return [(b"date", self.fault.date.encode("latin-1"))] if self.fault.date else []
            now_s += self.fault.skew_s
        return [(b"date", _date(int(now_s)))]


@lru_cache(maxsize=8)
def _date(now_s: int) -> bytes:
    """The Date header (RFC 9110, 5.6.7), made once a second."""
    return formatdate(now_s, usegmt=True).encode()
