"""The configuration as a whole: what loads, tenants, credentials, every problem at once, no secret shown."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest
from harness.settings import TENANT, TODAY, TOKEN, SettingsFolder

from voxofs.config import sections
from voxofs.config import settings as config
from voxofs.config.secrets import Secret
from voxofs.config.settings import load
from voxofs.errors import ConfigError

EXAMPLE = """
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


@pytest.fixture
def folder(tmp_path: Path) -> SettingsFolder:
    return SettingsFolder(tmp_path)


# --- what loads


def test_an_example_loads_as_it_stands(folder: SettingsFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its token_file is an absolute path that a test may not create, so only that one reading is replaced.
    asked: list[Path] = []

    def read(path: Path, environ: Mapping[str, str]) -> str:
        asked.append(path)
        return TOKEN

    monkeypatch.setattr(config, "read_token_file", read)
    loaded = load(folder.write(EXAMPLE), environ={}, overrides={}, today=TODAY)
    assert asked == [Path("/run/secrets/voxo")]
    assert loaded.api.token_file == Path("/run/secrets/voxo")
    assert loaded.api.base_url == "https://api.voxo.co"
    assert (loaded.api.connections, loaded.storage.connections) == (32, 48)
    assert loaded.cache.memory_bytes == 256 * 1024 * 1024
    assert loaded.tenants == {"demo": sections.TenantSection(id=37, since=date(2021, 1, 1))}


def test_defaults(folder: SettingsFolder) -> None:
    loaded = folder.load(TENANT)
    assert loaded.api == sections.ApiSection(token=Secret(TOKEN))
    assert loaded.mount == sections.MountSection(
        file_mode=0o640, dir_mode=0o750, deadline_s=30.0, prefetch=True
    )
    assert loaded.cache == sections.CacheSection(records=200_000, live_ttl_s=30.0, settle_s=14_400.0)
    assert loaded.privacy.show == []
    assert loaded.metrics.listen is None


def test_personal_fields_by_their_former_name(folder: SettingsFolder) -> None:
    former = '[xattr]\npersonal = ["dialedNum"]\n'
    assert folder.load(former + TENANT).privacy.show == ["dialedNum"]
    environ = {"VOXOFS_TOKEN": TOKEN, "VOXOFS_PRIVACY_SHOW": "whoAnswered"}
    assert folder.load(former + TENANT, environ).privacy.show == ["whoAnswered"]
    assert folder.load(TENANT, None, personal="callerIdName").privacy.show == ["callerIdName"]
    both = former + '[privacy]\nshow = ["callerIdName"]\n'
    assert "former name of privacy.show" in folder.problem(both + TENANT)
    assert "[xattr] personal: holds an unknown name" in folder.problem("[xattr]\npersonal = ['x']\n" + TENANT)


def test_relative_paths_are_relative_to_the_file(folder: SettingsFolder) -> None:
    secret = folder.write("abc\n", name="secrets/token")
    path = folder.write('[api]\ntoken_file = "secrets/token"\n' + TENANT)
    assert load(path, environ={}, overrides={}, today=TODAY).api.token_file == secret


def test_mount_words(folder: SettingsFolder) -> None:
    mount = folder.load(TENANT, uid="1000", gid="0", file_mode="0444", dir_mode="555", allow_other="").mount
    assert mount == sections.MountSection(uid=1000, gid=0, file_mode=0o444, dir_mode=0o555, allow_other=True)
    assert folder.load(TENANT, uid="root").mount.uid == 0


def test_every_problem_at_once(folder: SettingsFolder) -> None:
    text = "[api]\nbase_ulr = 1\nconnections = 0\n[cache]\nmemory = 'x'\n[tenants.'.x']\nid = -1\n"
    problems = folder.problems(text, {"VOXOFS_LOG_LEVEL": "loud"}, uid="nobody-at-all")
    for part in ("base_ulr", "connections", "memory", "'.'", "id:", "since is missing", "$VOXOFS_LOG_LEVEL",
                 "-o uid", "no credential"):  # fmt: skip
        assert any(part.replace("'.'", '"."') in problem for problem in problems), (part, problems)
    assert len(problems) == 9


# --- tenants


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
def test_bad_tenants(folder: SettingsFolder, keys: str, expected: str) -> None:
    assert expected in folder.problem(f"[tenants.demo]\n{keys}\n")


@pytest.mark.parametrize("name", ["a/b", ".", "..", ".hidden", "", "  ", "a\\u0000b", "a\\nb", "é" * 128])
def test_unsafe_folder_names(folder: SettingsFolder, name: str) -> None:
    problem = folder.problem(f'[tenants."{name}"]\nid = 1\nsince = 2021-01-01\n')
    assert "folder's name" in problem
    assert "\n" not in problem


def test_names_that_differ_in_case_only_are_not_distinct(folder: SettingsFolder) -> None:
    other = TENANT.replace("demo", "Demo")
    assert "differs from demo only in case" in folder.problem(TENANT + other)


def test_since_today_is_allowed(folder: SettingsFolder) -> None:
    assert folder.load("[tenants.a]\nid = 1\nsince = 2024-03-01\n").tenants["a"].since == TODAY


@pytest.mark.parametrize("text", ["", "[tenants]\n"])
def test_at_least_one_tenant(folder: SettingsFolder, text: str) -> None:
    assert "no tenant is configured" in folder.problem(text)


# --- credentials


def test_each_kind_alone_is_enough(folder: SettingsFolder) -> None:
    secret = folder.write("hush\n", name="secret")
    assert folder.load(f'[api]\ntoken = "{TOKEN}"\n{TENANT}', {}).api.token == Secret(TOKEN)
    assert folder.load(f'[api]\ntoken_file = "{secret}"\n{TENANT}', {}).api.token_file == secret
    login = folder.load(f'[api]\nemail = "a@b.example"\npassword_file = "{secret}"\n{TENANT}', {}).api
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
def test_credential_problems(folder: SettingsFolder, keys: str, expected: str) -> None:
    secret = folder.write("hush\n", name="secret")
    problem = folder.problem(f"[api]\n{keys.replace('SECRET', str(secret))}\n{TENANT}", {})
    assert expected in problem
    assert "eyJ" not in problem


def test_the_token_of_the_environment_wins_over_every_kind_of_the_file(folder: SettingsFolder) -> None:
    for keys in ('token_file = "nowhere"', 'email = "a@b"\npassword_file = "nowhere"'):
        api = folder.load(f"[api]\n{keys}\n{TENANT}", {"VOXOFS_TOKEN": TOKEN}).api
        assert api == sections.ApiSection(token=Secret(TOKEN))


def test_a_password_file_of_the_environment_completes_the_email_of_the_file(folder: SettingsFolder) -> None:
    secret = folder.write("hush\n", name="secret")
    api = folder.load(f'[api]\nemail = "a@b"\n{TENANT}', {"VOXOFS_API_PASSWORD_FILE": str(secret)}).api
    assert (api.email, api.password_file) == ("a@b", secret)


def test_a_token_is_not_taken_from_the_command_line(folder: SettingsFolder) -> None:
    problem = folder.problem(TENANT, None, token=TOKEN)
    assert "-o token: a token on the command line can be read by everybody" in problem
    assert TOKEN not in problem


def test_the_configuration_file_is_a_secret_file_only_when_it_holds_the_token(
    folder: SettingsFolder,
) -> None:
    path = folder.write(f'[api]\ntoken = "{TOKEN}"\n{TENANT}', 0o644)
    with pytest.raises(ConfigError) as caught:
        load(path, environ={}, overrides={}, today=TODAY)
    assert f"chmod 600 {path}" in str(caught.value)
    path.chmod(0o600)
    assert load(path, environ={}, overrides={}, today=TODAY).api.token == Secret(TOKEN)
    open_file = folder.write(TENANT, 0o644)
    assert load(open_file, environ={"VOXOFS_TOKEN": "t"}, overrides={}, today=TODAY).source == open_file


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
def test_no_problem_shows_a_secret(folder: SettingsFolder, text: str) -> None:
    assert TOKEN not in "\n".join(folder.problems(text + TENANT, {}))


def test_a_directory_from_systemd_counts_with_a_key_alone(folder: SettingsFolder, tmp_path: Path) -> None:
    given = {"VOXOFS_TOKEN": TOKEN, "CACHE_DIRECTORY": "/var/cache/voxofs:/var/cache/other"}
    assert folder.load(TENANT, given).disk.path is None
    named = folder.load(f'[disk]\nkey_file = "/etc/voxofs/disk.key"\n{TENANT}', given)
    assert named.disk.path == Path("/var/cache/voxofs")
    own = folder.load(f'[disk]\npath = "/srv/tier"\n{TENANT}', given)
    assert (own.disk.path, own.disk.key_file) == (Path("/srv/tier"), None)
    (tmp_path / "disk.key").touch()
    passed = folder.load(TENANT, given | {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert passed.disk.path == Path("/var/cache/voxofs")
    assert passed.disk.key_file == tmp_path / "disk.key"


def test_a_fingerprint_tells_keys_and_no_secret(folder: SettingsFolder) -> None:
    one = folder.load(f'[cache]\nmemory = "9 MiB"\n{TENANT}')
    other = folder.load(TENANT, memory="9MiB")
    assert one.fingerprint() == other.fingerprint()
    assert set(one.fingerprint()) == {"cache.memory", "tenants.demo"}
    assert folder.load(TENANT, memory="8MiB").fingerprint() != one.fingerprint()
