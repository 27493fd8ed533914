"""The calls of an hour as they are kept: what went in comes out, whatever its form, and in little memory."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from datetime import date

from harness.world import call
from hypothesis import given
from hypothesis import strategies as st

from voxofs.catalog.calls import Calls, Rows, Together
from voxofs.catalog.window import Hour
from voxofs.model import DETAILS, Record, packed_details

VALUES = st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=8)
RECORDS = st.builds(
    lambda name, start, instant_s, details: Record(name, start, instant_s, packed_details(details)),
    st.text("ab-.é", min_size=1, max_size=4),
    st.sampled_from(["2024-03-05 10:00:00", "2024-03-05 10:00:01", "03/05/24 10:00:00", "2024-03-05"]),
    st.integers(-(2**40), 2**40),
    st.lists(VALUES, max_size=len(DETAILS)).map(tuple),
)


@given(st.lists(RECORDS, max_size=20))
def test_records_come_out_as_they_went_in(records: list[Record]) -> None:
    calls = Calls(Rows(records))
    expected: dict[str, Record] = {}
    for record in records:  # the later of two stands, and of two at once the one that was told last
        if record.name not in expected or record.instant_s >= expected[record.name].instant_s:
            expected[record.name] = record
    assert list(calls) == [expected[name] for name in sorted(expected)]
    assert list(calls.names) == sorted(expected)
    assert [calls[index - len(calls)] for index in range(len(calls))] == list(calls)
    assert calls[1:] == list(calls)[1:]
    assert [record.details for record in calls] == [expected[name].details for name in calls.names]


@given(st.lists(RECORDS, max_size=20))
def test_positions_by_start_are_each_others_reverse(records: list[Record]) -> None:
    hour = Hour(date(2024, 3, 5), "10", Rows(records))
    order, rank = hour.by_start()
    assert [rank[index] for index in order] == list(range(len(hour)))
    starts = [hour.records[index].instant_s for index in order]
    assert starts == sorted(starts)


def test_hours_together_are_one_after_the_other() -> None:
    some = [Calls(Rows(Record(f"{hour}-{n}", "", n) for n in range(hour))) for hour in range(3)]
    together = Together(some)
    assert [record.unique_id for record in together] == ["1-0", "2-0", "2-1"]
    assert len(together) == 3
    assert Record("2-1", "", 1) in together
    assert Record("2-2", "", 1) not in together


MEASURE = """
import sys
from collections import Counter
from datetime import datetime, timedelta

import trio

from voxofs.catalog.memory import give_back
from voxofs.catalog.window import hours_in
from voxofs.central import CentralTime
from voxofs.source.report import decoded

def resident_bytes():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS:")) << 10

async def main():
    day, central, kept = datetime(2024, 1, 2), CentralTime(), []
    for copy in range(5):
        body = b"" + BODY + b" " * (copy + 1)  # of its own, as one that has been received
        hours = await hours_in(decoded(body, central, Counter()), day, day + timedelta(days=1))
        del body
        give_back()
        if copy:
            kept.append(hours)
        else:
            before = resident_bytes()  # code and tables are there now
    records = sum(len(hour) for hours in kept for hour in hours.values())
    print(records, (resident_bytes() - before) / records)

BODY = sys.stdin.buffer.read()
trio.run(main)
"""


def test_a_record_costs_less_than_400_bytes_of_resident_memory() -> None:
    """With all that decoding leaves behind; in a process of its own, whose memory nobody else changes."""
    body = json.dumps(
        [
            call(
                f"atl-ast2-{1704261566 + n}.{n:04}",
                f"2024-01-02 {n // 3_600 % 24:02}:{n // 60 % 60:02}:{n % 60:02}",
                id=str(uuid.UUID(int=n**8 % 2**128)),
                callerIdNumber=f"601555{n:04}",
            )
            for n in range(20_000)
        ]
    )
    python = [sys.executable, "-c", MEASURE]
    told = subprocess.run(python, input=body.encode(), stdout=subprocess.PIPE, check=True).stdout.split()
    assert int(told[0]) == 80_000
    assert float(told[1]) < 400
