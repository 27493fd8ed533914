"""`voxofs stats`: the status file for people and for programs, whatever it holds."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from harness.command import Run, command_in
from harness.mounts import ROOT
from hypothesis import given
from hypothesis import strategies as st

from voxofs.cli import stats, status_text
from voxofs.errors import VoxofsError


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return command_in(tmp_path)


STATUS: Mapping[str, object] = {
    "version": "0.1.0",
    "uptime_s": 97_503.2,
    "tenants": {
        "demo": {"healthy": True, "last_error": None},
        "acme": {"healthy": False, "last_error": "403 Forbidden"},
    },
    "cache": {"bytes": 60_817_408, "limit_bytes": 268_435_456, "hits": 30, "misses": 10},
    "requests": {"reports": 12, "links": 1_234, "audio": 1_300},
    "in_flight": {
        "api": {"now": 2, "limit": 32, "waiting": 5, "resting_s": 3_543.2, "lost": {}},
        "storage": {"now": 0, "limit": 16, "resting_s": 0.0, "lost": {"acme": 65.1}},
    },
    "last_errors": ["12:01:02 /acme/2024: 403 Forbidden"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("disk", "said"),
    [
        (
            {"state": "working", "reason": None, "bytes": 2**30, "limit_bytes": 20 * 2**30,
             "counts": {"hits": 1200, "misses": 3, "written": 9, "damaged": 0}},
            "disk       working, 1.0 GiB of 20.0 GiB, 1,200 hits, 3 misses",
        ),
        (
            {"state": "resting", "reason": "the directory is gone: bring it back", "counts": {}},
            "disk       resting: the directory is gone: bring it back",
        ),
        ({"state": "working", "counts": 7}, "disk       working"),
    ],
)  # fmt: skip
def test_stats_of_the_disk_tier(disk: dict[str, object], said: str) -> None:
    assert said in stats.report({**STATUS, "disk": disk}).splitlines()


def test_stats_of_the_audit() -> None:
    audit = {"state": "failing", "reason": "No space left on device", "written": 9, "waiting": 2, "lost": 0}
    said = "audit      failing: No space left on device, 9 written, 2 waiting"
    assert said in stats.report({**STATUS, "audit": audit}).splitlines()


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    """A folder with a status file, as a mount has it."""
    folder = tmp_path / "mnt"
    (folder / ".voxofs").mkdir(parents=True)
    (folder / stats.status_file()).write_text(json.dumps(STATUS))
    return folder


def test_stats_for_people(run: Run, mounted: Path) -> None:
    result = run("stats", str(mounted))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "voxofs 0.1.0, up 1 d 3 h",
        "tenant     demo ok",
        "tenant     acme failing: 403 Forbidden",
        "cache      58.0 MiB of 256.0 MiB, 30 hits (75 %), 10 misses",
        "requests   12 reports, 1,234 links, 1,300 audio",
        "in flight  api 2 of 32 (5 waiting), storage 0 of 16",
        "trouble    api at rest for 59 min 3 s, storage out of reach for acme (1 min 5 s)",
        "last errors",
        "  12:01:02 /acme/2024: 403 Forbidden",
    ]


def test_one_cause_is_one_line() -> None:
    said = {"text": "10:00 look-up of /acme/2024 failed: 403", "message": "403", "times": 20}
    other = {"text": "10:01 read of /demo/2024 failed: broken", "message": "broken", "times": 3}
    lines = stats.report(
        {
            "tenants": {"acme": {"healthy": False, "last_error": said}, "demo": {"healthy": True}},
            "cache": {"bytes": 0, "limit_bytes": 1024, "hits": 0, "ahead": 30, "misses": 10},
            "last_errors": [other, said],
        }
    ).splitlines()
    assert lines == [
        "voxofs (unknown version)",
        "tenant     acme failing: 10:00 look-up of /acme/2024 failed: 403 (20 times)",
        "tenant     demo ok",
        "cache      0 B of 1.0 KiB, 0 hits (0 %), 30 fetched ahead, 10 misses",
        "last errors",
        "  10:01 read of /demo/2024 failed: broken (3 times)",
    ]


def test_stats_as_json(run: Run, mounted: Path) -> None:
    result = run("stats", "--json", str(mounted))
    assert json.loads(result.stdout) == STATUS
    assert result.stdout.count("\n") == 1


def test_watching_prints_again_until_the_mount_is_gone(mounted: Path) -> None:
    out = io.StringIO()
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            (mounted / stats.status_file()).unlink()

    with pytest.raises(VoxofsError, match=r"is not a mount of voxofs"):
        stats.show(str(mounted), watch=True, as_json=False, out=out, pause=pause)
    assert pauses == [1.0] * 3
    assert out.getvalue().count("voxofs 0.1.0") == 3


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"{", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b"\xff", "not UTF-8"),
        (b"[" * 99_999, "not a JSON"),
    ],
)
def test_a_status_that_is_none(run: Run, mounted: Path, content: bytes, expected: str) -> None:
    (mounted / stats.status_file()).write_bytes(content)
    result = run("stats", str(mounted))
    assert result.returncode == 2
    assert expected in result.stderr


@pytest.mark.parametrize("folder", [".", "none"])
def test_stats_of_what_is_no_mount(run: Run, tmp_path: Path, folder: str) -> None:
    result = run("stats", str(tmp_path / folder))
    assert result.returncode == 2
    assert "is not a mount of voxofs" in result.stderr


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(STATUS, _JSON)))
def test_any_status_can_be_printed(status: dict[str, object]) -> None:
    text = stats.report(status)
    assert text.startswith("voxofs ")
    assert all(line.isprintable() for line in text.split("\n"))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min 0 s"), (3_661, "1 h 1 min"), (90_000, "1 d 1 h"), (-5, "0 s")],
)
def test_durations(seconds: float, words: str) -> None:
    assert status_text.duration(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1024**4 * 3, "3.0 TiB")]
)
def test_sizes(count: int, words: str) -> None:
    assert status_text.size(count) == words


def test_a_reader_that_goes_away_is_no_error(mounted: Path) -> None:
    receiver, sender = os.pipe()
    os.close(receiver)
    result = subprocess.run(
        [sys.executable, "-m", "voxofs", "stats", str(mounted)],
        stdout=sender, stderr=subprocess.PIPE, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    os.close(sender)
    assert (result.returncode, result.stderr) == (0, b"")
