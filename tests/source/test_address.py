"""Where links may lead: bounded first, then judged by the host as it is written."""

from __future__ import annotations

import pytest
import trio
from harness.world import call
from hypothesis import given
from hypothesis import strategies as st
from trials.hostile import PATH, Answers, hostile_core

from voxofs.errors import BadAnswer
from voxofs.source.address import Addresses

API = "https://api.example.com"


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LOCALHOST", "localhost.", "db.localhost", "127.0.0.1", "127.1", "0x7f000001",
        "2130706433",
        "0177.0.0.1", "0.0.0.0", "0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "169.254.169.254", "169.254.1.1",
        "[fe80::1]", "[fd00:ec2::254]", "metadata.google.internal", "metadata.google.internal.",
        "100.100.100.200", "[::ffff:169.254.169.254]", "0xa9fea9fe", "224.0.0.1",
    ],
)  # fmt: skip
def test_what_only_this_machine_reaches_is_refused(host: str) -> None:
    with pytest.raises(BadAnswer, match=r"\[storage\] hosts"):
        Addresses(None, API).checked(f"https://{host}/a?Signature=s3cret", "the API")


@pytest.mark.parametrize(
    "host",
    ["s3.amazonaws.com", "bucket.s3.us-west-2.amazonaws.com:443", "10.0.0.7", "192.168.1.5:9000", "8.8.8.8"],
)
def test_others_are_followed(host: str) -> None:
    link = f"https://{host}/a%2Fb/Ärger.mp3?Signature=s3cret"
    assert Addresses(None, API).checked(link, "the API") == link


def test_an_api_on_this_machine_may_name_this_machine_and_nothing_nearer() -> None:
    local = Addresses(None, "http://127.0.0.1:8080")
    local.checked("http://localhost:9000/a", "the API")
    local.checked("http://[::1]:9000/a", "the API")
    for host in ("169.254.169.254", "metadata.google.internal", "169.254.3.4"):
        with pytest.raises(BadAnswer):
            local.checked(f"http://{host}/a", "the API")


def test_a_list_of_hosts_is_all_there_is() -> None:
    listed = Addresses(["*.amazonaws.com", "127.0.0.1", "tape.example.com"], API)
    for host in ("s3.amazonaws.com", "127.0.0.1:9000", "TAPE.example.com."):
        listed.checked(f"https://{host}/a", "the API")
    for host in ("amazonaws.com", "amazonaws.com.evil.net", "xamazonaws.com", "example.com", "127.0.0.2"):
        with pytest.raises(BadAnswer, match="does not list"):
            listed.checked(f"https://{host}/a", "the API")
    Addresses(["*"], API).checked("https://127.0.0.1/a", "the API")


@pytest.mark.parametrize(
    "link",
    [
        "https://good.com@evil.net/", "https://a\\b/", "https://１２７.0.0.1/", "https://127。0。0。1/", "https://%31/",
        "ftp://a/", "//a/", "https:///a", "https://[::1", "https://a:x/", "https://a b/", "javascript:1", "",
        "https://" + "a" * 254 + "/", "https://a/" + "x" * 8_192,
    ],
)  # fmt: skip
def test_what_is_no_plain_address_is_refused(link: str) -> None:
    with pytest.raises(BadAnswer) as caught:
        Addresses(["*"], API).checked(link, "the API")
    assert len(str(caught.value)) < 200


@given(st.text(max_size=60) | st.text(max_size=40).map(lambda text: f"https://{text}"))
def test_any_text_is_a_link_or_a_bad_answer(text: str) -> None:
    try:
        assert Addresses(None, API).checked(text, "the API") == text
    except BadAnswer:
        return


def test_an_encrypted_api_gives_encrypted_links() -> None:
    with pytest.raises(BadAnswer, match="unencrypted"):
        Addresses(None, API).checked("http://s3.amazonaws.com/a", "the API")


def test_a_redirect_is_a_link_like_any_other() -> None:
    addresses, link = Addresses(None, API), "https://b.s3.amazonaws.com/a?Signature=x"
    other = "https://b.s3-us-west-2.amazonaws.com/a?Signature=x"
    assert addresses.redirected(link, other, "S3") == other
    assert addresses.redirected(link, "/b", "S3") == "https://b.s3.amazonaws.com/b"
    for location in (
        "http://b.s3.amazonaws.com/a",
        "https://127.0.0.1/",
        "https://[",
        "//169.254.169.254/",
        "x" * 9_000,
    ):
        with pytest.raises(BadAnswer):
            addresses.redirected(link, location, "S3")


def read(answers: Answers) -> bytes:
    """The whole recording, through the core."""

    async def main() -> bytes:
        async with hostile_core(answers) as core:
            handle = await core.fs.open(PATH)
            try:
                return bytes(await handle.read(0, 100))
            finally:
                handle.close()

    return trio.run(main)


def unmet(body: bytes, more: str = "") -> Answers:
    """A storage that answers 416."""
    head = f"HTTP/1.1 416 Range Not Satisfiable\r\ncontent-length: {len(body)}\r\n{more}"
    return Answers(head=head.encode(), body=body)


def test_a_416_tells_the_size_in_its_body_where_no_header_does() -> None:
    error = b"<Error><Code>InvalidRange</Code><ActualObjectSize>%d</ActualObjectSize></Error>"
    assert read(unmet(error % 0)) == b""
    assert read(unmet(b"", "content-range: bytes */0\r\n")) == b""


@pytest.mark.parametrize(
    "body", [b"", b"<html>no</html>", b"<Error><ActualObjectSize>7</ActualObjectSize></Error>"]
)
def test_a_416_that_tells_none_is_no_empty_recording(body: bytes) -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        read(unmet(body))
    assert caught.group_contains(BadAnswer)


def test_other_redirects_are_not_followed() -> None:
    for status in (301, 302, 303, 308):
        head = f"HTTP/1.1 {status} Elsewhere\r\nlocation: /audio2\r\ncontent-length: 0\r\n"
        with pytest.raises(BaseExceptionGroup) as caught:
            read(Answers(head=head.encode(), body=b""))
        assert caught.group_contains(BadAnswer)


def test_a_307_that_goes_round_ends() -> None:
    head = b"HTTP/1.1 307 Temporary Redirect\r\nlocation: /audio\r\ncontent-length: 0\r\n"
    with pytest.raises(BaseExceptionGroup) as caught:
        read(Answers(head=head, body=b""))
    assert caught.group_contains(BadAnswer)


def test_call_is_what_the_origin_reports() -> None:
    """A guard: what is above would also pass if the origin reported nothing."""
    assert read(Answers()) == b"audio"
    assert call("tape", "2024-03-05 10:00:00")["uniqueId"] == "tape"
