"""What is at hand is answered at once: no task, no event, no cancel scope, no wait."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Coroutine, Iterator
from inspect import CO_COROUTINE
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any, NamedTuple, TypeVar

import trio
from harness.rig import Rig, open_rig, until
from harness.world import HOUR, NAMES
from trio.testing import wait_all_tasks_blocked

from voxofs.central import CentralTime
from voxofs.core.build import _CONNECTIONS_AHEAD
from voxofs.mount.adapter import Adapter
from voxofs.mount.entries import Appearance
from voxofs.mount.waiting import Waiting

T = TypeVar("T")
TRIO = str(Path(trio.__file__).parent)
ASKER = SimpleNamespace(pid=os.getpid(), uid=0, gid=0)


class Cost(NamedTuple):
    """What one request took of the event loop."""

    waits: int
    """Times that it gave up its turn."""
    coroutines: int
    """That were entered, its own included."""
    of_trio: Counter[str]
    """Functions of trio's that were called, the clock's apart."""


def cost_of(request: Coroutine[Any, Any, T]) -> tuple[T, Cost]:
    """Run a request that waits for nothing, and count. Fails where it waits."""
    entered: set[int] = set()
    of_trio: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            if frame.f_code.co_flags & CO_COROUTINE:
                entered.add(id(frame))
            if frame.f_code.co_filename.startswith(TRIO) and frame.f_code.co_name != "current_time":
                of_trio[frame.f_code.co_qualname] += 1

    sys.setprofile(note)
    try:
        request.send(None)
    except StopIteration as end:
        sys.setprofile(None)
        return end.value, Cost(0, len(entered), of_trio)
    finally:
        sys.setprofile(None)
        request.close()
    raise AssertionError("it waits")


def is_cold(rig: Rig) -> Iterator[bool]:
    """By origin, whether connections to it are still to be opened."""
    for client, url in zip(rig.core.clients, (rig.sim.api_url, rig.sim.storage_url), strict=True):
        yield client.is_cold(url, _CONNECTIONS_AHEAD)


async def test_what_is_at_hand_is_answered_at_once() -> None:
    async with open_rig() as rig:
        central = CentralTime("America/Chicago")
        adapter = Adapter(rig.core.fs, Appearance(0, 0, 0o444, 0o555), Waiting(100, 1), central)
        number = 1
        for name in [*HOUR.strip("/").split("/"), NAMES[0]]:
            folder, number = number, (await adapter.lookup(number, name.encode(), ASKER)).st_ino
        opened = await adapter.open(number, os.O_RDONLY, ASKER)
        size = (await adapter.getattr(number, ASKER)).st_size
        whole = await adapter.read(opened.fh, 0, size)
        await adapter.opendir(folder, ASKER)
        await rig.idle()
        await until(lambda: not any(is_cold(rig)))  # listing a folder has connections opened
        await wait_all_tasks_blocked(0.02)  # and the other side has accepted them

        costs = {}
        entry, costs["lookup"] = cost_of(adapter.lookup(folder, NAMES[0].encode(), ASKER))
        attributes, costs["getattr"] = cost_of(adapter.getattr(number, ASKER))
        _, costs["getattr of a folder"] = cost_of(adapter.getattr(folder, ASKER))
        _, costs["opendir"] = cost_of(adapter.opendir(folder, ASKER))
        again, costs["open"] = cost_of(adapter.open(number, os.O_RDONLY, ASKER))
        data, costs["read"] = cost_of(adapter.read(again.fh, 0, size))
        _, costs["release"] = cost_of(adapter.release(again.fh))
        await adapter.release(opened.fh)

        assert entry.st_ino == number
        assert attributes.st_size == size == len(data)
        assert data == whole
        for what, cost in costs.items():
            assert not cost.of_trio, what
            assert cost.coroutines == 2, what  # the boundary and the handler
