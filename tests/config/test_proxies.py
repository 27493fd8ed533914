"""Which proxy an address goes through, and that a proxy's password is shown nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.settings import TENANT, TOKEN, SettingsFolder

from voxofs.config.proxies import proxies
from voxofs.config.secrets import Secret
from voxofs.config.settings import Config, load
from voxofs.errors import ConfigError

PROXY = "http://proxy.example.com:3128"
SECRET = "http://me:s3cret@proxy.example.com:3128"
TOLD = {"VOXOFS_TOKEN": TOKEN}


@pytest.fixture
def folder(tmp_path: Path) -> SettingsFolder:
    return SettingsFolder(tmp_path)


def ways(config: Config) -> dict[str, str | None]:
    """The proxy for an address of either scheme."""
    return {
        scheme: None if (proxy := config.proxies.of(scheme, "api.voxo.co")) is None else str(proxy)
        for scheme in ("https", "http")
    }


@pytest.mark.parametrize(
    ("environ", "https", "http"),
    [
        ({}, None, None),
        ({"HTTPS_PROXY": PROXY}, PROXY, None),
        ({"https_proxy": PROXY, "HTTPS_PROXY": "http://other:1"}, PROXY, None),
        ({"HTTP_PROXY": PROXY}, None, PROXY),
        ({"HTTPS_PROXY": "proxy.example.com:3128"}, PROXY, None),
        ({"HTTPS_PROXY": f"{PROXY}/"}, PROXY, None),
        ({"HTTPS_PROXY": "none", "HTTP_PROXY": ""}, None, None),
        ({"HTTPS_PROXY": "https://[::1]:8443"}, "https://[::1]:8443", None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, None, None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "example.com"}, PROXY, None),
        ({"HTTPS_PROXY": PROXY, "no_proxy": "a, voxo.co"}, None, None),
        ({"VOXOFS_API_PROXY": PROXY, "HTTPS_PROXY": "socks5://x"}, PROXY, PROXY),
    ],
)
def test_what_the_environment_says(
    folder: SettingsFolder, environ: dict[str, str], https: str | None, http: str | None
) -> None:
    assert ways(folder.load(TENANT, TOLD | environ)) == {"https": https, "http": http}


def test_what_the_file_says_comes_first(folder: SettingsFolder) -> None:
    environ = TOLD | {"HTTPS_PROXY": "http://other:1", "NO_PROXY": "voxo.com"}
    told = folder.load(f'{TENANT}[api]\nproxy = "{PROXY}"\n', environ)
    assert ways(told) == {"https": PROXY, "http": PROXY}
    assert told.proxies.of("https", "api.voxo.com") is None, "NO_PROXY exempts, whoever named the proxy"
    assert ways(folder.load(f'{TENANT}[api]\nproxy = "none"\n', environ)) == {"https": None, "http": None}
    assert ways(folder.load(TENANT, TOLD, proxy=PROXY)) == {"https": PROXY, "http": PROXY}


@pytest.mark.parametrize(
    ("exempt", "host", "port", "direct"),
    [
        ("", "api.voxo.co", None, False),
        ("voxo.co", "voxo.co", None, True),
        (".voxo.co", "API.voxo.co", None, True),
        ("*.voxo.co", "api.voxo.co", None, True),
        ("oxo.co", "api.voxo.co", None, False),
        ("api.voxo.co:443", "api.voxo.co", 443, True),
        ("api.voxo.co:443", "api.voxo.co", 8443, False),
        ("10.0.0.0/8", "10.9.8.7", None, True),
        ("10.0.0.0/8", "11.9.8.7", None, False),
        ("10.0.0.0/8", "ten.example.com", None, False),
        ("fd00::/8, 192.0.2.1", "fd00::1", None, True),
        ("[fd00::1]", "fd00::1", 443, True),
        ("a b", "b", None, True),
        (".", "api.voxo.co", None, False),
        ("", "127.0.0.1", None, True),
        ("", "::1", None, True),
        ("", "localhost", 80, True),
        ("", "x.localhost", None, True),
    ],
)
def test_who_is_exempt(exempt: str, host: str, port: int | None, direct: bool) -> None:
    found = proxies({"NO_PROXY": exempt}, Secret(PROXY), "[api] proxy", [])
    assert (found.of("https", host, port) is None) == direct


@pytest.mark.parametrize(
    "proxy",
    [
        "socks5://me:s3cret@h:1",
        "http://",
        "http://h:s3cret",
        "http://h:1/s3cret",
        "s3cret s3cret:1",
        "ftp://h",
    ],
)
def test_what_is_no_proxy_is_told_and_not_shown(folder: SettingsFolder, proxy: str) -> None:
    problem = folder.problem(TENANT, TOLD | {"HTTPS_PROXY": proxy})
    assert problem.startswith("$HTTPS_PROXY: must be a proxy")
    assert problem.endswith('with proxy = "none" below [api]')
    assert "s3cret" not in problem
    assert "s3cret" not in folder.problem(f'{TENANT}[api]\nproxy = "{proxy}"\n')


def test_a_proxys_password_is_a_secret(folder: SettingsFolder) -> None:
    text = f'{TENANT}[api]\nproxy = "{SECRET}"\n'
    told = folder.load(text)
    assert "s3cret" not in f"{told!r} {told.proxies.https}"
    assert told.proxies.https is not None
    assert told.proxies.https.has_password
    assert told.proxies.https.url.reveal() == SECRET
    folder.write(text, 0o644, "open.toml")
    with pytest.raises(ConfigError, match="can be used by everybody"):
        load(folder.path / "open.toml", environ=TOLD, overrides={})
    problem = folder.problem(TENANT, TOLD, proxy=SECRET)
    assert "on the command line can be read by everybody" in problem
    assert "s3cret" not in problem
