"""`voxofs check`: every finding, its remedy and the exit code, on machines and services that are broken."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import date
from pathlib import Path

import msgspec
import pytest
import trustme

from voxofs.cli.check import check
from voxofs.cli.check_network import network
from voxofs.cli.check_service import service
from voxofs.cli.finding import Finding, show
from voxofs.config.proxies import Proxies, Proxy
from voxofs.config.secrets import Secret
from voxofs.config.sections import ApiSection, TenantSection
from voxofs.config.settings import Config
from voxofs.daemon import mount_table as mounts
from voxofs.daemon.preflight import Host
from voxofs.errors import AccessDenied, ConfigError, Unavailable, VoxofsError

CONFIG = Config(tenants={"demo": TenantSection(id=37, since=date(2021, 1, 1))})


class FakeApi:
    """A service that is well but for what is said."""

    def __init__(
        self,
        sign_in: VoxofsError | None = None,
        tenant: VoxofsError | None = None,
        offset_s: float | None = 0.0,
    ) -> None:
        self._sign_in, self._tenant, self.clock_offset_s = sign_in, tenant, offset_s

    async def sign_in(self) -> None:
        if self._sign_in is not None:
            raise self._sign_in

    async def tenant_name(self, tenant_id: int) -> str:
        if self._tenant is not None:
            raise self._tenant
        return f"Tenant {tenant_id}"


@pytest.fixture
def run_check(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    (tmp_path / "mountinfo").touch()
    (tmp_path / "fuse.conf").write_text("user_allow_other\n")
    host = Host(
        fuse_device=Path("/dev/null"),
        fuse_conf=tmp_path / "fuse.conf",
        updatedb_conf=tmp_path / "updatedb.conf",
        mountinfo=tmp_path / "mountinfo",
        is_root=True,
        search_path="/nowhere",
    )

    def run_check(
        api: FakeApi | None = None, mountpoint: str | None = None, problem: str | None = None
    ) -> tuple[int, str]:
        def load() -> Config:
            if problem is not None:
                raise ConfigError([problem, "another"])
            return CONFIG

        async def ask(config: Config) -> list[Finding]:
            return await service(config, api or FakeApi())

        out = io.StringIO()
        code = check(load, mountpoint, host=host, ask=ask, out=out)
        return code, out.getvalue()

    return run_check


def test_all_is_well(run_check: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    empty = tmp_path / "calls"
    empty.mkdir()
    code, text = run_check(mountpoint=str(empty))
    assert code == 0
    assert "✗" not in text
    assert "✓ tenant demo (37) is reachable: Tenant 37" in text
    assert f"✓ {empty} can be mounted on" in text


def test_a_bad_configuration_is_1_and_the_machine_is_still_looked_at(
    run_check: Callable[..., tuple[int, str]],
) -> None:
    code, text = run_check(problem="[api] tokn: unknown key")
    assert code == 1
    assert "✗ [api] tokn: unknown key\n✗ another\n" in text
    assert "/dev/null can be opened" in text


@pytest.mark.parametrize(
    ("api", "expected"),
    [
        (
            FakeApi(sign_in=AccessDenied("401")),
            "✗ signing in at https://api.voxo.co failed: 401\n  → check the cred",
        ),
        (FakeApi(tenant=AccessDenied("403")), "✗ tenant demo (37): 403\n  → check the credentials"),
        (
            FakeApi(tenant=Unavailable("refused")),
            "✗ tenant demo (37): refused\n  → check base_url and the network",
        ),
        (
            FakeApi(offset_s=301),
            "✗ this machine's clock is 5 minutes behind the server's\n  → set it with",
        ),
        (FakeApi(offset_s=-7200), "✗ this machine's clock is 120 minutes ahead of the server's"),
    ],
)
def test_what_is_wrong_with_the_service(
    run_check: Callable[..., tuple[int, str]], api: FakeApi, expected: str
) -> None:
    code, text = run_check(api)
    assert code == 2
    assert expected in text


@pytest.mark.parametrize("offset_s", [None, 0, 299, -299])
def test_a_clock_that_is_near_enough(
    run_check: Callable[..., tuple[int, str]], offset_s: float | None
) -> None:
    assert run_check(FakeApi(offset_s=offset_s))[0] == 0


def test_a_folder_that_cannot_be_mounted_on(
    run_check: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    code, text = run_check(mountpoint=str(tmp_path / "none"))
    assert code == 2
    assert f"✗ {tmp_path}/none: the folder to mount on does not exist\n  → make it with: mkdir -p" in text


def test_updatedb_would_crawl_the_mount(run_check: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    conf = tmp_path / "updatedb.conf"
    conf.write_text('PRUNE_BIND_MOUNTS="yes"\n# PRUNEFS="fuse.voxofs"\nPRUNEFS="NFS fuse.sshfs"\n')
    code, text = run_check()
    assert code == 0
    assert '→ put this line there: PRUNEFS="NFS fuse.sshfs fuse.voxofs"' in text
    conf.write_text('PRUNEFS="NFS fuse.voxofs"\n')
    assert "updatedb leaves mounts of voxofs alone" in run_check()[1]


def test_a_dead_mount_left_behind(
    run_check: Callable[..., tuple[int, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mountinfo").write_text("9 1 0:9 / /srv/my\\040calls ro - fuse.voxofs demo ro\n")
    monkeypatch.setattr(mounts, "is_dead", lambda path: path == "/srv/my calls")
    code, text = run_check()
    assert code == 0
    assert "! /srv/my calls: a dead mount" in text
    assert "voxofs umount '/srv/my calls'" in text


@pytest.mark.parametrize(
    ("proxies", "ca_file", "environ", "told"),
    [
        (Proxies(), None, {}, ["✓ requests go directly, through no proxy"]),
        (
            Proxies(Proxy(Secret("http://me:s3cret@proxy:3128"), "$HTTPS_PROXY"), None, "intra.net"),
            "ca.pem",
            {},
            [
                "✓ requests go through the proxy http://proxy:3128 with a password ($HTTPS_PROXY), "
                "but for intra.net ($NO_PROXY)",
                "✓ the authorities in ca.pem are believed, besides the machine's",
            ],
        ),
        (
            Proxies(),
            "none.pem",
            {"SSL_CERT_FILE": "none.pem"},
            [
                "✓ requests go directly, through no proxy",
                "✗ none.pem: cannot be read: No such file or directory; [api] ca_file names it",
                "✗ $SSL_CERT_FILE is none.pem, which holds no certificate that can be read",
                "  → unset it, or let it name a file with authorities (PEM)",
            ],
        ),
        (
            Proxies(),
            None,
            {"SSL_CERT_FILE": "ca.pem"},
            [
                "✓ requests go directly, through no proxy",
                "✓ the authorities in ca.pem ($SSL_CERT_FILE) are believed, not the machine's",
            ],
        ),
    ],
)
def test_the_way_to_the_service(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    proxies: Proxies,
    ca_file: str | None,
    environ: dict[str, str],
    told: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    api = ApiSection(ca_file=None if ca_file is None else Path(ca_file))
    out = io.StringIO()
    show(network(msgspec.structs.replace(CONFIG, proxies=proxies, api=api), environ), out)
    assert out.getvalue().splitlines() == told
