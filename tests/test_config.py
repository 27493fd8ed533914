"""The configuration: sources and their order, every kind of value, every problem at once, no secret shown."""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voxofs import config
from voxofs.config import Config, Secret, load, read_secret_file
from voxofs.errors import ConfigError

TODAY = date(2024, 3, 1)
TENANT = "[tenants.demo]\nid = 37\nsince = 2021-01-01\n"
TOKEN = "tok-4b1d-secret"
ISSUE_EXAMPLE = """
[api]
base_url = "https://api.voxo.co"      # default
token_file = "/run/secrets/voxo"       # or token, or email + password_file, or $VOXOFS_TOKEN
timezone = "America/Chicago"           # default
connections = 32                       # requests at once to the API; storage has its own

[cache]
memory = "256 MiB"                     # blocks of audio

[tenants.demo]                         # the folder's name
id = 37
since = 2021-01-01                     # first day shown
"""

Loader = Callable[..., Config]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(text: str, mode: int = 0o600, name: str = "voxofs.toml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    return write


@pytest.fixture
def loads(write: Callable[..., Path]) -> Loader:
    """Load a text as the configuration file, with a token from the environment unless told otherwise."""

    def loads(text: str, environ: Mapping[str, str] | None = None, **words: str) -> Config:
        variables = {"VOXOFS_TOKEN": TOKEN} if environ is None else environ
        return load(write(text), environ=variables, overrides=words, today=TODAY)

    return loads


def problems_of(
    loads: Loader, text: str, environ: Mapping[str, str] | None = None, **words: str
) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loads(text, environ, **words)
    return list(caught.value.problems)


def only_problem(loads: Loader, text: str, environ: Mapping[str, str] | None = None, **words: str) -> str:
    problems = problems_of(loads, text, environ, **words)
    assert len(problems) == 1, problems
    return problems[0]


# --- what loads


def test_the_example_of_the_issue_loads_as_it_stands(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its token_file is an absolute path that a test may not create, so only that one reading is replaced.
    asked: list[Path] = []

    def read(path: Path, environ: Mapping[str, str]) -> str:
        asked.append(path)
        return TOKEN

    monkeypatch.setattr(config, "read_secret_file", read)
    loaded = load(write(ISSUE_EXAMPLE), environ={}, overrides={}, today=TODAY)
    assert asked == [Path("/run/secrets/voxo")]
    assert loaded.api.token_file == Path("/run/secrets/voxo")
    assert loaded.api.base_url == "https://api.voxo.co"
    assert loaded.api.connections == loaded.storage.connections == 32
    assert loaded.cache.memory_bytes == 256 * 1024 * 1024
    assert loaded.tenants == {"demo": config.Tenant(id=37, since=date(2021, 1, 1))}


def test_defaults(loads: Loader) -> None:
    loaded = loads(TENANT)
    assert loaded.api == config.Api(token=Secret(TOKEN))
    assert loaded.mount == config.Mount(file_mode=0o440, dir_mode=0o550, deadline_s=30.0, prefetch=True)
    assert loaded.cache == config.Cache(records=200_000, live_ttl_s=30.0, settle_s=14_400.0)
    assert loaded.xattr.personal == []
    assert loaded.metrics.listen is None


def test_relative_paths_are_relative_to_the_file(write: Callable[..., Path]) -> None:
    secret = write("abc\n", name="secrets/token")
    path = write('[api]\ntoken_file = "secrets/token"\n' + TENANT)
    assert load(path, environ={}, overrides={}, today=TODAY).api.token_file == secret


def test_search_order(write: Callable[..., Path], tmp_path: Path) -> None:
    xdg = write(TENANT, name="xdg/voxofs/voxofs.toml")
    home = write(TENANT.replace("37", "38"), name="home/.config/voxofs/voxofs.toml")
    given = write(TENANT.replace("37", "39"), name="given.toml")

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
    assert loaded.tenants == {"acme": config.Tenant(id=5, since=date(2020, 2, 3))}
    assert loaded.source is None


def test_words_win_over_the_environment_and_that_over_the_file(loads: Loader) -> None:
    text = '[cache]\nmemory = "10 MiB"\n' + TENANT
    environ = {"VOXOFS_TOKEN": "t", "VOXOFS_CACHE_MEMORY": "20 MiB"}
    mib = 1024 * 1024
    assert loads(text).cache.memory_bytes == 10 * mib
    assert loads(text, environ).cache.memory_bytes == 20 * mib
    assert loads(text, environ, memory="30 MiB").cache.memory_bytes == 30 * mib
    assert loads(text, environ, **{"cache.memory": "40 MiB"}).cache.memory_bytes == 40 * mib


def test_an_empty_variable_counts_as_not_set(loads: Loader) -> None:
    environ = {"VOXOFS_TOKEN": "t", "VOXOFS_CACHE_MEMORY": ""}
    assert loads('[cache]\nmemory = "10 MiB"\n' + TENANT, environ).cache.memory_bytes == 10 * 1024 * 1024


def test_mount_words(loads: Loader) -> None:
    mount = loads(TENANT, uid="1000", gid="0", file_mode="0444", dir_mode="555", allow_other="").mount
    assert mount == config.Mount(uid=1000, gid=0, file_mode=0o444, dir_mode=0o555, allow_other=True)
    assert loads(TENANT, uid="root").mount.uid == 0


def test_a_variable_finds_the_tenant_whose_name_it_cannot_spell(loads: Loader) -> None:
    text = '[tenants."North-East"]\nid = 1\nsince = 2021-01-01\n'
    loaded = loads(text, {"VOXOFS_TOKEN": "t", "VOXOFS_TENANTS_NORTH_EAST_ID": "9"})
    assert {name: tenant.id for name, tenant in loaded.tenants.items()} == {"North-East": 9}


# --- values

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
    ("xattr", "personal", '["dialedNum", "callerIdName"]', ["dialedNum", "callerIdName"]),
]


@pytest.mark.parametrize(("section", "key", "toml", "value"), GOOD_VALUES)
def test_good_values(loads: Loader, section: str, key: str, toml: str, value: object) -> None:
    loaded = getattr(loads(f"[{section}]\n{key} = {toml}\n{TENANT}"), section)
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
    ("mount", "file_mode", "440", "write bits"),  # decimal: it would mean 0670
    ("mount", "file_mode", '"0644"', "write bits"),
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
    ("xattr", "personal", '["calerIdNumber"]', 'did you mean "callerIdNumber"?'),
    ("xattr", "personal", "3", "list of names"),
]


@pytest.mark.parametrize(("section", "key", "toml", "expected"), BAD_VALUES)
def test_bad_values_name_file_key_and_cause(
    loads: Loader, tmp_path: Path, section: str, key: str, toml: str, expected: str
) -> None:
    problem = only_problem(loads, f"[{section}]\n{key} = {toml}\n{TENANT}")
    assert problem.startswith(f"{tmp_path}/voxofs.toml: [{section}] {key}: ")
    assert expected in problem


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("id = 0\nsince = 2021-01-01", "[tenants.demo] id: must be a whole number from 1"),
        ('id = "x"\nsince = 2021-01-01', "[tenants.demo] id: must be a whole number from 1"),
        ("id = 1\nsince = 2024-03-02", "must not be in the future: 2024-03-02 is after today, 2024-03-01"),
        ("id = 1\nsince = 2021-01-01T00:00:00", "must be a date such as"),
        ('id = 1\nsince = "2021-02-30"', "must be a date such as"),
        ("id = 1\nsince = 1969-12-31", "must not be before 1970"),
        ("since = 2021-01-01", "id is missing"),
        ("id = 1", "since is missing"),
        ("id = 1\nsince = 2021-01-01\nsinse = 2", '[tenants.demo] sinse: unknown key, did you mean "since"?'),
    ],
)
def test_bad_tenants(loads: Loader, keys: str, expected: str) -> None:
    assert expected in only_problem(loads, f"[tenants.demo]\n{keys}\n")


@pytest.mark.parametrize("name", ["a/b", ".", "..", ".hidden", "", "  ", "a\\u0000b", "a\\nb", "é" * 128])
def test_unsafe_folder_names(loads: Loader, name: str) -> None:
    problem = only_problem(loads, f'[tenants."{name}"]\nid = 1\nsince = 2021-01-01\n')
    assert "folder's name" in problem
    assert "\n" not in problem


def test_names_that_differ_in_case_only_are_not_distinct(loads: Loader) -> None:
    other = TENANT.replace("demo", "Demo")
    assert "differs from demo only in case" in only_problem(loads, TENANT + other)


def test_since_today_is_allowed(loads: Loader) -> None:
    assert loads("[tenants.a]\nid = 1\nsince = 2024-03-01\n").tenants["a"].since == TODAY


@pytest.mark.parametrize("text", ["", "[tenants]\n"])
def test_at_least_one_tenant(loads: Loader, text: str) -> None:
    assert "no tenant is configured" in only_problem(loads, text)


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
def test_unknown_names_in_the_file(loads: Loader, text: str, expected: str) -> None:
    assert expected in only_problem(loads, text + TENANT)


def test_tenants_that_are_no_sections(loads: Loader) -> None:
    assert "tenants: must be sections" in problems_of(loads, "tenants = 3\n")[0]
    assert "[tenants] demo: must be a section" in problems_of(loads, "[tenants]\ndemo = 37\n")[0]


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ("VOXOFS_CACHE_MEMROY", 'unknown variable, did you mean "VOXOFS_CACHE_MEMORY"?'),
        ("VOXOFS_TOKN", 'unknown variable, did you mean "VOXOFS_TOKEN"?'),
        ("VOXOFS_API_QQQQQQQ", "unknown variable"),
        ("VOXOFS_API_CONNECTIONS", "must be a whole number"),
    ],
)
def test_variables_are_named(loads: Loader, variable: str, expected: str) -> None:
    problem = only_problem(loads, TENANT, {"VOXOFS_TOKEN": TOKEN, variable: "value"})
    assert problem.startswith(f"${variable}: {expected}")


def test_a_foreign_variable_is_left_alone(loads: Loader) -> None:
    assert loads(TENANT, {"VOXOFS_TOKEN": TOKEN, "VOXOFS_DEBUG": "1"}).tenants


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
def test_words_are_named(loads: Loader, word: str, value: str, expected: str) -> None:
    assert only_problem(loads, TENANT, None, **{word: value}).startswith(expected)


def test_every_problem_at_once(loads: Loader) -> None:
    text = "[api]\nbase_ulr = 1\nconnections = 0\n[cache]\nmemory = 'x'\n[tenants.'.x']\nid = -1\n"
    problems = problems_of(loads, text, {"VOXOFS_LOG_LEVEL": "loud"}, uid="nobody-at-all")
    for part in ("base_ulr", "connections", "memory", "'.'", "id:", "since is missing", "$VOXOFS_LOG_LEVEL",
                 "-o uid", "no credential"):  # fmt: skip
        assert any(part.replace("'.'", '"."') in problem for problem in problems), (part, problems)
    assert len(problems) == 9


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


# --- credentials


def test_each_kind_alone_is_enough(loads: Loader, write: Callable[..., Path]) -> None:
    secret = write("hush\n", name="secret")
    assert loads(f'[api]\ntoken = "{TOKEN}"\n{TENANT}', {}).api.token == Secret(TOKEN)
    assert loads(f'[api]\ntoken_file = "{secret}"\n{TENANT}', {}).api.token_file == secret
    login = loads(f'[api]\nemail = "a@b.example"\npassword_file = "{secret}"\n{TENANT}', {}).api
    assert (login.email, login.password_file, login.token) == ("a@b.example", secret, None)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("", "no credential is set"),
        ('token = "t"\ntoken_file = "SECRET"', "more than one kind of credential"),
        ('token = "t"\nemail = "a@b"\npassword_file = "SECRET"', "more than one kind of credential"),
        ('email = "a@b"', "needs password_file"),
        ('password_file = "SECRET"', "needs email"),
        ('token = "two words"', "one word"),
        ("token = 5", "one word"),
        ('token_file = "none"', "the file does not exist"),
        ('token_file = "eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0"', "looks like the token itself"),
    ],
)
def test_credential_problems(loads: Loader, write: Callable[..., Path], keys: str, expected: str) -> None:
    secret = write("hush\n", name="secret")
    problem = only_problem(loads, f"[api]\n{keys.replace('SECRET', str(secret))}\n{TENANT}", {})
    assert expected in problem
    assert "eyJ" not in problem


def test_the_token_of_the_environment_wins_over_every_kind_of_the_file(
    loads: Loader, write: Callable[..., Path]
) -> None:
    for keys in ('token_file = "nowhere"', 'email = "a@b"\npassword_file = "nowhere"'):
        api = loads(f"[api]\n{keys}\n{TENANT}", {"VOXOFS_TOKEN": TOKEN}).api
        assert api == config.Api(token=Secret(TOKEN))


def test_a_password_file_of_the_environment_completes_the_email_of_the_file(
    loads: Loader, write: Callable[..., Path]
) -> None:
    secret = write("hush\n", name="secret")
    api = loads(f'[api]\nemail = "a@b"\n{TENANT}', {"VOXOFS_API_PASSWORD_FILE": str(secret)}).api
    assert (api.email, api.password_file) == ("a@b", secret)


def test_a_token_is_not_taken_from_the_command_line(loads: Loader) -> None:
    problem = only_problem(loads, TENANT, None, token=TOKEN)
    assert "-o token: a token on the command line can be read by everybody" in problem
    assert TOKEN not in problem


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644])
def test_a_secret_file_open_to_others_is_refused_with_the_chmod(
    loads: Loader, write: Callable[..., Path], mode: int
) -> None:
    secret = write("hush\n", mode, name="my secret")
    problem = only_problem(loads, f'[api]\ntoken_file = "{secret}"\n{TENANT}', {})
    assert f"chmod 600 '{secret}'" in problem
    assert f"{mode:04o}" in problem


def test_the_configuration_file_is_a_secret_file_only_when_it_holds_the_token(
    write: Callable[..., Path],
) -> None:
    path = write(f'[api]\ntoken = "{TOKEN}"\n{TENANT}', 0o644)
    with pytest.raises(ConfigError) as caught:
        load(path, environ={}, overrides={}, today=TODAY)
    assert f"chmod 600 {path}" in str(caught.value)
    path.chmod(0o600)
    assert load(path, environ={}, overrides={}, today=TODAY).api.token == Secret(TOKEN)
    open_file = write(TENANT, 0o644)
    assert load(open_file, environ={"VOXOFS_TOKEN": "t"}, overrides={}, today=TODAY).source == open_file


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


def test_a_secret_keeps_its_spaces_and_loses_its_line_end(write: Callable[..., Path]) -> None:
    assert read_secret_file(write(" pass word \r\n", name="secret")) == " pass word "


def test_systemd_credentials_may_be_readable_by_roots_group(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("tok\n", 0o440, name="credentials/token")
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


# --- secrets


def test_a_secret_does_not_show_itself() -> None:
    secret = Secret(TOKEN)
    assert secret.reveal() == TOKEN
    assert TOKEN not in f"{secret} {secret!r} {[secret]} {secret!s:>9} {config.Api(token=secret)}"
    assert copy.copy([secret])[0] is secret
    with pytest.raises(TypeError):
        pickle.dumps(secret)


@pytest.mark.parametrize(
    "text",
    [
        f'[api]\ntoken = "{TOKEN} x"\n',
        f'[api]\ntokn = "{TOKEN}"\n',
        f'token = "{TOKEN}"\n',
        f'[apy]\ntoken = "{TOKEN}"\n',
        f'[api]\nbase_url = "https://me:{TOKEN}@a.example"\n',
        f'[api]\nbase_url = "https://a.example/?t={TOKEN}"\n',
        f'[api]\nbase_url = "{TOKEN}"\n',
        f'[api]\npassword = "{TOKEN}"\n',
        f"[api]\ntoken = {TOKEN}\n",
        f'[api]\ntoken = "{TOKEN}\n',
    ],
)
def test_no_problem_shows_a_secret(loads: Loader, text: str) -> None:
    assert TOKEN not in "\n".join(problems_of(loads, text + TENANT, {}))


# --- nonsense

_SCALARS = st.one_of(
    st.integers(), st.floats(), st.booleans(), st.text(max_size=20), st.dates(), st.datetimes(),
    st.sampled_from(["0440", "1 GiB", "http://[", "2021-01-01", "127.0.0.1:1", "root", "true", "\0", "/"]),
)  # fmt: skip
_KEYS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(sorted({key for keys in config._NAMES.values() for key in keys} | {"id", "since"})),
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)
_TABLES = st.dictionaries(
    st.one_of(st.text(max_size=8), st.sampled_from([*config._NAMES, "tenants"])), _VALUES, max_size=6
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(table=_TABLES)
def test_any_table_is_a_configuration_or_a_list_of_problems(
    table: dict[str, object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "voxofs.toml"
    path.touch()
    monkeypatch.setattr("voxofs.config_layers.tomllib.loads", lambda _content: copy.deepcopy(table))
    _config_or_problems(path, {}, {})


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_any_bytes_are_a_configuration_or_a_list_of_problems(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "voxofs.toml"
    path.write_bytes(content)
    _config_or_problems(path, {}, {})


_VARIABLES = st.sampled_from(
    [f"VOXOFS_{section}_{key}".upper() for section, keys in config._NAMES.items() for key in keys]
)
_WORDS = st.sampled_from([f"{section}.{key}" for section, keys in config._NAMES.items() for key in keys])


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    environ=st.dictionaries(
        st.one_of(_VARIABLES, st.text(max_size=9).map("VOXOFS_".__add__)), st.text(max_size=9)
    ),
    words=st.dictionaries(st.one_of(_WORDS, st.text(max_size=12)), st.text(max_size=9)),
)
def test_any_words_are_a_configuration_or_a_list_of_problems(
    environ: dict[str, str], words: dict[str, str], write: Callable[..., Path]
) -> None:
    _config_or_problems(write(TENANT), environ, words)


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
