"""The command line as scripts see it: the real `python -m voxofs`, its exit codes and words, no traceback."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxofs import __version__, cli, mount_words, service, stats
from voxofs.config import Config
from voxofs.errors import VoxofsError

TENANT = "[tenants.demo]\nid = 37\nsince = 2021-01-01\n[tenants.acme]\nid = 432\nsince = 2021-01-01\n"
TOKEN = "tok-4b1d-secret"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run voxofs as a user would, in an environment that holds nothing of this machine's."""

    def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [sys.executable, "-m", "voxofs", *arguments],
            capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL, cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": _ROOT, **environ},
        )  # fmt: skip
        assert "Traceback" not in result.stdout + result.stderr
        assert TOKEN not in result.stdout + result.stderr
        return result

    return run


_ROOT = str(Path(__file__).parents[1])


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    path = tmp_path / "voxofs.toml"
    path.write_text(f'[api]\ntoken = "{TOKEN}"\n{TENANT}')
    path.chmod(0o600)
    return path


# --- usage


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
        ("qqqq", "unknown command “qqqq”; there are mount, umount"),
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


# --- configuration


def test_every_problem_of_the_configuration_at_once(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[api]\ntokn = 'x'\n[cache]\nmemory = 'x'\n" + TENANT)
    result = run("mount", "--config", "bad.toml", "-o", "allow_othr", "mnt", VOXOFS_LOG_LEVEL="loud")
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert len(lines) == 5
    assert all(line.startswith("voxofs: ") for line in lines)
    assert 'bad.toml: [api] tokn: unknown key, did you mean "token"?' in lines[0]


@pytest.mark.parametrize("command", ["mount", "check"])
def test_a_missing_configuration_file_is_1(run: Run, command: str) -> None:
    result = run(command, "--config", "none.toml", "mnt")
    assert result.returncode == 1
    assert "none.toml: the configuration file does not exist" in result.stderr + result.stdout


def test_config_may_be_a_mount_word(run: Run) -> None:
    result = run("mount", "-o", "ro,config=none.toml", "mnt")
    assert (result.returncode, result.stderr) == (
        1,
        "voxofs: none.toml: the configuration file does not exist\n",
    )


# --- mount failures


@pytest.mark.parametrize("foreground", [["--foreground"], []])
def test_a_mount_that_cannot_be_is_32(run: Run, configured: Path, foreground: list[str]) -> None:
    result = run("mount", *foreground, "--config", str(configured), "no-such-folder")
    assert result.returncode == 32
    assert "no-such-folder: the folder to mount on does not exist; make it with: mkdir -p" in result.stderr


def test_unmounting_what_is_not_mounted_is_32(run: Run, tmp_path: Path) -> None:
    result = run("umount", str(tmp_path))
    assert (result.returncode, result.stderr) == (32, f"voxofs: {tmp_path}: nothing is mounted there\n")


def test_unmounting_what_is_not_ours_is_refused(run: Run) -> None:
    result = run("umount", "/proc")
    assert result.returncode == 32
    assert "is a mount of type proc, not one of voxofs" in result.stderr


# --- the helper of mount(8)


@pytest.fixture
def helper(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], tuple[int, list[tuple[Config, str]], str]]:
    """Run mount.voxofs without mounting; gives the exit code, what would be mounted and stderr."""
    asked: list[tuple[Config, str]] = []

    def run_background(config: Config, mountpoint: str) -> int:
        asked.append((config, mountpoint))
        return 0

    def helper(arguments: str) -> tuple[int, list[tuple[Config, str]], str]:
        asked.clear()
        code = cli.mount_helper_main(shlex.split(arguments))
        return code, list(asked), capsys.readouterr().err

    monkeypatch.setattr(service, "run_background", run_background)
    for name in [name for name in os.environ if name.startswith("VOXOFS_")]:
        monkeypatch.delenv(name)
    return helper


Helper = Callable[[str], tuple[int, list[tuple[Config, str]], str]]
_FSTAB = "rw,noexec,nosuid,nodev,nofail,_netdev,noauto,user,x-systemd.automount,X-mount.mkdir,comment=a"


def test_the_source_is_a_file(helper: Helper, configured: Path) -> None:
    # `-o rw,…` behind the folder is what mount(8) of util-linux 2.38 calls its helpers with.
    code, asked, _err = helper(f"{configured} /mnt/calls -v -o {_FSTAB},uid=3,memory=9MiB")
    assert code == 0
    config, mountpoint = asked[0]
    assert mountpoint == "/mnt/calls"
    assert list(config.tenants) == ["demo", "acme"]
    assert (config.mount.uid, config.cache.memory_bytes) == (3, 9 * 1024 * 1024)


def test_the_source_is_a_tenant(helper: Helper, configured: Path) -> None:
    code, asked, _err = helper(f"acme /mnt/calls -o rw,config={configured}")
    assert (code, list(asked[0][0].tenants)) == (0, ["acme"])


def test_the_source_is_just_a_name(helper: Helper, configured: Path) -> None:
    code, asked, _err = helper(f"voxofs /mnt/calls -n -o config={configured}")
    assert (code, list(asked[0][0].tenants)) == (0, ["demo", "acme"])


def test_unknown_words_are_refused_unless_mount_is_sloppy(helper: Helper, configured: Path) -> None:
    code, asked, err = helper(f"{configured} /mnt/calls -o allow_othr")
    assert (code, asked) == (1, [])
    assert '-o allow_othr: unknown option, did you mean "allow_other"?' in err
    code, asked, _err = helper(f"{configured} /mnt/calls -s -o allow_othr,uid=3")
    assert (code, asked[0][0].mount.uid) == (0, 3)


def test_a_fake_mount_only_checks(helper: Helper, configured: Path) -> None:
    assert helper(f"{configured} /mnt/calls -f")[:2] == (0, [])
    assert helper("/none.toml /mnt/calls -f")[0] == 1


@pytest.mark.parametrize("arguments", ["", "only-a-source", "a b c", "a b --nonsense"])
def test_usage_of_the_helper(helper: Helper, arguments: str) -> None:
    assert helper(arguments)[:2] == (1, [])


def test_the_name_decides_which_command_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["/sbin/mount.voxofs", "--help"])
    assert cli.main() == 0
    assert "usage: mount.voxofs" in capsys.readouterr().out


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


# --- the boundary


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
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


def test_a_reader_that_goes_away_is_no_error(mounted: Path) -> None:
    receiver, sender = os.pipe()
    os.close(receiver)
    result = subprocess.run(
        [sys.executable, "-m", "voxofs", "stats", str(mounted)],
        stdout=sender, stderr=subprocess.PIPE, check=False, env={**os.environ, "PYTHONPATH": _ROOT},
    )  # fmt: skip
    os.close(sender)
    assert (result.returncode, result.stderr) == (0, b"")


# --- stats


STATUS: Mapping[str, object] = {
    "version": "0.1.0",
    "uptime_s": 97_503.2,
    "tenants": {
        "demo": {"healthy": True, "last_error": None},
        "acme": {"healthy": False, "last_error": "403 Forbidden"},
    },
    "cache": {"bytes": 60_817_408, "limit_bytes": 268_435_456, "hits": 30, "misses": 10},
    "requests": {"reports": 12, "links": 1_234, "audio": 1_300},
    "in_flight": {"api": {"now": 2, "limit": 32, "waiting": 5}, "storage": {"now": 0, "limit": 16}},
    "last_errors": ["12:01:02 /acme/2024: 403 Forbidden"],
}  # fmt: skip


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    """A folder with a status file, as a mount has it."""
    folder = tmp_path / "mnt"
    (folder / ".voxofs").mkdir(parents=True)
    (folder / stats.STATUS_FILE).write_text(json.dumps(STATUS))
    return folder


def test_stats_for_people(run: Run, mounted: Path) -> None:
    result = run("stats", str(mounted))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "voxofs 0.1.0, up 1 d 3 h",
        "tenant     demo ok",
        "tenant     acme failing: 403 Forbidden",
        "cache      58.0 MiB of 256.0 MiB, 30 hits, 10 misses (75 %)",
        "requests   12 reports, 1,234 links, 1,300 audio",
        "in flight  api 2 of 32 (5 waiting), storage 0 of 16",
        "last errors",
        "  12:01:02 /acme/2024: 403 Forbidden",
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
            (mounted / stats.STATUS_FILE).unlink()

    with pytest.raises(VoxofsError, match=r"is not a mount of voxofs"):
        stats.run(str(mounted), watch=True, as_json=False, out=out, pause=pause)
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
    (mounted / stats.STATUS_FILE).write_bytes(content)
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
    assert stats.duration(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1024**4 * 3, "3.0 TiB")]
)
def test_sizes(count: int, words: str) -> None:
    assert stats.size(count) == words
