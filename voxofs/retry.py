"""When to try again, and how soon: one rule for both origins.

Only `Unavailable` is worth another try: connections that fail, 408, 425, 429, 5xx, SlowDown, short bodies.
The waits grow exponentially with jitter; a `Retry-After` replaces them; no try begins after the deadline,
and work that nobody waits for (any more) is not repeated at all. What was tried to its end at one place is
not tried again at another.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import stamina
import stamina.instrumentation

from .errors import Unavailable
from .gate import Demand

T = TypeVar("T")

_ATTEMPTS = 7
_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 5.0
_JITTER_S = 0.2

# stamina would log the repr of every exception; problems are reported once, where they are handled.
stamina.instrumentation.set_on_retry_hooks([])

_PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


def is_passing(status: int) -> bool:
    """Whether a status tells of a failure that may pass (RFC 9110; S3's SlowDown is a 503)."""
    return status in _PASSING_STATUS or status > 504


def is_overload(status: int | None) -> bool:
    """Whether a status asks for fewer requests at once. None: no answer came at all."""
    return status in (None, 429, 503)


async def persistently(
    work: Callable[[], Awaitable[T]], demand: Demand, deadline_s: float, monotonic_s: Callable[[], float]
) -> T:
    """The result of an idempotent request, tried again where that makes sense. Raises what the last try did.

    The first try is made by hand: it nearly always succeeds, and the library's machinery costs as much as a
    tenth of the request. The deadline counts from its failure.
    """
    failure: Unavailable | None = None
    try:
        return await work()
    except Unavailable as error:
        failure = error
    try:
        async for attempt in stamina.retry_context(
            on=_worth_it(demand, monotonic_s() + deadline_s, monotonic_s),
            attempts=_ATTEMPTS,
            timeout=None,
            wait_initial=_FIRST_WAIT_S,
            wait_max=_LONGEST_WAIT_S,
            wait_jitter=_JITTER_S,
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


def _worth_it(
    demand: Demand, ends_s: float, monotonic_s: Callable[[], float]
) -> Callable[[Exception], bool | float]:
    """Whether a failure is worth another try, or how long to wait before it."""

    def decide(error: Exception) -> bool | float:
        if not isinstance(error, Unavailable) or error.exhausted or not demand.waiters:
            return False
        left_s = ends_s - monotonic_s()
        if error.retry_after_s is None:
            return left_s > 0
        return error.retry_after_s if error.retry_after_s < left_s else False

    return decide
