"""The words behind `-o`: how they are split, and which are for voxofs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxofs.cli import mount_words


def test_commas_in_values_are_escaped() -> None:
    assert mount_words.split([r"a=1\,2,b", "c=x=y", ",,", r"d=\\,e"]) == [
        ("a", "1,2"), ("b", ""), ("c", "x=y"), ("d", "\\"), ("e", ""),
    ]  # fmt: skip


@given(st.lists(st.text(max_size=30)))
def test_any_words_can_be_split(options: list[str]) -> None:
    assert all(word for word, _value in mount_words.split(options))


def test_rw_is_refused_from_people_only() -> None:
    assert mount_words.own([("rw", ""), ("uid", "3")], from_mount=True) == {"uid": "3"}
    with pytest.raises(ValueError, match="read-only"):
        mount_words.own([("rw", "")], from_mount=False)
