"""A link opens one object, for one method, for its time."""

from __future__ import annotations

from urllib.parse import quote, unquote

import boto3  # type: ignore[import-untyped]
import httpx
import pytest
from botocore.client import Config  # type: ignore[import-untyped]

from voxofs.simulator import links
from voxofs.simulator.server import Simulator
from voxofs.simulator.world import FixedTenant

from .asking import FIXED, Clock, bearer, link


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


async def test_hostile_names_travel(client: httpx.AsyncClient) -> None:
    name = "a b?c#d%20+é&="
    tenant = FixedTenant(1, "t", "T", [{"uniqueId": name, "start": "2024-03-05 10:00:00"}], {name: b"x"})
    async with Simulator([tenant]) as sim:
        url = f"{sim.api_url}/call-recordings/{quote(name, safe='')}"
        query = {"tenantId": "1", "start": "2024-03-05 10:00:00"}
        uri = (await client.get(url, params=query, headers=bearer(sim))).json()["uri"]
        assert unquote(uri.partition("?")[0]).endswith(f"/{name}.mp3")
        assert (await client.get(uri)).content == b"x"
