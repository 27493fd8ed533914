"""The record of every request: a bounded list of entries, and counters that are never cut.

Times are `time.monotonic()`, which all processes of one machine share, so a benchmark can lay them beside
its own. `in_flight` counts the requests of the same origin at the moment this one arrived, itself
included; the peak of it is kept for each origin.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from typing import Any

ENTRIES_KEPT = 50_000
"""More requests than any test or benchmark makes between two resets; about 20 MB."""


class Entry:
    """One request as the simulator saw it."""

    __slots__ = (
        "bytes_sent",
        "fault",
        "in_flight",
        "leaked_authorization",
        "method",
        "origin",
        "range",
        "route",
        "seq",
        "status",
        "t_end",
        "t_start",
        "tenant",
        "unique_id",
    )

    def __init__(self, seq: int, origin: str, route: str, method: str, in_flight: int) -> None:
        self.seq = seq
        self.origin = origin
        """`api` or `storage`."""
        self.route = route
        """api: auth, tenant, reports, link, other; storage: audio, plain, index, other."""
        self.method = method
        self.t_start = time.monotonic()
        self.t_end: float | None = None
        """None while it is in flight."""
        self.tenant: int | None = None
        self.unique_id: str | None = None
        self.range: str | None = None
        """The Range header as sent; for reports `start/end`."""
        self.status = 0
        """0: no answer was begun."""
        self.bytes_sent = 0
        """Bytes of the body."""
        self.in_flight = in_flight
        self.fault: str | None = None
        """Kind of the fault that was applied."""
        self.leaked_authorization = False
        """An Authorization header reached the storage: the API's token was given away."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: getattr(self, name) for name in self.__slots__}

    def __repr__(self) -> str:
        what = f"{self.method} {self.route} tenant={self.tenant} {self.unique_id or ''} {self.range or ''}"
        answer = f"{self.status} {self.bytes_sent} B, {self.in_flight} in flight"
        return f"<{self.seq} {self.origin} {what} -> {answer}>"


class RequestLog:
    """Entries of finished and running requests, oldest first, and the sums over all of them."""

    def __init__(self) -> None:
        self.in_flight: Counter[str] = Counter()
        self._seq = 0
        self.reset()

    def reset(self) -> None:
        """Forget everything but what is in flight."""
        self.entries: deque[Entry] = deque(maxlen=ENTRIES_KEPT)
        self.requests: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.peak: Counter[str] = Counter(self.in_flight)
        self.leaked_authorization = 0

    def begin(self, origin: str, route: str, method: str) -> Entry:
        """A request has arrived."""
        self._seq += 1
        in_flight = self.in_flight[origin] = self.in_flight[origin] + 1
        if in_flight > self.peak[origin]:
            self.peak[origin] = in_flight
        entry = Entry(self._seq, origin, route, method, in_flight)
        self.entries.append(entry)
        self.requests[route] += 1
        return entry

    def end(self, entry: Entry) -> None:
        """The request is over, answered or not; a second call does nothing.

        An answer ends before its last piece is written and not after it, so that whoever has read the answer
        finds it in the log.
        """
        if entry.t_end is not None:
            return
        entry.t_end = time.monotonic()
        self.in_flight[entry.origin] -= 1
        self.bytes[entry.route] += entry.bytes_sent
        self.statuses[f"{entry.route} {entry.status}"] += 1
        if entry.leaked_authorization:
            self.leaked_authorization += 1

    def stats(self) -> dict[str, Any]:
        """The sums, for JSON: requests, bytes and statuses by route; peak and present in flight by origin."""
        return {
            "requests": dict(self.requests),
            "bytes": dict(self.bytes),
            "statuses": dict(self.statuses),
            "peak_in_flight": dict(self.peak),
            "in_flight": dict(self.in_flight),
            "leaked_authorization": self.leaked_authorization,
        }
