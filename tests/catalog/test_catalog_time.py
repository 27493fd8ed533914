"""Central Time: instants, folders and windows, on the days when the clock on the wall jumps, too."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxofs.catalog.grid import Grid
from voxofs.central import CentralTime, Starts

CENTRAL = CentralTime()
CHICAGO = ZoneInfo("America/Chicago")
INSTANTS = st.integers(
    int(datetime(2019, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2031, 1, 1, tzinfo=UTC).timestamp())
)
DAYS = st.dates(date(1990, 1, 1), date(2060, 1, 1))


def utc(*parts: int) -> float:
    return datetime(*parts, tzinfo=UTC).timestamp()  # type: ignore[arg-type,misc]


def test_the_vendors_example() -> None:
    moment = CENTRAL.parse_start("2021-08-13 19:36:59")
    assert CENTRAL.instant_s(moment, "atl-ast2-1628901419.8373") == 1_628_901_419


@given(INSTANTS)
@settings(max_examples=500)
def test_an_asterisk_id_leads_back_to_the_instant_always(instant_s: int) -> None:
    """Also in the hour that occurs twice: that is what the epoch second in it is for."""
    moment = datetime.fromtimestamp(instant_s, CHICAGO).replace(tzinfo=None)
    assert CENTRAL.wall_clock(instant_s) == moment
    assert CENTRAL.instant_s(moment, f"atl-ast2-{instant_s}.17") == instant_s


@given(INSTANTS, st.sampled_from(["", "web-8f2c", "atl-ast2", "17", "x-99.5", "atl-ast2-99999999999999.1"]))
def test_without_an_epoch_the_first_of_two_is_taken(instant_s: int, unique_id: str) -> None:
    moment = CENTRAL.wall_clock(instant_s)
    assert CENTRAL.instant_s(moment, unique_id) == int(moment.replace(tzinfo=CHICAGO, fold=0).timestamp())


@pytest.mark.parametrize(
    ("unique_id", "expected"),
    [
        ("atl-ast2-1699165800.1", 1_699_165_800),
        ("atl-ast2-1699169400.1", 1_699_169_400),
        ("1699169400.1", 1_699_169_400),
        ("atl-ast2-1699169399.1", 1_699_169_400),  # a second off is still nearer to the second one
        ("atl-ast2-1699169400", 1_699_165_800),  # no Asterisk id
        ("other", 1_699_165_800),
    ],
)
def test_the_repeated_hour_is_settled_by_the_id(unique_id: str, expected: int) -> None:
    assert CENTRAL.instant_s(datetime(2023, 11, 5, 1, 30), unique_id) == expected


def test_an_epoch_that_contradicts_the_wall_clock_is_not_believed() -> None:
    assert CENTRAL.instant_s(datetime(2024, 3, 5, 10), "atl-ast2-1000000000.1") == utc(2024, 3, 5, 16)


def test_a_moment_that_daylight_saving_skipped_is_the_one_after() -> None:
    assert CENTRAL.instant_s(datetime(2024, 3, 10, 2, 30)) == utc(2024, 3, 10, 8, 30)
    assert CENTRAL.instant_s(datetime(2024, 3, 10, 1, 59, 59)) + 1 == CENTRAL.instant_s(
        datetime(2024, 3, 10, 3)
    )


def test_midnights_and_today() -> None:
    assert CENTRAL.midnight_s(date(2024, 3, 10)) == utc(2024, 3, 10, 6)
    assert CENTRAL.midnight_s(date(2024, 3, 11)) == utc(2024, 3, 11, 5)
    assert CENTRAL.today(utc(2024, 3, 11, 4, 59, 59)) == date(2024, 3, 10)
    assert CENTRAL.today(utc(2024, 3, 11, 5)) == date(2024, 3, 11)


@given(INSTANTS)
def test_both_forms_of_a_start_are_the_same_moment(instant_s: int) -> None:
    moment = CENTRAL.wall_clock(instant_s)
    assert CENTRAL.parse_start(moment.strftime("%Y-%m-%d %H:%M:%S")) == moment
    assert CENTRAL.parse_start(moment.strftime("%m/%d/%y %H:%M:%S")) == moment


def test_a_start_with_an_offset_is_converted() -> None:
    assert CENTRAL.parse_start("2021-08-14T00:36:59+00:00") == datetime(2021, 8, 13, 19, 36, 59)


@pytest.mark.parametrize(
    "text",
    ["", "now", "2021-08-13", "13/08/21 19:36:59", "2021-13-01 00:00:00", "2021-02-30 00:00:00", "24:00:00",
     "2021-08-13 25:00:00", "20210813T193659Z", "2021/08/13 19:36:59", "02/30/21 10:00:00"],
)  # fmt: skip
def test_what_is_no_date_and_time_is_refused(text: str) -> None:
    with pytest.RaisesExc(ValueError):
        CENTRAL.parse_start(text)


@given(st.text(max_size=30))
@settings(max_examples=300)
def test_parsing_refuses_with_value_error_and_nothing_else(text: str) -> None:
    try:
        moment = CENTRAL.parse_start(text)
    except ValueError:
        return
    assert moment.tzinfo is None


def test_a_zone_that_does_not_exist_is_refused() -> None:
    for name in ("America/Nowhere", ""):
        with pytest.raises(ValueError, match="time zone"):
            CentralTime(name)


@given(DAYS, st.integers(1, 31))
@settings(max_examples=300)
def test_windows_are_aligned_and_cover_every_day_once(day: date, span_days: int) -> None:
    grid = Grid(span_days)
    window = grid.window_of(day)
    days = grid.days_of(window)
    begin, end = grid.bounds(window)
    assert day in days
    assert len(days) == span_days
    assert all(grid.window_of(each) == window for each in days)
    assert (begin.date(), end - begin) == (days[0], timedelta(days=span_days))


STARTS = st.lists(
    st.sampled_from(
        [
            "2024-03-05 10:00:00", "2024-03-05 10:00:59", "2024-03-05T10:00:07", "03/05/24 10:00:31",
            "2024-03-05 10+05:00", "2024-03-05 10+05:30", "2024-03-05 10:00-05", "2024-03-05 10:00-06",
            "2024-03-05 10:00:61", "2024-03-05 10:00:5x", "03/05/24 10+05:00", "2024-W10-2T10:00:07",
            "2023-11-05 01:30:00", "2023-11-05 01:30:01", "2024-03-10 02:30:00", "2024-03-10 02:30:09",
            "2024-03-05 10:00:00.5", "2024-03-05 10:00:00+00:00", "0001-01-01 00:00:00", "", "00", "x" * 19,
        ]
    ),
    min_size=1, max_size=12,
)  # fmt: skip


@given(STARTS, st.sampled_from(["a", "atl-ast2-1699169400.1", "atl-ast2-1699165801.1"]))
def test_starts_that_share_their_minute_are_read_as_each_alone(texts: list[str], unique_id: str) -> None:
    starts = Starts(CENTRAL)
    for text in texts:
        try:
            moment = CENTRAL.parse_start(text)
            expected = int(CENTRAL.instant_s(moment, unique_id))
        except (ValueError, OverflowError):
            with pytest.raises((ValueError, OverflowError)):
                starts.read(text, unique_id)
        else:
            hour, instant_s = starts.read(text, unique_id)
            assert (hour, instant_s) == (moment.replace(minute=0, second=0, microsecond=0), expected)


@given(st.integers(1_600_000_000, 1_900_000_000))
def test_today_is_what_the_wall_clock_says(instant_s: int) -> None:
    for near_s in (instant_s, *(int(CENTRAL.midnight_s(CENTRAL.today(instant_s))) + n for n in (-1, 0, 1))):
        assert CENTRAL.today(near_s) == CENTRAL.wall_clock(near_s).date()
