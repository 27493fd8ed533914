"""The key file: made for its owner alone, never overwritten, refused where others may read it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from voxofs.errors import ConfigError
from voxofs.store.key import key_in_memory, make_key_file, read_key_file


def test_a_key_that_was_made_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "disk.key"
    make_key_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(read_key_file(path)) == 32
    make_key_file(tmp_path / "other.key")
    assert read_key_file(tmp_path / "other.key") != read_key_file(path)


def test_a_key_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "disk.key"
    make_key_file(path)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="never overwritten"):
        make_key_file(path)
    assert path.read_bytes() == before


def test_where_no_key_can_be_written_the_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing/disk\.key: the key cannot be written"):
        make_key_file(tmp_path / "missing" / "disk.key")


@pytest.mark.parametrize("line", ["", "c2hvcnQ=", "not base64 at all!", "A" * 44, "A" * 88])
def test_what_is_no_key_is_refused_and_not_shown(tmp_path: Path, line: str) -> None:
    path = tmp_path / "disk.key"
    path.write_text(line + "\n")
    path.chmod(0o600)
    with pytest.raises(ConfigError) as caught:
        read_key_file(path)
    assert str(path) in str(caught.value)
    assert not line or line not in str(caught.value)


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "disk.key"
    make_key_file(path)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_key_file(path)


def test_systemds_credential_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "disk.key"
    make_key_file(path)
    path.chmod(0o440)
    assert len(read_key_file(path, {"CREDENTIALS_DIRECTORY": str(tmp_path)})) == 32


def test_keys_in_memory_differ() -> None:
    assert key_in_memory() != key_in_memory()
