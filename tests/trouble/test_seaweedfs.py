"""A real S3 server behind the links: SeaweedFS, with links signed by boto3 in both versions.

The API in front is the simulator's; only where its links lead and who signs them is replaced.
"""

from __future__ import annotations

import errno
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import boto3  # type: ignore[import-untyped]
import httpx
import pytest
from botocore.client import Config as BotoConfig  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]
from conftest import EnterFront
from harness.fronts import Front, cat, raises, settle
from harness.world import BLOCK, BYTES, HOUR, NAMES, noise, office, truth

BUCKET = "global-recordings"
READY_S = 40.0
LONG_ONE = "/office/2024/03/05/13/long.mp3"
BIGGEST = f"{HOUR}/{max(NAMES, key=lambda name: len(BYTES[name]))}"
Signature = Literal["s3", "s3v4"]
KEYS = {"aws_access_key_id": "AKIAVOXOFSTESTS", "aws_secret_access_key": "a secret of these tests alone"}
IDENTITIES = {
    "identities": [
        {
            "name": "tests",
            "credentials": [
                {"accessKey": KEYS["aws_access_key_id"], "secretKey": KEYS["aws_secret_access_key"]}
            ],
            "actions": ["Admin", "Read", "List", "Tagging", "Write"],
        }
    ]
}


@dataclass
class Weed:
    """A running server. `handed_out`: queries that the next links get, before those that are signed."""

    url: str
    prepared: list[str] = field(default_factory=list)

    def client(self, signature: Signature) -> Any:
        path_style = BotoConfig(
            signature_version=signature, s3={"addressing_style": "path"}, retries={"max_attempts": 0}
        )
        return boto3.client("s3", endpoint_url=self.url, region_name="us-east-1", config=path_style, **KEYS)

    def link(self, signature: Signature, key: str, lifetime_s: int = 60) -> str:
        made: str = self.client(signature).generate_presigned_url(
            "get_object", Params={"Bucket": BUCKET, "Key": key}, ExpiresIn=lifetime_s
        )
        return made


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on, nor on the one 10,000 above: SeaweedFS talks gRPC there."""
    found: list[int] = []
    while len(found) < number:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            if port + 10_000 > 65_535 or {port, port + 10_000} & {p for f in found for p in (f, f + 10_000)}:
                continue
            try:
                other.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            found.append(port)
    return found


@pytest.fixture(scope="session")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weed]:
    """One server for all tests here, holding the office's recordings."""
    place = tmp_path_factory.mktemp("weed")
    (place / "data").mkdir()
    (place / "s3.json").write_text(json.dumps(IDENTITIES))
    master, volume, filer, s3 = free_ports(4)
    command = [
        Path(sys.executable).with_name("weed"), "server", "-dir", place / "data", "-ip", "127.0.0.1",
        "-ip.bind", "127.0.0.1", "-filer", "-s3", "-s3.config", place / "s3.json", f"-s3.port={s3}",
        "-s3.port.iceberg=0", "-s3.port.lance=0", f"-master.port={master}", f"-volume.port={volume}",
        f"-filer.port={filer}", "-volume.max=10", "-master.volumeSizeLimitMB=64",
    ]  # fmt: skip
    with (place / "log").open("wb") as log:
        process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log, cwd=place)
    try:
        server = Weed(f"http://127.0.0.1:{s3}")
        client = server.client("s3v4")
        _retry(process, place / "log", lambda: client.create_bucket(Bucket=BUCKET))
        fixed = office()
        for record in fixed.records:
            data = fixed.audio.get(record["uniqueId"])
            if data is not None:
                key = key_of(record["uniqueId"], record["start"])
                _retry(process, place / "log", lambda key=key, data=data: put(client, key, data))  # type: ignore[misc]
        yield server
    finally:
        process.kill()  # it takes no notice of TERM
        process.wait()


def put(client: Any, key: str, data: bytes) -> None:
    client.put_object(Bucket=BUCKET, Key=key, Body=data, ContentType="audio/mpeg")


def key_of(unique_id: str, start: str) -> str:
    return f"office/{start[:4]}/{start[5:7]}/{start[8:10]}/{start[11:13]}/{unique_id}.mp3"


def _retry(process: subprocess.Popen[bytes], log: Path, act: Callable[[], object]) -> None:
    """Until the server, which is another process, has got so far."""
    gives_up_s = time.monotonic() + READY_S
    while True:
        try:
            act()
            return
        except (BotoCoreError, ClientError) as error:
            said = str(error)
        assert process.poll() is None, log.read_text()[-2_000:]
        assert time.monotonic() < gives_up_s, f"{said}\n{log.read_text()[-2_000:]}"
        time.sleep(0.05)


@pytest.fixture(params=["s3", "s3v4"], ids=["SigV2", "SigV4"])
def signature(request: pytest.FixtureRequest) -> Signature:
    kind: Signature = request.param
    return kind


@pytest.fixture
async def front(
    enter: EnterFront, weed: Weed, signature: Signature, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Front]:
    """Both fronts over the simulator's API, with links to the real server."""

    def sign(version: str, host: str, path: str, now_s: float, lifetime_s: float) -> str:
        if weed.prepared:
            return weed.prepared.pop(0)
        return urlsplit(weed.link(signature, unquote(path).removeprefix(f"/{BUCKET}/"))).query

    monkeypatch.setattr("voxofs.simulator.links.sign", sign)
    async with over(enter, weed) as opened:
        yield opened
    weed.prepared.clear()


@asynccontextmanager
async def over(enter: EnterFront, weed: Weed) -> AsyncIterator[Front]:
    async with enter() as opened:
        opened.sim.storage_url = weed.url
        yield opened


async def test_an_hour_is_read_byte_for_byte(front: Front) -> None:
    for name in NAMES:
        assert (await front.stat(f"{HOUR}/{name}")).size == len(BYTES[name])
        assert await cat(front, f"{HOUR}/{name}") == BYTES[name]
    counts = await settle(front)
    assert (counts["link"], counts.get("audio", 0)) == (len(NAMES), 0), "the bytes came from elsewhere"


async def test_a_long_recording_and_odd_offsets(front: Front) -> None:
    assert await cat(front, LONG_ONE) == truth(LONG_ONE)
    async with front.opened(LONG_ONE) as file:
        for offset in (1, BLOCK - 1, 3_333_333, 4_999_999):
            assert await file.read(offset, 70_000) == truth(LONG_ONE)[offset : offset + 70_000]


async def test_names_that_need_encoding_and_empty_recordings(front: Front) -> None:
    assert await cat(front, "/office/2024/03/05/12/Ärger.mp3") == truth("/office/2024/03/05/12/Ärger.mp3")
    assert await cat(front, "/office/2024/03/05/14/empty.mp3") == b""


async def test_a_missing_recording_is_absent(front: Front) -> None:
    with raises(errno.ENOENT):
        await front.stat("/office/2024/03/05/14/gone.mp3")


async def test_an_expired_link_is_refused_by_the_server_and_renewed_unseen(
    front: Front, weed: Weed, signature: Signature
) -> None:
    await front.listdir(HOUR)
    unique_id = BIGGEST.rsplit("/", 1)[1].removesuffix(".mp3")
    dead = weed.link(signature, key_of(unique_id, "2024-03-05 10"), lifetime_s=1)
    gives_up_s = time.monotonic() + READY_S
    async with httpx.AsyncClient() as client:
        while (answer := await client.get(dead, headers={"range": "bytes=0-9"})).status_code != 403:
            assert answer.status_code == 206
            assert time.monotonic() < gives_up_s, "it never expires"
    weed.prepared.append(urlsplit(dead).query)
    assert await cat(front, BIGGEST) == truth(BIGGEST)
    assert (await settle(front))["link"] == 2


async def test_links_with_a_wrong_signature_are_a_refusal(
    front: Front, weed: Weed, signature: Signature
) -> None:
    await front.listdir(HOUR)
    wrong = urlsplit(weed.link(signature, "office/2024/03/05/10/another.mp3")).query
    weed.prepared += [wrong, wrong]
    with raises(errno.EACCES):
        await front.stat(BIGGEST)


async def test_a_replaced_object_is_never_mixed_with_the_old_one(front: Front, weed: Weed) -> None:
    client = weed.client("s3v4")
    key, old = key_of("far", "2023-07-01 10"), noise("old far", 3_000_000)
    put(client, key, old)
    path = "/office/2023/07/01/10/far.mp3"
    async with front.opened(path) as before:
        assert await before.read(0, 1_000) == old[:1_000]
        new = noise("new far", 3_000_000)
        put(client, key, new)
        with raises(errno.EIO):
            await before.read(2_000_000, 1_000)

    assert await cat(front, path) == new
