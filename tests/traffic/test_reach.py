"""What an origin lets one tenant do: shares, and the breaker with its times. Pure arithmetic over a clock."""

from __future__ import annotations

import pytest

from voxofs.errors import Unavailable
from voxofs.traffic.reach import Reach

PATIENCE_S = 30.0
ERROR = Unavailable("no answer")


def lost_at(now_s: float) -> Reach:
    """An origin that counts as out of reach from then on, failing for as long as patience lasts."""
    reach = Reach(PATIENCE_S)
    for then_s in (now_s - PATIENCE_S, now_s):
        reach.failed(ERROR, then_s, then_s, 1)
    assert reach.is_lost(now_s)
    return reach


@pytest.mark.parametrize(
    ("failing_s", "lost"), [(0, False), (12, False), (23, False), (24, True), (30, True)]
)
def test_lost_after_nearly_a_patience_of_failures(failing_s: float, lost: bool) -> None:
    """An outage of 12 s with a patience of 30 is none."""
    reach = Reach(PATIENCE_S)
    reach.failed(ERROR, 100, 100, 1)
    reach.failed(ERROR, 100 + failing_s, 100 + failing_s, 1)
    assert reach.is_lost(100 + failing_s) is lost
    assert (reach.hurry_s(100 + failing_s) is None) is not lost


def test_an_answer_since_the_request_was_begun_counts() -> None:
    reach = Reach(PATIENCE_S)
    reach.answered(125, 8)
    reach.failed(ERROR, 100, 130, 1)
    assert reach.failing_since_s == 125
    assert not reach.is_lost(130)


def test_one_request_alone_proves_nothing() -> None:
    """The machine slept for an hour while it was under way."""
    reach = Reach(PATIENCE_S)
    reach.failed(ERROR, 100, 3_700, 1)
    assert not reach.is_lost(3_700)
    reach.failed(ERROR, 3_705, 3_705, 1)
    assert not reach.is_lost(3_705), "a network takes some seconds to come back"
    reach.failed(ERROR, 3_710, 3_710, 1)
    assert reach.is_lost(3_710)


def test_a_user_who_gives_up_counts_where_something_failed() -> None:
    reach = Reach(PATIENCE_S)
    reach.given_up(100)
    assert not reach.is_lost(100), "a long transfer is no failure"
    reach.failed(ERROR, 100, 110, 1)
    reach.given_up(130)
    assert reach.is_lost(130)


def test_what_nobody_has_tried_for_a_minute_is_no_longer_believed() -> None:
    reach = lost_at(100)
    assert reach.is_lost(160)
    assert not reach.is_lost(161)
    reach.failed(ERROR, 170, 171, 1)
    assert not reach.is_lost(171), "patience begins anew"


def test_one_request_tries_on_and_another_every_three_seconds() -> None:
    reach = lost_at(100)
    assert reach.room(0, 100)
    reach.tried(100)
    assert not reach.room(1, 102.9)
    assert reach.room(0, 102.9), "it was refused, or ended"
    assert reach.room(1, 103), "the first may hang at a server that is no more"
    reach.tried(103)
    assert not reach.room(2, 105.9)
    assert reach.room(2, 106)


def test_somebody_waits_a_second_every_three_and_everybody_else_is_told_at_once() -> None:
    reach = lost_at(100)
    assert reach.hurry_s(100) == 1
    reach.tried(100)
    assert reach.hurry_s(100.4) == pytest.approx(0.6)
    assert reach.hurry_s(101) == reach.hurry_s(102.9) == 0.1
    reach.tried(102)
    assert reach.hurry_s(102) == 0.1, "a try for those who are told at once earns nobody a longer wait"
    assert reach.hurry_s(103) == 1
    reach.given_up(104)  # who joined an old request
    assert reach.hurry_s(104) == 1
    assert reach.hurry_s(105) == 0.1
    reach.given_up(105)
    assert reach.hurry_s(107) == 1, "those who are told at once put nothing off"


def test_whoever_comes_first_after_it_is_lost_has_the_whole_second() -> None:
    reach = Reach(PATIENCE_S)
    reach.failed(ERROR, 100, 110, 1)
    reach.tried(129)
    reach.given_up(130)
    assert reach.is_lost(130)
    assert reach.hurry_s(130) == 1


def test_the_first_answer_lets_all_in() -> None:
    reach = lost_at(100)
    reach.tried(100)
    reach.answered(101, 8)
    assert not reach.is_lost(101)
    assert (reach.hurry_s(101), reach.error, reach.failing_since_s) == (None, None, None)


def test_the_share_halves_once_a_second_and_grows_with_answers() -> None:
    reach = Reach(PATIENCE_S)
    for _ in range(8):  # those who failed together
        reach.failed(ERROR, 99, 100, 8)
    assert reach.share == 4
    assert not reach.room(4, 100)
    assert reach.room(3, 100)
    for second in range(1, 6):
        reach.failed(ERROR, 100, 100 + second, 8)
    assert reach.share == 1
    answers = 0
    while reach.share != float("inf"):
        reach.answered(110, 8)
        answers += 1
    assert 20 < answers < 50, "about one more for each round: 1 + 2 + … + 8"


def test_patience_shorter_than_a_try() -> None:
    reach = Reach(0.5)
    for now_s in (99, 100):
        reach.failed(ERROR, now_s, now_s, 1)
    assert reach.hurry_s(100) == 0.5
