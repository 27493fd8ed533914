"""The core, built in one place: everything below the adapter, for any front end.

    fs → catalog / audio → source → traffic → network

The core owns the nursery in which windows, links and blocks are fetched; when it ends, they end.
"""

from __future__ import annotations

import logging
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import stamina.instrumentation
import trio

from voxofs.audio.blocks import BlockCache
from voxofs.audio.download import Downloads
from voxofs.audio.library import Library
from voxofs.catalog.catalog import Catalog
from voxofs.central import CentralTime
from voxofs.clock import Clock
from voxofs.config.sections import DiskSection
from voxofs.config.settings import Config
from voxofs.errors import VoxofsError
from voxofs.model import Tenant
from voxofs.observe.audit import Audit, audit_of
from voxofs.observe.health import REFRESH, Health, Meter
from voxofs.source.address import Addresses
from voxofs.source.interface import Source
from voxofs.source.storage import Storage
from voxofs.source.voxo import VoxoApi
from voxofs.store.key import read_key_file
from voxofs.store.settings import DiskSettings
from voxofs.store.tier import DiskTier, open_tier
from voxofs.traffic.gate import Gate
from voxofs.traffic.http import KEEPALIVE_S, AnyTransport, HttpClient
from voxofs.traffic.names import own_resolver
from voxofs.traffic.patience import Patience
from voxofs.traffic.routes import RoutedTransport
from voxofs.traffic.stock import StockTransport
from voxofs.traffic.transport import Transport
from voxofs.traffic.trust import trust

from .ahead import Ahead
from .fs import FileSystem
from .status import Status
from .tree import Calendar

log = logging.getLogger(__name__)

_PROGRESS_SHARE = 3
"""Of a deadline: an origin that says nothing for a third of it leaves time for another try."""
_CONNECTIONS_AHEAD = 4
"""To each origin, for whoever has listed an hour: enough for one who looks at a recording or two. A rule of
thumb."""
_SAID_WINDOWS = 1_000
"""Windows whose faults are remembered as told: five years of one tenant."""


@dataclass
class Core:
    """Everything below a front end."""

    clock: Clock
    fs: FileSystem
    catalog: Catalog
    library: Library
    downloads: Downloads
    ahead: Ahead
    cache: BlockCache
    source: Source
    gates: tuple[Gate, Gate]
    clients: tuple[HttpClient, HttpClient]
    meter: Meter
    health: Health
    status: Status
    disk: DiskTier | None
    audit: Audit | None

    def reload(self) -> None:
        """Read credentials again at the next request, and ask anew for listings that reach the present. The
        audit's file is opened anew."""
        if self.audit is not None:
            self.audit.look_again()
        self.source.forget_credentials()
        self.catalog.drop_live()
        for gate in self.gates:
            gate.forgive()


@asynccontextmanager
async def open_core(config: Config, clock: Clock, tls: ssl.SSLContext | None = None) -> AsyncIterator[Core]:
    """The core with its own nursery and connections; both end with the block. `tls`: whom to trust, by
    default whom the machine trusts and `[api] ca_file`. Raises ConfigError."""
    authorities = tls or trust(config.api.ca_file)
    progress_s = max(1.0, config.mount.deadline_s / _PROGRESS_SHARE)
    least = len(config.tenants) + 1  # see Gate.places

    def client(connections: int) -> HttpClient:
        wide_enough = max(connections, least)
        made: AnyTransport
        if config.http.transport == "stock":
            made = StockTransport(wide_enough, authorities, keepalive_s=KEEPALIVE_S)
        else:
            made = Transport(wide_enough, authorities, keepalive_s=KEEPALIVE_S, monotonic_s=clock.monotonic_s)
        if config.proxies.https or config.proxies.http:
            made = RoutedTransport(made, config.proxies, authorities, keepalive_s=KEEPALIVE_S)
        return HttpClient(made, progress_s)

    settings = _disk_settings(config.disk)
    api_http, storage_http = client(config.api.connections), client(config.storage.connections)
    # Its hooks would log the repr of every exception; problems are reported once, where they are handled.
    stamina.instrumentation.set_on_retry_hooks([])
    try:
        with own_resolver():
            async with trio.open_nursery() as nursery:
                async with _disk(settings, clock, nursery) as disk, _audit(config, clock) as audit:
                    yield _build(config, clock, nursery, api_http, storage_http, disk, audit)
                nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await api_http.aclose()
            await storage_http.aclose()


@asynccontextmanager
async def _disk(
    settings: DiskSettings | None, clock: Clock, nursery: trio.Nursery
) -> AsyncIterator[DiskTier | None]:
    """The disk tier, where one is configured."""
    if settings is None:
        yield None
        return
    async with open_tier(settings, clock, nursery) as tier:
        yield tier


@asynccontextmanager
async def _audit(config: Config, clock: Clock) -> AsyncIterator[Audit | None]:
    """The audit, where one is configured; what was noted is written when the block has ended."""
    audit = audit_of(config.audit, clock)
    if audit is None:
        yield None
        return
    await trio.to_thread.run_sync(audit.begin)
    try:
        yield audit
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(audit.close)


def _disk_settings(section: DiskSection) -> DiskSettings | None:
    """Raises ConfigError where the key cannot be read."""
    if section.path is None:
        return None
    return DiskSettings(
        path=section.path,
        size_bytes=section.size_bytes,
        keep_free_bytes=section.keep_free_bytes,
        max_age_s=section.max_age_s,
        key=None if section.key_file is None else read_key_file(section.key_file),
    )


def _build(
    config: Config,
    clock: Clock,
    nursery: trio.Nursery,
    api_http: HttpClient,
    storage_http: HttpClient,
    disk: DiskTier | None,
    audit: Audit | None,
) -> Core:
    deadline_s = config.mount.deadline_s
    central = CentralTime(config.api.timezone)
    tenants = {name: Tenant(name, each.id, each.since) for name, each in config.tenants.items()}
    meter, health, cache = Meter(), Health(clock), BlockCache(config.cache.memory_bytes)
    api_gate, storage_gate = (
        Gate(
            name,
            section.connections,
            monotonic_s=clock.monotonic_s,
            tenants=len(tenants),
            patience_s=deadline_s,
        )
        for name, section in (("api", config.api), ("storage", config.storage))
    )
    gates, clients = (api_gate, storage_gate), (api_http, storage_http)
    addresses = Addresses(config.storage.hosts, config.api.base_url)
    source = VoxoApi(
        config.api,
        api_http,
        api_gate,
        clock,
        meter,
        central,
        addresses,
        link_lifetime_s=config.storage.link_lifetime_s,
        deadline_s=deadline_s,
    )
    told = _Told(health)
    catalog = Catalog(
        source,
        central,
        config.cache,
        clock,
        nursery,
        deadline_s=deadline_s,
        disk=disk,
        recheck_s=config.disk.recheck_s,
        on_skipped=told.skipped,
        on_stale=told.stale,
        on_fresh=told.fresh,
    )
    storage, patience = Storage(storage_http, storage_gate, meter, addresses), Patience(deadline_s)
    library = Library(
        source,
        storage,
        cache,
        clock,
        nursery,
        patience=patience,
        known_sizes=config.cache.known_sizes,
        disk=disk,
    )
    ahead = Ahead(library, clock, enabled=config.mount.prefetch)
    status = Status(config, clock, source, catalog, library, gates, meter, health)
    if disk is not None:
        status.add("disk", lambda: _disk_facts(disk, config.disk))
    if audit is not None:
        status.add("audit", audit.facts)

    def expect() -> None:
        for client, url in ((api_http, config.api.base_url), (storage_http, library.leases.leads_to)):
            if url is not None and client.is_cold(url, _CONNECTIONS_AHEAD):
                for _ in range(_CONNECTIONS_AHEAD):
                    nursery.start_soon(client.warm, url, _CONNECTIONS_AHEAD)

    fs = FileSystem(
        Calendar(tenants, central, clock),
        catalog,
        library,
        ahead,
        clock,
        health,
        status=status.text,
        expect=expect,
        personal_fields=config.privacy.show,
        audit=audit,
    )
    downloads = Downloads(source, storage, clock, patience)
    return Core(
        clock,
        fs,
        catalog,
        library,
        downloads,
        ahead,
        cache,
        source,
        gates,
        clients,
        meter,
        health,
        status,
        disk,
        audit,
    )


def _disk_facts(disk: DiskTier, section: DiskSection) -> dict[str, object]:
    return {
        "state": disk.state.value,
        "reason": disk.reason,
        "path": str(Path(section.path or "").absolute()),
        "key_file": None if section.key_file is None else str(section.key_file.absolute()),
        "bytes": disk.audio_bytes,
        "limit_bytes": section.size_bytes,
        "counts": dict(sorted(disk.counts.items())),
    }


class _Told:
    """What the catalog has to say, said once."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._said: dict[tuple[str, date], None] = {}

    def skipped(self, tenant: Tenant, days: tuple[date, ...], reasons: Counter[str]) -> None:
        """Records that cannot be shown: one line a window, not one a refresh."""
        telling = {reason: n for reason, n in reasons.items() if reason != "not recorded"}
        if not telling or (tenant.name, days[0]) in self._said:
            return
        self._said[tenant.name, days[0]] = None
        if len(self._said) > _SAID_WINDOWS:
            del self._said[next(iter(self._said))]
        log.warning(
            "%s of %s: %d records are not shown (%s); the others are",
            " and ".join(day.isoformat() for day in days),
            tenant.name,
            sum(telling.values()),
            ", ".join(f"{n} {reason}" for reason, n in sorted(telling.items())),
        )

    def stale(self, tenant: Tenant, days: tuple[date, ...], error: VoxofsError, retry_in_s: float) -> None:
        """An old listing is shown because a new one cannot be had."""
        for day in days:
            self._health.failed(_path_of(tenant, day), REFRESH, error, retry_in_s)

    def fresh(self, tenant: Tenant, days: tuple[date, ...]) -> None:
        """A listing is as it should be."""
        for day in days:
            self._health.refreshed(_path_of(tenant, day))


def _path_of(tenant: Tenant, day: date) -> str:
    return f"/{tenant.name}/{day:%Y/%m/%d}"
