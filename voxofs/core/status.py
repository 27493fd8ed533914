"""What `/.voxofs/status` says: the state of the mount as JSON, from memory, without a secret in it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from voxofs import __version__
from voxofs.audio.library import Library
from voxofs.catalog.catalog import Catalog
from voxofs.clock import Clock
from voxofs.config.settings import Config
from voxofs.observe.health import Failure, Health, Meter
from voxofs.source.interface import Source
from voxofs.traffic.gate import Gate

Section = Callable[[], Mapping[str, Any]]


class Status:
    """A view of a running core. A front end adds what it knows as a section of its own."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        source: Source,
        catalog: Catalog,
        library: Library,
        gates: Sequence[Gate],
        meter: Meter,
        health: Health,
    ) -> None:
        self._config = config
        self._clock = clock
        self._source = source
        self._catalog = catalog
        self._library = library
        self._gates = gates
        self._meter = meter
        self._health = health
        self._began_s = clock.monotonic_s()
        self._sections: dict[str, Section] = {}

    def add(self, name: str, section: Section) -> None:
        """Have `facts` tell what this function returns, under this name."""
        self._sections[name] = section

    def text(self) -> bytes:
        """The status file's content."""
        return json.dumps(self.facts(), indent=2).encode() + b"\n"

    def line(self) -> str:
        """The state in a few words."""
        ill = [name for name in self._config.tenants if self._health.tenant(name) is not None]
        what = f"in trouble: {', '.join(ill)}" if ill else "well"
        cached = f"{self._library.cache.used_bytes / 2**20:.0f} MiB"
        records = self._catalog.records
        return f"{len(self._config.tenants)} tenants, {what}; {records} records, {cached} cached"

    def facts(self) -> dict[str, Any]:
        """Everything, as plain values."""
        cache = self._library.cache
        return {
            "version": __version__,
            "pid": os.getpid(),
            "settings": self._config.fingerprint(),
            "uptime_s": round(self._clock.monotonic_s() - self._began_s, 1),
            "tenants": {name: self._tenant(name) for name in self._config.tenants},
            "cache": {
                "bytes": cache.used_bytes,
                "limit_bytes": cache.limit_bytes,
                "blocks": len(cache),
                "hits": cache.hits,
                "ahead": cache.ahead,
                "misses": cache.misses,
            },
            "catalog": {
                "windows": self._catalog.windows,
                "records": self._catalog.records,
                "limit_records": self._config.cache.records,
                "recordings": len(self._library),
            },
            "requests": dict(sorted(self._meter.requests.items())),
            "bytes": dict(sorted(self._meter.bytes.items())),
            "in_flight": {
                gate.name: {
                    "now": gate.in_use,
                    "waiting": gate.waiting,
                    "limit": gate.limit,
                    "most": gate.most,
                    "peak": gate.peak,
                    "resting_s": round(gate.resting_s, 1),
                    "lost": {name: round(for_s, 1) for name, for_s in sorted(gate.lost.items())},
                }
                for gate in self._gates
            },
            "fetches": self._library.fetches,
            **{name: dict(section()) for name, section in self._sections.items()},
            "clock_offset_s": self._source.clock_offset_s,
            "last_errors": [
                _failure(failure) | {"times": times} for failure, times in reversed(self._health.recent)
            ],
        }

    def _tenant(self, name: str) -> dict[str, Any]:
        failure = self._health.tenant(name)
        return {
            "id": self._config.tenants[name].id,
            "since": self._config.tenants[name].since.isoformat(),
            "healthy": failure is None,
            "last_error": None if failure is None else _failure(failure),
        }


def _failure(failure: Failure) -> dict[str, Any]:
    return {
        "text": failure.text(),
        "path": failure.path,
        "operation": failure.operation,
        "message": failure.message,
        "status": failure.status,
        "errno": failure.errno,
        "at_s": round(failure.at_s, 3),
        "retry_at_s": failure.retry_at_s,
    }
