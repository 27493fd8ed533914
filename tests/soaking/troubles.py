"""The troubles that one tenant has in turn, as rules of the simulator that match this tenant alone.

A 429 with Retry-After is the vendor's word about the whole origin (RFC 6585, 4; RFC 9110, 10.2.3), so it
holds up every tenant by design: it comes seldom here, asks for one second, and a calm operation is allowed
that much more. The storage's 429 has none, and spoils every request. "Refused" is a reset at the API, and at
the storage a link that leads to a closed port: the simulator's own ports belong to both tenants.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Trouble:
    """One kind of trouble."""

    name: str
    faults: tuple[dict[str, Any], ...]
    allowed_s: float = 0.0
    """How much longer another tenant's operation may take by design."""

    def rules(self, tenant: int) -> Iterator[dict[str, Any]]:
        """For the simulator: every request of that tenant, unless a fault has a rate."""
        for fault in self.faults:
            often = {} if "rate" in fault else {"times": None}
            yield {**fault, **often, "match": {**fault["match"], "tenant": tenant}}


_API = {"origin": "api"}
_STORAGE = {"origin": "storage"}

TROUBLES = (
    Trouble("storage hangs", ({"kind": "stall", "match": _STORAGE},)),
    Trouble("API drips", ({"kind": "trickle", "bytes_per_s": 1, "match": _API},)),
    Trouble("storage 429", ({"kind": "status", "status": 429, "match": _STORAGE},)),
    Trouble("API garbage", ({"kind": "garbage_json", "match": _API},)),
    Trouble("storage drips", ({"kind": "trickle", "bytes_per_s": 1, "match": _STORAGE},)),
    Trouble(
        "API 503, storage too",
        (
            {"kind": "status", "status": 503, "body": "html", "match": _API},
            {"kind": "status", "status": 503, "match": _STORAGE},
        ),
    ),
    Trouble(
        "refused",
        (
            {"kind": "elsewhere", "match": {"route": "link"}},
            {"kind": "reset_before", "match": {"route": "reports"}},
        ),
    ),
    Trouble("API hangs", ({"kind": "stall", "match": _API},)),
    Trouble(
        "API 429 for 1 s",
        ({"kind": "status", "status": 429, "retry_after": "1", "rate": 0.05, "match": _API},),
        allowed_s=2.0,  # an operation asks the API for a listing, then for a link: a second each
    ),
    Trouble("storage hangs midway", ({"kind": "stall_body", "after_bytes": 100, "match": _STORAGE},)),
    Trouble("storage garbage", ({"kind": "garbage_json", "match": _STORAGE},)),
    Trouble("storage resets", ({"kind": "reset_body", "match": _STORAGE},)),
)
"""Hangs of either origin, drips, 429, 503, refusals, garbage, in an order in which neighbours differ."""

FEW = tuple(
    each
    for each in TROUBLES
    if each.name in ("storage hangs", "storage 429", "API drips", "refused", "storage garbage")
)
"""For a run that must be short."""
