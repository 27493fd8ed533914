"""The soak, for as long as a test may take: many tools, one request in twenty spoilt, every byte compared."""

from __future__ import annotations

from soaking.campaign import FAULTS, soak
from soaking.report import facts, text
from soaking.tools import STEPS


def test_a_short_soak_keeps_every_promise() -> None:
    outcome = soak(0.25, 16, lambda _: None, days=2)
    report = text(outcome)
    assert outcome.ok, report
    assert sum(outcome.tally.steps.values()) > 100, report
    assert len(outcome.tally.steps) > len(STEPS) // 2, report
    assert len(+outcome.faults) > len(FAULTS) // 2, "hardly anything went wrong: nothing was tried"
    assert outcome.rotations >= 2, report
    assert facts(outcome)["violations"] == []
