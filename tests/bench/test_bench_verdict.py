"""`scripts/bench --quick`: what is slower, and what is only noise."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts/_bench"))

import base
from processes import Failed
from quick import compared
from runs import Results, Run
from verdict import CPU, WALL, Comparison, rows


def cpu(new: list[float], old: list[float]) -> Comparison:
    """CPU seconds of one work."""
    return Comparison("cp -r", "CPU", CPU, new, old)


def test_a_tenth_more_in_every_round_is_slower() -> None:
    found = cpu([0.56, 0.58, 0.57], [0.50, 0.49, 0.51])
    assert found.slower
    assert found.word == "SLOWER"
    assert found.ratio == pytest.approx(1.14)


def test_within_the_bound_is_not() -> None:
    assert not cpu([0.54, 0.54, 0.55], [0.50, 0.49, 0.51]).slower


def test_a_burst_of_noise_that_left_one_round_alone_is_noise() -> None:
    found = cpu([0.50, 0.80, 0.90], [0.50, 0.51, 0.52])
    assert not found.slower
    assert found.word == "noise"


def test_one_lucky_round_of_the_base_is_nothing() -> None:
    found = cpu([0.50, 0.51, 0.52], [0.30, 0.50, 0.51])
    assert not found.slower
    assert found.word == ""


def test_a_few_milliseconds_are_nothing_however_large_the_ratio() -> None:
    assert not cpu([0.012, 0.013], [0.006, 0.006]).slower
    assert not Comparison("ls -l", "wall", WALL, [0.035], [0.017]).slower


def test_faster_is_never_slower() -> None:
    assert cpu([0.2, 0.2], [0.5, 0.5]).word == ""


@given(st.lists(st.floats(0.01, 10.0), min_size=1, max_size=7))
def test_a_commit_is_not_slower_than_itself(seconds: list[float]) -> None:
    assert not cpu(seconds, list(reversed(seconds))).slower


@given(
    st.lists(st.floats(0.1, 10.0), min_size=1, max_size=7),
    st.lists(st.floats(0.1, 10.0), min_size=1, max_size=7),
)
def test_two_are_never_each_slower_than_the_other(one: list[float], other: list[float]) -> None:
    assert not (cpu(one, other).slower and cpu(other, one).slower)


def test_every_work_is_compared_in_cpu_and_on_the_wall() -> None:
    results = Results()
    for new_s, old_s in ((1.0, 0.5), (1.1, 0.6)):
        results.add("ls -l", "voxofs", Run(new_s, cpu_s=0.3))
        results.add("ls -l", "before", Run(old_s, cpu_s=0.3))
    found = compared(results)
    assert [(one.work, one.quantity, one.slower) for one in found] == [
        ("ls -l", "CPU", False),
        ("ls -l", "wall", True),
    ]
    head, calm, slow = rows(found)
    assert len(head) == len(calm) == len(slow)
    assert slow == ["ls -l", "wall", "1.050 s", "0.550 s", "1.91", "2.00", "1.15", "SLOWER"]


def _git(answers: dict[str, str]) -> Callable[..., str]:
    def git(*words: str) -> str:
        if words[0] not in answers:
            raise Failed(f"git {words[0]}")
        return answers[words[0]]

    return git


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"status": " M voxofs/model.py", "merge-base": "aaa", "rev-parse": "bbb"}, "HEAD"),
        ({"status": "", "merge-base": "aaa", "rev-parse": "bbb"}, "aaa"),
        ({"status": "", "merge-base": "bbb", "rev-parse": "bbb"}, "HEAD~1"),
        ({"status": "", "rev-parse": "bbb"}, "HEAD~1"),
    ],
    ids=["not committed", "left its upstream", "published", "no upstream"],
)
def test_what_a_change_is_compared_with(
    answers: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "_git", _git(answers))
    assert base.usual() == expected
