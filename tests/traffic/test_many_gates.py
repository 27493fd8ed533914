"""Sixty-four processes at one API that serves twenty at once: each has a gate of its own and knows nothing of
the others. In a time that jumps, so that half a minute takes seconds."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from random import Random
from statistics import median

import pytest
import stamina
import trio
from trio.testing import MockClock

from voxofs.errors import Unavailable
from voxofs.traffic.demand import Demand, Priority
from voxofs.traffic.gate import Gate
from voxofs.traffic.retry import persistently

PLACES = 20
SERVES_S = 0.08
"""What a report takes at the vendor (the benchmark's world)."""
AWAY_S = 0.005
"""One way: a machine in the same country."""
WARM_S, MEASURED_S = 5.0, 15.0


class Api:
    """Answers 429 to whoever comes while `PLACES` others are served; `closed` to everybody."""

    def __init__(self) -> None:
        self.random = Random(1)
        self.busy = 0
        self.closed = False
        self.served: Counter[int] = Counter()
        self.refused = 0

    async def get(self, who: int) -> None:
        await trio.sleep(AWAY_S * self.random.uniform(0.7, 1.3))
        if self.closed or self.busy >= PLACES:
            self.refused += 1
            await trio.sleep(AWAY_S)
            raise Unavailable("the API answered 429", status=429)
        self.busy += 1
        await trio.sleep(SERVES_S * self.random.uniform(0.7, 1.3))
        self.busy -= 1
        self.served[who] += 1
        await trio.sleep(AWAY_S * self.random.uniform(0.7, 1.3))


async def keep_asking(api: Api, gate: Gate, who: int) -> None:
    """One caller of a process: a failure ends the test."""
    while True:
        demand = Demand("demo", Priority.READER)

        async def once(demand: Demand = demand) -> None:
            async with gate.request(demand):
                await api.get(who)

        with trio.fail_after(30), demand.waited_for(Priority.READER):
            await persistently(once, demand)


def gate_of() -> Gate:
    return Gate("api", 32, monotonic_s=trio.current_time, patience_s=30)


@pytest.fixture
def autojump_clock() -> MockClock:
    """Time passes when nobody has anything to do."""
    clock = MockClock(autojump_threshold=0)
    random.seed(1)  # pauses
    trio._core._run._r.seed(1)  # the order in which tasks of one moment run
    return clock


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    """A line of log for each of thousands of refusals takes longer than all else; a core is silent, too."""
    hooks = stamina.instrumentation.get_on_retry_hooks()
    stamina.instrumentation.set_on_retry_hooks([])
    yield
    stamina.instrumentation.set_on_retry_hooks(hooks)


async def test_sixty_four_share_what_twenty_places_serve(autojump_clock: MockClock) -> None:
    api = Api()
    async with trio.open_nursery() as nursery:
        for who in range(64):
            gate = gate_of()
            for _ in range(2):
                nursery.start_soon(keep_asking, api, gate, who)
        await trio.sleep(WARM_S)
        api.served.clear()
        api.refused = 0
        await trio.sleep(MEASURED_S)
        nursery.cancel_scope.cancel()
    served = [api.served[who] for who in range(64)]
    assert sum(served) >= 0.8 * PLACES / SERVES_S * MEASURED_S
    assert min(served) >= median(served) / 4, sorted(served)
    assert api.refused < sum(served)


@pytest.mark.parametrize(("spell_s", "within_s"), [(1.0, 3.0), (5.0, 7.0)])
async def test_one_alone_is_back_at_its_full_rate_soon_after_a_spell(
    spell_s: float, within_s: float, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last pause, which is no longer than the spell was, and about two seconds."""
    monkeypatch.setattr(f"{__name__}.PLACES", 1_000)
    api, gate = Api(), gate_of()
    async with trio.open_nursery() as nursery:
        for _ in range(64):
            nursery.start_soon(keep_asking, api, gate, 0)
        await trio.sleep(5)
        api.closed = True
        await trio.sleep(spell_s)
        assert api.refused < 150
        api.closed = False
        await trio.sleep(within_s)
        api.served.clear()
        await trio.sleep(1)
        assert api.served[0] > 0.9 * 32 / (SERVES_S + 2 * AWAY_S)
        nursery.cancel_scope.cancel()
