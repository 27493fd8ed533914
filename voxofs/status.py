"""What `/.voxofs/status` says: the state of the mount as JSON, from memory, without a secret in it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from . import __version__
from .config import Config
from .core import Core
from .health import Failure


class Status:
    """A view of a running core. `kernel` gives the numbers of inodes and of open handles."""

    def __init__(self, config: Config, core: Core, kernel: Callable[[], tuple[int, int]]) -> None:
        self._config = config
        self._core = core
        self._kernel = kernel
        self._began_s = core.clock.monotonic_s()

    def text(self) -> bytes:
        """The status file's content."""
        return json.dumps(self.facts(), indent=2).encode() + b"\n"

    def line(self) -> str:
        """The state in a few words."""
        core = self._core
        ill = [name for name in self._config.tenants if core.health.tenant(name) is not None]
        what = f"in trouble: {', '.join(ill)}" if ill else "well"
        cached = f"{core.cache.used_bytes / 2**20:.0f} MiB"
        return f"{len(self._config.tenants)} tenants, {what}; {core.catalog.records} records, {cached} cached"

    def facts(self) -> dict[str, Any]:
        """Everything, as plain values."""
        core, meter = self._core, self._core.meter
        inodes, handles = self._kernel()
        return {
            "version": __version__,
            "pid": os.getpid(),
            "uptime_s": round(core.clock.monotonic_s() - self._began_s, 1),
            "tenants": {name: self._tenant(name) for name in self._config.tenants},
            "cache": {
                "bytes": core.cache.used_bytes,
                "limit_bytes": core.cache.limit_bytes,
                "blocks": len(core.cache),
                "hits": core.cache.hits,
                "misses": core.cache.misses,
            },
            "catalog": {
                "windows": core.catalog.windows,
                "records": core.catalog.records,
                "limit_records": self._config.cache.records,
                "recordings": len(core.library),
            },
            "requests": dict(sorted(meter.requests.items())),
            "bytes": dict(sorted(meter.bytes.items())),
            "in_flight": {
                gate.name: {
                    "now": gate.in_use,
                    "waiting": gate.waiting,
                    "limit": gate.limit,
                    "most": gate.most,
                    "peak": gate.peak,
                }
                for gate in core.gates
            },
            "fetches": core.library.fetches,
            "kernel": {"inodes": inodes, "handles": handles},
            "clock_offset_s": core.api.clock_offset_s,
            "last_errors": [_failure(failure) for failure in reversed(core.health.recent)],
        }

    def _tenant(self, name: str) -> dict[str, Any]:
        failure = self._core.health.tenant(name)
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
