"""Whatever a file, variables and words hold: a configuration, or a list of problems without a secret."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import pytest
from harness.settings import TENANT, TODAY, TOKEN, SettingsFolder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voxofs.config import settings as config
from voxofs.config.settings import load
from voxofs.errors import ConfigError

_SCALARS = st.one_of(
    st.integers(), st.floats(), st.booleans(), st.text(max_size=20), st.dates(), st.datetimes(),
    st.sampled_from(["0440", "1 GiB", "http://[", "2021-01-01", "127.0.0.1:1", "root", "true", "\0", "/"]),
)  # fmt: skip
_KEYS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(sorted({key for keys in config.NAMES.values() for key in keys} | {"id", "since"})),
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)
_TABLES = st.dictionaries(
    st.one_of(st.text(max_size=8), st.sampled_from([*config.NAMES, "tenants"])), _VALUES, max_size=6
)


@pytest.fixture
def folder(tmp_path: Path) -> SettingsFolder:
    return SettingsFolder(tmp_path)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(table=_TABLES)
def test_any_table_is_a_configuration_or_a_list_of_problems(
    table: dict[str, object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "voxofs.toml"
    path.touch()
    monkeypatch.setattr("voxofs.config.layers.tomllib.loads", lambda _content: copy.deepcopy(table))
    _config_or_problems(path, {}, {})


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_any_bytes_are_a_configuration_or_a_list_of_problems(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "voxofs.toml"
    path.write_bytes(content)
    _config_or_problems(path, {}, {})


_VARIABLES = st.sampled_from(
    [f"VOXOFS_{section}_{key}".upper() for section, keys in config.NAMES.items() for key in keys]
)
_WORDS = st.sampled_from([f"{section}.{key}" for section, keys in config.NAMES.items() for key in keys])


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    environ=st.dictionaries(
        st.one_of(_VARIABLES, st.text(max_size=9).map("VOXOFS_".__add__)), st.text(max_size=9)
    ),
    words=st.dictionaries(st.one_of(_WORDS, st.text(max_size=12)), st.text(max_size=9)),
)
def test_any_words_are_a_configuration_or_a_list_of_problems(
    environ: dict[str, str], words: dict[str, str], folder: SettingsFolder
) -> None:
    _config_or_problems(folder.write(TENANT), environ, words)


def _config_or_problems(path: Path, environ: Mapping[str, str], words: Mapping[str, str]) -> None:
    try:
        loaded = load(path, environ={"VOXOFS_TOKEN": TOKEN, **environ}, overrides=words, today=TODAY)
    except ConfigError as error:
        problems, shown = list(error.problems), str(error)
    else:
        problems, shown = [], repr(loaded)
        assert loaded.tenants
    assert shown
    assert all(problem.isprintable() and problem for problem in problems)
    assert TOKEN not in shown
