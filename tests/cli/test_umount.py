"""`voxofs umount`: what is not a mount of ours is left alone. Real unmounts: tests/tools/test_daemon.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.command import Run, command_in


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return command_in(tmp_path)


def test_unmounting_what_is_not_mounted_is_32(run: Run, tmp_path: Path) -> None:
    result = run("umount", str(tmp_path))
    assert (result.returncode, result.stderr) == (32, f"voxofs: {tmp_path}: nothing is mounted there\n")


def test_unmounting_what_is_not_ours_is_refused(run: Run) -> None:
    result = run("umount", "/proc")
    assert result.returncode == 32
    assert "is a mount of type proc, not one of voxofs" in result.stderr
