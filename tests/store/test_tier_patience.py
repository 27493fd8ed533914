"""How long readers wait: for a disk that gets something done, their turn; for one that hangs, not long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from tier_kit import Turned, bring, edition, held, opened, state

from voxofs.store.health import DiskState
from voxofs.store.lookup import Lookup
from voxofs.store.readers import Readers, TooSlow

READERS = 60
"""Fifteen for each thread: the last of them waits for a thread longer than patience lasts."""


def before_reads(monkeypatch: pytest.MonkeyPatch, then: Callable[[], object]) -> None:
    """What each read of blocks does first, in its thread."""
    real = Lookup.read

    def read(self: Lookup, *arguments: Any) -> Any:
        then()
        return real(self, *arguments)

    monkeypatch.setattr(Lookup, "read", read)


@pytest.fixture
def hang() -> Iterator[threading.Event]:
    """What threads wait for; in the end it comes."""
    event = threading.Event()
    yield event
    event.set()


async def test_a_queue_that_moves_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads of 60 ms."""
    async with opened(tmp_path, patience_s=0.5) as tier:
        await bring(tier, edition(1, 300_000))
        before_reads(monkeypatch, lambda: time.sleep(0.06))
        blocks: list[int] = []

        async def reader() -> None:
            blocks.append(await held(tier, edition(1, 300_000)))

        async with trio.open_nursery() as nursery:
            for _ in range(READERS):
                nursery.start_soon(reader)
        assert blocks == [5] * READERS
        assert state(tier) is DiskState.WORKING
        assert tier.counts["slow"] == 0


async def test_threads_that_hang_are_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hang: threading.Event
) -> None:
    """Neither by who has one nor by who waits for one; and the tier rests."""
    clock = Turned()
    async with opened(tmp_path, clock.clock, patience_s=0.5) as tier:
        await bring(tier, edition(1, 300_000))
        before_reads(monkeypatch, lambda: hang.wait(20))
        waited_s: list[float] = []

        async def reader() -> None:
            began_s = trio.current_time()
            assert await held(tier, edition(1, 300_000)) == 0
            waited_s.append(trio.current_time() - began_s)

        async with trio.open_nursery() as nursery:
            for _ in range(READERS):
                nursery.start_soon(reader)
        assert len(waited_s) == READERS
        assert max(waited_s) < 5, "patience is half a second"
        assert state(tier) is DiskState.RESTING
        assert "does not answer within 0.5 s" in str(tier.reason)
        with trio.fail_after(0.4):
            assert await held(tier, edition(1, 300_000)) == 0
        hang.set()
        clock.turn(60)
        await tier.settle()
        assert state(tier) is DiskState.WORKING
        assert await held(tier, edition(1, 300_000)) == 5


async def test_the_third_in_a_row_makes_the_tier_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hang: threading.Event
) -> None:
    async with opened(tmp_path, patience_s=0.01) as tier:
        await bring(tier, edition(1, 300_000))
        before_reads(monkeypatch, lambda: hang.wait(20))
        states = []
        for _ in range(3):
            await held(tier, edition(1, 300_000))
            states.append(state(tier))
        assert states == [DiskState.WORKING, DiskState.WORKING, DiskState.RESTING]


async def test_one_read_that_hangs_is_not_waited_for_while_others_come_back(hang: threading.Event) -> None:
    readers, over = Readers(0.2), trio.Event()

    async def others() -> None:
        while not over.is_set():
            await readers.run(lambda: time.sleep(0.01))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        with trio.fail_after(5), pytest.raises(TooSlow):
            await readers.run(lambda: hang.wait(20))
        over.set()


@pytest.mark.parametrize("came_free", [False, True])
async def test_whoever_leaves_the_queue_takes_no_thread_with_it(came_free: bool) -> None:
    """Called off while waiting, and just when a thread came free."""
    readers, having = Readers(20), trio.CancelScope()
    for _ in range(4):
        await readers.take(having)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(readers.take, having)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        if came_free:
            readers.give_back()
    if not came_free:
        readers.give_back()
    with trio.fail_after(5):
        await readers.take(having)
