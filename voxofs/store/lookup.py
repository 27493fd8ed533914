"""Looking things up: what the reading threads do. Blocks; never raises; tells what it met beside what it
found."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from voxofs.clock import Clock
from voxofs.model import Edition, Record, RecordingKey, Version

from .health import Broken, Rest, translated
from .index import Index
from .ledger import Ledger
from .names import Names, VersionName
from .records import decode_records
from .seal import NotOurs
from .shelf import Piece, Shelves

_GONE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ESPIPE, errno.ENXIO, errno.EIO)
"""Not there, something else in its place, or a bad sector."""

_USED_STEP_S = 60
"""A piece's last use is noted once in a minute: enough for an order of what to delete in months."""

_decode_version = msgspec.msgpack.Decoder(tuple[int, str | None, str | None]).decode


class KeptWindow(NamedTuple):
    """A settled window as it was when it was asked for."""

    records: list[Record]
    asked_s: int
    """Seconds since the epoch."""


@dataclass
class Seen:
    """What a look-up met."""

    used: set[int] = field(default_factory=set)
    """Pieces whose use should be noted."""
    used_folders: set[bytes] = field(default_factory=set)
    used_windows: set[bytes] = field(default_factory=set)
    damaged: dict[int, str] = field(default_factory=dict)
    """Pieces, and what is wrong with them."""
    bad_versions: set[VersionName] = field(default_factory=set)
    bad_windows: set[bytes] = field(default_factory=set)
    trouble: Rest | Broken | None = None

    @property
    def urgent(self) -> bool:
        """Whether the keeper should hear of it soon."""
        return bool(self.damaged or self.bad_versions or self.bad_windows or self.trouble)


class Lookup:
    """For several threads at once."""

    def __init__(self, index: Index, ledger: Ledger, shelves: Shelves, names: Names, clock: Clock) -> None:
        self._index = index
        self._ledger = ledger
        self._shelves = shelves
        self._names = names
        self._clock = clock

    def read(self, edition: Edition, first: int, stop: int) -> tuple[list[bytes | None], Seen]:
        """Blocks `first` to `stop` (exclusive), None for each that is not held."""
        blocks: list[bytes | None] = [None] * (stop - first)
        seen = Seen()
        try:
            name, now_s = self._names.edition(edition), self._clock.wall_s()
            with self._index.reading() as db:
                pieces = self._ledger.find(db, name, first, stop, now_s)
            for piece in pieces:
                self._read_piece(piece, edition, name, first, blocks, seen)
                if not piece.read or piece.used_ms < (now_s - _USED_STEP_S) * 1000:
                    seen.used.add(piece.id)
        except Exception as error:
            seen.trouble = translated(error)
        return blocks, seen

    def _read_piece(
        self, piece: Piece, edition: Edition, name: bytes, first: int, blocks: list[bytes | None], seen: Seen
    ) -> None:
        try:
            part = self._shelves.read(piece, edition, name, first, first + len(blocks))
        except NotOurs as error:
            seen.damaged[piece.id] = f"a piece is {error}"
        except OSError as error:
            if error.errno not in _GONE:
                raise
            seen.damaged[piece.id] = "a piece is gone or cannot be read"
        else:
            at = max(first, piece.first) - first
            for place, block in enumerate(part, at):
                if block is not None:
                    blocks[place] = block
            if None in part:
                seen.damaged[piece.id] = "a piece is not what was written"

    def versions(self, recordings: Sequence[RecordingKey]) -> tuple[dict[RecordingKey, Version], Seen]:
        """Those of them that are kept."""
        found: dict[RecordingKey, Version] = {}
        seen = Seen()
        try:
            wanted = {self._names.version(recording): recording for recording in recordings}
            for name, value in self._index.versions(wanted).items():
                seen.used_folders.add(name[0])
                try:
                    if value is None:
                        raise NotOurs
                    found[wanted[name]] = Version(*_decode_version(value))
                except (NotOurs, msgspec.MsgspecError):
                    seen.bad_versions.add(name)
        except Exception as error:
            seen.trouble = translated(error)
        return found, seen

    def window(self, tenant: str, number: int) -> tuple[KeptWindow | None, Seen]:
        """What is kept of a window."""
        seen = Seen()
        key = self._names.window(tenant, number)
        with suppress(NotOurs):
            try:
                kept = self._index.window(key)
                if kept is None:
                    return None, seen
                window = KeptWindow(decode_records(kept[0]), kept[1])
                seen.used_windows.add(key)
                return window, seen
            except NotOurs:
                seen.bad_windows.add(key)
            except Exception as error:
                seen.trouble = translated(error)
        return None, seen
