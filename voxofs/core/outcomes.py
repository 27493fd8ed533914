"""How operations end: remembered by path, and within their deadline."""

from __future__ import annotations

from types import TracebackType

from voxofs.errors import VoxofsError
from voxofs.observe.health import Health
from voxofs.traffic.patience import Limited, Patience

from .tree import Names, NoSuchName, shown


def _recovered(health: Health, path: Names) -> None:
    if not health.all_well:  # once a look-up, an open and a read, of which hardly one follows a failure
        health.recovered(shown(path))


class _Noted:
    """An operation, as a context; `patience`: how long its user waits for the network, None where something
    in it knows. A class, as `Limited` is."""

    __slots__ = ("_health", "_limited", "_operation", "_path", "_patience")

    def __init__(self, health: Health, path: Names, operation: str, patience: Patience | None) -> None:
        self._health = health
        self._path = path
        self._operation = operation
        self._patience = patience

    def __enter__(self) -> None:
        self._limited: Limited | None = None
        if self._patience is not None:
            self._limited = self._patience.limited(f"the {self._operation} of {shown(self._path)}")
            self._limited.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._limited is not None:
            try:
                self._limited.__exit__(kind, error, trace)
            except VoxofsError as late:
                self._failed(late)
                raise
        if error is None:
            _recovered(self._health, self._path)
        elif isinstance(error, VoxofsError) and not isinstance(error, NoSuchName):
            self._failed(error)

    def _failed(self, error: VoxofsError) -> None:
        self._health.failed(shown(self._path), self._operation, error)


class _Together(_Noted):
    """Remembers that it was late, and nothing else."""

    __slots__ = ()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._limited is not None
        try:
            self._limited.__exit__(kind, error, trace)
        except VoxofsError as late:
            if late is not error:
                self._failed(late)
            raise


class Outcomes:
    """What becomes of the operations on paths. `patience`: how long their users wait."""

    def __init__(self, health: Health, patience: Patience) -> None:
        self._health = health
        self._patience = patience

    def noted(self, path: Names, operation: str) -> _Noted:
        """Remember how the operation ended."""
        return _Noted(self._health, path, operation, None)

    def recovered(self, path: Names) -> None:
        """Something at this path went well."""
        _recovered(self._health, path)

    def together(self, path: Names, operation: str) -> _Together:
        """One deadline around several such operations, which remember by themselves how they ended."""
        return _Together(self._health, path, operation, self._patience)

    def bounded(self, path: Names, operation: str) -> _Noted:
        """The deadline around everything that waits for the network. Raises `DeadlineExceeded`."""
        return _Noted(self._health, path, operation, self._patience)
