"""Direct or through a proxy, by address; what is said where there is no way; who is believed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
from harness.fronts import CoreFront, cat
from harness.proxy import connect_proxy
from harness.rig import Hands, config_for, until
from harness.world import HOUR, NAMES, office, truth
from scripted import AUTHORITY, client_tls, server_tls

from voxofs.config.proxies import Proxies, Proxy
from voxofs.config.secrets import Secret
from voxofs.config.settings import Config
from voxofs.core.build import Core, open_core
from voxofs.errors import ConfigError, Unavailable
from voxofs.simulator.server import Simulator

API, STORAGE = "api.voxo.test", "storage.voxo.test"
"""Names that nobody knows but the proxy."""
PATH = f"{HOUR}/{NAMES[5]}"


@asynccontextmanager
async def far_away() -> AsyncIterator[tuple[Simulator, Config]]:
    """A simulator that has names, and a configuration for it that lacks a proxy."""
    hands = Hands()
    tls = server_tls(API, STORAGE, "127.0.0.1")
    async with Simulator([office()], clock=lambda: hands.wall_s, token_lifetime_s=1e9, tls=tls) as sim:
        config = config_for(sim)
        base_url = f"https://{API}:{urlsplit(sim.api_url).port}"
        sim.storage_host = f"{STORAGE}:{urlsplit(sim.storage_url).port}"
        sim.storage_url = f"https://{sim.storage_host}"
        api = msgspec.structs.replace(config.api, base_url=base_url)
        yield sim, msgspec.structs.replace(config, api=api)


def through(config: Config, url: str, exempt: str = "") -> Config:
    """The same by way of a proxy."""
    proxy = Proxy(Secret(url), "$HTTPS_PROXY")
    return msgspec.structs.replace(config, proxies=Proxies(proxy, None, exempt))


@asynccontextmanager
async def core_of(config: Config) -> AsyncIterator[Core]:
    async with open_core(config, Hands().clock(), client_tls()) as core:
        yield core


@pytest.mark.parametrize("transport", ["direct", "stock"])
@pytest.mark.parametrize("kind", ["plain", "password", "https"])
async def test_recordings_come_through_a_proxy(kind: str, transport: str) -> None:
    tls = server_tls("127.0.0.1") if kind == "https" else None
    password = "s3cret" if kind == "password" else None
    async with far_away() as (sim, config), connect_proxy(password=password, tls=tls) as proxy:
        http = msgspec.structs.replace(config.http, transport=transport)
        config = msgspec.structs.replace(through(config, proxy.url), http=http)
        async with core_of(config) as core:
            assert await cat(CoreFront(sim, core.fs), PATH) == truth(PATH)
            await until(lambda: all(each.free == each.connections for each in core.clients))
        assert {target.partition(":")[0] for target in proxy.targets} == {API, STORAGE}
        assert all(b"earer" not in head and sim.token.encode() not in head for head in proxy.heads)
        assert sim.log.leaked_authorization == 0


async def test_this_machine_is_reached_directly() -> None:
    async with far_away() as (sim, config), connect_proxy() as proxy:
        api = msgspec.structs.replace(config.api, base_url=sim.api_url)
        async with core_of(through(msgspec.structs.replace(config, api=api), proxy.url)) as core:
            assert await cat(CoreFront(sim, core.fs), PATH) == truth(PATH)
        assert {target.partition(":")[0] for target in proxy.targets} == {STORAGE}


async def refusal(config: Config) -> str:
    """What whoever signs in is told, who does so once."""
    async with core_of(config) as core:
        with pytest.raises(Unavailable) as caught:
            await core.source.account("me@example.com", Secret("correct horse"))
    assert "s3cret" not in f"{caught.value!r} {caught.value}"
    return str(caught.value)


async def test_no_way_through_the_proxy() -> None:
    async with far_away() as (_, config):
        async with connect_proxy(password="s3cret") as proxy:
            bare = proxy.url.replace("me:s3cret@", "")
            for url in (bare, proxy.url.replace("s3cret", "not-s3cret")):
                assert await refusal(through(config, url)) == (
                    f"cannot connect to {config.api.base_url} through the proxy {bare} (407): "
                    "give it its user and password in [api] proxy or $HTTPS_PROXY"
                )
            assert proxy.targets == []
        told = await refusal(through(config, proxy.url))  # it has gone
        assert told.endswith(
            f"through the proxy {bare} (Connection refused): check [api] proxy or $HTTPS_PROXY"
        )


async def test_an_authority_that_is_not_believed_is_told_with_what_to_do(tmp_path: Path) -> None:
    """On the way through a proxy and without one."""
    remedy = "name the authority behind it, if you trust it, in [api] ca_file"
    async with far_away() as (sim, config), connect_proxy() as proxy:
        far = through(config, proxy.url)
        near = with_api(config, base_url=sim.api_url)
        for each in (far, near):
            async with open_core(each, Hands().clock()) as core:
                with pytest.raises(Unavailable, match=r"certificate: ") as caught:
                    await core.source.account(sim.email, Secret(sim.password))
            assert str(caught.value).endswith(remedy)
        private = tmp_path / "ca.pem"
        AUTHORITY.cert_pem.write_to_path(private)
        for each in (far, near):
            async with open_core(with_api(each, ca_file=private), Hands().clock()) as core:
                assert (await core.source.account(sim.email, Secret(sim.password))).tenants


def with_api(config: Config, **values: object) -> Config:
    return msgspec.structs.replace(config, api=msgspec.structs.replace(config.api, **values))


async def test_authorities_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private = tmp_path / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(private)
    monkeypatch.setenv("SSL_CERT_FILE", str(private))
    async with (
        far_away() as (sim, config),
        open_core(with_api(config, base_url=sim.api_url), Hands().clock()) as core,
    ):
        assert (await core.source.account(sim.email, Secret(sim.password))).tenants


@pytest.mark.parametrize(
    ("text", "told"), [(None, "cannot be read: No such file"), ("x", "holds no certificate")]
)
async def test_a_file_without_authorities(tmp_path: Path, text: str | None, told: str) -> None:
    path = tmp_path / "ca.pem"
    if text is not None:
        path.write_text(text)
    async with far_away() as (_, config):
        with pytest.raises(ConfigError, match=told):
            async with open_core(with_api(config, ca_file=path), Hands().clock()):
                pass
