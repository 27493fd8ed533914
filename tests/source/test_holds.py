"""How long a large report keeps everybody else from running, and how much of a bomb is ever held."""

from __future__ import annotations

import gc
import gzip
import json
import resource
import time
from collections.abc import Iterator
from functools import lru_cache

import pytest
import trio
from harness.world import call
from trials.hostile import PATH, Answers, hostile_core

from voxofs.errors import BadAnswer

DAY = PATH[:4]
MOST_HOLD_S = 0.05
"""Or as long as a report is copied three times, where that takes longer: its buffer grows, and may have to
move once. (To decode it in one piece takes ten times as long as a copy.)"""
GZIP = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n"


class Holds(trio.abc.Instrument):
    """The longest time for which one task kept all others from running, in seconds of CPU: what the machine
    does for other processes meanwhile is not counted."""

    def __init__(self) -> None:
        self.longest_s = 0.0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._began_s = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task.name != "trio._highlevel_serve_listeners._run_handler":  # the origin's own work is not ours
            self.longest_s = max(self.longest_s, time.thread_time() - self._began_s)


@pytest.fixture(autouse=True)
def our_garbage_alone() -> Iterator[None]:
    """What thousands of other tests have left is not collected in the middle of ours."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@lru_cache
def large_report(*, with_null: bool) -> bytes:
    """46 MB over all hours of two days, 92,000 calls."""
    records = [
        call(
            f"atl-ast2-17096{number:06}.{number}",
            f"2024-03-0{5 + number // 46_000} {number % 24:02}:{number % 60:02}:{number % 59:02}",
            id=f"f36bd91a-cd09-4770-b974-{number:012}",
            callerIdName=f"A CALLER {number} " + "." * 120,
        )
        for number in range(92_000)
    ]
    texts = [json.dumps(record) for record in records]
    if with_null:
        texts.insert(46_000, "null")
    return ("[" + ",".join(texts) + "]").encode()


@pytest.mark.parametrize("with_null", [False, True])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_report_of_46_mb_holds_nobody_up(with_null: bool, compressed: bool) -> None:
    report = large_report(with_null=with_null)
    assert len(report) > 44_000_000
    answers = Answers(report=gzip.compress(report, 1), api_head=GZIP) if compressed else Answers(report)
    holds = Holds()

    async def main() -> int:
        async with hostile_core(answers) as core:
            hours = await core.fs.listing(DAY)
            return len(hours)

    assert trio.run(main, instruments=[holds]) == 24
    print(f"longest hold: {holds.longest_s * 1000:.1f} ms (null: {with_null}, gzip: {compressed})")
    assert holds.longest_s < MOST_HOLD_S


def test_a_bomb_goes_off_in_nobody_s_hands() -> None:
    """256 MiB of blanks in 261 KB."""
    bomb = gzip.compress(b"[" + b" " * 2**28 + b"]")
    holds = Holds()

    async def main() -> None:
        async with hostile_core(Answers(report=bomb, api_head=GZIP)) as core:
            with pytest.raises(BadAnswer, match="compressed body that no report"):
                await core.fs.listing(DAY)

    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    trio.run(main, instruments=[holds])
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) / 1024
    print(f"longest hold: {holds.longest_s * 1000:.1f} ms, grown by {grown_mib:.0f} MiB")
    assert holds.longest_s < MOST_HOLD_S
    assert grown_mib < 64
