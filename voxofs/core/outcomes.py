"""How operations end: remembered by path, and within their deadline."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from voxofs.errors import VoxofsError
from voxofs.observe.health import Health
from voxofs.traffic.patience import Patience

from .tree import Names, NoSuchName, shown


class Outcomes:
    """What becomes of the operations on paths. `patience`: how long their users wait."""

    def __init__(self, health: Health, patience: Patience) -> None:
        self._health = health
        self._patience = patience

    @contextmanager
    def noted(self, path: Names, operation: str) -> Iterator[None]:
        """Remember how the operation ended."""
        try:
            yield
        except NoSuchName:
            raise
        except VoxofsError as error:
            self._health.failed(shown(path), operation, error)
            raise
        self.recovered(path)

    def recovered(self, path: Names) -> None:
        """Something at this path went well."""
        self._health.recovered(shown(path))

    @contextmanager
    def bounded(self, path: Names, operation: str) -> Iterator[None]:
        """The deadline around everything that waits for the network. Raises `DeadlineExceeded`."""
        with self.noted(path, operation), self._patience.limited(f"the {operation} of {shown(path)}"):
            yield
