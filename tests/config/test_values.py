"""Every kind of value: what is read, and what is refused with the name of file and key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from harness.settings import TENANT, SettingsFolder


@pytest.fixture
def folder(tmp_path: Path) -> SettingsFolder:
    return SettingsFolder(tmp_path)


MIB = 1024 * 1024
GOOD_VALUES: list[tuple[str, str, str, Any]] = [
    ("cache", "memory", '"1GB"', 10**9),
    ("cache", "memory", '"1.5 GiB"', 1536 * MIB),
    ("cache", "memory", '"64M"', 64 * MIB),
    ("cache", "memory", '"9000 kib"', 9000 * 1024),
    ("cache", "memory", "8388608", 8 * MIB),
    ("cache", "live_ttl_s", "5", 5.0),
    ("cache", "settle_s", "0", 0.0),
    ("mount", "file_mode", '"0440"', 0o440),
    ("mount", "file_mode", "0o444", 0o444),
    ("mount", "file_mode", "288", 0o440),
    ("mount", "file_mode", '"0644"', 0o644),
    ("mount", "dir_mode", "0o755", 0o755),
    ("mount", "prefetch", "false", False),
    ("api", "connections", "256", 256),
    ("api", "base_url", '"https://api.voxo.com/v1/"', "https://api.voxo.com/v1"),
    ("api", "base_url", '"http://127.0.0.1:8080"', "http://127.0.0.1:8080"),
    ("api", "base_url", '"http://[::1]:8080"', "http://[::1]:8080"),
    ("api", "base_url", '"http://localhost"', "http://localhost"),
    ("api", "timezone", '"Europe/London"', "Europe/London"),
    ("log", "level", '"DEBUG"', "debug"),
    ("metrics", "listen", '"127.0.0.1:9847"', "127.0.0.1:9847"),
    ("metrics", "listen", '"[::1]:9847"', "[::1]:9847"),
    ("privacy", "show", '["dialedNum", "callerIdName"]', ["dialedNum", "callerIdName"]),
]


@pytest.mark.parametrize(("section", "key", "toml", "value"), GOOD_VALUES)
def test_good_values(folder: SettingsFolder, section: str, key: str, toml: str, value: object) -> None:
    loaded = getattr(folder.load(f"[{section}]\n{key} = {toml}\n{TENANT}"), section)
    assert getattr(loaded, "memory_bytes" if key == "memory" else key) == value


BAD_VALUES = [
    ("cache", "memory", '"7 MiB"', "from 8 MiB"),
    ("cache", "memory", "8388607", "from 8 MiB"),
    ("cache", "memory", '"lots"', "a size such as"),
    ("cache", "memory", "true", "a size such as"),
    ("cache", "memory", "-1", "from 8 MiB"),
    ("cache", "records", "1.5", "whole number"),
    ("cache", "live_ttl_s", "nan", "number of seconds"),
    ("cache", "live_ttl_s", "inf", "number of seconds"),
    ("cache", "live_ttl_s", "true", "number of seconds"),
    ("cache", "settle_s", "-1", "number of seconds"),
    ("mount", "deadline_s", "0", "number of seconds"),
    ("mount", "file_mode", "440", "nobody but the owner write"),  # decimal: it would mean 0670
    ("mount", "file_mode", "640", "octal mode"),  # it would mean 01200
    ("mount", "dir_mode", '"0770"', "nobody but the owner write"),
    ("mount", "dir_mode", '"0988"', "octal mode"),
    ("mount", "dir_mode", '"04555"', "octal mode"),
    ("mount", "uid", '"no-such-user-here"', "names no user"),
    ("mount", "gid", "-1", "number or name of a group"),
    ("mount", "uid", "4294967295", "number or name of a user"),
    ("mount", "allow_other", '"perhaps"', "true or false"),
    ("mount", "allow_other", '""', "true or false"),
    ("api", "connections", "0", "from 1 to 256"),
    ("api", "connections", "257", "from 1 to 256"),
    ("api", "connections", "0x" + "f" * 5000, "that long"),
    ("storage", "link_lifetime_s", "0", "number of seconds"),
    ("api", "base_url", '"ftp://api.voxo.co"', "must be a URL"),
    ("api", "base_url", '"api.voxo.co"', "must be a URL"),
    ("api", "base_url", '"https://[::1"', "must be a URL"),
    ("api", "base_url", '"https://api.voxo.co:http"', "must be a URL"),
    ("api", "base_url", '"https://a.example/?x=1"', "query"),
    ("api", "base_url", '"https://me@a.example"', "user name"),
    ("api", "base_url", '"http://api.voxo.co"', "https://"),
    ("api", "base_url", '"http://127.0.0.1.example"', "https://"),
    ("api", "timezone", '"America/Chicgo"', 'did you mean "America/Chicago"?'),
    ("api", "timezone", '"../../etc/passwd"', "name of a time zone"),
    ("api", "recordings", '""', "must not be empty"),
    ("log", "level", '"loud"', "must be one of"),
    ("log", "format", "3", "must be one of"),
    ("log", "file", '"a\\u0000b"', "control characters"),
    ("metrics", "listen", '"0.0.0.0:9847"', "address of this machine"),
    ("metrics", "listen", '"127.0.0.1"', "address of this machine"),
    ("metrics", "listen", '"127.0.0.1:65536"', "address of this machine"),
    ("privacy", "show", '["calerIdNumber"]', 'did you mean "callerIdNumber"?'),
    ("privacy", "show", "3", "list of names"),
]


@pytest.mark.parametrize(("section", "key", "toml", "expected"), BAD_VALUES)
def test_bad_values_name_file_key_and_cause(
    folder: SettingsFolder, tmp_path: Path, section: str, key: str, toml: str, expected: str
) -> None:
    problem = folder.problem(f"[{section}]\n{key} = {toml}\n{TENANT}")
    assert problem.startswith(f"{tmp_path}/voxofs.toml: [{section}] {key}: ")
    assert expected in problem
