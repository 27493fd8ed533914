"""What an origin bears: pure arithmetic over a clock."""

from __future__ import annotations

import pytest

from voxofs.traffic.pace import Pace

PATIENCE_S = 30.0
LATENCY_S = 0.08


def pace_of(most: int = 32) -> Pace:
    """Without jitter, at an origin that is known to answer within 80 ms."""
    pace = Pace(most, PATIENCE_S, jitter=lambda least, most: (least + most) / 2)
    for _ in range(64):
        pace.succeeded("a", 0.0, LATENCY_S)
    return pace


def refused(pace: Pace, times: int, now_s: float = 0.0) -> float:
    """So many refusals, each of a request sent after the one before; the time after them."""
    for _ in range(times):
        pace.refused("a", now_s + 0.001, now_s + 0.011)
        now_s += 0.011
    return now_s


def test_what_was_sent_before_a_refusal_came_is_the_same_event() -> None:
    pace = pace_of()
    for began_s in (1.0, 1.5, 2.0):
        pace.refused("a", began_s, 2.0)
    assert pace.limit == 32 * 0.8
    pace.refused("a", 2.1, 2.2)
    assert pace.limit == 32 * 0.8 * 0.8


@pytest.mark.parametrize("limit", [0.8, 0.41, 0.21])
def test_below_one_the_average_under_way_is_the_limit(limit: float) -> None:
    pace = pace_of(1)
    now_s = 0.0
    while pace.limit > limit:
        now_s = refused(pace, 1, now_s)
    assert pace.interval_s == pytest.approx(LATENCY_S / pace.limit, rel=0.01)
    pace.began(100.0)
    assert pace.next_s == pytest.approx(100 + LATENCY_S / pace.limit, rel=0.01)


def test_at_one_and_above_nobody_pauses() -> None:
    pace = pace_of()
    pace.refused("a", 1, 2)
    pace.began(3)
    assert (pace.interval_s, pace.next_s) == (0, float("-inf"))


def test_a_pause_is_never_longer_than_a_tenth_of_the_patience() -> None:
    pace = pace_of()
    refused(pace, 100)
    assert pace.limit == 1 / 64
    assert pace.interval_s == PATIENCE_S / 10
    pace.forgive()
    assert pace.next_s == float("-inf")


def test_after_a_spell_of_refusals_what_was_borne_is_soon_back() -> None:
    """Its first success tells that it is over: places double with each round from there."""
    pace = pace_of()
    now_s = refused(pace, 30)
    assert pace.limit < 0.1
    for _ in range(26):
        now_s += LATENCY_S
        pace.succeeded("a", now_s, LATENCY_S)
    assert pace.limit == pytest.approx(32 * 0.8)
    successes = 0
    while pace.shrunk:
        pace.succeeded("a", now_s, LATENCY_S)
        successes += 1
    assert successes < 8 * 32, "then one more with each round"


def test_successes_that_were_under_way_prove_nothing() -> None:
    """They were let in before the origin refused."""
    pace = pace_of()
    now_s = refused(pace, 10)
    limit = pace.limit
    for _ in range(10):
        pace.succeeded("a", now_s, 5.0)
    assert pace.limit < limit + 1


def test_growth_is_slow_where_refusals_are_near_and_quickens() -> None:
    pace = pace_of()
    now_s = 0.0
    for _ in range(20):  # a share of less than one: now refused, now not
        now_s = refused(pace, 1, now_s)
        now_s += LATENCY_S
        pace.succeeded("a", now_s, LATENCY_S)
    limits = []
    for _ in range(40):
        now_s += LATENCY_S
        pace.succeeded("a", now_s, LATENCY_S)
        limits.append(pace.limit)
    assert limits[5] - limits[4] == pytest.approx(0.05 / max(1, limits[4]), rel=0.1)
    assert limits[39] - limits[38] == pytest.approx(1 / limits[38], rel=0.1)


def test_an_origin_that_says_nothing_is_asked_for_one_at_least() -> None:
    pace = pace_of(8)
    for now_s in range(100):
        pace.slowed(float(now_s), 1.0)
    assert (pace.limit, pace.interval_s) == (1, 0)
    pace.refused("a", 200, 201)
    pace.slowed(300, 1.0)
    assert pace.limit == 0.8


def test_pauses_are_for_whom_the_origin_refuses() -> None:
    pace = pace_of()
    now_s = refused(pace, 30)
    assert pace.next_s > now_s
    assert pace.rests("a", now_s)
    assert not pace.rests("b", now_s), "it serves the other well"
    for number in range(8):
        assert pace.rests("a", now_s), number
        pace.succeeded("a", now_s, LATENCY_S)
    assert not pace.rests("a", now_s)


def test_an_origin_that_answers_at_once_is_not_asked_without_a_pause() -> None:
    pace = pace_of()
    for _ in range(200):
        pace.succeeded("a", 0.0, 0.0)
    refused(pace, 20)
    assert pace.interval_s > 0.02


def test_it_grows_from_a_few_to_the_most_while_answers_come_well() -> None:
    pace = Pace(64, PATIENCE_S)
    assert (pace.limit, pace.shrunk) == (32, False), "few are no sign of trouble"
    for now_s in range(20):
        pace.succeeded("a", now_s, LATENCY_S)
    assert (pace.limit, pace.shrunk) == (52, False)
    for now_s in range(20, 60):
        pace.succeeded("a", now_s, 3 * LATENCY_S)
    assert pace.limit == 52, "requests that wait for each other earn no more of them"
    pace.succeeded("a", 60, 1.5 * LATENCY_S)
    assert pace.limit == 53
    pace.refused("a", 61, 62)
    assert (pace.limit, pace.shrunk) == (53 * 0.8, True)


def test_a_limit_below_the_first_few_is_kept() -> None:
    assert Pace(4, PATIENCE_S).limit == 4
