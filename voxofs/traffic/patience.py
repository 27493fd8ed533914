"""How long a user waits: one deadline for what the user sees as one operation.

Deadlines belong to those who wait, never to the work, which several may wait for. Where the work is held up
by an origin that is out of reach, whoever waits is told earlier (`demand`, `reach`).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType

import trio

from voxofs.errors import DeadlineExceeded


class Limited:
    """A wait, as a context. A class: a generator costs a third more than the scope in it."""

    __slots__ = ("_deadline_s", "_scope", "_what")

    def __init__(self, what: str, deadline_s: float) -> None:
        self._what = what
        self._deadline_s = deadline_s

    def __enter__(self) -> trio.CancelScope:
        self._scope = trio.CancelScope(deadline=trio.current_time() + self._deadline_s)
        return self._scope.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scope.__exit__(kind, error, trace)
        if self._scope.cancelled_caught:
            raise DeadlineExceeded(
                f"{self._what} took longer than {self._deadline_s:g} s: check the network, then try again"
            ) from None


@dataclass(frozen=True)
class Patience:
    """The deadline of operations."""

    deadline_s: float

    def limited(self, what: str) -> Limited:
        """Wait in this block. Raises `DeadlineExceeded`; `what` names the operation in it. Whoever sees
        progress may put the deadline of the scope off."""
        return Limited(what, self.deadline_s)
