"""What a source of recordings must offer. The VOXO API is the one there is (`voxo`).

The catalog asks for records, the audio room for links; neither knows whom. Another edition of the API, or
another vendor, is another class with these methods, and nothing above changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from voxofs.config.secrets import Secret
from voxofs.model import Record, Tenant
from voxofs.traffic.demand import Demand

from .account import Account


@dataclass
class Report:
    """The records of a span of the wall clock, as far as they can be shown as files."""

    chunks: Iterator[Sequence[tuple[datetime, Record]]]
    """The hour by the wall clock in which each began, and the record: in no particular order, the same
    recording perhaps twice. They are decoded as they are taken, a few milliseconds a chunk: whoever takes
    them lets others have a turn in between. Raises `BadAnswer`."""
    skipped: Counter[str] = field(default_factory=Counter)
    """How many could not be shown, by reason; complete when all chunks are taken."""
    server_s: float | None = None
    """The source's own clock when it answered, seconds since the epoch; None where it did not tell."""


@dataclass(frozen=True)
class Link:
    """Where a recording's audio can be had for a while. The address is a credential: it is never shown."""

    url: str = field(repr=False)
    lifetime_s: float
    """How long after the request was begun it may be used."""


class Source(Protocol):
    """Records and links. Every method raises `AccessDenied`, `Unavailable`, `BadAnswer`."""

    span_days: int
    """The longest span, in days, that one request for records may cover."""

    @property
    def clock_offset_s(self) -> float | None:
        """The source's clock less this machine's, in seconds; None while it is not known."""

    async def records(self, tenant: Tenant, begin: datetime, end: datetime, demand: Demand) -> Report:
        """The records of recordings that began from `begin` to `end` by the wall clock, which are
        `span_days` apart at most. What lies outside is the caller's to leave out."""

    async def link(self, tenant: Tenant, record: Record, demand: Demand) -> Link:
        """A link to a recording's audio. Raises `NotFound`, too."""

    async def admitted(self, tenant: Tenant) -> None:
        """Prove that the credential is taken as it is, waiting for no other. Raises `AccessDenied`, and what
        requests raise."""

    async def tenant_name(self, tenant_id: int) -> str:
        """The tenant's display name; proves that the credentials may see it."""

    async def tenant_folder(self, tenant_id: int) -> tuple[str, str]:
        """The same, and the tenant's name in the storage's keys ("" where that is not told)."""

    async def account(self, email: str, password: Secret) -> Account:
        """Sign in with what no configuration holds yet. Raises `SecondFactor`, too, where a password is not
        enough."""

    async def tenants_of(self, token: Secret) -> tuple[int, ...]:
        """Which tenants a token may see; none where the source does not tell."""

    async def sign_in(self) -> None:
        """Prove that credentials are at hand."""

    def forget_credentials(self) -> None:
        """Read them again at the next request."""
