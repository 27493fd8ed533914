"""Extended attributes: what a record says, and what failed last at a path."""

from __future__ import annotations

from collections.abc import Sequence

from voxofs.model import Record
from voxofs.observe.health import Health

from .tree import RECORDING_DEPTH, STATUS_FOLDER, Names, shown

_RECORD = "user.voxo."
_ERROR = "user.voxofs.error"


class Xattrs:
    """`personal_fields`: those of a record's personal fields that are shown."""

    def __init__(self, health: Health, personal_fields: Sequence[str]) -> None:
        self._health = health
        self._personal_fields = personal_fields

    def of_record(self, path: Names, name: str | None = None) -> bool:
        """Whether the record at a path has to be known: for all names, or for this one."""
        told = name is None or name.startswith(_RECORD)
        return told and len(path) == RECORDING_DEPTH and path[0] != STATUS_FOLDER

    def names(self, path: Names, record: Record | None) -> list[str]:
        """Names of the attributes at a path, with that record."""
        names = [] if record is None else [_RECORD + name for name, _ in record.fields(self._personal_fields)]
        if self._health.failure_at(shown(path)) is not None:
            names.append(_ERROR)
        return names

    def value(self, path: Names, name: str, record: Record | None) -> str | None:
        """The value of an attribute, or None."""
        if name == _ERROR:
            failure = self._health.failure_at(shown(path))
            return None if failure is None else failure.text()
        if record is None:
            return None
        return dict(record.fields(self._personal_fields)).get(name.removeprefix(_RECORD))
