"""Where settings come from: the order of files, variables and words, and names that nobody knows."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from harness.settings import TENANT, TODAY, TOKEN, SettingsFolder

from voxofs.config import sections
from voxofs.config.settings import load
from voxofs.errors import ConfigError


@pytest.fixture
def folder(tmp_path: Path) -> SettingsFolder:
    return SettingsFolder(tmp_path)


def test_search_order(folder: SettingsFolder, tmp_path: Path) -> None:
    xdg = folder.write(TENANT, name="xdg/voxofs/voxofs.toml")
    home = folder.write(TENANT.replace("37", "38"), name="home/.config/voxofs/voxofs.toml")
    given = folder.write(TENANT.replace("37", "39"), name="given.toml")

    def tenant_id(path: Path | None, **environ: str) -> int:
        return load(path, environ={"VOXOFS_TOKEN": "t", **environ}, overrides={}).tenants["demo"].id

    both = {"XDG_CONFIG_HOME": str(tmp_path / "xdg"), "HOME": str(tmp_path / "home")}
    assert tenant_id(given, **both) == 39
    assert tenant_id(None, **both) == 37
    assert tenant_id(None, HOME=str(tmp_path / "home")) == 38
    assert xdg != home


def test_no_file_at_all_names_the_places_looked_at(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, environ={"HOME": str(tmp_path), "VOXOFS_TOKEN": "t"}, overrides={})
    message = str(caught.value)
    assert f"{tmp_path}/.config/voxofs/voxofs.toml" in message
    assert "/etc/voxofs/voxofs.toml" in message


def test_a_mount_without_a_file_from_the_environment_and_words(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "VOXOFS_TOKEN": "t", "VOXOFS_TENANTS_ACME_ID": "5"}
    loaded = load(None, environ=environ, overrides={"tenants.acme.since": "2020-02-03"}, today=TODAY)
    assert loaded.tenants == {"acme": sections.TenantSection(id=5, since=date(2020, 2, 3))}
    assert loaded.source is None


def test_words_win_over_the_environment_and_that_over_the_file(folder: SettingsFolder) -> None:
    text = '[cache]\nmemory = "10 MiB"\n' + TENANT
    environ = {"VOXOFS_TOKEN": "t", "VOXOFS_CACHE_MEMORY": "20 MiB"}
    mib = 1024 * 1024
    assert folder.load(text).cache.memory_bytes == 10 * mib
    assert folder.load(text, environ).cache.memory_bytes == 20 * mib
    assert folder.load(text, environ, memory="30 MiB").cache.memory_bytes == 30 * mib
    assert folder.load(text, environ, **{"cache.memory": "40 MiB"}).cache.memory_bytes == 40 * mib


def test_an_empty_variable_counts_as_not_set(folder: SettingsFolder) -> None:
    environ = {"VOXOFS_TOKEN": "t", "VOXOFS_CACHE_MEMORY": ""}
    assert (
        folder.load('[cache]\nmemory = "10 MiB"\n' + TENANT, environ).cache.memory_bytes == 10 * 1024 * 1024
    )


def test_a_variable_finds_the_tenant_whose_name_it_cannot_spell(folder: SettingsFolder) -> None:
    text = '[tenants."North-East"]\nid = 1\nsince = 2021-01-01\n'
    loaded = folder.load(text, {"VOXOFS_TOKEN": "t", "VOXOFS_TENANTS_NORTH_EAST_ID": "9"})
    assert {name: tenant.id for name, tenant in loaded.tenants.items()} == {"North-East": 9}


# --- unknown names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[api]\nbase_ulr = 'x'\n", '[api] base_ulr: unknown key, did you mean "base_url"?'),
        ("[api]\nmemory = 1\n", "[api] memory: unknown key, did you mean the one of [cache]?"),
        ("[apy]\n", '[apy]: unknown section, did you mean "api"?'),
        ("[tenant.demo]\nid = 1\n", '[tenant]: unknown section, did you mean "tenants"?'),
        ("memory = 1\n", "memory: stands outside of any section; it belongs below [cache]"),
        ("cache = 1\n", "cache: must be a section"),
        ("[[cache]]\n", "cache: must be a section"),
    ],
)
def test_unknown_names_in_the_file(folder: SettingsFolder, text: str, expected: str) -> None:
    assert expected in folder.problem(text + TENANT)


def test_tenants_that_are_no_sections(folder: SettingsFolder) -> None:
    assert "tenants: must be sections" in folder.problems("tenants = 3\n")[0]
    assert "[tenants] demo: must be a section" in folder.problems("[tenants]\ndemo = 37\n")[0]


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ("VOXOFS_CACHE_MEMROY", 'unknown variable, did you mean "VOXOFS_CACHE_MEMORY"?'),
        ("VOXOFS_TOKN", 'unknown variable, did you mean "VOXOFS_TOKEN"?'),
        ("VOXOFS_API_QQQQQQQ", "unknown variable"),
        ("VOXOFS_API_CONNECTIONS", "must be a whole number"),
    ],
)
def test_variables_are_named(folder: SettingsFolder, variable: str, expected: str) -> None:
    problem = folder.problem(TENANT, {"VOXOFS_TOKEN": TOKEN, variable: "value"})
    assert problem.startswith(f"${variable}: {expected}")


def test_a_foreign_variable_is_left_alone(folder: SettingsFolder) -> None:
    assert folder.load(TENANT, {"VOXOFS_TOKEN": TOKEN, "VOXOFS_DEBUG": "1"}).tenants


@pytest.mark.parametrize(
    ("word", "value", "expected"),
    [
        ("allow_othr", "", '-o allow_othr: unknown option, did you mean "allow_other"?'),
        ("cache.memroy", "1", '-o cache.memroy: unknown option, did you mean "cache.memory"?'),
        ("connections", "3", "-o connections: is ambiguous; say api.connections or storage.connections"),
        ("memory", "", "-o memory: needs a value, -o memory=VALUE"),
        ("memory", "x", "-o memory: must be a size"),
        ("tenants.demo.idd", "1", "-o tenants.demo.idd: unknown option"),
    ],
)
def test_words_are_named(folder: SettingsFolder, word: str, value: str, expected: str) -> None:
    assert folder.problem(TENANT, None, **{word: value}).startswith(expected)


# --- files that cannot be used


def test_a_missing_file_is_the_only_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "none.toml", environ={}, overrides={})
    assert caught.value.problems == (f"{tmp_path}/none.toml: the configuration file does not exist",)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"[api\n", "is not valid TOML"),
        (b"a = 1\na = 2\n", "is not valid TOML"),
        (b"\xff\xfe", "not UTF-8"),
        (b"a = " + b"[" * 5000, "is not valid TOML"),
        (b"a = " + b"9" * 5000, "is not valid TOML"),
        (b"a = 2021-13-45\n", "is not valid TOML"),
    ],
)
def test_a_file_that_is_not_toml(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(path, environ={}, overrides={})
    assert len(caught.value.problems) == 1
    assert expected in str(caught.value)


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory"):
        load(tmp_path, environ={}, overrides={})
