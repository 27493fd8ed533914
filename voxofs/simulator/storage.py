"""The storage: S3's behaviour for signed links, and plain HTML folders over the same bytes.

After the S3 documentation ("GetObject", "Error responses"): the signature covers the method, so HEAD on a
GET link is refused; an Authorization header beside a signed query is a second authentication and
refused; a range past the end, or any on an empty object, is 416; If-Match with another ETag is 412. The
link is checked when the request arrives: a body that flows is not cut when it expires.
"""

from __future__ import annotations

import re
from email.utils import formatdate
from urllib.parse import unquote

from . import links
from .audio import Audio
from .exchange import Exchange, Headers, Spoilt
from .index import folder
from .vendor import Vendor
from .wire import Connection, Receive, Scope, Send
from .world import Tenant

_KEY = re.compile(r"([^/]+)/(\d{4})/(\d\d)/(\d\d)/(\d\d)/([^/]+)\.mp3", re.DOTALL)
_RANGE = re.compile(rb"bytes=(\d*)-(\d*)")
_TWO_MECHANISMS = (
    "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string "
    "parameter or the Authorization header should be specified"
)


class Storage:
    """The application behind `sim.storage_url`."""

    def __init__(self, vendor: Vendor) -> None:
        self._vendor = vendor

    async def __call__(self, connection: Connection, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["raw_path"].decode("latin-1")
        _, first, key = [*path.split("/", 2), "", ""][:3]
        route = "audio" if first == links.BUCKET else "other"
        if first == "plain":
            route = "plain" if path.endswith(".mp3") else "index"
        entry = self._vendor.log.begin("storage", route, scope["method"])
        exchange = Exchange(self._vendor, connection, scope, receive, send, entry)
        if b"authorization" in exchange.headers:
            entry.leaked_authorization = True
        entry.range = exchange.headers.get(b"range", b"").decode("latin-1") or None
        try:
            if route == "audio":
                await self._signed(exchange, path, unquote(key))
            elif route == "plain":
                await self._plain(exchange, unquote(key))
            elif route == "index":
                await self._index(exchange, unquote(key))
            else:
                await exchange.begin()
                await exchange.s3_error(403, "AccessDenied", "Access Denied")
        except Spoilt:
            pass
        finally:
            self._vendor.log.end(entry)

    def _place(self, key: str) -> tuple[Tenant | None, str, str]:
        """Which tenant, folder and uniqueId a key names; no tenant where it names nothing."""
        match = _KEY.fullmatch(key)
        if match is None:
            return None, "", ""
        code, year, month, day, hour, unique_id = match.groups()
        return self._vendor.world.by_code.get(code), f"{year}-{month}-{day} {hour}", unique_id

    async def _signed(self, exchange: Exchange, path: str, key: str) -> None:
        tenant, wall, unique_id = self._place(key)
        await exchange.begin(None if tenant is None else tenant.id, unique_id)
        if exchange.entry.leaked_authorization:
            await exchange.s3_error(400, "InvalidArgument", _TWO_MECHANISMS)
            return
        host = exchange.headers.get(b"host", b"").decode("latin-1")
        query = exchange.scope["query_string"].decode("latin-1")
        try:
            links.verify(exchange.entry.method, host, path, query, self._vendor.storage_now())
        except links.Refused as refused:
            await exchange.s3_error(403, refused.code, refused.message)
            return
        await self._send_object(exchange, tenant, wall, unique_id)

    async def _plain(self, exchange: Exchange, key: str) -> None:
        tenant, wall, unique_id = self._place(key)
        await exchange.begin(None if tenant is None else tenant.id, unique_id)
        if exchange.entry.method not in ("GET", "HEAD"):
            await exchange.s3_error(405, "MethodNotAllowed", "The specified method is not allowed.")
            return
        await self._send_object(exchange, tenant, wall, unique_id)

    async def _index(self, exchange: Exchange, key: str) -> None:
        await exchange.begin()
        if not exchange.scope["path"].endswith("/"):
            # As web servers do. httpdirfs asks for its root without the slash and follows; rclone asks so
            # with HEAD whether a name is a file, and takes this for a no.
            where = exchange.scope["raw_path"] + b"/"
            await exchange.answer(301, [(b"location", where), (b"content-type", b"text/html")], b"Moved")
            return
        page = folder(self._vendor.world, key.strip("/"), self._vendor.now())
        if page is None:
            await exchange.answer(404, [(b"content-type", b"text/html")], b"<h1>404 Not Found</h1>")
        else:
            await exchange.answer(200, [(b"content-type", b"text/html; charset=utf-8")], page.encode())

    async def _send_object(
        self, exchange: Exchange, tenant: Tenant | None, wall: str, unique_id: str
    ) -> None:
        audio = None
        if tenant is not None:
            audio = self._vendor.world.audio(tenant, wall, unique_id, self._vendor.now())
        if audio is None:
            await exchange.s3_error(404, "NoSuchKey", "The specified key does not exist.")
            return
        if (wanted := exchange.headers.get(b"if-match")) is not None and not _matches(wanted, audio.etag):
            await exchange.s3_error(
                412, "PreconditionFailed", "At least one of the pre-conditions did not hold"
            )
            return
        headers: Headers = [
            (b"content-type", b"audio/mpeg"),
            (b"accept-ranges", b"bytes"),
            (b"etag", b'"%s"' % audio.etag.encode()),
            (b"last-modified", formatdate(audio.modified_s, usegmt=True).encode()),
            (b"server", b"AmazonS3"),
        ]
        status, start, stop = 200, 0, audio.size
        if not (exchange.fault is not None and exchange.fault.kind == "ignore_range"):
            part = parse_range(exchange.headers.get(b"range"), audio.size)
            if part is not None:
                status, (start, stop) = 206, part
        if stop < start:
            unmet = [(b"content-range", b"bytes */%d" % audio.size)]
            await exchange.s3_error(416, "InvalidRange", "The requested range is not satisfiable", unmet)
            return
        if status == 206:
            headers.append((b"content-range", b"bytes %d-%d/%d" % (start, stop - 1, audio.size)))
        await _send_bytes(exchange, audio, status, headers, start, stop)


async def _send_bytes(
    exchange: Exchange, audio: Audio, status: int, headers: Headers, start: int, stop: int
) -> None:
    async def read(at: int, end: int) -> bytes:
        return audio.read(at, end)

    await exchange.stream(status, headers, start, stop, read)


def parse_range(header: bytes | None, size: int) -> tuple[int, int] | None:
    """[start, stop) of a Range header; None where it is absent, unreadable or several (the whole object
    is sent then, as S3 does); stop before start where it cannot be met (RFC 9110, 14.1.2)."""
    match = header is not None and _RANGE.fullmatch(header.strip())
    if not match:
        return None
    first, last = match.groups()
    if first:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    elif last:
        start, stop = max(0, size - int(last)), size
        start = start if int(last) else size
    else:
        return None
    return (start, stop) if start < size else (1, 0)


def _matches(header: bytes, etag: str) -> bool:
    given = [word.strip().strip(b'"') for word in header.split(b",")]
    return b"*" in given or etag.encode() in given
