"""A request as it is sent: where to, and its bytes; and addresses that are not read letter by letter.

httpx looks at every letter of an address in Python: 89 µs for a signed link of 400 letters, where the rest of
the request takes 20. An address in which nothing is to be mended (`split`) goes to httpx in two parts: its
origin, which is the same for thousands of requests and is parsed once, and its path and query as they are,
as the *target*, which is an extension of httpx's (its documentation, "Extensions").
"""

from __future__ import annotations

import re
from functools import lru_cache

import httpx

from .streams import Origin

_PORTS = {"http": 80, "https": 443}
_SAFE = r"[A-Za-z0-9\-._~!$&()*+,;=:@/]|%[0-9A-F]{2}"
_PLAIN = re.compile(rf"(https?://[a-z0-9.\-]+(?::[0-9]{{1,5}})?)(/(?:{_SAFE})*(?:\?(?:{_SAFE}|\?)*)?)")
"""An address that httpx would send as it is: letters of RFC 3986 (2.2, 2.3) that nobody encodes, no fragment.
Whether a segment of the path is made of dots (5.2.4) is looked at apart."""
_ORIGINS = 64
"""An API and the regions of a storage are a handful. A rule of thumb."""


@lru_cache(_ORIGINS)
def _root(origin: str) -> httpx.URL:
    return httpx.URL(origin)


def split(url: str) -> tuple[httpx.URL, dict[str, bytes]]:
    """An address for `httpx.Request`, and the extension that makes it whole: what is sent is what httpx makes
    of the address alone. Raises `httpx.InvalidURL`."""
    plain = _PLAIN.fullmatch(url)
    if plain is None or "/." in url.partition("?")[0]:
        return httpx.URL(url), {}
    return _root(plain[1]), {"target": plain[2].encode("ascii")}


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
    lines = [b"%s %s HTTP/1.1\r\n" % (request.method.encode("ascii"), target)]
    lines += [b"%s: %s\r\n" % field for field in request.headers.raw]
    head = b"".join(lines)
    ends = len(lines)
    if head.count(b"\r") != ends or head.count(b"\n") != ends or b"\0" in head or b" " in target:
        raise httpx.LocalProtocolError("a line break, a NUL or a space where none may be")
    return b"%s\r\n%s" % (head, content)
