"""How long a user waits: one deadline for what the user sees as one operation.

Deadlines belong to those who wait, never to the work, which several may wait for. Where the work is held up
by an origin that is out of reach, whoever waits is told earlier (`demand`, `reach`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from voxofs.errors import DeadlineExceeded


@dataclass(frozen=True)
class Patience:
    """The deadline of operations."""

    deadline_s: float

    @contextmanager
    def limited(self, what: str) -> Iterator[trio.CancelScope]:
        """Wait in this block. Raises `DeadlineExceeded`; `what` names the operation in it. Whoever sees
        progress may put the deadline of the scope off."""
        try:
            with trio.fail_after(self.deadline_s) as scope:
                yield scope
        except trio.TooSlowError:
            raise DeadlineExceeded(
                f"{what} took longer than {self.deadline_s:g} s: check the network, then try again"
            ) from None
