"""When to try again, and how soon: one rule for both origins.

Only `Unavailable` is worth another try: connections that fail, 408, 425, 429, 5xx, SlowDown, short bodies.
The waits grow exponentially with jitter; a `Retry-After` replaces them. Where the origin says that it is too
much (429, 503), the gate decides for all together how often it may be asked (`pace`), and who comes back goes
before those who came later. Tries go on for as long as somebody waits, and end a little before the last
deadline does, so that the cause is told and not just that time is up; work that nobody waits for (any more)
is not repeated at all. What was tried to its end at one place is not tried again at another.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import stamina

from voxofs.errors import Unavailable

from .demand import Demand

T = TypeVar("T")

_FIRST_WAIT_S = 0.1
"""About the time that an answer takes: most failures that pass have passed by then."""
_LONGEST_WAIT_S = 2.0
"""An origin that comes back is noticed within two seconds, and asked half as often as a person would."""
_LONGEST_SHARE = 0.1
"""Of what is left of the patience: the last try comes when nine tenths of it are over at the earliest."""
_JITTER_SHARE = 0.1
"""Of the longest wait: so that those who failed together do not try again together."""

_PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Failures that may pass (RFC 9110, RFC 6585, RFC 8470); S3's SlowDown is a 503."""


_OVERLOAD_STATUS = frozenset({429, 503})
"""An origin's own word for asking less (RFC 6585; S3's SlowDown is a 503)."""


def asks_for_less(error: Unavailable) -> bool:
    """Whether an origin has said that it was too much."""
    return error.status in _OVERLOAD_STATUS or error.retry_after_s is not None


def is_passing(status: int) -> bool:
    """Whether a status tells of a failure that may pass."""
    return status in _PASSING_STATUS or status > 504


async def persistently(work: Callable[[], Awaitable[T]], demand: Demand) -> T:
    """The result of an idempotent request, tried again where that makes sense. Raises what the last try did.

    The first try is made by hand: it nearly always succeeds, and the library's machinery costs as much as a
    tenth of the request.
    """
    failure: Unavailable | None = None
    try:
        return await work()
    except Unavailable as error:
        failure = error
    longest_s = _longest_wait_s(demand)
    jitter_s = _JITTER_SHARE * longest_s
    try:
        async for attempt in stamina.retry_context(
            on=_worth_it(demand, longest_s + jitter_s),
            attempts=None,
            timeout=None,
            wait_initial=_FIRST_WAIT_S,
            wait_max=longest_s,
            wait_jitter=jitter_s,
        ):
            with attempt:
                if failure is not None:
                    first, failure = failure, None
                    raise first
                return await work()
    except Unavailable as error:
        error.exhausted = True
        raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def _longest_wait_s(demand: Demand) -> float:
    return max(_FIRST_WAIT_S, min(_LONGEST_WAIT_S, _LONGEST_SHARE * demand.patience_s))


def still_worth_it_s(demand: Demand) -> float:
    """How long a demand may stand in line before another try makes no sense any more."""
    left_s = demand.patience_s if demand.waiters else float("inf")
    return max(0.0, left_s - _longest_wait_s(demand)) if left_s < float("inf") else left_s


def _worth_it(demand: Demand, wait_s: float) -> Callable[[Exception], bool | float]:
    """Whether a failure is worth another try after up to `wait_s`, or how long to wait before it."""

    def decide(error: Exception) -> bool | float:
        if not isinstance(error, Unavailable) or error.exhausted or not demand.waiters:
            return False
        left_s = demand.patience_s
        if error.retry_after_s is None:
            return left_s > wait_s
        return error.retry_after_s if error.retry_after_s < left_s else False

    return decide
