"""`Vendor`: everything that the API and the storage share, without a socket.

The world, both clocks, the tokens, where links lead, the fault book, the log, and every setting. The
applications are given one of these and nothing else; whoever owns ports (`server`) builds on it. A vendor
without ports is good for its arithmetic: which records there are, what the bytes of a recording must be.

Settings are plain attributes, read anew by every request: what the constructor takes can be changed at
any time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from .faults import Fault, FaultBook
from .links import Version
from .log import Entry, RequestLog
from .tenants import WORLDS
from .tokens import Tokens
from .world import FixedTenant, TenantSpec, World


@dataclass(eq=False, repr=False)
class Vendor:
    """The phone system."""

    tenants: Sequence[TenantSpec | FixedTenant] = WORLDS["demo"]
    """As given; `world.tenants` has them at work."""
    _: KW_ONLY
    seed: int = 1
    """The same seed gives the same calls and the same luck to `Fault.rate`."""
    clock: Callable[[], float] = time.time
    """Epoch seconds; the clock that everybody's is compared with."""
    api_skew_s: float = 0.0
    """The API's clock ahead of `clock`: its Date, the ages of tokens, which calls have ended."""
    skew_s: float = 0.0
    """The storage's clock, which links are made by, ahead of `clock`."""
    sign_skew_s: float = 0.0
    """The clock that signs links, ahead of the storage's that verifies them."""
    api_delay_s: float = 0.0
    """How long the API works on an answer."""
    storage_delay_s: float = 0.0
    """How long the storage works on an answer."""
    link_lifetime_s: float = 60.0
    """From the vendor's page: a link is good for one minute."""
    token_lifetime_s: float = 86_400.0
    """A day, Feathers' default for `jwtOptions.expiresIn`."""
    signature: Version = "v2"
    inclusive_end: bool = False
    """Reports include a call at exactly `end`."""
    later_form: bool = False
    """Records in the later edition's form."""
    forbidden: set[int] = field(default_factory=set)
    """Tenants that the token may not see."""
    email: str = "demo@example.com"
    password: str = "correct horse"
    second_factor: bool = False
    """The organisation demands one: signing in by password gives no token."""
    tells_tenants: bool = True
    """Whether the service says whose a token is. Where it does not, that route is not there."""

    def __post_init__(self) -> None:
        self.world = World(self.tenants, self.seed, self.clock())
        self.faults = FaultBook(self.seed)
        self.log = RequestLog()
        self.tokens = Tokens()
        self.token = self.issue_token()
        self.storage_url = ""
        """Where links lead. Empty until somebody has opened a port for the storage."""
        self.storage_host = ""
        """`host:port` of the storage, as links of version 4 are signed for it."""

    def now(self) -> float:
        """Epoch seconds by the API's clock."""
        return self.clock() + self.api_skew_s

    def storage_now(self) -> float:
        """Epoch seconds by the storage's clock."""
        return self.clock() + self.skew_s

    def issue_token(self) -> str:
        """One more valid token."""
        return self.tokens.issue(self.now(), self.token_lifetime_s)

    def rotate_token(self) -> str:
        """A fresh `token`; every older one answers 401 from now on."""
        self.tokens.revoke_all()
        self.token = self.issue_token()
        return self.token

    def add_fault(self, *faults: Fault) -> None:
        """Put faults in force."""
        self.faults.add(*faults)

    def replace_audio(self, tenant: int, unique_id: str, data: bytes | None = None) -> None:
        """Put another object in a recording's place: `data`, or another recording of the same call."""
        self.world.replace(tenant, unique_id, data, self.storage_now())

    def remove_audio(self, tenant: int, unique_id: str) -> None:
        """Delete a recording's object; its record stays and links are still made."""
        self.world.remove(tenant, unique_id)

    def audio_bytes(self, tenant: int, start: str, unique_id: str) -> bytes:
        """What the storage holds now for that recording, read past the network. Raises KeyError."""
        audio = self.world.audio(self.world.tenants[tenant], start[:13], unique_id, self.now())
        if audio is None:
            raise KeyError(unique_id)
        parts, at = [], 0
        while at < audio.size:
            parts.append(audio.read(at, audio.size))
            at += len(parts[-1])
        return b"".join(parts)

    def records(self, tenant: int, start: str, end: str) -> list[Any]:
        """What a report from `start` to `end` (`YYYY-MM-DD HH:MM:SS`, exclusive) says now, decoded."""
        parts = self.world.tenants[tenant].report(start, end, False, self.later_form, self.now())
        listed: list[Any] = json.loads(b"[" + b",".join(parts) + b"]")
        return listed

    def reset_log(self) -> None:
        """Forget the requests so far."""
        self.log.reset()

    def requests(self, route: str | None = None) -> list[Entry]:
        """The log's entries, oldest first, of one route or all."""
        return [entry for entry in self.log.entries if route in (None, entry.route)]
