"""Addresses in two parts: what goes over the wire is what httpx alone makes of them."""

from __future__ import annotations

from contextlib import suppress

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scripted import echo, ours, serving

from voxofs.errors import BadAnswer
from voxofs.traffic import http
from voxofs.traffic.http import HttpClient
from voxofs.traffic.wire import address_of, message_of, origin_of, plain_get, plain_origin

SIGNED = (
    "https://calls.s3.us-east-1.amazonaws.com/9/2024/a-1.2.mp3?X-Amz-Credential=AKIA%2F20240305%2Fs3"
    "&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=0af9&response-content-type=audio%2Fmpeg"
)
_LETTERS = st.text("ab9.-_~/?:@!$&'()*+,;=%#[] {}\"<>^`|\\é\tF", max_size=30)
_ADDRESSES = st.builds(
    "{}://{}{}{}".format,
    st.sampled_from(["http", "https", "HTTP", "ftp"]),
    st.sampled_from(
        ["host", "Host.example", "127.0.0.1", "999.1.1.1", "[::1]", "user@host", "bücher.de", ""]
    ),
    st.sampled_from(["", ":80", ":443", ":8080", ":99999", ":"]),
    st.one_of(st.just(""), _LETTERS.map("/{}".format), _LETTERS),
)


_FIELDS = [(b"user-agent", b"test"), (b"range", b"bytes=0-1")]


def _sent(request: httpx.Request) -> tuple[object, bytes]:
    return origin_of(request.url), message_of(request)


@given(_ADDRESSES)
@example(SIGNED)
@example("http://host/a/../b")
@example("http://host/.hidden")
@example("http://host?query")
@example("http://host/a%2fb%zz%")
@example("http://host/a//b?c=/..//d?e")
@example("http://host/a?b%2Fc?d")
def test_what_is_sent_without_a_request_of_httpx_is_what_httpx_would_send(url: str) -> None:
    try:
        whole = _sent(httpx.Request("GET", url, headers=_FIELDS))
        address = address_of(url)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError) as refusal:
        with suppress(type(refusal)):
            assert plain_get(url, _FIELDS) is None
    else:
        assert plain_get(url, _FIELDS) in (None, whole)
        assert address == whole[0]


@given(_ADDRESSES)
def test_an_origin_is_what_a_parser_would_find(url: str) -> None:
    plain = plain_origin(url)
    if plain is None:
        return
    assert url.startswith(plain)
    try:
        found = http._parsed_origin(url)
    except BadAnswer:
        with pytest.raises(BadAnswer):
            http.origin_of(url)
    else:
        assert http.origin_of(url) == found


def test_links_as_they_are_signed_need_no_request_of_httpx() -> None:
    whole = _sent(httpx.Request("GET", SIGNED, headers=_FIELDS))
    assert plain_get(SIGNED, _FIELDS) == whole
    assert (
        plain_get("http://127.0.0.1:8000/call-recordings/a-1.2?start=2024-03-05%2012%3A00%3A00", [])
        is not None
    )


@pytest.mark.parametrize("field", [(b"a", b"b\r\nc: d"), (b"a\nb", b"c"), (b"a", b"\0")])
def test_a_header_that_would_be_another_line_is_refused(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(httpx.LocalProtocolError):
        plain_get(SIGNED, [field])


@pytest.mark.parametrize("target", [b"/a b", b"/a\r\nx: y", b"/a\0"])
def test_a_target_that_would_be_another_request_is_refused(target: bytes) -> None:
    request = httpx.Request("GET", "http://host/", extensions={"target": target})
    with pytest.raises(httpx.LocalProtocolError):
        message_of(request)


async def test_the_client_sends_path_and_query_as_they_are() -> None:
    target = "/a%2Fb/c.mp3?d=e%2Bf&g"
    async with serving(echo) as server:
        client = HttpClient(ours(), 5.0)
        async with client.request("GET", server.url(target), {b"range": b"bytes=0-9"}) as answer:
            body = bytes(await answer.body(10_000))
        await client.aclose()
    assert body.decode().startswith(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n")
