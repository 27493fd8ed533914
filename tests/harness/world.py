"""Recordings written by hand. Everything is in the past, so that real and turned clocks agree about it."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from voxofs.simulator.world import FixedTenant

BLOCK = 65_536
OFFICE = 9
CHICAGO = ZoneInfo("America/Chicago")

HOUR = "/office/2024/03/05/10"
"""Twelve recordings, those in SIZES."""

SIZES = (1_000, 65_536, 65_537, 131_072, 131_073, 200_001, 50_000, 300_000, 1, 99_999, 400_000, 250_000)


def noise(seed: object, size: int) -> bytes:
    """Bytes that no other seed gives."""
    return Random(str(seed)).randbytes(size)


def epoch_s(wall: str, fold: int = 0) -> int:
    """The instant of a wall-clock time in Chicago."""
    moment = datetime.strptime(wall, "%Y-%m-%d %H:%M:%S")
    return int(moment.replace(tzinfo=CHICAGO, fold=fold).astimezone(UTC).timestamp())


def call(unique_id: Any, start: Any, **more: Any) -> dict[str, Any]:
    """A record as the vendor's page shows it."""
    return {
        "id": "f36bd91a-cd09-4770-b974-a92f6023164f",
        "start": start,
        "callerIdNumber": "1008",
        "callerIdName": "MRJINGLES",
        "dialedNum": "6016021302",
        "direction": "OUT",
        "disposition": "ANSWERED",
        "duration": 18,
        "percentJitter": 0,
        "packetLoss": 0,
        "qos": 1,
        "uniqueId": unique_id,
        "prevUniqueId": "",
        "whoAnswered": "6016021302",
        "recorded": 1,
    } | more


def asterisk_id(wall: str, number: int, fold: int = 0) -> str:
    """A uniqueId as Asterisk makes them, with the epoch second of the call in it."""
    return f"atl-ast2-{epoch_s(wall, fold)}.{number}"


def folder(start: str) -> str:
    """The path of the hour in which a call that started then is shown."""
    return f"/office/{start[:4]}/{start[5:7]}/{start[8:10]}/{start[11:13]}"


def tenant(
    calls: dict[tuple[str, str], bytes | None], number: int = OFFICE, code: str = "office"
) -> FixedTenant:
    """A tenant from {(uniqueId, start): audio}; None: the recording is missing in the storage."""
    return FixedTenant(
        number,
        code,
        code.title(),
        records=[call(unique_id, start) for unique_id, start in calls],
        audio={unique_id: data for (unique_id, _), data in calls.items() if data is not None},
    )


def sized_hour(
    sizes: list[int], day: str = "2024-03-05", hour: str = "10"
) -> dict[tuple[str, str], bytes | None]:
    """One hour of recordings of these sizes; order of names is the order of starts."""
    calls: dict[tuple[str, str], bytes | None] = {}
    for number, size in enumerate(sizes):
        start = f"{day} {hour}:{number // 60:02}:{number % 60:02}"
        unique_id = asterisk_id(start, number)
        calls[unique_id, start] = noise(unique_id, size)
    return calls


BUSY = sized_hour(list(SIZES))
NAMES = [f"{unique_id}.mp3" for unique_id, _ in BUSY]
BYTES = {f"{unique_id}.mp3": data for (unique_id, _), data in BUSY.items() if data is not None}

LONG = 5_000_001
OTHERS: dict[tuple[str, str], bytes | None] = {
    ("zebra", "2024-03-05 12:00:00"): noise("zebra", 10),
    ("Ärger", "2024-03-05 12:00:01"): noise("umlaut", 11),
    ("apple", "2024-03-05 12:00:02"): noise("apple", 12),
    ("long", "2024-03-05 13:00:00"): noise("long", LONG),
    ("empty", "2024-03-05 14:00:00"): b"",
    ("gone", "2024-03-05 14:00:01"): None,
    ("other-day", "2024-03-06 10:00:00"): noise("other-day", 20),
    ("last-second", "2024-03-06 23:59:59"): noise("last-second", 21),
    ("midnight", "2024-03-07 00:00:00"): noise("midnight", 22),
    ("far", "2023-07-01 10:00:00"): noise("far", 23),
    # Daylight saving ends on 2023-11-05 at 2 o'clock: the hour from 1 occurs twice.
    (asterisk_id("2023-11-05 01:30:00", 1, fold=0), "2023-11-05 01:30:00"): b"first one o'clock",
    (asterisk_id("2023-11-05 01:30:00", 2, fold=1), "2023-11-05 01:30:00"): b"second one o'clock",
    # It begins on 2024-03-10: there is no hour from 2.
    (asterisk_id("2024-03-10 01:59:59", 1), "2024-03-10 01:59:59"): b"before",
    (asterisk_id("2024-03-10 03:00:00", 1), "2024-03-10 03:00:00"): b"after",
}
CALLS = BUSY | OTHERS


def office() -> FixedTenant:
    """The tenant that most tests look at."""
    return tenant(CALLS)


def truth(path: str) -> bytes:
    """The bytes of a recording of `office` by its path."""
    unique_id = path.rsplit("/", 1)[1].removesuffix(".mp3")
    [data] = [data for (each, _), data in CALLS.items() if each == unique_id]
    assert data is not None
    return data
