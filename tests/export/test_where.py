"""`--where`: what it means, agreement with a model in Python, and nothing but clear errors for anything
else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxofs.catalog.calls import Rows
from voxofs.catalog.window import Hour, Place
from voxofs.central import CentralTime
from voxofs.export.fields import shown_fields
from voxofs.export.where import condition
from voxofs.export.words import LONGEST, WhereError
from voxofs.model import DETAILS, PERSONAL_FIELDS, Record, Tenant, packed_details

CENTRAL = CentralTime()
EVERYTHING = list(PERSONAL_FIELDS)


def place(tenant: str = "demo", start: str = "2021-08-13 19:36:59", **details: Any) -> Place:
    """A call with these fields; the others are missing."""
    moment = CENTRAL.parse_start(start)
    record = Record(
        details.pop("uniqueId", "atl-ast2-1628901419.1"),
        start,
        int(CENTRAL.instant_s(moment)),
        packed_details(tuple(details.get(name) for name in DETAILS)),
    )
    hour = Hour(moment.date(), f"{moment.hour:02}", Rows([record]))
    return Place(Tenant(tenant, 37, date(2021, 1, 1)), hour, 0)


CALL = place(
    duration=601, direction="IN", disposition="ANSWERED", qos=0.5, callerIdName="O'Neil", dialedNum=1008
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("duration > 600", True),
        ("duration > 601", False),
        ('duration > 600 and direction == "IN"', True),
        ("not duration > 600 or direction == 'OUT'", False),
        ("not (duration > 600 and direction == 'OUT')", True),
        ("600 < duration <= 601", True),
        ("1 < duration < 10", False),
        ('direction in ("IN", "OUT")', True),
        ('direction not in ["OUT",]', True),
        ("duration in (1, 601)", True),
        ('"ONE" in callerIdName', False),
        ('"O\'N" in callerIdName', True),
        ("'O\\'Neil' == callerIdName", True),
        ('dialedNum == "1008"', True),
        ("qos == 0.5", True),
        ("qos > -1", True),
        ("packetLoss == none", True),
        ("packetLoss < 5", False),
        ("not packetLoss < 5", True),
        ("packetLoss != 5", True),
        ('tenant == "demo"', True),
        ('start >= "2021-08-13"', True),
        ('start < "2021-08-13 19:37"', True),
        ('"2021-08-13 19:36:59" == start', True),
        ('instant == "2021-08-14T00:36:59Z"', True),
        ('instant == "2021-08-13T19:36:59-05:00"', True),
        ('instant > "2021-08-14"', True),
        ('uniqueId == "x" or (((direction == "IN")))', True),
        ("callerIdName == whoAnswered", False),
    ],
)
def test_what_it_means(text: str, expected: bool) -> None:
    assert condition(text, CENTRAL, EVERYTHING)(CALL) is expected


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("", 0, "a condition begins with a field"),
        ("duration", 8, "is compared with nothing"),
        ("duration >", 10, "behind > stands a field"),
        ("duration = 600", 9, "a comparison is written =="),
        ('duration > "600"', 11, "duration is a number: beside it stands a number, such as 600"),
        ("duration > 10m", 11, "no unit"),
        ("direction == IN", 13, "no field is called IN"),
        ("direction == 5", 13, 'a text in quotes, such as "IN"'),
        ("duraton > 5", 0, 'did you mean "duration"?'),
        ("direction == duration", 13, "is a text and duration is a number"),
        ('start > "yesterday"', 8, '"2021-08-13 19:30"'),
        ('start > "2021-08-13T00:00:00Z"', 8, "compared with instant"),
        ("instant > start", 10, "cannot be compared"),
        ("duration > 5 direction == 'IN'", 13, "`and`, `or` or the end"),
        ("(duration > 5", 13, "parenthesis has no end"),
        ("duration > 5)", 12, "cannot stand here"),
        ("duration not > 5", 13, "before `in` only"),
        ("duration in 5", 0, "asks whether a text holds another"),
        ('direction in ("IN"', 18, "a comma or ends with )"),
        ("direction in (duration)", 14, "in a list stand numbers or texts"),
        ("direction in ()", 14, "in a list stand"),
        ("duration > none", 9, "nothing is smaller or larger than none"),
        ("none in (1)", 0, "asked for by =="),
        ('direction == "IN', 13, "the text has no end"),
        ("duration > 5 && qos > 1", 13, "joined by `and`"),
        ("__import__('os')", 0, "no field is called __import__"),
        ("duration.real > 5", 8, "means nothing here"),
        ("not " * 60 + "qos == 1", 200, "more than 50 levels"),
        ("duration > 1234567890123456", 11, "15 digits"),
        ("a" * (LONGEST + 1), 0, "at the most"),
    ],
)  # fmt: skip
def test_errors_point_at_the_place(text: str, place: int, problem: str) -> None:
    with pytest.raises(WhereError) as raised:
        condition(text, CENTRAL, EVERYTHING)
    assert problem in str(raised.value)
    assert raised.value.place == place
    said, _, mark = str(raised.value).split("\n")
    assert len(mark) == place + 3
    assert said.startswith("--where: ")


def test_a_personal_field_is_asked_for_only_where_it_is_shown() -> None:
    with pytest.raises(WhereError, match=r"show = \[\"callerIdName\"\]") as raised:
        condition('qos == 1 or callerIdName == "x"', CENTRAL, ["dialedNum"])
    assert raised.value.place == 12
    with pytest.raises(WhereError) as raised:
        condition("nosuch == 1", CENTRAL, [])
    assert not any(name in str(raised.value) for name in PERSONAL_FIELDS)
    condition('callerIdName == "x"', CENTRAL, ["callerIdName"])


def test_control_characters_of_an_expression_are_not_repeated() -> None:
    with pytest.raises(WhereError) as raised:
        condition("qos == \x1b[31m", CENTRAL, [])
    assert str(raised.value).replace("\n", "").isprintable()


# --- agreement with Python

Model = tuple[str, Callable[[dict[str, Any]], bool]]
NUMBERS = ("duration", "qos", "packetLoss")
TEXTS = ("direction", "disposition", "whoAnswered")
SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a is not None and b is not None and a < b,
    "<=": lambda a, b: a is not None and b is not None and a <= b,
    ">": lambda a, b: a is not None and b is not None and a > b,
    ">=": lambda a, b: a is not None and b is not None and a >= b,
}
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\"'\\"), max_size=4)
number_values = st.integers(-3, 3) | st.sampled_from([0.5, -1.5])


def literal(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


@st.composite
def comparisons(draw: st.DrawFn) -> Model:
    names, values = draw(st.sampled_from([(NUMBERS, number_values), (TEXTS, WORDS)]))
    name, sign = draw(st.sampled_from(names)), draw(st.sampled_from([*SIGNS, "in", "not in", "none"]))
    if sign == "none":
        return f"{name} == none", lambda row: row[name] is None
    if sign in ("in", "not in"):
        members = draw(st.lists(values, min_size=1, max_size=3))
        text = f"{name} {sign} ({', '.join(map(literal, members))})"
        return text, lambda row: (row[name] in members) is (sign == "in")
    value = draw(values)
    if draw(st.booleans()):
        return f"{name} {sign} {literal(value)}", lambda row: SIGNS[sign](row[name], value)
    return f"{literal(value)}{sign}{name}", lambda row: SIGNS[sign](value, row[name])


def joined(inner: st.SearchStrategy[Model]) -> st.SearchStrategy[Model]:
    def negated(model: Model) -> Model:
        return f"not ({model[0]})", lambda row: not model[1](row)

    def both(models: tuple[Model, Model]) -> Model:
        (a, x), (b, y) = models
        return f"({a}) and ({b})", lambda row: x(row) and y(row)

    def either(models: tuple[Model, Model]) -> Model:
        (a, x), (b, y) = models
        return f"({a}) or ({b})", lambda row: x(row) or y(row)

    pairs = st.tuples(inner, inner)
    return inner.map(negated) | pairs.map(both) | pairs.map(either)


rows = st.fixed_dictionaries(
    {name: st.none() | number_values for name in NUMBERS} | {name: st.none() | WORDS for name in TEXTS}
)


@given(st.recursive(comparisons(), joined, max_leaves=8), st.lists(rows, min_size=1, max_size=5))
def test_it_agrees_with_python(model: Model, calls: list[dict[str, Any]]) -> None:
    text, expected = model
    holds = condition(text, CENTRAL, EVERYTHING)
    for call in calls:
        assert holds(place(**call)) is expected(call), text


PIECES = st.sampled_from(
    [*shown_fields(EVERYTHING), *SIGNS, "and", "or", "not", "in", "none", "(", ")", "[", "]", ",", "5",
     "-1.5", '"IN"', "'2021-08-13'", '"', "\\", "=", "lambda", "x.y", " "]
)  # fmt: skip
anything = st.text(max_size=60) | st.lists(PIECES, max_size=12).map(" ".join)
values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)


@settings(max_examples=400)
@given(anything, st.dictionaries(st.sampled_from(DETAILS), values))
def test_nothing_but_a_clear_error(text: str, details: dict[str, Any]) -> None:
    error, holds = None, None
    try:
        holds = condition(text, CENTRAL, EVERYTHING)
    except WhereError as raised:
        error = raised
    if error is not None:
        assert 0 <= error.place <= len(text)
        assert all(line.isprintable() for line in str(error).split("\n"))
    else:
        assert holds is not None
        assert holds(place(**details)) in (True, False)
