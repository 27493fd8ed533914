"""Rules that spoil chosen requests.

A rule counts the requests that match it and acts on some of them: from the `nth` on, `times` of them, or
each with probability `rate` (drawn from the simulator's seed). The first rule that acts wins; all
matching rules count.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal, get_args

Kind = Literal[
    "status",  # answer `status` with an error body (`body`, `retry_after`)
    "garbage_json",  # 200 with a body that is not JSON (or with `body`)
    "expired",  # link: the link handed out is already dead; audio: 403 Request has expired
    "delay",  # wait `delay_s`, then serve as usual
    "reset_before",  # TCP reset instead of an answer
    "reset_body",  # TCP reset after `after_bytes` of the body
    "truncate",  # orderly close after `after_bytes` of the body, short of its Content-Length
    "stall",  # no answer, connection stays open until the client leaves
    "stall_body",  # the same after `after_bytes` of the body
    "trickle",  # body at `bytes_per_s`
    "ignore_range",  # 200 with the whole object
    "replace_midway",  # the object is replaced before this answer, or after `after_bytes` of it (then cut)
]
_KINDS = frozenset(get_args(Kind))
_MATCHABLE = frozenset({"route", "tenant", "unique_id", "method"})


@dataclass(frozen=True)
class Fault:
    """One rule. Raises ValueError for a kind or a match key that does not exist."""

    kind: Kind
    match: dict[str, Any] = field(default_factory=dict)
    """`route` (auth, tenant, reports, link, audio, plain, index), `tenant`, `unique_id`, `method`."""
    nth: int = 1
    """The first matching request that is spoilt, counted from 1."""
    times: int | None = 1
    """How many are spoilt from there on; None: all."""
    rate: float | None = None
    """In place of nth and times: the probability for each request."""
    status: int = 503
    body: str | None = None
    """`json`, `html` or `xml`: the usual error in that form; other text: itself; None: what fits."""
    retry_after: str | None = None
    after_bytes: int | None = None
    """None: half of the body (replace_midway: before the answer)."""
    delay_s: float = 0.0
    bytes_per_s: int = 4_096

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ValueError(f"unknown fault kind {self.kind!r}; known: {', '.join(sorted(_KINDS))}")
        if unknown := set(self.match) - _MATCHABLE:
            raise ValueError(f"unknown match keys {sorted(unknown)}; known: {', '.join(sorted(_MATCHABLE))}")


class FaultBook:
    """The rules in force, each with its count."""

    def __init__(self, seed: int) -> None:
        self._random = Random(f"{seed}/faults")
        self._rules: list[tuple[Fault, list[int]]] = []

    def add(self, *faults: Fault) -> None:
        """Put rules in force; their counts begin at 0."""
        self._rules.extend((fault, [0, 0]) for fault in faults)

    def clear(self) -> None:
        """No more faults."""
        self._rules.clear()

    def hits(self) -> list[tuple[Fault, int]]:
        """How many requests each rule in force has spoilt."""
        return [(fault, counts[1]) for fault, counts in self._rules]

    def choose(self, route: str, method: str, tenant: int | None, unique_id: str | None) -> Fault | None:
        """Count this request and say what happens to it."""
        if not self._rules:
            return None
        seen = {"route": route, "method": method, "tenant": tenant, "unique_id": unique_id}
        chosen = None
        for fault, counts in self._rules:
            if any(seen[key] != value for key, value in fault.match.items()):
                continue
            counts[0] += 1
            if chosen is None and self._acts(fault, counts[0]):
                counts[1] += 1
                chosen = fault
        return chosen

    def _acts(self, fault: Fault, count: int) -> bool:
        if fault.rate is not None:
            return self._random.random() < fault.rate
        return count >= fault.nth and (fault.times is None or count < fault.nth + fault.times)
