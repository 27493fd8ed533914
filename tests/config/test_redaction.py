"""Redaction strikes out what the plain expression would, in a time linear in the text's length."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from voxofs.config import secrets
from voxofs.config.legible import lines, one_line
from voxofs.config.secrets import redact

PLAIN = re.compile(r"\bey[\w-]{6,}\.[\w-]{4,}\.[\w-]*")
"""What a JWT looks like, as one would write it: quadratic where "ey" is repeated."""


@given(
    st.lists(st.sampled_from(["ey", "a", "-", ".", " ", "e", "abcd", "eyabcdef", "é", "_", "/"]), max_size=30)
)
@example(["-", "ey", "abcd", "abcd", ".", "abcd", "."])
@example(["a", ".", "eyabcdef", ".", "abcd", ".", "eyabcdef", ".", "abcd", "."])
def test_it_strikes_out_what_the_plain_expression_does(parts: list[str]) -> None:
    text = "".join(parts)
    assert secrets._without_jwts(text) == PLAIN.sub("********", text)


@pytest.mark.parametrize(
    "unit",
    [
        "ey-",
        "eyaaaaaa.aaaa",
        "token ",
        "token=",
        "Bearer ",
        "bearer",
        "ey",
        "a.",
        "ey.",
        "http://",
        "http://a",
    ],
)
def test_its_time_is_linear(unit: str) -> None:
    """Four times the text may take four times as long and not sixteen; noise gets as much."""

    def cpu_s(length: int) -> float:
        text = unit * (length // len(unit))
        best = float("inf")
        for _ in range(3):
            began_s = time.thread_time()
            redact(text)
            best = min(best, time.thread_time() - began_s)
        return best

    assert cpu_s(400_000) < 8 * max(cpu_s(100_000), 0.0005)


@given(st.text())
def test_one_line_is_one_line(text: str) -> None:
    shown = one_line(text)
    assert shown.isprintable()
    assert shown == text or not text.isprintable()
    assert [one_line(part) for part in text.split("\n")] == lines(text)
    shown.encode("utf-8")


def test_what_a_terminal_obeys_is_escaped() -> None:
    assert one_line("a\x1b[2J\n\x9b\u202eb ü") == "a\\x1b[2J\\n\\x9b\\u202eb ü"


def test_what_stands_before_a_host_is_struck_out() -> None:
    assert redact("by https://me:s3cret@proxy:3128, 'http://t0k.en@h'") == (
        "by https://********@proxy:3128, 'http://********@h'"
    )
    plain = "https://api.voxo.co/a@b and me@example.com"
    assert redact(plain) == plain
