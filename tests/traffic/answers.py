"""Answers of servers good and bad, and what is to come of them.

Where the two transports differ it is said here, and why that is as well.
"""

from __future__ import annotations

from dataclasses import dataclass

OK = b"HTTP/1.1 200 OK\r\n"
EARLY = "RemoteProtocolError"
REFUSED = "RemoteProtocolError"


@dataclass(frozen=True)
class Case:
    """The server sends `sent` and, if it `closes`, closes. Status 0 stands for an exception."""

    name: str
    sent: bytes
    status: int
    body: bytes = b""
    closes: bool = False
    error: str = ""
    reused: bool = False
    """The connection carries the next request."""
    stock: tuple[int, bytes] | str | None = None
    """What the stock transport makes of it where that differs: status and body, or an exception."""


def _good(name: str, sent: bytes, body: bytes = b"", status: int = 200, **more: bool) -> Case:
    return Case(name, sent, status, body, **{"reused": True} | more)  # type: ignore[arg-type]


def _bad(
    name: str, sent: bytes, *, closes: bool = False, stock: tuple[int, bytes] | str | None = None
) -> Case:
    return Case(name, sent, 0, closes=closes, error=REFUSED, stock=stock)


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

GOOD = [
    _good("length", OK + b"Content-Length: 5\r\n\r\nhello", b"hello"),
    _good("length of nothing", OK + b"Content-Length: 0\r\n\r\n"),
    _good("names in any case", OK + b"cOnTeNt-LeNgTh:5\r\n\r\nhello", b"hello"),
    _good("white space round values", OK + b"A: \t b \t \r\nContent-Length:  5 \r\n\r\nhello", b"hello"),
    _good("empty values", OK + b"Empty:\r\nBlank: \r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    _good("bytes beyond ASCII", OK + b"Name: caf\xe9\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    _good("the same name twice", OK + b"A: 1\r\nA: 2\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    _good("no reason", b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    _good("an empty reason", b"HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    _good("no content", b"HTTP/1.1 204 No Content\r\n\r\n", status=204),
    _good("not modified", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", status=304),
    _good("partial", b"HTTP/1.1 206 Partial Content\r\nContent-Length: 2\r\n\r\nhi", b"hi", 206),
    _good("an error with a body", b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno", b"no", 503),
    _good("chunks", CHUNKED + b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", b"hello!"),
    _good("no chunk", CHUNKED + b"0\r\n\r\n"),
    _good("extensions and trailers", CHUNKED + b"5;a=b\r\nhello\r\n0;c\r\nTrailer: x\r\n\r\n", b"hello"),
    _good(
        "capital chunks",
        OK + b"Transfer-Encoding: Chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n",
        b"0123456789",
    ),
    _good("continue", b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 5\r\n\r\nhello", b"hello"),
    _good(
        "hints, twice",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 3\r\n\r\n" * 2
        + OK
        + b"Content-Length: 5\r\n\r\nhello",
        b"hello",
    ),
    _good(
        "told to close", OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello", b"hello", reused=False
    ),
    _good("HTTP/1.0", b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello", reused=False),
    _good("until the end", OK + b"\r\nhello", b"hello", reused=False, closes=True),
    _good("HTTP/1.0 until the end", b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello", reused=False, closes=True),
    _good("nothing until the end", OK + b"\r\n", reused=False, closes=True),
    _good("an upgrade that was offered", OK + b"Upgrade: h2c\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    _good(
        "300 fields",
        OK + b"".join(b"F%d: x\r\n" % n for n in range(300)) + b"Content-Length: 2\r\n\r\nhi",
        b"hi",
    ),
    _good("a field of 30 KiB", OK + b"Long: " + b"x" * 30_720 + b"\r\nContent-Length: 2\r\n\r\nhi", b"hi"),
]
"""Answers that both transports understand alike."""

SURPLUS = [
    Case(
        "another answer",
        OK + b"Content-Length: 2\r\n\r\nhi" + OK + b"Content-Length: 3\r\n\r\nbad",
        200,
        b"hi",
    ),
    Case("garbage", OK + b"Content-Length: 2\r\n\r\nhigarbage", 200, b"hi"),
    Case("one byte", OK + b"Content-Length: 2\r\n\r\nhi!", 200, b"hi"),
    Case("behind chunks", CHUNKED + b"2\r\nhi\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n", 200, b"hi"),
    Case("behind no content", b"HTTP/1.1 204 No\r\n\r\nhello", 204),
    Case("behind a close", OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi!", 200, b"hi"),
]
"""More than was asked for: the answer is good, and the connection is not used again."""

BAD = [
    _bad("nothing", b"", closes=True),
    _bad("half a status line", b"HTTP/1.1 2", closes=True),
    _bad("half a head", OK + b"Content-Le", closes=True),
    _bad("only an interim answer", b"HTTP/1.1 100 Continue\r\n\r\n", closes=True),
    _bad("half a body", OK + b"Content-Length: 5\r\n\r\nhel", closes=True),
    _bad("a head and no body", OK + b"Content-Length: 5\r\n\r\n", closes=True),
    _bad("half a chunk", CHUNKED + b"5\r\nhel", closes=True),
    _bad("no last chunk", CHUNKED + b"5\r\nhello\r\n", closes=True),
    _bad("half a trailer", CHUNKED + b"5\r\nhello\r\n0\r\nTrai", closes=True),
    _bad("a page", b"<html>Welcome</html>\r\n\r\n"),
    _bad("another protocol", b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    _bad("RTSP", b"RTSP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
    _bad("binary", bytes(range(256))),
    _bad("HTTP/2", b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", stock=(200, b"hi")),
    _bad("a status of two digits", b"HTTP/1.1 20 OK\r\n\r\n"),
    _bad("a status of four digits", b"HTTP/1.1 2000 OK\r\n\r\n"),
    _bad("a space in a name", OK + b"A b: c\r\nContent-Length: 2\r\n\r\nhi"),
    _bad("a space behind a name", OK + b"A : c\r\nContent-Length: 2\r\n\r\nhi"),
    _bad("a field without a name", OK + b": c\r\nContent-Length: 2\r\n\r\nhi"),
    _bad("a line without a colon", OK + b"abc\r\nContent-Length: 2\r\n\r\nhi"),
    _bad("a NUL in a value", OK + b"A: b\0c\r\nContent-Length: 2\r\n\r\nhi"),
    _bad("a negative length", OK + b"Content-Length: -2\r\n\r\nhi"),
    _bad("a length in words", OK + b"Content-Length: two\r\n\r\nhi"),
    _bad("two lengths", OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi"),
    _bad("a chunk's length in words", CHUNKED + b"zz\r\nhello\r\n"),
    _bad("a chunk longer than it says", CHUNKED + b"2\r\nhello\r\n0\r\n\r\n"),
    _bad("an unknown coding", OK + b"Transfer-Encoding: rot13, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
    _bad(
        "headers of 200 KiB", OK + b"".join(b"F%d: %s\r\n" % (n, b"x" * 1000) for n in range(200)) + b"\r\n"
    ),
    _bad("a field of 200 KiB", OK + b"Long: " + b"x" * 204_800 + b"\r\n\r\n"),
]
"""Answers that neither transport takes."""

STRICTER = [
    _bad("bare line feeds", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", stock=(200, b"hi")),
    _bad("a folded field", OK + b"A: b\r\n c\r\nContent-Length: 2\r\n\r\nhi", stock=(200, b"hi")),
    _bad(
        "the same length twice", OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", stock=(200, b"hi")
    ),
    _bad("a list of lengths", OK + b"Content-Length: 2, 2\r\n\r\nhi", stock=(200, b"hi")),
    _bad(
        "a length and chunks",
        CHUNKED[:-2] + b"Content-Length: 3\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        stock=(200, b"hi"),
    ),
    _bad("a length no number holds", OK + b"Content-Length: 99999999999999999999\r\n\r\nhi", closes=True),
]
"""What RFC 9112 lets a client refuse (2.2, 5.2, 6.3), and only ours does."""
