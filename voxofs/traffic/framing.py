"""Where an answer's head ends, and where its body does: RFC 9112 by way of llhttp, without a socket.

llhttp reads heads and chunks. A body of known length, or one that lasts until the connection closes, needs
no parser: its bytes are received where they belong, and only counted here. What comes along with the head is
the exception, and lies in `pieces`.

Stricter than h11, for none of it is sent by a server that means well: bare line feeds, folded headers, two
lengths (even equal ones), a length beside chunks, and RFC 9112's other smuggling aids are refused.
"""

from __future__ import annotations

from collections import deque

import httptools
import httpx

_OVERHEAD_BYTES = 65_536
"""The most that may come without a byte of a body: heads with the interim answers before them, trailers, a
chunk's extensions. Servers allow 8 to 16 KiB for a request's head, h11 100 KiB; a rule of thumb between."""


class Framing:
    """One answer, as far as it has come."""

    __slots__ = (
        "_overhead_bytes",
        "_parser",
        "_refusal",
        "begun",
        "chunked",
        "complete",
        "headed",
        "headers",
        "left",
        "pieces",
        "reason",
        "reusable",
        "status",
        "version",
    )

    def __init__(self) -> None:
        self.begun = False
        """Something came."""
        self.headed = False
        """The head is complete: `status`, `reason`, `version`, `headers` are what they will be."""
        self.complete = False
        """Nothing is to come any more."""
        self.reusable = False
        """The connection can carry another exchange, once this one is complete."""
        self.status = 0
        self.reason = b""
        self.version = ""
        self.headers: list[tuple[bytes, bytes]] = []
        self.pieces: deque[bytes | memoryview] = deque()
        """The body's bytes that came through the parser and were not taken yet."""
        self.chunked = False
        """The body's bytes must be fed; otherwise they are received without and told to `received`."""
        self.left: int | None = None
        """Bytes that are to come, besides `pieces`; None for as long as the connection lasts."""
        self._overhead_bytes = 0
        self._refusal = ""
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)

    def feed(self, data: memoryview) -> None:
        """Bytes from the connection, in their order. Raises `httpx.RemoteProtocolError`."""
        assert self._parser is not None
        if not self.begun:
            self.begun = True
            if data[0] != 0x48:  # llhttp reads RTSP's and ICE's answers too, and blank lines before one
                raise httpx.RemoteProtocolError("an answer that is not HTTP")
        waiting = len(self.pieces)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.complete:
                raise httpx.RemoteProtocolError(self._refusal or str(error)) from error
            self.reusable = (
                False  # something came after the answer: nothing on this connection can be trusted
            )
        self._bound(len(data), len(self.pieces) > waiting)
        if self.complete or (self.headed and not self.chunked):
            if not self.complete and self.left is not None:
                self.left -= sum(map(len, self.pieces))
            self._parser = None  # the parser and its callbacks, which are this object's, form a circle

    def _bound(self, fed_bytes: int, brought_body: bool) -> None:
        self._overhead_bytes = 0 if brought_body or self.complete else self._overhead_bytes + fed_bytes
        if self._overhead_bytes > _OVERHEAD_BYTES:
            raise httpx.RemoteProtocolError(f"more than {_OVERHEAD_BYTES} bytes of headers")

    def received(self, count: int) -> None:
        """So many bytes of the body were received without the parser."""
        if self.left is not None:
            self.left -= count
            self.complete = self.left == 0

    def ended(self) -> None:
        """The connection was closed by the other side. Raises `httpx.RemoteProtocolError` for too early."""
        self.reusable = False
        if not self.headed:
            raise httpx.RemoteProtocolError("the server closed the connection without an answer")
        if self.chunked or self.left is not None:
            raise httpx.RemoteProtocolError("the server closed the connection within a body")
        self.complete = True

    # What llhttp tells. An exception in here ends its work and becomes a refusal.

    def on_message_begin(self) -> None:
        if self.complete:
            raise httpx.RemoteProtocolError("an answer that nobody asked for")

    def on_status(self, part: bytes) -> None:
        self.reason += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.headed:  # trailers are left out (RFC 9110, 6.5.1: they may be)
            self.headers.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        self.status = self._parser.get_status_code()
        self.version = self._parser.get_http_version()
        if self.version not in ("1.1", "1.0") or self.status < 100:
            self._refuse("an answer of an unknown version or status")
        if self.status < 200 and self.status != 101:
            return  # an interim answer (RFC 9110, 15.2): the final one follows
        for name, value in self.headers:
            if len(name) == 14 and name.lower() == b"content-length":
                self.left = int(value)
            elif len(name) == 17 and name.lower() == b"transfer-encoding":
                if value.lower() != b"chunked":
                    self._refuse("an answer with a Transfer-Encoding other than chunked")
                self.chunked = True
        self.headed = True
        self.reusable = self._parser.should_keep_alive() and self.status != 101
        if self.status == 101:  # nobody asks for another protocol, so nothing is to come
            self.complete = True

    def _refuse(self, why: str) -> None:
        self._refusal = why
        raise httpx.RemoteProtocolError(why)

    def on_body(self, body: bytes) -> None:
        self.pieces.append(body)

    def on_message_complete(self) -> None:
        if self.headed:
            self.complete = True
        else:
            self.headers, self.reason = [], b""
