"""The simulator keeps the vendor's and the storage's promises, as a plain HTTP client sees them."""

from __future__ import annotations

import hashlib
import subprocess
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import boto3  # type: ignore[import-untyped]
import httpx
import pytest
import trio
from botocore.client import Config  # type: ignore[import-untyped]

from voxofs.simulator import (
    ACME,
    BENCH,
    BIG,
    DEMO,
    FLOOD,
    WORLDS,
    Fault,
    FixedTenant,
    Simulator,
    links,
    start_process,
)
from voxofs.simulator.audio import BYTES_PER_S
from voxofs.simulator.storage import parse_range

DAY = ("2024-03-05 00:00:00", "2024-03-06 00:00:00")
FIXED = FixedTenant(
    9,
    "fixed",
    "By hand",
    records=[
        {"uniqueId": "a", "start": "2024-03-05 10:00:00"},
        {"uniqueId": "b", "start": "2024-03-05 11:00:00"},
        {"uniqueId": "empty", "start": "2024-03-05 10:30:00"},
        {"uniqueId": "gone", "start": "2024-03-05 10:31:00"},
        {"uniqueId": "x\udc80", "start": None},
        17,
    ],
    audio={"a": bytes(range(256)) * 4, "b": b"bee", "empty": b""},
)

FIELDS = (
    "id", "start", "callerIdNumber", "callerIdName", "dialedNum", "direction", "disposition", "duration",
    "percentJitter", "packetLoss", "qos", "uniqueId", "prevUniqueId", "whoAnswered", "recorded",
)  # fmt: skip


class Clock:
    """A wall clock that tests set."""

    def __init__(self) -> None:
        self.now_s = datetime(2026, 3, 4, 18, 0, tzinfo=UTC).timestamp()

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def sim(clock: Clock) -> AsyncIterator[Simulator]:
    async with Simulator([*WORLDS["all"], FIXED], clock=clock) as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=5) as running:
        yield running


def bearer(sim: Simulator) -> dict[str, str]:
    return {"Authorization": f"Bearer {sim.token}"}


async def report(
    sim: Simulator, client: httpx.AsyncClient, tenant: object, start: str, end: str, **more: str
) -> httpx.Response:
    query = {"recordType": "recordings", "start": start, "end": end, "tenantId": str(tenant)} | more
    return await client.get(f"{sim.api_url}/call-reports", params=query, headers=bearer(sim))


async def link(sim: Simulator, client: httpx.AsyncClient, unique_id: str = "a", tenant: int = 9) -> str:
    start = next(r["start"] for r in sim.records(tenant, *DAY) if r != 17 and r["uniqueId"] == unique_id)
    answer = await client.get(
        f"{sim.api_url}/call-recordings/{unique_id}",
        params={"tenantId": tenant, "start": start},
        headers=bearer(sim),
    )
    assert answer.status_code == 200, answer.text
    uri: str = answer.json()["uri"]
    return uri


# ---- signing in ------------------------------------------------------------------------------------


async def test_login_gives_a_token_that_works(sim: Simulator, client: httpx.AsyncClient) -> None:
    body = {"strategy": "local", "email": sim.email, "password": sim.password}
    answer = await client.post(f"{sim.api_url}/authentication", json=body)
    assert answer.status_code == 201
    assert answer.json()["user"]["tenantIds"][:2] == [37, 432]
    token = answer.json()["accessToken"]
    assert token.count(".") == 2
    tenant = await client.get(f"{sim.api_url}/tenants/432", headers={"Authorization": f"Bearer {token}"})
    assert tenant.json()["tenantCode"] == "acme"
    wrong = await client.post(f"{sim.api_url}/authentication", json=body | {"password": "no"})
    assert (wrong.status_code, wrong.json()["name"]) == (401, "NotAuthenticated")


async def test_a_token_dies_by_rotation_and_by_age(
    sim: Simulator, client: httpx.AsyncClient, clock: Clock
) -> None:
    old = bearer(sim)
    assert (await client.get(f"{sim.api_url}/tenants/37", headers=old)).status_code == 200
    sim.rotate_token()
    answer = await client.get(f"{sim.api_url}/tenants/37", headers=old)
    assert answer.status_code == 401
    assert answer.json() == {
        "name": "NotAuthenticated",
        "message": "jwt expired",
        "code": 401,
        "className": "not-authenticated",
        "errors": {},
    }
    assert (await client.get(f"{sim.api_url}/tenants/37", headers=bearer(sim))).status_code == 200
    clock.now_s += sim.token_lifetime_s
    assert (await client.get(f"{sim.api_url}/tenants/37", headers=bearer(sim))).status_code == 401


async def test_tenants_that_may_not_be_seen_or_do_not_exist(
    sim: Simulator, client: httpx.AsyncClient
) -> None:
    sim.forbidden.add(432)
    assert (await report(sim, client, 432, *DAY)).status_code == 403
    assert (await report(sim, client, 5, *DAY)).status_code == 404
    assert (await report(sim, client, "x", *DAY)).status_code == 400


# ---- reports ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "status"),
    [
        ("2024-03-05 00:00:00", "2024-03-07 00:00:00", 200),
        ("2024-03-05 00:00:00", "2024-03-07 00:00:01", 400),
        ("2024-11-02 00:00:00", "2024-11-04 00:00:00", 200),  # 49 hours, two days by the wall clock
        ("2024-03-09 01:00:00", "2024-03-11 01:00:00", 200),
        ("2024-03-05", "2024-03-06 00:00:00", 400),
        ("2024-02-30 00:00:00", "2024-03-01 00:00:00", 400),
        ("", "", 400),
    ],
)
async def test_two_days_at_most(
    sim: Simulator, client: httpx.AsyncClient, start: str, end: str, status: int
) -> None:
    answer = await report(sim, client, 37, start, end)
    assert answer.status_code == status
    if status == 400:
        assert answer.json()["className"] == "bad-request"


async def test_a_report_has_the_vendors_form(sim: Simulator, client: httpx.AsyncClient) -> None:
    records = (await report(sim, client, 37, *DAY)).json()
    assert tuple(records[0]) == FIELDS
    starts = [record["start"] for record in records]
    assert starts == sorted(starts, reverse=True)
    assert all(start.startswith("2024-03-05 ") for start in starts)
    for record in records:
        epoch = int(record["uniqueId"].removeprefix("atl-ast2-").partition(".")[0])
        # Central is UTC-6 on that day
        assert datetime.fromtimestamp(epoch - 6 * 3_600, UTC).strftime("%Y-%m-%d %H:%M:%S") == record["start"]
    assert len({record["uniqueId"] for record in records}) == len(records)
    missing = await report(sim, client, 37, *DAY, recordType="")
    assert missing.status_code == 400


@pytest.mark.parametrize("inclusive", [False, True])
@pytest.mark.parametrize("tenant", [37, 9])
async def test_the_end_is_inclusive_only_on_request(sim: Simulator, tenant: int, inclusive: bool) -> None:
    sim.inclusive_end = inclusive
    records = [record for record in sim.records(tenant, *DAY) if record != 17 and record["start"]]
    newest = max(record["start"] for record in records)
    parts = sim.world.tenants[tenant].report(DAY[0], newest, inclusive, False, sim.now())
    assert (newest.encode() in b",".join(parts)) is inclusive


async def test_the_later_form(sim: Simulator, client: httpx.AsyncClient) -> None:
    sim.later_form = True
    record = (await report(sim, client, 37, *DAY)).json()[0]
    assert "start" not in record
    assert datetime.strptime(record["time"], "%m/%d/%y %H:%M:%S").date().isoformat() == "2024-03-05"
    assert "queueCall" in record
    url = f"{sim.api_url}/call-recordings/{record['uniqueId']}"
    query = {"tenantId": 37, "start": record["time"]}
    assert (await client.get(url, params=query, headers=bearer(sim))).status_code == 200


async def test_daylight_saving_days(sim: Simulator) -> None:
    fall = sim.records(37, "2023-11-05 00:00:00", "2023-11-06 00:00:00")
    hours = {record["start"][11:13] for record in fall if record["recorded"]}
    assert hours == {f"{hour:02d}" for hour in range(24)}
    epochs = [int(r["uniqueId"][9:].split(".")[0]) for r in fall if r["start"][11:13] == "01"]
    assert {epoch // 3_600 for epoch in epochs} == {1699164000 // 3_600, 1699167600 // 3_600}
    spring = sim.records(37, "2024-03-10 00:00:00", "2024-03-11 00:00:00")
    assert {r["start"][11:13] for r in spring} == {f"{hour:02d}" for hour in range(24)} - {"02"}


async def test_calls_keep_arriving_and_are_reported_when_they_have_ended(
    sim: Simulator, clock: Clock
) -> None:
    window = ("2026-03-04 11:00:00", "2026-03-04 14:00:00")  # now is noon, Central
    seen = {record["uniqueId"] for record in sim.records(37, *window)}
    began = clock.now_s
    for _ in range(30):
        clock.now_s += 20
        now = sim.records(37, *window)
        for record in now:
            epoch = int(record["uniqueId"][9:].split(".")[0])
            assert epoch + record["duration"] <= clock.now_s
        assert seen <= {record["uniqueId"] for record in now}
        seen = {record["uniqueId"] for record in now}
    arrived = [uid for uid in seen if int(uid[9:].split(".")[0]) >= began]
    assert 25 <= len(arrived) <= 30


async def test_the_same_seed_gives_the_same_world(clock: Clock) -> None:
    def picture(seed: int) -> list[Any]:
        sim = Simulator([DEMO, ACME], seed=seed, clock=clock)
        records = sim.records(432, *DAY)
        first = next(record for record in records if record["recorded"])
        return [records, hashlib.sha256(sim.audio_bytes(432, first["start"], first["uniqueId"])).digest()]

    assert picture(1) == picture(1)
    assert picture(1) != picture(2)


async def test_the_ready_made_worlds(sim: Simulator) -> None:
    hour = [r for r in sim.records(BENCH.id, *DAY) if r["start"][11:13] == "10"]
    names = sim.world.tenants[BENCH.id].names("2024-03-05 10", sim.now())
    assert len(hour) == len(names) == 200
    assert sum(size for _, size, _ in names) == pytest.approx(58_000_000, rel=0.03)
    assert all(abs(size - record["duration"] * BYTES_PER_S) < 3_000 for (_, size, _), record in zip(
        names, reversed(hour), strict=True))  # fmt: skip
    assert len(sim.records(BENCH.id, "2024-03-31 00:00:00", "2024-04-01 00:00:00")) >= 3
    sizes = [size for _, size, _ in sim.world.tenants[BIG.id].names("2024-03-05 10", sim.now())]
    assert sorted(sizes) == [20 << 20, 256 << 20]
    began = time.perf_counter()
    assert len(sim.records(FLOOD.id, *DAY)) == 24_000
    assert time.perf_counter() - began < 3
    foreign = [r for r in sim.records(ACME.id, *DAY) if not r["uniqueId"].startswith("atl-ast2-")]
    assert foreign


async def test_written_records_may_be_garbage(sim: Simulator, client: httpx.AsyncClient) -> None:
    listed = (await report(sim, client, 9, "2024-03-05 11:00:00", "2024-03-05 12:00:00")).json()
    assert listed == [FIXED.records[1], FIXED.records[4], 17]


# ---- links -----------------------------------------------------------------------------------------


async def test_a_link_needs_the_records_own_start(sim: Simulator, client: httpx.AsyncClient) -> None:
    for start, status in (
        ("2024-03-05 10:00:00", 200),
        ("2024-03-05 10:00:01", 404),
        ("2024-03-05T10:00:00", 404),
        ("", 400),
    ):
        query = {"tenantId": "9", "start": start}
        answer = await client.get(f"{sim.api_url}/call-recordings/a", params=query, headers=bearer(sim))
        assert answer.status_code == status


@pytest.mark.parametrize("signature", ["v2", "v4"])
async def test_a_link_opens_one_object_for_one_method_for_its_time(
    sim: Simulator, client: httpx.AsyncClient, clock: Clock, signature: links.Version
) -> None:
    sim.signature = signature
    uri = await link(sim, client)
    assert uri.startswith(f"{sim.storage_url}/global-recordings/fixed/2024/03/05/10/a.mp3?")
    answer = await client.get(uri)
    assert (answer.status_code, answer.content) == (200, FIXED.audio["a"])
    assert (await client.head(uri)).status_code == 403
    elsewhere = await client.get(uri.replace("/a.mp3", "/b.mp3"))
    assert (elsewhere.status_code, "SignatureDoesNotMatch" in elsewhere.text) == (403, True)
    bare = await client.get(uri.partition("?")[0])
    assert (bare.status_code, "AccessDenied" in bare.text) == (403, True)
    clock.now_s += 59
    assert (await client.get(uri)).status_code == 200
    clock.now_s += 2
    late = await client.get(uri)
    assert late.status_code == 403
    assert "<Code>AccessDenied</Code><Message>Request has expired</Message>" in late.text


@pytest.mark.parametrize("signature", ["s3", "s3v4"])
async def test_links_of_the_vendors_own_library_verify(client: httpx.AsyncClient, signature: str) -> None:
    async with Simulator([FIXED]) as sim:  # boto3 reads the real clock
        s3 = boto3.client(
            "s3",
            endpoint_url=sim.storage_url,
            aws_access_key_id=links.ACCESS_KEY,
            aws_secret_access_key=links.SECRET_KEY,
            region_name="eu-central-1",
            config=Config(signature_version=signature, s3={"addressing_style": "path"}),
        )
        where = {"Bucket": "global-recordings", "Key": "fixed/2024/03/05/10/a.mp3"}
        uri = s3.generate_presigned_url("get_object", Params=where, ExpiresIn=60)
        assert (await client.get(uri)).content == FIXED.audio["a"]
        assert (await client.get(uri[:-2] + "xx")).status_code == 403
        s3.close()


async def test_the_storages_clock_need_not_be_ours(sim: Simulator, client: httpx.AsyncClient) -> None:
    sim.skew_s = -600
    uri = await link(sim, client)
    assert int(uri.partition("Expires=")[2].partition("&")[0]) < sim.now()
    assert (await client.get(uri)).status_code == 200
    sim.sign_skew_s = -61
    assert (await client.get(await link(sim, client))).status_code == 403


async def test_a_second_authentication_is_refused_and_noted(
    sim: Simulator, client: httpx.AsyncClient
) -> None:
    answer = await client.get(await link(sim, client), headers=bearer(sim))
    assert (answer.status_code, "InvalidArgument" in answer.text) == (400, True)
    assert [entry.leaked_authorization for entry in sim.requests("audio")] == [True]
    assert sim.log.leaked_authorization == 1


# ---- objects ---------------------------------------------------------------------------------------


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


async def test_any_range_of_a_computed_recording_is_the_same_bytes(sim: Simulator) -> None:
    tenant = sim.world.tenants[BENCH.id]
    for name, size, _ in tenant.names("2024-03-05 10", sim.now())[:3]:
        audio = tenant.audio("2024-03-05 10", name, 0, sim.now())
        assert audio is not None
        whole = sim.audio_bytes(BENCH.id, "2024-03-05 10", name)
        assert len(whole) == size == audio.size
        for start, stop in ((0, 10), (500, 700), (511, 513), (size - 3, size + 9), (40_000, 200_000), (7, 7)):
            assert audio.read(start, stop) == whole[start:stop]


async def test_recordings_are_mp3_that_names_its_call(sim: Simulator, tmp_path: Path) -> None:
    record = next(r for r in sim.records(ACME.id, *DAY) if r["recorded"])
    file = tmp_path / "call.mp3"
    file.write_bytes(sim.audio_bytes(ACME.id, record["start"], record["uniqueId"]))
    probe = ["ffprobe", "-v", "error", "-show_entries", "format=format_name,duration:format_tags", str(file)]
    said = await trio.run_process(probe, capture_stdout=True, capture_stderr=True)
    assert said.stderr == b""
    text = said.stdout.decode()
    assert "format_name=mp3" in text
    assert f"TAG:title={record['uniqueId']}" in text
    assert f"{record['callerIdNumber']} → {record['dialedNum']}" in text
    assert f"TAG:date={record['start'].replace(' ', 'T')}" in text
    duration_s = float(text.partition("duration=")[2].split()[0])
    assert duration_s == pytest.approx(record["duration"], abs=0.5)
    decode = ["ffmpeg", "-v", "error", "-i", str(file), "-f", "null", "-"]
    assert (await trio.run_process(decode, capture_stderr=True, stdin=subprocess.DEVNULL)).stderr == b""


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


# ---- faults ----------------------------------------------------------------------------------------

AUDIO = {"route": "audio"}


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("reset_before", AUDIO), httpx.ReadError),
        (Fault("reset_body", AUDIO, after_bytes=100), httpx.ReadError),
        (Fault("truncate", AUDIO, after_bytes=100), httpx.RemoteProtocolError),
        (Fault("truncate", AUDIO, after_bytes=0), httpx.RemoteProtocolError),
        (Fault("stall", AUDIO), httpx.ReadTimeout),
        (Fault("stall_body", AUDIO, after_bytes=100), httpx.ReadTimeout),
        (Fault("replace_midway", AUDIO, after_bytes=100), httpx.RemoteProtocolError),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else "",
)
async def test_a_broken_transfer_and_the_next_request_is_well(
    sim: Simulator, client: httpx.AsyncClient, fault: Fault, error: type[Exception]
) -> None:
    uri = await link(sim, client)
    sim.add_fault(fault)
    got = bytearray()

    async def read() -> None:
        async with client.stream("GET", uri, timeout=0.2) as answer:
            async for piece in answer.aiter_raw():
                got.extend(piece)

    with pytest.raises(error):
        await read()
    assert got == FIXED.audio["a"][: fault.after_bytes or 0]
    assert (await client.get(uri)).status_code == 200
    with trio.fail_after(5):
        while sim.log.in_flight["storage"]:
            await trio.lowlevel.checkpoint()
    assert [entry.fault for entry in sim.requests("audio")] == [fault.kind, None]
    assert [hits for _, hits in sim.faults.hits()] == [1]


async def test_a_replaced_object_is_seen_by_the_next_range(sim: Simulator, client: httpx.AsyncClient) -> None:
    uri = await link(sim, client)
    etag = (await client.get(uri)).headers["etag"]
    sim.add_fault(Fault("replace_midway", AUDIO))
    assert (await client.get(uri, headers={"If-Match": etag})).status_code == 412
    assert (await client.get(uri)).headers["etag"] != etag


@pytest.mark.parametrize(
    ("fault", "status", "header", "part"),
    [
        (Fault("status", {"route": "reports"}, status=429), 429, None, '"className":"too-many-requests"'),
        (Fault("status", {"tenant": 9}, status=429, retry_after="7"), 429, "7", "TooManyRequests"),
        (Fault("status", {"route": "reports"}, status=502, body="html"), 502, None, "<h1>502</h1>"),
        (Fault("status", {}, status=200, body="null"), 200, None, "null"),
        (Fault("garbage_json", {"route": "reports"}), 200, None, '[{"id"'),
        (Fault("delay", {"route": "reports"}, delay_s=0.01), 200, None, "uniqueId"),
    ],
)
async def test_spoilt_answers_of_the_api(
    sim: Simulator, client: httpx.AsyncClient, fault: Fault, status: int, header: str | None, part: str
) -> None:
    sim.add_fault(fault)
    answer = await report(sim, client, 9, *DAY)
    assert (answer.status_code, answer.headers.get("retry-after")) == (status, header)
    assert part in answer.text
    assert (await report(sim, client, 9, *DAY)).json() == [*FIXED.records]


async def test_spoilt_answers_of_the_storage(sim: Simulator, client: httpx.AsyncClient) -> None:
    uri = await link(sim, client)
    sim.add_fault(Fault("status", AUDIO, status=503), Fault("expired", AUDIO), Fault("ignore_range", AUDIO))
    slow = await client.get(uri)
    assert (slow.status_code, "<Code>SlowDown</Code>" in slow.text) == (503, True)
    # every matching rule counts every request, so the others have let their first one pass
    assert (await client.get(uri)).status_code == 200
    sim.faults.clear()
    sim.add_fault(Fault("ignore_range", AUDIO | {"unique_id": "a"}, times=None))
    answer = await client.get(uri, headers={"Range": "bytes=0-0"})
    assert (answer.status_code, len(answer.content)) == (200, 1024)
    sim.faults.clear()
    sim.add_fault(Fault("expired", AUDIO))
    assert "Request has expired" in (await client.get(uri)).text
    sim.add_fault(Fault("expired", {"route": "link"}))
    assert "Request has expired" in (await client.get(await link(sim, client))).text


async def test_the_kth_request_and_a_rate(sim: Simulator, client: httpx.AsyncClient) -> None:
    uri = await link(sim, client)
    sim.add_fault(Fault("status", AUDIO, nth=2, times=2))
    assert [(await client.get(uri)).status_code for _ in range(4)] == [200, 503, 503, 200]
    sim.faults.clear()
    sim.add_fault(Fault("status", AUDIO, rate=0.5))
    statuses = [(await client.get(uri)).status_code for _ in range(40)]
    assert 5 < statuses.count(503) < 35


def test_a_fault_that_could_never_act_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown fault kind"):
        Fault("explode")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown match keys"):
        Fault("stall", {"uniqueId": "a"})


async def test_a_refused_port_comes_back_in_the_same_place(sim: Simulator, client: httpx.AsyncClient) -> None:
    uri = await link(sim, client)
    await client.get(uri)
    await sim.refuse(storage=True)
    with pytest.raises(httpx.NetworkError):  # the connection that was kept has been reset
        await client.get(uri)
    with pytest.raises(httpx.ConnectError):
        await client.get(uri)
    await sim.refuse(storage=False)
    assert (await client.get(uri)).status_code == 200


async def test_a_stalled_reader_does_not_hold_the_simulator_up(clock: Clock) -> None:
    with trio.fail_after(5):
        async with Simulator([BIG], clock=clock) as sim:
            stream = await trio.open_tcp_stream("127.0.0.1", sim.storage_port.number)
            name = sim.world.tenants[BIG.id].names("2024-03-05 10", sim.now())[-1][0]
            await stream.send_all(
                f"GET /plain/big/2024/03/05/10/{name}.mp3 HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            )
            assert (await stream.receive_some(15)).startswith(b"HTTP/1.1 200")
            assert sim.log.in_flight["storage"] == 1
        assert sim.log.in_flight["storage"] == 0
        await stream.aclose()


async def test_a_client_that_leaves_ends_its_transfer(sim: Simulator, client: httpx.AsyncClient) -> None:
    name, size, _ = sim.world.tenants[BIG.id].names("2024-03-05 10", sim.now())[-1]
    async with client.stream("GET", f"{sim.storage_url}/plain/big/2024/03/05/10/{name}.mp3") as answer:
        assert answer.status_code == 200
    with trio.fail_after(5):
        while sim.log.in_flight["storage"]:
            await trio.lowlevel.checkpoint()
    assert sim.requests("plain")[0].bytes_sent < size


# ---- log and control -------------------------------------------------------------------------------


async def test_the_log_tells_what_was_asked(sim: Simulator, client: httpx.AsyncClient) -> None:
    uri = await link(sim, client)
    sim.storage_delay_s = 0.05
    async with trio.open_nursery() as nursery:
        for at in range(4):
            headers = {"Range": f"bytes={at}-99"}
            nursery.start_soon(partial(client.get, uri, headers=headers))
    entries = sim.requests("audio")
    assert {entry.range for entry in entries} == {f"bytes={at}-99" for at in range(4)}
    assert sum(entry.bytes_sent for entry in entries) == 100 + 99 + 98 + 97 == sim.log.bytes["audio"]
    assert all(entry.t_end is not None and entry.t_end - entry.t_start >= 0.05 for entry in entries)
    assert sim.log.peak == {"api": 1, "storage": 4}
    assert sim.log.requests == {"link": 1, "audio": 4}
    sim.reset_log()
    assert sim.log.stats()["requests"] == {}


async def test_hostile_names_travel(client: httpx.AsyncClient) -> None:
    name = "a b?c#d%20+é&="
    tenant = FixedTenant(1, "t", "T", [{"uniqueId": name, "start": "2024-03-05 10:00:00"}], {name: b"x"})
    async with Simulator([tenant]) as sim:
        url = f"{sim.api_url}/call-recordings/{quote(name, safe='')}"
        query = {"tenantId": "1", "start": "2024-03-05 10:00:00"}
        uri = (await client.get(url, params=query, headers=bearer(sim))).json()["uri"]
        assert unquote(uri.partition("?")[0]).endswith(f"/{name}.mp3")
        assert (await client.get(uri)).content == b"x"


async def test_another_process_and_its_controls() -> None:
    def steer() -> None:
        with start_process(world="demo", seed=3, api_delay_s=0.0) as sim:
            root = f"{sim.api_url}/tenants/37"
            assert sim.tenants == {"demo": 37, "acme": 432}
            with httpx.Client(headers={"Authorization": f"Bearer {sim.token}"}) as client:
                assert client.get(root).status_code == 200
                sim.add_faults({"kind": "status", "match": {"route": "tenant"}, "status": 500})
                assert client.get(root).status_code == 500
                assert sim.stats()["faults"][0]["hits"] == 1
                sim.clear_faults()
                sim.rotate_token()
                assert client.get(root).status_code == 401
                assert [entry["status"] for entry in sim.log("tenant")] == [200, 500, 401]
                assert sim.stats()["requests"] == {"tenant": 3}
                sim.reset_log()
                assert sim.stats()["requests"] == {}
                sim.settings(refuse_storage=True)
                with pytest.raises(httpx.ConnectError):
                    client.get(f"{sim.storage_url}/plain/")
                sim.settings(refuse_storage=False, storage_delay_s=0.001)
                assert client.get(f"{sim.storage_url}/plain/").status_code == 200
                sim.replace_audio(37, "x", b"y")
                sim.remove_audio(37, "x")

    await trio.to_thread.run_sync(steer)
