"""What is counted and what went wrong: the facts behind status, statistics and error attributes.

Nothing here decides anything; everybody may write to it, the outermost layers read it. A problem makes one
line in the log: path, operation, cause, consequence. Problems of the same kind are counted meanwhile, and
the count is in the next line.
"""

from __future__ import annotations

import errno
import logging
import os
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

from voxofs.clock import Clock
from voxofs.config.legible import one_line
from voxofs.errors import AuditFailed, NotFound, Replaced, VoxofsError
from voxofs.model import SUFFIX

log = logging.getLogger(__name__)

REFRESH = "refresh"
"""The operation that brings a newer listing where an older one is shown meanwhile."""
_KEPT = 20
"""Causes that the status shows. A rule of thumb: a screen of them."""
_RECORDING_DEPTH = 6
"""/tenant/year/month/day/hour/recording (`core.tree`)."""
_KEPT_PATHS = 1_000
"""Paths that remember their failure. A rule of thumb: well below 1 MB, and more than anybody looks at."""
_KEPT_KINDS = 1_000
"""Kinds of problems whose last line is remembered. A rule of thumb: as many as there are tenants and statuses
in a bad hour; a kind that drops out is told once more."""
_SAME_PROBLEM_S = 60.0
"""How often a problem of one kind makes a line. A rule of thumb: an outage of a day makes 1,440 lines."""


class Meter:
    """Counters that only grow."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()

    def count(self, what: str) -> None:
        """One more request of a kind."""
        self.requests[what] += 1

    def add_bytes(self, origin: str, number: int) -> None:
        """Bytes that came from `api` or `storage`."""
        self.bytes[origin] += number


@dataclass(frozen=True)
class Failure:
    """What failed last at one place."""

    path: str
    operation: str
    message: str
    errno: int
    status: int | None
    at_s: float
    """Wall clock, seconds since the epoch."""
    retry_at_s: float | None = None
    """When voxofs asks again by itself, wall clock; None: at the next access."""

    def text(self) -> str:
        """One line for people: what, when, why, what next. Safe to show on a terminal."""
        status = "" if self.status is None else f" (status {self.status})"
        again = "at the next access" if self.retry_at_s is None else f"at {_when(self.retry_at_s)}"
        name = errno.errorcode.get(self.errno, str(self.errno))
        return one_line(
            f"{_when(self.at_s)} {self.operation} of {self.path} failed: {self.message}{status} [{name}]; "
            f"tried again {again}"
        )


class Health:
    """The last failures, by path and by tenant."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_path: dict[str, Failure] = {}
        self._by_tenant: dict[str, Failure] = {}
        self._logged: dict[tuple[str, ...], tuple[float, int]] = {}
        self._recent: dict[tuple[str, ...], tuple[Failure, int]] = {}

    def failed(
        self, path: str, operation: str, error: VoxofsError, retry_in_s: float | None = None
    ) -> Failure:
        """Remember a failure for this path and for every folder above it."""
        now_s = self._clock.wall_s()
        failure = Failure(
            path,
            operation,
            str(error),
            error.errno,
            error.status,
            now_s,
            None if retry_in_s is None else now_s + retry_in_s,
        )
        for place in _upwards(path):
            self._by_path.pop(place, None)
            self._by_path[place] = failure
        while len(self._by_path) > _KEPT_PATHS:
            del self._by_path[next(iter(self._by_path))]
        if not isinstance(error, NotFound | Replaced | AuditFailed):  # none of these is the tenant's trouble
            self._by_tenant[_tenant(path)] = failure
        cause = _cause(failure, error)
        _, times = self._recent.pop(cause, (None, 0))
        self._recent[cause] = (failure, times + 1)
        if len(self._recent) > _KEPT:
            del self._recent[next(iter(self._recent))]
        self._log(failure, error)
        return failure

    @property
    def recent(self) -> list[tuple[Failure, int]]:
        """The last failure of each cause and how many it had, the newest last."""
        return list(self._recent.values())

    @property
    def all_well(self) -> bool:
        """Whether nothing has failed that has not recovered since."""
        return not self._by_path and not self._by_tenant

    def recovered(self, path: str) -> None:
        """This path works (again), and with it the folders that had no other failure since. That a listing
        can be shown does not mean that it is fresh: see `refreshed`."""
        failure = self._by_path.get(path)
        if failure is not None and failure.operation != REFRESH:
            self._clear(path, failure)
        failure = self._by_tenant.get(_tenant(path))
        if failure is not None and failure.operation != REFRESH:
            del self._by_tenant[_tenant(path)]

    def refreshed(self, path: str) -> None:
        """A day's listing is what the API says now."""
        failure = self._by_path.get(path)
        if failure is not None and failure.operation == REFRESH:
            self._clear(path, failure)
            if self._by_tenant.get(_tenant(path)) is failure:
                del self._by_tenant[_tenant(path)]

    def failure_at(self, path: str) -> Failure | None:
        """What failed last at this path or below it, or why the listing that it stands in is stale."""
        failure = self._by_path.get(path)
        if failure is None:
            above = (self._by_path.get(place) for place in _upwards(path)[1:])
            failure = next((each for each in above if each is not None and each.operation == REFRESH), None)
            if failure is not None and not path.startswith(failure.path):
                failure = None
        return failure

    def _clear(self, path: str, failure: Failure) -> None:
        for place in _upwards(path):
            if self._by_path.get(place) is failure:
                del self._by_path[place]

    def tenant(self, name: str) -> Failure | None:
        """The tenant's last failure, None while it is well."""
        return self._by_tenant.get(name)

    def _log(self, failure: Failure, error: VoxofsError) -> None:
        kind = (_tenant(failure.path), failure.operation, type(error).__name__, str(failure.status))
        now_s = self._clock.monotonic_s()
        last_s, held_back = self._logged.get(kind, (float("-inf"), 0))
        if now_s - last_s < _SAME_PROBLEM_S:
            self._logged[kind] = (last_s, held_back + 1)
            return
        self._logged.pop(kind, None)  # the newest last, so that the oldest is the first to go
        self._logged[kind] = (now_s, 0)
        if len(self._logged) > _KEPT_KINDS:
            del self._logged[next(iter(self._logged))]
        more = f" ({held_back} more like this since the last line)" if held_back else ""
        consequence = (
            "what was known before is shown"
            if failure.retry_at_s is not None
            else f"the program gets {errno.errorcode[failure.errno]} ({os.strerror(failure.errno)})"
        )
        log.warning(
            "%s of %s failed: %s; %s%s",
            failure.operation,
            failure.path,
            error,
            consequence,
            more,
            extra={
                "operation": failure.operation,
                "path": failure.path,
                "tenant": _tenant(failure.path),
                "status": failure.status,
                "cause": str(error),
                "consequence": consequence,
            },
        )


def _cause(failure: Failure, error: VoxofsError) -> tuple[str, ...]:
    """What many failures have in common that are one trouble: all but the names of recordings."""
    name = failure.path.rpartition("/")[2].removesuffix(SUFFIX)
    message = failure.message.replace(failure.path, "…")
    if failure.path.count("/") == _RECORDING_DEPTH:
        message = message.replace(name, "…")
    return _tenant(failure.path), type(error).__name__, str(failure.status), message


def _when(wall_s: float) -> str:
    return datetime.fromtimestamp(wall_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _tenant(path: str) -> str:
    return path.split("/", 2)[1] if "/" in path else path


def _upwards(path: str) -> list[str]:
    """The path and the folders above it, the root excepted (its tenants tell)."""
    parts = path.strip("/").split("/")
    return ["/" + "/".join(parts[:n]) for n in range(len(parts), 0, -1)]
