"""`voxofs stats --watch` as a screen: rates, hostile texts, any status, and the terminal as it was."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from harness.mounts import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from voxofs.cli import stats
from voxofs.cli.stats_screen import Screen, watch
from voxofs.errors import VoxofsError


def status(at_s: float, ranges: int, received: int, hits: int = 0) -> dict[str, object]:
    return {
        "version": "0.1.0",
        "pid": 7,
        "uptime_s": at_s,
        "tenants": {
            "acme": {"healthy": True, "last_error": None},
            "demo": {"healthy": False, "last_error": {"text": "10:00 403", "message": "403 for [bold]all"}},
        },
        "cache": {"bytes": 2**20, "limit_bytes": 2**28, "hits": hits, "ahead": 3 * ranges, "misses": ranges},
        "disk": {"state": "resting", "reason": "that disk is full", "bytes": 0, "limit_bytes": 2**30},
        "audit": {"state": "working", "reason": None, "written": 12},
        "requests": {"ranges": ranges, "links": ranges},
        "bytes": {"storage": received, "api": 0},
        "in_flight": {
            "api": {"now": 2, "limit": 32, "waiting": 5, "resting_s": 61.0, "lost": {}},
            "storage": {"now": 4, "limit": 16, "resting_s": 0.0, "lost": {"demo": 5.0}},
        },
        "last_errors": [{"text": "10:00 403"}, {"text": "10:01 broken", "times": 3}],
    }


def drawn(*samples: Mapping[str, object], width: int = 100) -> str:
    screen = Screen("/srv/calls")
    for sample in samples:
        screen.add(sample)
    console = Console(file=io.StringIO(), record=True, width=width)
    console.print(screen)
    return console.export_text()


def test_rates_are_differences_by_the_mounts_own_uptime() -> None:
    text = drawn(status(10.0, 0, 0), status(12.0, 100, 3 * 2**20, hits=100))
    rows = {line.split()[1]: line for line in text.splitlines() if line.startswith("│ ")}
    assert "4 of 16" in rows["storage"]
    assert " 50 " in rows["storage"]
    assert "1.5 MiB/s" in rows["storage"]
    assert "out of reach for demo (5 s)" in rows["storage"]
    assert "5 waiting, at rest for 1 min 1 s" in rows["api"]
    assert "20 % hits  60 % fetched ahead  20 % waited for" in rows["memory"]
    assert "resting: that disk is full" in rows["disk"]
    assert "12 lines" in rows["audit"]


def test_who_is_in_trouble_comes_first_and_is_told_once() -> None:
    text = drawn(status(10.0, 0, 0))
    assert text.index("failing  demo  403 for [bold]all") < text.index("ok  acme")
    assert "10:01 broken (3 times)" in text
    assert "10:00 403" not in text.partition("last troubles")[2]


def test_another_daemon_has_no_rates_yet() -> None:
    text = drawn(status(10.0, 500, 0), status(11.0, 500, 0) | {"pid": 8})
    assert "nothing read" in text
    assert "0 B/s" in text


@pytest.mark.parametrize("width", [40, 80, 200])
def test_it_fits_any_terminal(width: int) -> None:
    assert all(len(line) <= width for line in drawn(status(10.0, 0, 0), width=width).splitlines())


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(status(0, 0, 0), _JSON)), max_size=3))
@settings(max_examples=30, deadline=None)
def test_any_status_can_be_drawn(samples: list[dict[str, object]]) -> None:
    text = drawn(*samples)
    assert all(line.isprintable() for line in text.split("\n"))


def test_the_terminal_is_as_it_was_when_the_mount_goes() -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=80, height=40)
    samples = iter([status(1.0, 0, 0), status(2.0, 9, 9)])

    def sample() -> Mapping[str, object]:
        try:
            return next(samples)
        except StopIteration:
            raise VoxofsError("is not a mount of voxofs") from None

    with pytest.raises(VoxofsError, match="is not a mount"):
        watch("/srv/calls", sample, lambda _: None, 1.0, console)
    assert "\x1b[?1049h" in shown.getvalue()
    assert shown.getvalue().rindex("\x1b[?1049l") > shown.getvalue().rindex("storage")


class InterruptedOnce(io.StringIO):
    """Ctrl-C while the first screen is being written."""

    def write(self, text: str) -> int:
        drawn = "traffic" in self.getvalue()
        count = super().write(text)
        if not drawn and "traffic" in text:
            raise KeyboardInterrupt
        return count


def test_the_terminal_is_as_it_was_when_the_first_drawing_is_interrupted() -> None:
    shown = InterruptedOnce()
    console = Console(file=shown, force_terminal=True, width=80, height=40)
    with pytest.raises(KeyboardInterrupt):
        watch("/srv/calls", lambda: status(1.0, 0, 0), lambda _: None, 1.0, console)
    assert shown.getvalue().rindex("\x1b[?1049l") > shown.getvalue().rindex("traffic")


def test_ctrl_c_at_a_terminal(tmp_path: Path) -> None:
    (tmp_path / ".voxofs").mkdir()
    (tmp_path / stats.status_file()).write_text(json.dumps(status(1.0, 0, 0)))
    terminal, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "voxofs", "stats", "--watch", str(tmp_path)],
        stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"},
    ) as process:  # fmt: skip
        os.close(theirs)
        shown, gives_up_s = b"", time.monotonic() + 30
        while b"traffic" not in shown:
            assert time.monotonic() < gives_up_s, shown
            if select.select([terminal], [], [], 1)[0]:
                shown += os.read(terminal, 65_536)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    os.close(terminal)
