"""Rules that spoil chosen requests, and how a test gets each kind of trouble.

A rule counts the requests that match it and acts on some of them: from the `nth` on, `times` of them, or
each with probability `rate` (drawn from the simulator's seed). The first rule that acts wins; all
matching rules count. Trouble for one tenant is `{"tenant": 9}`, for one of the two servers `{"origin":
"storage"}`; signing in has no tenant. For good is `times=None`.

    trouble                            how
    hangs for good                     Fault("stall", M, times=None): reads the request, answers nothing
    hangs inside an answer             Fault("stall_body", M, after_bytes=100)
    drips                              Fault("trickle", M, bytes_per_s=1): head at once, then byte by byte
    slow                               Fault("delay", M, delay_s=3); for everything: sim.api_delay_s = 3
    one at a time, N s each            Fault("queue", {"route": "reports"}, delay_s=3, times=None)
    too many requests                  Fault("status", M, status=429, retry_after="3600")
    too many at once                   Fault("crowded", {"origin": "api"}, most=20, status=429, times=None)
    unavailable                        Fault("status", M, status=503); with body="html" from a proxy
    garbage                            Fault("garbage_json", M), or with body="..."
    gzip bomb                          Fault("gzip_bomb", M, size=1 << 30)
    reset, cut short                   Fault("reset_before" | "reset_body" | "truncate", M)
    port closed, all tenants           await sim.refuse(api=True), again open: api=False
    port closed, one tenant's storage  Fault("elsewhere", {"tenant": 9}, host="127.0.0.1:1")
    link with an absurd host           Fault("elsewhere", M, host="x" * 60_000)
    link dead, or refused as expired   Fault("expired", {"route": "link"} or {"route": "audio"})
    token no longer valid              sim.rotate_token(); the new one is sim.token
    rights withdrawn                   sim.forbidden.add(9)
    a server's clock is wrong          sim.api_skew_s, sim.skew_s (storage) = 6 * 3_600
    the signer's clock alone           sim.sign_skew_s
    a Date header is wrong             Fault("date", M, skew_s=21_600), or date="nonsense", date="" for none
    recording replaced under a reader  Fault("replace_midway", M), sim.replace_audio(9, "id")

M is a match, e.g. `{"origin": "api", "tenant": 9}`. A simulator in another process takes the same by
`add_faults({"kind": "stall", "match": {...}, "times": None})`, `settings(refuse_api=True, api_skew_s=6)` and
`rotate_token()`. Clearing the rules ends no hanging that has begun: that ends when the client leaves.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal, get_args

import trio

Kind = Literal[
    "status",  # answer `status` with an error body (`body`, `retry_after`)
    "garbage_json",  # 200 with a body that is not JSON (or with `body`)
    "gzip_bomb",  # 200 with an empty list that is `size` bytes long once inflated
    "expired",  # link: the link handed out is already dead; audio: 403 Request has expired
    "elsewhere",  # link: the link handed out leads to `host`
    "delay",  # wait `delay_s`, then serve as usual
    "queue",  # the same one after another: whoever comes meanwhile waits in line
    "crowded",  # `status` at once where more than `most` are under way at this origin, this one included
    "date",  # serve as usual; the Date header is off by `skew_s`, or is `date`
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
_MATCHABLE: Mapping[str, Collection[str] | None] = {
    "origin": ("api", "storage"),
    "route": ("auth", "tenant", "reports", "link", "audio", "plain", "index", "other"),
    "tenant": None,
    "unique_id": None,
    "method": None,
}
"""What a rule may look at, and the values that there are; None: any."""


@dataclass(frozen=True)
class Fault:
    """One rule.

    Raises ValueError for a kind, a match key, an origin or a route that does not exist, and for a rate of
    bytes that is not positive.
    """

    kind: Kind
    match: dict[str, Any] = field(default_factory=dict)
    """`origin` (api, storage), `route` (auth, tenant, reports, link, audio, plain, index), `tenant`,
    `unique_id`, `method`."""
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
    most: int = 1
    """Requests under way that are not too many yet."""
    delay_s: float = 0.0
    bytes_per_s: float = 4_096
    size: int = 256 << 20
    """Bytes of a bomb; half of what a small machine has, by a rule of thumb."""
    host: str = "127.0.0.1:1"
    """Where a link leads, `host:port`; port 1 (tcpmux) is closed on any machine that tests run on."""
    skew_s: float = 0.0
    """Date ahead of the server's clock."""
    date: str | None = None
    """In place of the Date header's text; empty: no Date."""

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ValueError(f"unknown fault kind {self.kind!r}; known: {', '.join(sorted(_KINDS))}")
        if unknown := set(self.match) - set(_MATCHABLE):
            raise ValueError(f"unknown match keys {sorted(unknown)}; known: {', '.join(sorted(_MATCHABLE))}")
        for key, value in self.match.items():
            known = _MATCHABLE[key]
            if known is not None and value not in known:
                raise ValueError(f"unknown {key} {value!r}; known: {', '.join(known)}")
        if self.bytes_per_s <= 0:
            raise ValueError("bytes_per_s must be positive; a body that never comes is the kind `stall_body`")


class _Rule:
    """A fault in force."""

    __slots__ = ("fault", "hits", "line", "seen")

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.seen = 0
        self.hits = 0
        self.line = trio.Lock()

    def acts(self, random: Random) -> bool:
        """Whether the request that was counted last is one to spoil."""
        fault = self.fault
        if fault.rate is not None:
            return random.random() < fault.rate
        return self.seen >= fault.nth and (fault.times is None or self.seen < fault.nth + fault.times)


class FaultBook:
    """The rules in force, each with its count."""

    def __init__(self, seed: int) -> None:
        self._random = Random(f"{seed}/faults")
        self._rules: list[_Rule] = []

    def add(self, *faults: Fault) -> None:
        """Put rules in force; their counts begin at 0."""
        self._rules.extend(_Rule(fault) for fault in faults)

    def clear(self) -> None:
        """No more faults."""
        self._rules.clear()

    def hits(self) -> list[tuple[Fault, int]]:
        """How many requests each rule in force has spoilt."""
        return [(rule.fault, rule.hits) for rule in self._rules]

    def choose(
        self,
        origin: str,
        route: str,
        method: str,
        tenant: int | None,
        unique_id: str | None,
        in_flight: int = 1,
    ) -> Fault | None:
        """Count this request and say what happens to it. `in_flight`: with it, so many are under way."""
        if not self._rules:
            return None
        seen = {"origin": origin, "route": route, "method": method, "tenant": tenant, "unique_id": unique_id}
        chosen = None
        for rule in self._rules:
            if any(seen[key] != value for key, value in rule.fault.match.items()):
                continue
            rule.seen += 1
            if rule.fault.kind == "crowded" and in_flight <= rule.fault.most:
                continue
            if chosen is None and rule.acts(self._random):
                rule.hits += 1
                chosen = rule.fault
        return chosen

    async def turn(self, fault: Fault) -> None:
        """Wait in line behind all others that this rule holds up, then its `delay_s`.

        A client that leaves does not shorten the line: a server at work does not see it go.
        """
        for rule in list(self._rules):
            if rule.fault is fault:
                async with rule.line:
                    await trio.sleep(fault.delay_s)
