"""The core, built in one place: everything below the adapter, for any front end.

    fs → catalog / reader → cache → api / storage → http → network

The core owns the nursery in which windows, links and blocks are fetched; when it ends, they end.
"""

from __future__ import annotations

import logging
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from .ahead import Ahead
from .api import VoxoApi
from .cache import BlockCache
from .catalog import Catalog, TenantKey
from .central import CentralTime, window_days
from .clock import Clock
from .config import Config
from .errors import VoxofsError
from .fs import FileSystem
from .gate import Gate
from .health import REFRESH, Health, Meter
from .http import HttpClient
from .library import Library
from .storage import Storage
from .tree import Calendar

log = logging.getLogger(__name__)

_PROGRESS_SHARE = 3


@dataclass
class Core:
    """Everything below the adapter: what a front end without a mount would use, too."""

    clock: Clock
    fs: FileSystem
    catalog: Catalog
    library: Library
    ahead: Ahead
    cache: BlockCache
    api: VoxoApi
    gates: tuple[Gate, Gate]
    meter: Meter
    health: Health


@asynccontextmanager
async def open_core(config: Config, clock: Clock) -> AsyncIterator[Core]:
    """The core with its own nursery and connections; both end with the block."""
    tls = ssl.create_default_context()
    progress_s = max(1.0, config.mount.deadline_s / _PROGRESS_SHARE)
    api_http = HttpClient(config.api.connections, progress_s, tls)
    storage_http = HttpClient(config.storage.connections, progress_s, tls)
    try:
        async with trio.open_nursery() as nursery:
            yield _build(config, clock, nursery, api_http, storage_http)
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await api_http.aclose()
            await storage_http.aclose()


def _build(
    config: Config, clock: Clock, nursery: trio.Nursery, api_http: HttpClient, storage_http: HttpClient
) -> Core:
    deadline_s = config.mount.deadline_s
    central = CentralTime(config.api.timezone)
    tenants = {name: TenantKey(name, each.id, each.since) for name, each in config.tenants.items()}
    meter, health, cache = Meter(), Health(clock), BlockCache(config.cache.memory_bytes)
    api_gate = Gate("api", config.api.connections, monotonic_s=clock.monotonic_s, tenants=len(tenants))
    storage_gate = Gate(
        "storage", config.storage.connections, monotonic_s=clock.monotonic_s, tenants=len(tenants)
    )
    api = VoxoApi(config.api, api_http, api_gate, clock, meter, deadline_s)
    reports = _Reports(health)
    catalog = Catalog(
        api,
        central,
        config.cache,
        clock,
        nursery,
        deadline_s=deadline_s,
        on_skipped=reports.skipped,
        on_stale=reports.stale,
        on_fresh=reports.fresh,
    )
    library = Library(
        api,
        Storage(storage_http, storage_gate, meter),
        cache,
        clock,
        nursery,
        link_lifetime_s=config.storage.link_lifetime_s,
        deadline_s=deadline_s,
        known_sizes=config.cache.known_sizes,
    )
    ahead = Ahead(library, clock, enabled=config.mount.prefetch)
    fs = FileSystem(
        Calendar(tenants, central, clock),
        catalog,
        library,
        ahead,
        clock,
        health,
        personal_fields=config.xattr.personal,
        deadline_s=deadline_s,
    )
    return Core(clock, fs, catalog, library, ahead, cache, api, (api_gate, storage_gate), meter, health)


class _Reports:
    """What the catalog has to say, said once."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._said: set[tuple[str, int]] = set()

    def skipped(self, tenant: TenantKey, window: int, reasons: Counter[str]) -> None:
        """Records that cannot be shown: one line a window, not one a refresh."""
        telling = {reason: n for reason, n in reasons.items() if reason != "not recorded"}
        if telling and (tenant.name, window) not in self._said:
            self._said.add((tenant.name, window))
            told = ", ".join(f"{n} {reason}" for reason, n in sorted(telling.items()))
            log.warning(
                "%s of %s: %d records are not shown (%s); the others are", _days(window), tenant.name,
                sum(telling.values()), told,
            )  # fmt: skip

    def stale(self, tenant: TenantKey, window: int, error: VoxofsError, retry_in_s: float) -> None:
        """An old listing is shown because a new one cannot be had."""
        for path in _day_paths(tenant, window):
            self._health.failed(path, REFRESH, error, retry_in_s)

    def fresh(self, tenant: TenantKey, window: int) -> None:
        """A listing is as it should be."""
        for path in _day_paths(tenant, window):
            self._health.refreshed(path)


def _days(window: int) -> str:
    return " and ".join(day.isoformat() for day in window_days(window))


def _day_paths(tenant: TenantKey, window: int) -> list[str]:
    return [f"/{tenant.name}/{day:%Y/%m/%d}" for day in window_days(window)]
