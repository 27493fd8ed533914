"""What was offered and is not written yet: gathered into runs, bounded, dropped where there is no room."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import msgspec

from voxofs.model import BLOCK_BYTES, Block, Edition, Record, RecordingKey, Version

from .keeper import Batch
from .ledger import Run
from .names import Names

_ROWS_PENDING = 50_000
"""Versions and windows' records that wait to be written: two busy days."""

_FULL_SHARE = 0.75
"""With so much of the bytes pending, writing begins at once: the rest takes what comes meanwhile."""

_encode_version = msgspec.msgpack.Encoder().encode


class Pending:
    """For the event loop's thread alone: nothing in here waits or locks."""

    def __init__(self, names: Names, limit_bytes: int) -> None:
        self._names = names
        self._limit_bytes = limit_bytes
        self._blocks: dict[tuple[Edition, bool], dict[int, Block]] = {}
        self._rows = 0
        self.used_bytes = 0
        self.batch = Batch()
        """Everything but blocks."""

    @property
    def full(self) -> bool:
        """Whether writing should begin."""
        return self.used_bytes >= self._limit_bytes * _FULL_SHARE

    def add_block(self, edition: Edition, index: int, block: Block, read: bool) -> bool:
        """Whether there was room for it."""
        if self.used_bytes + len(block) > self._limit_bytes:
            return False
        blocks = self._blocks.setdefault((edition, read), {})
        if index not in blocks and len(block) == min(BLOCK_BYTES, edition.size - index * BLOCK_BYTES):
            blocks[index] = block
            self.used_bytes += len(block)
        return True

    def add_version(self, recording: RecordingKey, version: Version) -> bool:
        """Whether there was room for it."""
        if not self._takes(1):
            return False
        value = _encode_version((version.size, version.etag, version.last_modified))
        self.batch.versions[self._names.version(recording)] = recording.tenant, value
        return True

    def add_window(self, tenant: str, number: int, records: Collection[Record], asked_s: float) -> bool:
        """Whether there was room for it."""
        if not self._takes(len(records)):
            return False
        self.batch.windows[self._names.window(tenant, number)] = tenant, records, int(asked_s)
        return True

    def _takes(self, rows: int) -> bool:
        # One window that is larger than the bound is taken where nothing else waits.
        if self._rows and self._rows + rows > _ROWS_PENDING:
            return False
        self._rows += rows
        return True

    def forget(self, edition: Edition) -> None:
        """Drop what is pending of an edition, and its version unless a newer one is pending; the rest is
        the keeper's."""
        for read in (False, True):
            self.used_bytes -= sum(map(len, self._blocks.pop((edition, read), {}).values()))
        self.batch.versions.pop(self._names.version(edition.recording), None)
        self.batch.forgotten.append((self._names.edition(edition), self._names.version(edition.recording)))

    def take(self, now_s: float) -> Batch:
        """Everything, as runs of adjacent blocks; nothing is pending afterwards."""
        batch, self.batch = self.batch, Batch()
        blocks, self._blocks = self._blocks, {}
        self.used_bytes = self._rows = 0
        for (edition, read), some in blocks.items():
            name, recording = self._names.edition(edition), self._names.recording(edition.recording)
            for first, stop in _runs(sorted(some)):
                run = [some[index] for index in range(first, stop)]
                batch.runs.append(Run(edition, name, recording, first, run, read, int(now_s)))
        return batch


def _runs(indexes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Adjacent numbers as half-open ranges."""
    begin = 0
    for at in range(1, len(indexes) + 1):
        if at == len(indexes) or indexes[at] != indexes[at - 1] + 1:
            yield indexes[begin], indexes[at - 1] + 1
            begin = at
