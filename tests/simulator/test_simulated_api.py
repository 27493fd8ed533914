"""Signing in, tenants, reports."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import pytest

from voxofs.simulator.server import Simulator

from .asking import DAY, FIELDS, FIXED, Clock, bearer, report


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


async def test_the_later_form(sim: Simulator, client: httpx.AsyncClient) -> None:
    sim.later_form = True
    record = (await report(sim, client, 37, *DAY)).json()[0]
    assert "start" not in record
    assert datetime.strptime(record["time"], "%m/%d/%y %H:%M:%S").date().isoformat() == "2024-03-05"
    assert "queueCall" in record
    url = f"{sim.api_url}/call-recordings/{record['uniqueId']}"
    query = {"tenantId": 37, "start": record["time"]}
    assert (await client.get(url, params=query, headers=bearer(sim))).status_code == 200


async def test_written_records_may_be_garbage(sim: Simulator, client: httpx.AsyncClient) -> None:
    listed = (await report(sim, client, 9, "2024-03-05 11:00:00", "2024-03-05 12:00:00")).json()
    assert listed == [FIXED.records[1], FIXED.records[4], 17]
