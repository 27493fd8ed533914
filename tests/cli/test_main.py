"""The command line: usage, help, and the boundary at which every failure becomes a line and an exit code."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from harness.command import Run, command_in

from voxofs import __version__
from voxofs.cli import main as cli
from voxofs.cli import stats
from voxofs.errors import ConfigError, MountFailed, VoxofsError


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return command_in(tmp_path)


def test_version(run: Run) -> None:
    result = run("--version")
    assert (result.returncode, result.stdout) == (0, f"voxofs {__version__}\n")


@pytest.mark.parametrize("command", ["", "mount", "umount", "demo", "check", "stats"])
def test_help_teaches_by_example(run: Run, command: str) -> None:
    result = run(*command.split(), "--help")
    assert result.returncode == 0
    assert f"voxofs {command}".strip() in result.stdout
    assert "example" in result.stdout or "start here:" in result.stdout
    assert all(len(line) <= 120 for line in result.stdout.splitlines())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", "usage: voxofs"),
        ("moutn /mnt", "unknown command “moutn”, did you mean “mount”?"),
        ("unmount /mnt", "did you mean “umount”?"),
        ("qqqq", "unknown command “qqqq”; there are setup, mount"),
        ("mount", "MOUNTPOINT"),
        ("mount a b", "unrecognized arguments: b"),
        ("mount --foregroun a", "unrecognized arguments: --foregroun"),
        ("mount --log-format xml a", "invalid choice"),
        ("mount -o rw a", "-o rw: the mount is read-only"),
        ("--nonsense", "voxofs"),
        ("stats", "MOUNTPOINT"),
    ],
)
def test_usage_errors_are_1(run: Run, arguments: str, expected: str) -> None:
    result = run(*arguments.split())
    assert result.returncode == 1
    assert expected in result.stderr
    assert result.stdout == ""


def test_the_name_decides_which_command_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["/sbin/mount.voxofs", "--help"])
    assert cli.main() == 0
    assert "usage: mount.voxofs" in capsys.readouterr().out


# --- the boundary


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
        (MountFailed("cause and next step"), 32, "voxofs: cause and next step\n"),
        (ConfigError(["[api] tokn: unknown key"]), 1, "voxofs: [api] tokn: unknown key\n"),
        (VoxofsError("cause and next step"), 2, "voxofs: cause and next step\n"),
        (ZeroDivisionError("Signature=abc"), 2, "unexpected failure: ZeroDivisionError: Signature=********"),
        (KeyboardInterrupt(), 2, "voxofs: interrupted\n"),
        (RecursionError("deep"), 2, "unexpected failure: RecursionError"),
    ],
)
def test_nothing_escapes(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    expected: str,
) -> None:
    def fail(*_arguments: object, **_keywords: object) -> None:
        raise error

    monkeypatch.setattr(stats, "run", fail)
    assert cli.main(["stats", "/mnt"]) == code
    shown = capsys.readouterr().err
    assert expected in shown
    assert len(shown.splitlines()) == 1


def test_debugging_shows_the_traceback_without_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_arguments: object, **_keywords: object) -> None:
        raise ZeroDivisionError("Signature=abc")

    monkeypatch.setattr(stats, "run", fail)
    monkeypatch.setenv("VOXOFS_DEBUG", "1")
    assert cli.main(["stats", "/mnt"]) == 2
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "abc" not in shown
