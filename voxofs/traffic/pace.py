"""How much one origin bears: a limit that follows its word, and pauses where it is below one request.

The limit is a number of requests at once. Each success raises it a little, and a refusal (429, 503) lowers it
by a fifth: additive increase and multiplicative decrease, by which those who share something come to share it
equally (Chiu and Jain, 1989). A refusal counts only where its request was sent after the last one came: what
is refused together is one event, as losses within one round trip are (RFC 5681).

Where many processes share an origin, each one's share may be less than one request at once. The limit then
falls below one, and that means: one request, and so long a pause before the next that on average no more than
`limit` are under way. Pauses are jittered, or those who were refused together would come back together.

Pauses are for those tenants only who were refused lately: whom the origin serves well does not wait because
it refuses another.

Before any refusal the limit grows from a few to the most by one a success, as long as answers come well:
slow start, too (RFC 5681), ended by rising delay instead of by loss, as in TCP Vegas.

Refusals without a success between them tell only that the trouble lasts. So the successes after them bring
back, one place each as in TCP's slow start, what was borne before they began, less a fifth. Beyond that
growth is slow at first and quickens with every success in a row, up to one place a round trip.

Simulated: 64 processes with two callers each, an API that serves 20 at once in 80 ms, 10 ms away. Without a
limit below one a third of them has everything and the others get nothing at all. With these numbers 92 % of
what the API can serve is served, and the last process has two fifths of what the median has; of five requests
two are refused. `tests/traffic/test_many_gates.py` holds this.
"""

from __future__ import annotations

import random
from collections.abc import Callable

_FIRST = 32
"""Requests at once before anything is known. What a mount had for good before it could grow; fewer would make
the first listing of an hour slower."""
_WELL = 2.0
"""An answer that took more than so many times what the fastest took earns no growth: requests wait for each
other then, at the origin, on the line or here, and more of them would wait for longer. A rule of thumb."""
_AT_ONCE_S = 0.05
"""An answer that took no longer earns growth in any case: of some milliseconds, twice as many are the
scheduler's. A rule of thumb."""
_CUT = 0.8
"""Simulated (above): with 0.7, as CUBIC has it (RFC 9438), the slowest has a third of what the median has and
not two fifths, for who is low is brought lower by what others do."""
_GROWTH = 0.05
"""Of a place, for a success. Simulated: with 0.1 half as many refusals again, and 3 % more is served."""
_CALM = 8
"""After so many successes in a row growth begins to quicken. Where one request in three is refused, one
series in twenty-five is that long."""
_QUICKER = 1.25
"""With each success beyond these: fourteen lead from a twentieth of a place to a whole one a round trip."""
_LEAST = 1 / 64
"""An origin of 20 places then has room for 1,280 processes."""
_JITTER = (0.5, 1.5)
"""Of a pause: its average stays."""
_LATENCY_S = 0.1
"""Before anything is known: about the time that a report takes nearby (80 ms)."""
_LEAST_LATENCY_S = 0.02
"""What a pause is reckoned from at least: at an origin that answers at once pauses would be none. A rule of
thumb."""
_SMOOTHING = 1 / 8
"""Weight of the latest sample, as for TCP's round trips (RFC 6298)."""
_LONGEST_SHARE = 0.1
"""Of a user's patience, for an average pause: however low the limit, some ten tries come within it."""


class Pace:
    """What one origin bears, as far as it has told. Times are monotonic, in seconds.

    `most`: requests at once that are never exceeded. `patience_s`: what a user's wait is limited to.
    """

    __slots__ = (
        "_calm", "_cut_at_s", "_jitter", "_known", "_latency_s", "_least_s", "_longest_s", "_most",
        "_refused", "limit", "next_s",
    )  # fmt: skip

    def __init__(
        self, most: int, patience_s: float, jitter: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._most = float(most)
        self._longest_s = _LONGEST_SHARE * patience_s
        self._jitter = jitter
        self._latency_s = _LATENCY_S
        self._least_s = float("inf")
        self._cut_at_s = float("-inf")
        self._calm = 1
        """Successes since the last refusal, of requests that were sent after it."""
        self._known = float(most)
        """What was borne before the last refusal that came after a success, and is to be tried again."""
        self.limit = float(min(most, _FIRST))
        self._refused: dict[str, int] = {}
        """Tenants who were refused lately, and how many successes in a row they are from being trusted."""
        self.next_s = float("-inf")
        """Not before then may the next request of such a tenant begin."""

    def __repr__(self) -> str:
        return f"<Pace {self.limit:.2f} of {self._most:.0f}>"

    @property
    def shrunk(self) -> bool:
        """Whether the origin has asked for less and the limit has not grown back."""
        return self._was_refused and self.limit < self._most

    @property
    def _was_refused(self) -> bool:
        return self._cut_at_s > float("-inf")

    @property
    def interval_s(self) -> float:
        """From the beginning of one request to the next on average; 0 where several may be under way."""
        return min(self._held_s / self.limit, self._longest_s) if self.limit < 1 else 0.0

    @property
    def _held_s(self) -> float:
        return max(self._latency_s, _LEAST_LATENCY_S)

    def rests(self, tenant: str, now_s: float) -> bool:
        """Whether this tenant has to wait for the end of a pause."""
        return self.next_s > now_s and tenant in self._refused

    def began(self, now_s: float) -> None:
        """A request is sent."""
        if self.limit < 1:
            self._pause(now_s)

    def _pause(self, now_s: float) -> None:
        pause_s = self.interval_s - self._held_s
        if pause_s > 0:
            self.next_s = now_s + self._held_s + pause_s * self._jitter(*_JITTER)

    def succeeded(self, tenant: str, now_s: float, took_s: float | None = None) -> None:
        """A request went well, and held its place for `took_s`."""
        if tenant in self._refused:
            self._refused[tenant] -= 1
            if not self._refused[tenant]:
                del self._refused[tenant]
        if took_s is None or now_s - took_s >= self._cut_at_s:
            self._calm += 1
        if took_s is not None:
            self._latency_s += (took_s - self._latency_s) * _SMOOTHING
            self._least_s = min(self._least_s, took_s)
        if self._calm and self.limit < self._known:
            if self._was_refused or took_s is None or took_s <= max(_AT_ONCE_S, _WELL * self._least_s):
                self.limit = min(self._known, self.limit + 1.0)
        elif self.limit < self._most:
            places = min(1.0, _GROWTH * _QUICKER ** max(0, self._calm - _CALM))
            self.limit = min(self._most, self.limit + places / max(1.0, self.limit))

    def refused(self, tenant: str, began_s: float, now_s: float) -> None:
        """The origin refused a request that was begun at `began_s`: less, unless it has said so since."""
        self._refused[tenant] = _CALM
        if began_s > self._cut_at_s:
            self._cut(now_s, _LEAST)
            self._pause(now_s)

    def slowed(self, now_s: float, at_most_every_s: float) -> None:
        """The origin keeps up with nobody, but has not said so: less, though never for that below one."""
        if now_s - self._cut_at_s >= at_most_every_s:
            self._cut(now_s, min(1.0, self.limit))

    def _cut(self, now_s: float, least: float) -> None:
        if self._calm:
            self._known = self.limit * _CUT
        self._cut_at_s = now_s
        self._calm = 0
        self.limit = max(least, self.limit * _CUT)

    def forgive(self) -> None:
        """Whoever is next need not wait."""
        self.next_s = float("-inf")
