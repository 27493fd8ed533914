"""What an origin lets one tenant do: how many requests at once, and whether it is in reach at all.

An origin that does not answer one tenant says nothing about the others, so that the consequences are kept by
tenant. Each time no answer comes, the tenant's share of the gate is halved; each answer gives some of it
back. Where nothing has answered for nearly as long as a user's patience lasts, the origin counts as out of
reach for this tenant (a circuit breaker). While it does:

* a request that fails is not repeated: where connections are refused, everybody knows within milliseconds;
* where nothing comes at all, one request tries on, and another one is sent every few seconds, for the first
  may hang at a server that is no more. Somebody waits a second for such an answer every few seconds,
  everybody else is told at once;
* background work is given up;
* the first answer lets all in again.

Only the absence of an answer counts. A refusal, a 404 and a 500 are answers.
"""

from __future__ import annotations

from voxofs.errors import Unavailable

_SHRINK = 0.5
_SHRINK_PAUSE_S = 1.0
"""The requests of one burst fail together, and that is one event. A rule of thumb."""
_NEARLY = 0.8
"""Of the patience: the last try ends at about nine tenths of a user's deadline (see `retry`)."""
_ONE_REQUEST = 0.5
"""Of the patience: for so long one request alone may count as failing. The machine may have slept for an hour
meanwhile."""
_BELIEVED_S = 60.0
"""How long after the last failure an origin still counts as out of reach: nobody has tried since then, and
whoever comes later waits as the first one did. A rule of thumb."""
_TRY_S = 1.0
"""Long enough for an answer where the origin has just come back (a report takes 80 ms nearby, half a second
far away), short enough for one user."""
_TOLD_S = 0.1
"""What people take for at once (Nielsen, Usability Engineering, 1993), and what a file manager with sixty
names can bear sixty times. Long enough to answer from memory and disk."""
_TRY_EVERY_S = 3.0
"""So soon a user notices that it works again, where the request before still hangs. A rule of thumb."""


class Reach:
    """One tenant at one origin. Times are monotonic, in seconds. `patience_s`: what a user's wait is limited
    to."""

    __slots__ = (
        "_answered_s", "_failed_s", "_patience_s", "_shrunk_at_s", "_tried_s", "_waited_s", "error",
        "failing_since_s", "share",
    )  # fmt: skip

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self.failing_since_s: float | None = None
        """Since when nothing has been answered; None: the last request was."""
        self._answered_s = self._failed_s = float("-inf")
        self._shrunk_at_s = float("-inf")
        self._tried_s = float("-inf")
        self._waited_s = float("-inf")
        """Since when somebody waits, or waited last, for longer than a moment while it is out of reach."""
        self.share = float("inf")
        """Requests at once while the origin is in reach."""
        self.error: Unavailable | None = None
        """How the last request failed, while none has been answered since."""

    def __repr__(self) -> str:
        return f"<Reach share {self.share:.1f}, failing since {self.failing_since_s}>"

    def is_lost(self, now_s: float) -> bool:
        """Whether the origin counts as out of reach."""
        since_s = self.failing_since_s
        if since_s is None or now_s - self._failed_s > _BELIEVED_S:
            return False
        return self._failed_s - since_s >= _NEARLY * self._patience_s

    def room(self, held: int, now_s: float) -> bool:
        """Whether there may be one more request beside those that are under way."""
        if self.is_lost(now_s):
            return not held or now_s - self._tried_s >= _TRY_EVERY_S
        return held < self.share

    def hurry_s(self, now_s: float) -> float | None:
        """How long a user waits now, in seconds; None while the origin is in reach."""
        if not self.is_lost(now_s):
            return None
        waited_s = now_s - self._waited_s
        return min(self._patience_s, _TRY_S if waited_s >= _TRY_EVERY_S else max(_TOLD_S, _TRY_S - waited_s))

    def tried(self, now_s: float) -> None:
        """A request is sent."""
        self._tried_s = now_s
        self._waiting(now_s)

    def failed(self, error: Unavailable, began_s: float, now_s: float, under_way: int) -> None:
        """A request that was begun at `began_s` got no answer; `under_way`: requests at once until then."""
        if self.failing_since_s is None or now_s - self._failed_s > _BELIEVED_S:
            at_least_s = now_s - _ONE_REQUEST * self._patience_s
            self.failing_since_s = max(began_s, self._answered_s, at_least_s)
        self._failed_s = now_s
        self.error = error
        if now_s - self._shrunk_at_s >= _SHRINK_PAUSE_S:
            self._shrunk_at_s = now_s
            self.share = max(1.0, min(self.share, float(under_way)) * _SHRINK)

    def given_up(self, now_s: float) -> None:
        """A user has waited in vain."""
        if self.failing_since_s is not None:
            self._waiting(now_s)
            self._failed_s = now_s

    def _waiting(self, now_s: float) -> None:
        """The first wait that counts is one that began when the origin was already out of reach."""
        if now_s - self._waited_s >= _TRY_EVERY_S and self.is_lost(now_s):
            self._waited_s = now_s

    def answered(self, now_s: float, most: int) -> None:
        """An answer came. Room for one more request after a whole round of answers, up to `most`."""
        self._answered_s = now_s
        self.failing_since_s = self.error = None
        if self.share < most:
            self.share += 1 / self.share
        else:
            self.share = float("inf")
