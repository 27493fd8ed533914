"""Objects and their ranges, and the plain folders over them."""

from __future__ import annotations

import hashlib

import httpx
import pytest

from voxofs.simulator.server import Simulator
from voxofs.simulator.storage import parse_range

from .asking import FIXED, link


async def test_ranges(sim: Simulator, client: httpx.AsyncClient) -> None:
    uri = await link(sim, client)
    whole = FIXED.audio["a"]
    for header, content, answered in (
        ("bytes=0-0", whole[:1], "bytes 0-0/1024"),
        ("bytes=1000-5000", whole[1000:], "bytes 1000-1023/1024"),
        ("bytes=10-", whole[10:], "bytes 10-1023/1024"),
        ("bytes=-5", whole[-5:], "bytes 1019-1023/1024"),
    ):
        answer = await client.get(uri, headers={"Range": header})
        assert (answer.status_code, answer.content) == (206, content)
        assert answer.headers["content-range"] == answered
        assert answer.headers["etag"] == f'"{hashlib.md5(whole).hexdigest()}"'
        assert answer.headers["accept-ranges"] == "bytes"
        assert answer.headers["last-modified"].endswith("GMT")
    for unmet in ("bytes=1024-", "bytes=5000-6000", "bytes=-0"):
        answer = await client.get(uri, headers={"Range": unmet})
        assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */1024")


async def test_an_empty_and_a_missing_object(sim: Simulator, client: httpx.AsyncClient) -> None:
    uri = await link(sim, client, "empty")
    answer = await client.get(uri)
    assert (answer.status_code, answer.content) == (200, b"")
    answer = await client.get(uri, headers={"Range": "bytes=0-99"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */0")
    missing = await client.get(await link(sim, client, "gone"))
    assert (missing.status_code, "NoSuchKey" in missing.text) == (404, True)
    sim.remove_audio(9, "a")
    assert (await client.get(await link(sim, client))).status_code == 404


@pytest.mark.parametrize("header", [None, b"bytes=1-0", b"bytes=-", b"lines=1-2", b"bytes=0-1,3-4"])
def test_a_range_that_says_nothing_is_ignored(header: bytes | None) -> None:
    assert parse_range(header, 10) is None


async def test_if_match_after_a_replacement(sim: Simulator, client: httpx.AsyncClient) -> None:
    uri = await link(sim, client)
    etag = (await client.get(uri)).headers["etag"]
    assert (await client.get(uri, headers={"If-Match": etag})).status_code == 200
    sim.replace_audio(9, "a", b"new")
    assert (await client.get(uri, headers={"If-Match": etag})).status_code == 412
    assert (await client.get(uri)).content == b"new"


async def test_plain_folders_hold_the_same_bytes(sim: Simulator, client: httpx.AsyncClient) -> None:
    root = f"{sim.storage_url}/plain"
    for path, name in (
        ("/", "fixed/"),
        ("/demo/", "2021/"),
        ("/bench/2024/", "03/"),
        ("/bench/2024/03/", "31/"),
        ("/bench/2024/03/05/", "10/"),
        ("/fixed/2024/03/05/10/", "a.mp3"),
    ):
        page = await client.get(root + path)
        assert (page.status_code, f'<a href="{name}">' in page.text) == (200, True)
    assert (await client.get(f"{root}/fixed/2023/")).status_code == 404
    assert (await client.get(f"{root}/fixed")).headers["location"] == "/plain/fixed/"
    head = await client.head(f"{root}/fixed/2024/03/05/10/a.mp3")
    assert (head.status_code, head.headers["content-length"]) == (200, "1024")
    part = await client.get(f"{root}/fixed/2024/03/05/10/a.mp3", headers={"Range": "bytes=3-4"})
    assert (part.status_code, part.content) == (206, b"\x03\x04")
