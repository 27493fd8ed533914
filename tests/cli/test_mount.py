"""`voxofs mount` and `mount.voxofs`: what they read, what they refuse, and with which exit code."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from harness.command import TENANTS, Run, command_in, configuration_in

from voxofs.cli import main as cli
from voxofs.config.settings import Config
from voxofs.daemon import process


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return command_in(tmp_path)


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    return configuration_in(tmp_path)


def test_every_problem_of_the_configuration_at_once(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[api]\ntokn = 'x'\n[cache]\nmemory = 'x'\n" + TENANTS)
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


@pytest.mark.parametrize("foreground", [["--foreground"], []])
def test_a_mount_that_cannot_be_is_32(run: Run, configured: Path, foreground: list[str]) -> None:
    result = run("mount", *foreground, "--config", str(configured), "no-such-folder")
    assert result.returncode == 32
    assert "no-such-folder: the folder to mount on does not exist; make it with: mkdir -p" in result.stderr


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

    monkeypatch.setattr(process, "run_background", run_background)
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


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("acne", 'configured, did you mean "acme"? (all of them: mount -t voxofs voxofs)'),
        ("Demo", 'configured, did you mean "demo"? (all of them: mount -t voxofs voxofs)'),
        ("nobody", "configured; there are demo, acme (all of them: mount -t voxofs voxofs)"),
    ],
)
def test_a_source_that_is_no_tenant_is_refused(
    helper: Helper, configured: Path, source: str, hint: str
) -> None:
    code, asked, err = helper(f"{source} /mnt/calls -o config={configured}")
    assert (code, asked) == (1, [])
    assert f"{source}: no tenant of that name is {hint}" in err


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
