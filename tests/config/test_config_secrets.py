"""Secrets: files that hold one, how it is held, and what is struck out of a line."""

from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path

import pytest
from harness.settings import TENANT, TOKEN, SettingsFolder
from hypothesis import given
from hypothesis import strategies as st

from voxofs.config import sections
from voxofs.config.secrets import Secret, read_secret_file, redact
from voxofs.errors import ConfigError

SECRET = "c2lnbmF0dXJl%2Bx%3D"


@pytest.fixture
def folder(tmp_path: Path) -> SettingsFolder:
    return SettingsFolder(tmp_path)


# --- files


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644])
def test_a_secret_file_open_to_others_is_refused_with_the_chmod(folder: SettingsFolder, mode: int) -> None:
    secret = folder.write("hush\n", mode, name="my secret")
    problem = folder.problem(f'[api]\ntoken_file = "{secret}"\n{TENANT}', {})
    assert f"chmod 600 '{secret}'" in problem
    assert f"{mode:04o}" in problem


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"a\nb\n", "one line"),
        (b"\xff", "UTF-8"),
        (b"a" * 70_000, "long"),
    ],
)
def test_secret_files_that_hold_no_secret(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=expected):
        read_secret_file(path)


def test_secret_files_are_regular_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        read_secret_file(tmp_path / "none")
    with pytest.raises(ConfigError, match="is not a regular file"):
        read_secret_file(tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigError, match="is not a regular file"):
        read_secret_file(tmp_path / "pipe")


def test_a_secret_keeps_its_spaces_and_loses_its_line_end(folder: SettingsFolder) -> None:
    assert read_secret_file(folder.write(" pass word \r\n", name="secret")) == " pass word "


def test_systemd_credentials_may_be_readable_by_roots_group(
    folder: SettingsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder.write("tok\n", 0o440, name="credentials/token")
    owned_by_root = path.stat().st_uid == 0
    environ = {"CREDENTIALS_DIRECTORY": str(path.parent)}
    if owned_by_root:
        assert read_secret_file(path, environ) == "tok"
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(path.parent))
        assert read_secret_file(path) == "tok"
    path.chmod(0o444)
    with pytest.raises(ConfigError, match="everybody"):
        read_secret_file(path, environ)
    path.chmod(0o440)
    with pytest.raises(ConfigError, match="its group"):
        read_secret_file(path, {"CREDENTIALS_DIRECTORY": str(path.parent.parent)})


# --- secrets in memory


def test_a_secret_does_not_show_itself() -> None:
    secret = Secret(TOKEN)
    assert secret.reveal() == TOKEN
    assert TOKEN not in f"{secret} {secret!r} {[secret]} {secret!s:>9} {sections.ApiSection(token=secret)}"
    assert copy.copy([secret])[0] is secret
    with pytest.raises(TypeError):
        pickle.dumps(secret)


# --- redaction


@given(st.text(max_size=60))
def test_redaction_takes_any_text(text: str) -> None:
    assert SECRET not in redact(f"{text} Signature={SECRET}")


def test_what_is_no_secret_stays() -> None:
    line = "/demo/2024/03/05/10/atl-ast2-1628901419.8373.mp3: read: 503 Slow Down, trying again in 2 s"
    assert redact(line) == line
