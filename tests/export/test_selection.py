"""Paths and ranges: what they mean, what overlaps, and what means nothing."""

from __future__ import annotations

from datetime import date

import pytest

from voxofs.central import CentralTime
from voxofs.clock import Clock
from voxofs.core.tree import Calendar
from voxofs.export.selection import PathError, holds, selected
from voxofs.model import Tenant

NOON = 1_713_632_400.0
"""2024-04-20 12:00 in Chicago."""
CALENDAR = Calendar(
    {name: Tenant(name, 1, date(2023, 6, 15)) for name in ("demo", "acme")},
    CentralTime(),
    Clock(wall_s=lambda: NOON),
)


def periods(*paths: str) -> dict[str, list[tuple[str, str]]]:
    return {
        days.tenant.name: [(str(begin), str(end)) for begin, end in days.periods()]
        for days in selected(paths, CALENDAR)
    }


@pytest.mark.parametrize(
    ("path", "begin", "end"),
    [
        ("demo", "2023-06-15", "2024-04-21"),
        ("/demo/", "2023-06-15", "2024-04-21"),
        ("demo/2023", "2023-06-15", "2024-01-01"),
        ("demo/2024/02", "2024-02-01", "2024-03-01"),
        ("/demo/2024/02/29", "2024-02-29", "2024-03-01"),
        ("demo/2024/02/29/19", "2024-02-29", "2024-03-01"),
        ("demo/2024/02/29/19/x.mp3", "2024-02-29", "2024-03-01"),
        ("demo/2024-02-29", "2024-02-29", "2024-03-01"),
        ("demo/2024-02-01..2024-02-14", "2024-02-01", "2024-02-15"),
        ("demo/2023-12..2024-01", "2023-12-01", "2024-02-01"),
        ("demo/2023..2024", "2023-06-15", "2024-04-21"),
        ("demo/2024-04-19..2024-05-01", "2024-04-19", "2024-04-21"),
    ],
)
def test_one_path(path: str, begin: str, end: str) -> None:
    assert periods(path) == {"demo": [(begin, end)]}


def test_overlaps_and_neighbours_are_one_and_gaps_stay() -> None:
    assert periods(
        "demo/2024-02-01..2024-02-03", "demo/2024/02/03/10", "demo/2024/02/04", "demo/2024/02/09"
    ) == {"demo": [("2024-02-01", "2024-02-05"), ("2024-02-09", "2024-02-10")]}
    assert set(periods("/")) == {"demo", "acme"}


def test_what_is_in_it() -> None:
    meant = selected(["demo/2024/02/01", "demo/2024/02/02/10", "demo/2024/02/03/11/x.mp3"], CALENDAR)
    inside = ["demo/2024/02/01/23/a.mp3", "demo/2024/02/02/10/a.mp3", "demo/2024/02/03/11/x.mp3"]
    outside = [
        "demo/2024/02/02/11/a.mp3",
        "demo/2024/02/03/11/y.mp3",
        "acme/2024/02/01/23/a.mp3",
        "demo/x",
        "a/b/c/d/e/f",
    ]
    assert [path for path in [*inside, *outside] if holds(meant, path)] == inside


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("", "an empty path"),
        ("dmo/2024", 'did you mean "demo"?'),
        ("demo/2024/13", "does not exist"),
        ("demo/2024/02/30", "does not exist"),
        ("demo/2024/2", "does not exist"),
        ("demo/2024/02/01/24", "does not exist"),
        ("demo/2024/02/01/10/x.wav", "does not exist"),
        ("demo/2024/02/01/10/x.mp3/y", "deeper than the tree"),
        ("demo/2022", "does not exist"),
        ("demo/2022-01-01..2022-02-01", "begins on 2023-06-15"),
        ("demo/2025-01-01", "ends with today, 2024-04-20"),
        ("demo/2024-02-30", "is no date"),
        ("demo/2024-02-01..", "is no date"),
        ("demo/2024-02-02..2024-02-01", "ends before it begins"),
        ("demo/today", "is no date"),
        ("demo/9999", "does not exist"),
        ("demo/9999-12-31..9999-12-31", "is no date"),
        ("nobody\x1b[31m/2024", "nobody\\x1b"),
    ],
)
def test_what_means_nothing(path: str, problem: str) -> None:
    with pytest.raises(PathError) as raised:
        selected([path], CALENDAR)
    assert problem in str(raised.value)
    assert "\x1b" not in str(raised.value)
