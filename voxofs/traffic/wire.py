"""A request as it is sent: where to, and its bytes; from httpx's request, or without one for a tenth.

httpx looks at every letter of an address in Python, and then at what a body may be: 93 to 132 µs for a
signed link of 400 letters. A GET of an address in which nothing is to be mended needs none of it: the address
has two parts, its origin, which is the same for thousands of requests and is parsed once, and its path and
query, which are sent as they are. What is sent is what httpx would send; a property test holds it.
"""

from __future__ import annotations

import re
from functools import lru_cache

import httpx

from .streams import Origin

_PORTS = {"http": 80, "https": 443}
_SAFE = r"[A-Za-z0-9\-._~!$&()*+,;=:@/]*"
_REST = r"[A-Za-z0-9\-._~!$&()*+,;=:@/?]*"
_HEX = r"%[0-9A-F]{2}"
_ORIGIN = r"https?://[a-z0-9.\-]+(?::[0-9]{1,5})?"
_PLAIN_ORIGIN = re.compile(rf"{_ORIGIN}(?=[/?#])")
_PLAIN = re.compile(rf"({_ORIGIN})(/{_SAFE}(?:{_HEX}{_SAFE})*)((?:\?{_REST}(?:{_HEX}{_REST})*)?)")
"""An address that httpx would send as it is: letters of RFC 3986 (2.2, 2.3) that nobody encodes, no fragment.
Whether a segment of the path is made of dots (5.2.4) is looked at apart."""
_ORIGINS = 64
"""An API and the regions of a storage are a handful. A rule of thumb."""


@lru_cache(_ORIGINS)
def _root(origin: str) -> tuple[Origin, bytes]:
    """Whom to connect to, and what follows the target in a request. Raises `httpx.InvalidURL`."""
    root = httpx.URL(origin)
    return origin_of(root), b" HTTP/1.1\r\nHost: %s\r\n" % root.netloc


def plain_origin(url: str) -> str | None:
    """How an address begins, up to its path, where any parser would take that for its origin; else None."""
    plain = _PLAIN_ORIGIN.match(url)
    return None if plain is None else plain[0]


def address_of(url: str) -> Origin:
    """Whom to connect to. Raises `httpx.InvalidURL`, `httpx.UnsupportedProtocol`."""
    plain = plain_origin(url)
    return origin_of(httpx.URL(url)) if plain is None else _root(plain)[0]


def plain_get(url: str, fields: list[tuple[bytes, bytes]]) -> tuple[Origin, bytes] | None:
    """Whom to connect to and what to send, for a GET with these headers; None for an address that has to be
    mended. Raises `httpx.InvalidURL`, and `httpx.LocalProtocolError` for what must not be sent."""
    plain = _PLAIN.fullmatch(url)
    if plain is None or "/." in plain[2]:
        return None
    origin, host = _root(plain[1])
    lines = b"".join([b"%s: %s\r\n" % field for field in fields])
    _check(lines, len(fields))
    return origin, b"GET %s%s%s\r\n" % ((plain[2] + plain[3]).encode("ascii"), host, lines)


def origin_of(url: httpx.URL) -> Origin:
    """Whom to connect to. Raises `httpx.UnsupportedProtocol`."""
    scheme = url.scheme
    if scheme not in _PORTS or not url.host:
        raise httpx.UnsupportedProtocol("an address that is neither http nor https")
    return scheme, url.raw_host.decode("ascii"), url.port or _PORTS[scheme]


def message_of(request: httpx.Request) -> bytes:
    """The request as it is sent. Raises `httpx.LocalProtocolError` for what must not be."""
    if request.method in ("HEAD", "CONNECT"):  # their answers end where no header says so
        raise httpx.LocalProtocolError(f"no {request.method} here")
    try:
        content = request.content
    except httpx.RequestNotRead:
        raise httpx.LocalProtocolError("a request's body must be bytes") from None
    target: bytes = request.extensions.get("target") or request.url.raw_path
    if b" " in target:
        raise httpx.LocalProtocolError("a space where none may be")
    lines = [b"%s %s HTTP/1.1\r\n" % (request.method.encode("ascii"), target)]
    lines += [b"%s: %s\r\n" % field for field in request.headers.raw]
    head = b"".join(lines)
    _check(head, len(lines))
    return b"%s\r\n%s" % (head, content)


def _check(head: bytes, lines: int) -> None:
    """That it has so many lines and no more. Raises `httpx.LocalProtocolError`."""
    if head.count(b"\r") != lines or head.count(b"\n") != lines or b"\0" in head:
        raise httpx.LocalProtocolError("a line break or a NUL where none may be")
