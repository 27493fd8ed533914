"""Reports as the API might send them: no exception but BadAnswer, and no unsafe name, whatever comes."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import datetime
from typing import Any

import pytest
from harness.world import call
from hypothesis import example, given, settings
from hypothesis import strategies as st

from voxofs.central import CentralTime
from voxofs.errors import BadAnswer
from voxofs.model import PERSONAL_FIELDS, Record
from voxofs.source.report import decoded

CENTRAL = CentralTime()
WHEN = "2024-03-05 10:00:00"

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        "uniqueId",
        "start",
        "time",
        "recorded",
        "duration",
        "direction",
        "callerIdName",
        "id",
        "instantS",
        "qos",
        "x",
    ]
)
NASTY_IDS = st.sampled_from(
    ["", ".", "..", "a/b", "/", "\0", "a\nb", "\x7f", "é" * 200, "x" * 251, "x" * 252, "\ud800", "‮gpj", " "]
)
RECORDS = st.fixed_dictionaries(
    {},
    optional={
        "uniqueId": NASTY_IDS | st.text(max_size=10) | JSON,
        "start": st.sampled_from([WHEN, "0001-01-01 00:00:00", "9999-12-31 23:59:59", "2024-03-10 02:30:00"])
        | JSON,
        "time": st.just("03/05/24 10:00:00") | JSON,
        "recorded": st.sampled_from([0, 1, None, "0", "1", False, True, ""]) | JSON,
    },
)
BODIES = st.lists(RECORDS | st.dictionaries(FIELDS, JSON, max_size=5) | JSON, max_size=8) | JSON


def shown(body: bytes) -> tuple[list[tuple[datetime, Record]], Counter[str]]:
    skipped: Counter[str] = Counter()
    return [told for chunk in decoded(body, CENTRAL, skipped) for told in chunk], skipped


def check_fit(moment: datetime, record: Record) -> None:
    """What is shown is a safe file name, with a true instant, and its fields can be told."""
    name = record.name
    assert name.endswith(".mp3")
    assert len(name.encode()) <= 255
    assert name not in (".mp3", "..mp3", "...mp3")
    assert not re.search(r"[/\x00-\x1f\x7f]", name)
    assert isinstance(record.instant_s, int)
    assert moment.tzinfo is None
    assert isinstance(record.start_text, str)
    for personal in ((), PERSONAL_FIELDS):
        for field, text in record.fields(personal):
            assert isinstance(text, str)
            assert field not in PERSONAL_FIELDS or personal


@given(BODIES)
@example([call("x" * 251, WHEN)])
@example(
    [{"uniqueId": "a", "start": "0001-01-01 00:00:00"}, {"uniqueId": "b", "start": "9999-12-31 23:59:59"}]
)
@settings(max_examples=250, deadline=None)
def test_any_json_is_shown_or_skipped_or_refused(body: Any) -> None:
    try:
        told, skipped = shown(json.dumps(body).encode())
    except BadAnswer:
        assert not isinstance(body, list)
        return
    assert isinstance(body, list)
    assert len(told) + skipped.total() == len(body)
    assert skipped["not an object"] == sum(not isinstance(element, dict) for element in body)
    for moment, record in told:
        check_fit(moment, record)


@given(
    st.binary(max_size=60)
    | st.binary(max_size=40).map(lambda junk: b'[{"uniqueId":"a","start":"' + junk + b'"}]')
)
@settings(max_examples=250, deadline=None)
@example(b"")
@example(b"[" * 100_000)
@example(b'[{"uniqueId":"a","start":"2024-03-05 10:00:00"}] trailing')
@example(b"\xff\xfe[")
@example(b"[1e999, NaN]")
@example(b"[" + b"9" * 5_000 + b"]")
def test_any_bytes_are_shown_or_refused(body: bytes) -> None:
    try:
        told, _ = shown(body)
    except BadAnswer:
        return
    for moment, record in told:
        check_fit(moment, record)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"recorded": 0}, "not recorded"),
        ({"uniqueId": ""}, "no uniqueId"),
        ({"uniqueId": None}, "no uniqueId"),
        ({"uniqueId": 17}, "no uniqueId"),
        ({"uniqueId": "a/b"}, "uniqueId is no safe file name"),
        ({"uniqueId": ".."}, "uniqueId is no safe file name"),
        ({"uniqueId": "a\0"}, "uniqueId is no safe file name"),
        ({"uniqueId": "é" * 126}, "uniqueId is too long for a file name"),
        ({"start": "yesterday"}, "start is no date and time"),
        ({"start": None}, "start is no date and time"),
        ({"start": 17}, "start is no date and time"),
    ],
)
def test_each_unfit_record_has_its_reason_and_harms_no_other(change: dict[str, Any], reason: str) -> None:
    body = [call("before", WHEN), call("bad", WHEN) | change, call("after", WHEN)]
    told, skipped = shown(json.dumps(body).encode())
    assert [record.unique_id for _, record in told] == ["before", "after"]
    assert skipped == {reason: 1}


def test_one_element_that_is_no_object_does_not_spoil_the_others() -> None:
    told, skipped = shown(json.dumps([None, call("a", WHEN), 17, [], call("b", WHEN)]).encode())
    assert ([record.unique_id for _, record in told], skipped) == (["a", "b"], {"not an object": 3})


@given(
    st.lists(
        st.fixed_dictionaries({"uniqueId": st.text('ab},{[]"\\ ', min_size=1), "x": JSON}) | st.none(),
        max_size=20,
    ),
    st.sampled_from([None, 1]),
    st.integers(1, 200),
)
@settings(max_examples=200, deadline=None)
def test_a_report_cut_anywhere_tells_the_same(calls: list[Any], indent: int | None, chunk_bytes: int) -> None:
    """Brackets and commas inside of texts, lists and objects are where a wrong cut would be made."""
    body = json.dumps([each and each | {"start": WHEN} for each in calls], indent=indent).encode()
    whole = shown(body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("voxofs.source.report._CHUNK_BYTES", chunk_bytes)
        assert shown(body) == whole
    assert len(whole[0]) == sum(each is not None for each in calls)


def test_a_broken_character_does_not_spoil_the_window() -> None:
    body = json.dumps([call("a", WHEN), call("b", WHEN)]).encode().replace(b"MRJINGLES", b"MR\xffJINGLES", 1)
    told, _ = shown(body)
    assert [record.unique_id for _, record in told] == ["a", "b"]


def test_unknown_fields_are_ignored_and_both_forms_of_the_start_are_read() -> None:
    later = call("a", None, time="03/05/24 10:00:00", queueCall=0, geolocation=None, tags=[])
    [(moment, record)], _ = shown(json.dumps([later]).encode())
    assert moment == datetime(2024, 3, 5, 10)
    assert record.start_text == "03/05/24 10:00:00", "byte for byte: the link is asked with it"


@pytest.mark.parametrize("body", ["{}", "null", "17", '"x"', "<html>", "", "[", "[{]"])
def test_what_is_no_list_is_a_bad_answer(body: str) -> None:
    with pytest.raises(BadAnswer):
        shown(body.encode())
