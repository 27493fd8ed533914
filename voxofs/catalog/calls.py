"""The calls of an hour as they are kept: few objects, whatever their number.

A catalog holds hundreds of thousands of records, of which hardly one is ever looked at alone. So an hour
keeps a list of names, an array of instants, bytes with all starts, bytes with all details; a `Record` is
made when somebody asks for it. A record costs 200 bytes (a name of 27 letters 88 of them,
its details 95), measured, where objects of its own took 670.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import overload

from voxofs.model import SUFFIX, Record, RecordingKey


class Rows:
    """The calls of an hour as they come: columns from the first record on, because several reports of tens
    of thousands of records come at once."""

    __slots__ = ("details", "details_end", "names", "starts", "starts_end", "starts_s")

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.names: list[str] = []
        self.starts_s = array("q")
        self.starts = bytearray()
        self.starts_end = array("I")
        self.details = bytearray()
        self.details_end = array("I")
        for record in records:
            self.add(record)

    def add(self, record: Record) -> None:
        """One more record."""
        self.names.append(record.name)
        self.starts_s.append(record.instant_s)
        self.starts += record.start_text.encode()
        self.starts_end.append(len(self.starts))
        self.details += record.packed
        self.details_end.append(len(self.details))

    def order(self) -> list[int]:
        """Which rows stand, in the order of their names. The same name twice is one file: the later record
        stands, and of two at once the one that was told last."""
        if len(set(self.names)) == len(self.names):
            return sorted(range(len(self.names)), key=self.names.__getitem__)
        found: dict[str, int] = {}
        for row, name in enumerate(self.names):
            if self.starts_s[row] >= self.starts_s[found.setdefault(name, row)]:
                found[name] = row
        return [found[name] for name in sorted(found)]


class Calls(Sequence[Record]):
    """Records, sorted by name."""

    __slots__ = ("_details", "_details_end", "_starts", "_starts_end", "names", "starts_s")

    def __init__(self, rows: Rows) -> None:
        order = rows.order()
        self.names: Sequence[str] = [rows.names[row] for row in order]
        self.starts_s: Sequence[int] = array("q", [rows.starts_s[row] for row in order])
        """When they began, seconds since the epoch."""
        self._starts, ends = _permuted(rows.starts, rows.starts_end, order)
        width = ends[0] if ends else 0
        uniform = ends == array("I", range(width, width * len(order) + 1, width)) if width else False
        self._starts_end: Sequence[int] = range(width, len(self._starts) + 1, width) if uniform else ends
        self._details, self._details_end = _permuted(rows.details, rows.details_end, order)

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        name = self.names[index]
        details = self._details[self._details_end[index - 1] if index else 0 : self._details_end[index]]
        return Record(name[: -len(SUFFIX)], self.start_text(index), self.starts_s[index], details)

    def key(self, tenant: str, index: int) -> RecordingKey:
        """Which recording it is, without a `Record`."""
        return RecordingKey(tenant, self.names[index][: -len(SUFFIX)], self.start_text(index))

    def start_text(self, index: int) -> str:
        """A record's start as the source wrote it."""
        begin = self._starts_end[index - 1] if index else 0
        return self._starts[begin : self._starts_end[index]].decode()


class Together(Collection[Record]):
    """The records of several hours, one hour after the other."""

    def __init__(self, hours: Sequence[Calls]) -> None:
        self._hours = hours

    def __len__(self) -> int:
        return sum(map(len, self._hours))

    def __iter__(self) -> Iterator[Record]:
        for hour in self._hours:
            yield from hour

    def __contains__(self, record: object) -> bool:
        return any(record in hour for hour in self._hours)


def _permuted(texts: bytearray, ends: Sequence[int], order: Iterable[int]) -> tuple[bytes, array[int]]:
    """Texts in another order, and where each ends."""
    parts = [texts[ends[row - 1] if row else 0 : ends[row]] for row in order]
    return b"".join(parts), array("I", accumulate(map(len, parts)))
