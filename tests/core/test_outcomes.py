"""How operations end: within their deadline, alone and together, and remembered once."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from voxofs.clock import Clock
from voxofs.core.outcomes import Outcomes
from voxofs.errors import DeadlineExceeded, Unavailable, VoxofsError
from voxofs.observe.health import Failure, Health
from voxofs.traffic.patience import Patience

PATH = ("office", "2024", "03", "05", "10", "a.mp3")


class Remembered(Health):
    """What was noted."""

    def __init__(self) -> None:
        super().__init__(Clock())
        self.said: list[str] = []

    def failed(
        self, path: str, operation: str, error: VoxofsError, retry_in_s: float | None = None
    ) -> Failure:
        self.said.append(f"{operation}: {type(error).__name__}")
        return super().failed(path, operation, error, retry_in_s)

    @property
    def all_well(self) -> bool:
        """As if something had failed before."""
        return False

    def recovered(self, path: str) -> None:
        self.said.append("well")


async def steps(outcomes: Outcomes, *seconds: float) -> None:
    """Operations together, of so many seconds each."""
    with outcomes.together(PATH, "look-up"):
        for each_s in seconds:
            with outcomes.bounded(PATH, "look-up"):
                await trio.sleep(each_s)
                if not each_s:
                    raise Unavailable("no")


async def test_operations_together_have_one_deadline(autojump_clock: MockClock) -> None:
    health = Remembered()
    begun_s = trio.current_time()
    with pytest.raises(DeadlineExceeded, match="look-up of /office"):
        await steps(Outcomes(health, Patience(30.0)), 20, 20)
    assert trio.current_time() - begun_s == pytest.approx(30)
    assert health.said == ["well", "look-up: DeadlineExceeded"]


async def test_what_one_of_them_ends_with_is_remembered_once(autojump_clock: MockClock) -> None:
    health = Remembered()
    with pytest.raises(Unavailable):
        await steps(Outcomes(health, Patience(30.0)), 20, 0)
    assert health.said == ["well", "look-up: Unavailable"]
