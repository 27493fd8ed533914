"""How a plain client asks, and a tenant written by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx

from voxofs.simulator.server import Simulator
from voxofs.simulator.world import FixedTenant

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
