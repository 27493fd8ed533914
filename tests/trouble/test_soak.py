"""Both soaks, for as long as a test may take, and that the bounds of the second one would tell of a breach.

One: many tools, one request in twenty spoilt, every byte compared. The other: two tenants, one in trouble.
"""

from __future__ import annotations

import pytest
from soaking.bounds import Round, calm_problems, troubled_problems
from soaking.campaign import FAULTS, soak
from soaking.neighbours import Plan, soak_neighbours
from soaking.neighbours_report import neighbours_facts, neighbours_text
from soaking.report import facts, text
from soaking.tools import STEPS
from soaking.troubles import FEW, TROUBLES
from soaking.workers import Tally


def test_a_short_soak_keeps_every_promise() -> None:
    outcome = soak(0.25, 16, lambda _: None, days=2)
    report = text(outcome)
    assert outcome.ok, report
    assert sum(outcome.tally.steps.values()) > 100, report
    assert len(outcome.tally.steps) > len(STEPS) // 2, report
    assert len(+outcome.faults) > len(FAULTS) // 2, "hardly anything went wrong: nothing was tried"
    assert outcome.rotations >= 2, report
    assert facts(outcome)["violations"] == []


def test_one_tenants_trouble_is_not_the_others() -> None:
    plan = Plan(0.26, 16, warm_s=1.0, without_s=4.0, trouble_s=1.5, rest_s=0.5, deadline_s=3.0, troubles=FEW)
    outcome = soak_neighbours(plan, lambda _: None)
    report = neighbours_text(outcome)
    assert outcome.ok, report
    assert [each.trouble for each in outcome.rounds] == list(FEW), report
    # Most troubles of a second and a half pass within a deadline; garbage is told at once.
    assert all(each.hits for each in outcome.rounds), report
    assert sum(sum(each.troubled.refused.values()) for each in outcome.rounds) > 0, report
    assert sum(sum(each.calm.steps.values()) for each in outcome.rounds) > 30, report
    assert neighbours_facts(outcome)["violations"] == []


def _tally(*times_s: float, refused: int = 0, began_s: float = 100.0) -> Tally:
    tally = Tally()
    for n, time_s in enumerate(times_s):
        tally.add("cat", time_s, "EIO" if n < refused else None, began_s)
    return tally


def _round(calm: Tally, after: Tally, name: str = "storage hangs", hits: int = 1) -> Round:
    trouble = next(each for each in TROUBLES if each.name == name)
    each = Round(trouble, calm, _tally(3.0, refused=1), after, hits=hits, ended_s=90.0)
    each.over(now_s=110.0)
    return each


@pytest.mark.parametrize(
    ("name", "calm", "finding"),
    [
        ("storage hangs", _tally(*[0.2] * 9, 1.9), None),
        ("storage hangs", _tally(*[0.2] * 9, 2.1), "slowest cat took 2.10 s, 10.5 units of 0.20 s"),
        ("API 429 for 1 s", _tally(*[0.2] * 9, 3.9), None),
        ("API 429 for 1 s", _tally(*[0.2] * 9, 4.1), "slowest cat took 4.10 s"),
        ("storage hangs", _tally(*[0.5] * 9), "cat usually took 0.50 s, 2.5 units"),
        ("storage hangs", _tally(*[0.2] * 9, refused=1), "saw {'EIO': 1} in {'cat': 1}"),
        ("storage hangs", _tally(), "finished nothing"),
    ],
)
def test_the_calm_tenant_is_held_to_its_units(name: str, calm: Tally, finding: str | None) -> None:
    without = _tally(*[0.2] * 9)
    found = list(calm_problems(without, [_round(calm, _tally(), name)], deadline_s=5.0, slowest=10.0))
    assert [finding in each for each in found if finding] == ([True] if finding else [])
    assert finding or not found


def test_no_calm_operation_may_take_a_deadline() -> None:
    calm = _tally(*[1.0] * 9, 5.5)
    found = list(calm_problems(_tally(*[1.0] * 9), [_round(calm, _tally())], deadline_s=5.0, slowest=10.0))
    assert len(found) == 1
    assert "allowed are 5.00 s" in found[0]


@pytest.mark.parametrize(
    ("after", "hits", "finding"),
    [
        (_tally(0.2, 0.2, refused=1, began_s=94.0), 1, None),
        (_tally(0.2, 0.2, refused=1, began_s=96.0), 1, "refused still in a step begun 6.0 s after its end"),
        (_tally(0.2, refused=1, began_s=94.0), 1, "nothing worked in 20 s after its end"),
        (_tally(0.2), 0, "nothing was tried"),
    ],
)
def test_the_troubled_tenant_must_work_again(after: Tally, hits: int, finding: str | None) -> None:
    found = list(troubled_problems([_round(_tally(0.2), after, hits=hits)], recovers_s=5.0))
    assert [finding in each for each in found if finding] == ([True] if finding else [])
    assert finding or not found
