"""The storage behind the links: ranged GETs of recordings, and what the answers mean.

A link is signed for GET alone, so a size is learned from the first ranged GET (public S3 behaviour). No
header of ours carries a credential: the link is one, and a second would be refused and given away.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from voxofs.errors import AccessDenied, BadAnswer, NotFound, Replaced, Unavailable, VoxofsError
from voxofs.model import Version
from voxofs.observe.health import Meter
from voxofs.traffic.demand import Demand
from voxofs.traffic.gate import Gate
from voxofs.traffic.http import Answer, HttpClient
from voxofs.traffic.retry import is_passing

from .address import Addresses

_CONTENT_RANGE = re.compile(r"bytes (?:([0-9]{1,18})-([0-9]{1,18})|\*)/([0-9]{1,18})")
_ERROR_BODY_BYTES = 65_536
"""S3's error bodies have under 1 KiB; a proxy's page may have more, and its end does not matter."""
_NOT_AUDIO = frozenset(
    {"text/html", "application/xhtml+xml", "application/json", "application/xml", "text/xml"}
)
_ACTUAL_SIZE = re.compile(rb"<ActualObjectSize>([0-9]{1,18})</ActualObjectSize>")
_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,60})</Code>")


class LinkRefused(AccessDenied):
    """403 from the storage: expired, wrongly signed, or not allowed. A fresh link may be taken once."""


@dataclass
class Transfer:
    """An accepted range: where its bytes begin, to which version they belong, and the bytes to come."""

    version: Version
    begins: int
    ends: int
    """One past the last byte that is to come."""
    answer: Answer
    meter: Meter

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The bytes as they arrive. May stop short without an error: count them."""
        if not self.version.size:  # what there is to read, if anything, is an error's text, and read already
            return
        async with aclosing(self.answer.pieces()) as pieces:
            async for piece in pieces:
                self.meter.add_bytes("storage", len(piece))
                yield piece

    async def read_into(self, buffer: memoryview) -> int:
        """The next bytes into the front of the buffer, one at least; 0 at their end, which may be too soon.
        Whoever has enough ends it by cancellation."""
        if not self.version.size:
            return 0
        count = await self.answer.read_into(buffer)
        self.meter.add_bytes("storage", count)
        return count


@dataclass
class Storage:
    """Ranged GETs on signed links."""

    http: HttpClient
    gate: Gate
    meter: Meter
    addresses: Addresses

    @asynccontextmanager
    async def get(
        self, link: str, first: int, last: int, version: Version | None, demand: Demand
    ) -> AsyncIterator[Transfer]:
        """Ask for bytes `first` to `last` (inclusive), of one version where it is known already.

        A server that ignores ranges is answered for by `Transfer.begins` = 0. An empty recording has a
        version of size 0 and no pieces. Raises `LinkRefused`, `NotFound`, `Replaced`, `Unavailable`,
        `BadAnswer`.
        """
        headers = {b"range": b"bytes=%d-%d" % (first, last), b"accept-encoding": b"identity"}
        if version is not None and version.etag is not None:
            headers[b"if-match"] = version.etag.encode("latin-1")
        async with self.gate.request(demand):
            async with self.http.request("GET", link, headers, sent=self._sent) as answer:
                elsewhere = self._elsewhere(answer, link)
                if elsewhere is None:
                    yield await self._accept(answer, first, version)
            if elsewhere is not None:
                async with self.http.request("GET", elsewhere, headers, sent=self._sent) as answer:
                    yield await self._accept(answer, first, version)

    def _sent(self) -> None:
        self.meter.count("ranges")

    def _elsewhere(self, answer: Answer, link: str) -> str | None:
        """Where S3 says that the object is for the time being; None where it is here. A new bucket of another
        region is answered for by a 307 until the DNS knows it (S3's documentation, "Making requests":
        clients must follow), and the link is as good there. One step, and no other redirect, is followed.
        """
        location = answer.header("location")
        if answer.status != 307 or location is None:
            return None
        return self.addresses.redirected(link, location, answer.origin)

    async def _accept(self, answer: Answer, first: int, known: Version | None) -> Transfer:
        media = (answer.header("content-type") or "").partition(";")[0].strip().lower()
        if answer.status in (200, 206) and media in _NOT_AUDIO:
            raise BadAnswer(
                f"{answer.origin} answered {media} where audio was due: is there a proxy in between?",
                status=answer.status,
            )
        if answer.status == 206:
            begins, ends, size = _content_range(answer)
            if begins != first:
                raise BadAnswer(f"{answer.origin} answered another range than asked for: tell its operator")
        elif answer.status == 200:
            begins, ends, size = 0, *[_content_length(answer)] * 2
        elif answer.status == 416:
            begins, ends, size = await _unmet_range(answer)
        else:
            raise await _refusal(answer)
        found = Version(size, _strong(answer.header("etag")), answer.header("last-modified"))
        if known is not None and (found.differs_from(known) or answer.status == 416):
            raise _replaced()
        if answer.status == 416 and size:
            raise BadAnswer(
                f"{answer.origin} refuses a range that it holds (416): tell its operator", status=416
            )
        return Transfer(found, begins, ends, answer, self.meter)


async def _refusal(answer: Answer) -> VoxofsError:
    """The domain error for a status other than success. Bodies are XML with a code, or a proxy's HTML."""
    status = answer.status
    code = _CODE.search(await answer.body(_ERROR_BODY_BYTES, cut=True))
    said = f"{answer.origin} answered {status}" + (f" {code[1].decode()}" if code else "")
    if is_passing(status):
        wait_s = answer.retry_after_s
        return Unavailable(f"{said}: it may pass, try again", status=status, retry_after_s=wait_s)
    if status == 412:
        return _replaced()
    if status == 404:
        return NotFound(f"{said}: the report names a recording whose audio is not there", status=status)
    if status in (401, 403):
        return LinkRefused(
            f"{said}: the link is refused; if it stays so, ask the vendor for access", status=status
        )
    return BadAnswer(f"{said}: voxofs cannot use that answer; tell the vendor", status=status)


def _replaced() -> Replaced:
    return Replaced(
        "the recording was replaced while it was open: open it again to read the new one", status=412
    )


def _content_range(answer: Answer) -> tuple[int, int, int]:
    """First byte, one past the last byte, and total size (RFC 9110, 14.4)."""
    match = _CONTENT_RANGE.fullmatch((answer.header("content-range") or "").strip())
    if match is None:
        raise BadAnswer(
            f"{answer.origin} does not tell the recording's size (Content-Range): tell its operator"
        )
    return int(match[1] or 0), int(match[2] or -1) + 1, int(match[3])


async def _unmet_range(answer: Answer) -> tuple[int, int, int]:
    """The same of a 416. Content-Range is only recommended there (RFC 9110, 15.5.17): S3 may tell the size in
    its error's body instead. Where neither says it, it is not guessed, though a range from 0 fits all but an
    empty object: a proxy's refusal would become an empty recording."""
    if answer.header("content-range") is None:
        told = _ACTUAL_SIZE.search(await answer.body(_ERROR_BODY_BYTES, cut=True))
        if told is not None:
            return 0, 0, int(told[1])
    return _content_range(answer)


def _content_length(answer: Answer) -> int:
    length = answer.header("content-length") or ""
    if not (length.isascii() and length.isdigit() and len(length) <= 18):
        raise BadAnswer(
            f"{answer.origin} does not tell the recording's size (Content-Length): tell its operator"
        )
    return int(length)


def _strong(etag: str | None) -> str | None:
    """Only strong tags take part in If-Match (RFC 9110, 13.1.1)."""
    return etag if etag is not None and etag.startswith('"') and etag.isascii() else None
