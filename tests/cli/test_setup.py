"""`voxofs setup`: at a terminal and without one, against the simulator; what it writes, how, and what not."""

from __future__ import annotations

import os
import stat
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from harness.mounts import ROOT
from harness.terminal import talk
from harness.vendors import Vendor, vendor

from voxofs.cli.main import main, parser
from voxofs.cli.setup_account import Credential, Service
from voxofs.cli.setup_files import Wanted, configuration, places, plan, write
from voxofs.cli.setup_words import ways_to_mount
from voxofs.config.proxies import proxies
from voxofs.config.secrets import Secret
from voxofs.config.settings import load
from voxofs.errors import ConfigError
from voxofs.simulator.tenants import WORLDS

PASSWORD = "correct horse"
WAYS = {"SSL_CERT_FILE", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"}
LAST_YEAR = f"{datetime.now(UTC).year - 1}-01-01"


@pytest.fixture(scope="module")
def shared() -> Iterator[Vendor]:
    with vendor(WORLDS["demo"]) as opened:
        yield opened


@pytest.fixture
def sold(shared: Vendor) -> Iterator[Vendor]:
    """Two offices, one account."""
    yield shared
    shared.sim.second_factor, shared.sim.tells_tenants = False, True
    shared.sim.forbidden.clear()


class Desk:
    """Where somebody sets voxofs up: a folder for the configuration, one for calls, a token in a file."""

    def __init__(self, folder: Path, sold: Vendor, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.config, self.calls, self.cache = folder / "etc/voxofs.toml", folder / "calls", folder / "cache"
        self.sim = sold.sim
        self._capsys = capsys
        self.token_file = self.secret("given", self.sim.token)

    def secret(self, name: str, text: str, mode: int = 0o600) -> Path:
        path = self.folder / name
        path.write_text(f"{text}\n")
        path.chmod(mode)
        return path

    def words(self, *words: str) -> list[str]:
        return ["setup", "--base-url", self.sim.api_url, "--config", str(self.config), *words]

    def run(self, *words: str) -> tuple[int, str]:
        """Without a terminal; exit code and everything that was said, without a secret in it."""
        code = main(self.words("--yes", *words))
        out, err = self._capsys.readouterr()
        self.keeps(out + err)
        return code, out + err

    def with_token(self, *words: str) -> tuple[int, str]:
        return self.run(str(self.calls), "--token-file", str(self.token_file), *words)

    def talk(self, *dialogue: tuple[str, str], words: tuple[str, ...] = ()) -> tuple[int, str]:
        """At a terminal."""
        command = [sys.executable, "-m", "voxofs", *self.words(*words)]
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "PYTHONPATH": str(ROOT)}
        code, text = talk(command, dialogue, environ, self.folder)
        self.keeps(text)
        return code, text

    def keeps(self, text: str) -> None:
        for secret in (self.sim.token, PASSWORD, "wrong-secret"):
            assert secret not in text
        assert "Traceback" not in text

    def written(self) -> dict[str, object]:
        return tomllib.loads(self.config.read_text())

    def mode(self, path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def desk(
    tmp_path: Path, sold: Vendor, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Desk:
    for variable in [name for name in os.environ if name.startswith("VOXOFS_") or name in WAYS]:
        monkeypatch.delenv(variable)
    return Desk(tmp_path, sold, capsys)


def test_a_newcomer_at_a_terminal(desk: Desk) -> None:
    """A token that is none, a wrong password, a day in the future: each is told and asked for again."""
    before = os.umask(0o077)
    try:
        code, text = desk.talk(
            ("Access token", "wrong-secret"), ("Access token", ""),
            ("E-mail address: ", desk.sim.email), ("Password", "wrong-secret"),
            ("Access token", desk.sim.token),
            ("by number [all]: ", "5"), ("some of those numbers", "432"),
            ("Folder to mount on", "/etc"), ("belongs to the system", str(desk.calls)),
            ("First day shown", "2999-01-01"), ("must not be in the future", "2021-08-13"),
            ("after a restart?", "yes"), ("Folder for it", str(desk.cache)), ("At most [20 GiB]", "1 GB"),
            ("Write that? yes or no [yes]: ", ""),
        )  # fmt: skip
    finally:
        os.umask(before)
    assert code == 0, text
    assert "refuses the token (401)" in text
    assert "refuses the e-mail address or the password" in text
    assert "37  demo  Demonstration Ltd" in text
    assert "✓ tenant acme (432) is reachable: Acme Corporation" in text
    assert f"  voxofs mount --config {desk.config} {desk.calls}\n" in text
    token, key = desk.config.with_name("token"), desk.config.with_name("disk.key")
    assert token.read_text() == desk.sim.token + "\n"
    assert {path.name: desk.mode(path) for path in (token, key, desk.cache)} == {
        "token": 0o600, "disk.key": 0o600, "cache": 0o700,
    }  # fmt: skip
    assert desk.written() == {
        "api": {"base_url": desk.sim.api_url, "token_file": str(token)},
        "disk": {"path": str(desk.cache), "key_file": str(key), "size": "1 GB"},
        "tenants": {"acme": {"id": 432, "since": datetime(2021, 8, 13).date()}},
    }
    assert load(desk.config, environ={}, overrides={}).disk.size_bytes == 10**9
    assert sorted(path.name for path in desk.config.parent.iterdir()) == ["disk.key", "token", "voxofs.toml"]


def test_a_second_factor_is_told_and_a_token_asked_for(desk: Desk) -> None:
    desk.sim.second_factor = True
    code, text = desk.talk(
        ("Access token", ""), ("E-mail address", desk.sim.email), ("Password", PASSWORD),
        ("Access token", desk.sim.token), ("Write that?", ""),
        words=("--tenant", "37", "--since", "2021-01-01", "--no-disk", str(desk.calls)),
    )  # fmt: skip
    assert code == 0, text
    assert "can type no code: use an access token" in text
    assert desk.written()["api"] == {
        "base_url": desk.sim.api_url, "token_file": str(desk.config.with_name("token")),
    }  # fmt: skip


def test_whoever_says_no_or_leaves_has_changed_nothing(desk: Desk) -> None:
    words = ("--tenant", "37", "--token-file", str(desk.token_file), "--no-disk", str(desk.calls))
    code, text = desk.talk(("First day", ""), ("Write that?", "no"), words=words)
    assert (code, "Nothing was written.\n" in text) == (0, True)
    code, text = desk.talk(("First day", "\x04"), words=words)
    assert (code, "setup was left before its end; nothing was written" in text) == (2, True)
    assert not desk.config.parent.exists()
    assert not desk.calls.exists()


def test_all_of_it_without_a_terminal(desk: Desk) -> None:
    code, text = desk.with_token("--tenant", "37")
    assert code == 0, text
    assert desk.written()["tenants"] == {
        "demo": {"id": 37, "since": datetime.fromisoformat(LAST_YEAR).date()}
    }
    assert "disk" not in desk.written()
    assert desk.mode(desk.config.with_name("token")) == 0o600
    assert desk.calls.is_dir()
    before = desk.config.stat()
    assert desk.with_token("--tenant", "37")[0] == 0, "what is so already is left alone"
    assert desk.config.stat() == before


def test_all_tenants_and_names_of_ones_own(desk: Desk) -> None:
    assert desk.with_token()[0] == 0
    assert [*desk.written()["tenants"]] == ["demo", "acme"]  # type: ignore[misc]
    assert desk.with_token("--tenant", "Head office=37", "-t", "432", "--replace")[0] == 0
    assert [*desk.written()["tenants"]] == ["Head office", "acme"]  # type: ignore[misc]


def test_what_is_there_is_not_replaced_unasked(desk: Desk) -> None:
    desk.config.parent.mkdir()
    desk.config.write_text("# mine\n")
    code, text = desk.with_token("--tenant", "37")
    assert code == 1
    assert f"{desk.config}: is there already and would be replaced; say --replace if it may be" in text
    assert desk.config.read_text() == "# mine\n"
    assert not desk.config.with_name("token").exists()
    words = ("--tenant", "37", "--token-file", str(desk.token_file), "--no-disk", str(desk.calls))
    code, text = desk.talk(("First day", ""), ("Write that? yes or no [no]: ", ""), words=words)
    assert "REPLACES what is there" in text
    assert desk.config.read_text() == "# mine\n"
    assert desk.with_token("--tenant", "37", "--replace")[0] == 0
    assert desk.written()["api"]


def test_a_key_is_never_replaced(desk: Desk) -> None:
    assert desk.with_token("--disk", str(desk.cache))[0] == 0
    key = desk.config.with_name("disk.key").read_bytes()
    assert desk.with_token("--disk", str(desk.cache), "--disk-size", "2 GiB", "--replace")[0] == 0
    assert desk.config.with_name("disk.key").read_bytes() == key


def test_signing_in_by_password(desk: Desk) -> None:
    password = desk.secret("password", PASSWORD)
    code, text = desk.run(str(desk.calls), "--email", desk.sim.email, "--password-file", str(password))
    assert code == 0, text
    kept = desk.config.with_name("password")
    assert (kept.read_text(), desk.mode(kept)) == (PASSWORD + "\n", 0o600)
    assert f"✓ signed in at {desk.sim.api_url}" in text
    if os.geteuid() == 0:
        assert "LoadCredential= Environment= Environment=CONFIG=" in text, "the unit would look for a token"


def test_a_token_on_standard_input_and_of_the_environment(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(desk.token_file) as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert desk.run(str(desk.calls), "--token-file", "-", "--tenant", "37")[0] == 0
    assert desk.config.with_name("token").read_text() == desk.sim.token + "\n"
    monkeypatch.setenv("VOXOFS_TOKEN", desk.sim.token)
    assert desk.run(str(desk.calls), "--tenant", "37")[0] == 0
    assert "VOXOFS_TOKEN" not in os.environ


def test_a_service_that_tells_no_tenants(desk: Desk) -> None:
    desk.sim.tells_tenants = False
    code, text = desk.with_token()
    assert (code, "--tenant is missing" in text) == (1, True)
    code, text = desk.talk(
        ("Numbers of the tenants", "8"), ("✗", "37"), ("Write that?", ""),
        words=("--token-file", str(desk.token_file), "--since", LAST_YEAR, "--no-disk", str(desk.calls)),
    )  # fmt: skip
    assert code == 0, text
    assert "does not tell which tenants" in text
    assert [*desk.written()["tenants"]] == ["demo"]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--tenant", "37"], 1, "say --token-file FILE (- is standard input), or --email with --pass"),
        (["--email", "me@example.com"], 1, "nobody to ask for a credential"),
        (["--password-file", "x"], 1, "--password-file needs --email"),
        (["--token-file", "x", "--email", "me@example.com"], 1, "two kinds of credential"),
        (["--token-file", "none"], 1, "none: the file does not exist"),
        (["--token-file", "open"], 1, "open: can be used by everybody"),
        (["--token-file", "given", "--tenant", "x"], 1, "--tenant x: must be a whole number"),
        (["--token-file", "given", "--tenant", ".x=37"], 1, '--tenant .x=37: the name of a tenant'),
        (["--token-file", "given", "--since", "2999-01-01"], 1, "--since: must not be in the future"),
        (["--token-file", "given", "--disk", "d", "--disk-size", "1"], 1, "--disk-size: must be from 64 MiB"),
        (["--token-file", "given", "--tenant", "8"], 2, "answered 404 for tenant 8"),
        (["--token-file", "given", "--tenant", "432"], 2, "answered 403 for tenant 432"),
        (["--token-file", "bad"], 2, "refuses the token (401); nothing was written"),
        (["--token-file", "given", "/proc/self"], 1, "MOUNTPOINT: /proc/"),
        (["--base-url", "http://api.example.com"], 1, "--base-url: must start with https://"),
        (["--base-url", "http://127.0.0.1:1", "--token-file", "given"], 2, "cannot connect to http://127.0.0.1:1"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_and_nothing_is_written(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, no_waits: None, words: list[str], code: int, told: str
) -> None:
    monkeypatch.chdir(desk.folder)
    desk.secret("open", desk.sim.token, 0o644)
    desk.secret("bad", "wrong-secret")
    desk.sim.forbidden.add(432)
    ended, text = desk.run(*words)
    assert (ended, told in text) == (code, True), text
    assert not desk.config.parent.exists()


def test_no_option_takes_a_secret_and_nobody_is_asked_without_a_terminal(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    [commands] = [each.choices for each in parser()._actions if isinstance(each.choices, dict)]
    flags = {flag for action in commands["setup"]._actions for flag in action.option_strings}
    assert {flag for flag in flags if "token" in flag or "password" in flag} == {
        "--token-file",
        "--password-file",
    }
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert main(desk.words()) == 1
    assert "there is no terminal to ask at: say --yes" in capsys.readouterr().err


def test_a_folder_that_others_write_to_gets_no_secret(desk: Desk) -> None:
    desk.config.parent.mkdir()
    desk.config.parent.chmod(0o777)
    code, text = desk.with_token()
    assert (code, "chmod go-w it first" in text) == (1, True)
    assert list(desk.config.parent.iterdir()) == []


def test_where_root_and_others_write() -> None:
    at = places(None, {}, is_root=True)
    assert (str(at.config), str(at.mountpoint), str(at.cache)) == (
        "/etc/voxofs/voxofs.toml", "/srv/calls", "/var/cache/voxofs",
    )  # fmt: skip
    assert (at.folder_mode, at.config_mode, str(at.secret("token"))) == (0o755, 0o644, "/etc/voxofs/token")
    mine = places(None, {"HOME": "/home/me", "XDG_CACHE_HOME": "relative: ignored"}, is_root=False)
    assert (str(mine.config), str(mine.mountpoint), str(mine.cache)) == (
        "/home/me/.config/voxofs/voxofs.toml", "/home/me/calls", "/home/me/.cache/voxofs",
    )  # fmt: skip
    assert (mine.folder_mode, mine.config_mode) == (0o700, 0o600)
    other = places(Path("/etc/voxofs/office.toml"), {}, is_root=True)
    assert str(other.secret("token")) == "/etc/voxofs/office.token"
    assert (
        str(places(None, {"HOME": "/", "XDG_CONFIG_HOME": "/x"}, is_root=False).config)
        == "/x/voxofs/voxofs.toml"
    )
    with pytest.raises(ConfigError, match="--config"):
        places(None, {}, is_root=False)


def test_the_lines_for_mount_systemd_and_fstab() -> None:
    at = places(None, {}, is_root=True)
    assert ways_to_mount(at, Path("/srv/my calls"), signs_in=False, is_root=True) == [
        "Mount it now:",
        "  voxofs mount '/srv/my calls'",
        "or at every boot, looked after by systemd:",
        "  systemctl enable --now \"voxofs@$(systemd-escape --path '/srv/my calls').service\"",
        "or when somebody first goes there, by this line in /etc/fstab:",
        "  /etc/voxofs/voxofs.toml  /srv/my\\040calls  voxofs  "
        "_netdev,nofail,x-systemd.automount,allow_other  0  0",
    ]
    mine = places(None, {"HOME": "/home/me"}, is_root=False)
    assert ways_to_mount(mine, mine.mountpoint, signs_in=True, is_root=False)[-1] == (
        '  systemctl --user enable --now "voxofs@$(systemd-escape --path /home/me/calls).service"'
    )


@pytest.mark.parametrize(("proxy", "mode"), [("http://p:1", 0o644), ("http://me:s3cret@p:1", 0o600)])
def test_the_shells_proxy_and_authorities_are_written_down(tmp_path: Path, proxy: str, mode: int) -> None:
    """A service does not see the shell's variables. A password among them closes the file."""
    service = Service(
        "https://api.voxo.co", proxies({"HTTPS_PROXY": proxy}, None, "", []), Path("/etc/ca.pem")
    )
    wanted = Wanted(
        service, Credential(Secret("t0k.en")), {"demo": 37}, datetime(2021, 1, 1).date(), tmp_path, None
    )
    at = places(tmp_path / "voxofs.toml", {}, is_root=True)
    write(at, wanted, plan(at, wanted))
    loaded = load(at.config, environ={}, overrides={})
    assert (stat.S_IMODE(at.config.stat().st_mode), loaded.api.ca_file) == (mode, Path("/etc/ca.pem"))
    assert loaded.proxies.https is not None
    assert loaded.proxies.https.url.reveal() == proxy
    service = Service("https://api.voxo.co", proxies({"HTTPS_PROXY": proxy, "NO_PROXY": "*"}, None, "", []))
    assert "proxy = " not in configuration(at, wanted._replace(service=service))
