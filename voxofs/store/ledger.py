"""The ledger: which pieces there are, and that they never take more than they may.

Room is *reserved* before anything is written, and given back after it was deleted, both in the database and
so for all processes together: what the table `room` says is never less than what the files take. A piece is
written in three steps:

    1. one transaction enters the new pieces as reserved, when what has to go for them is deleted
    2. the files are written, with no lock held
    3. one transaction, the next batch's first where there is one, makes them visible

and deleted in three, too: one transaction *dooms* them, so that nobody reads them any more; their files go;
the next transaction takes their rows. Killed anywhere, a process leaves pieces that are reserved or doomed;
whoever comes next sees that nobody alive has them, and deletes them.

**Who goes first.** As in memory: pieces that nobody has read may take an eighth, beyond that they go first;
else what was not read for longest. Both never before what is too old.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from voxofs.model import Block, Edition

from .health import Rest
from .index import Index
from .place import Directory
from .seal import NotOurs
from .settings import DiskSettings
from .shelf import PIECE_BLOCKS, Piece, Shelves, on_disk_bytes, piece_bytes

_UNREAD_SHARE = 8
"""As in memory."""

_SLACK_SHARE = 64
_SLACK_MOST_BYTES = 32 << 20
"""Deleted beyond what is needed at the moment, so that a full tier does not delete for every piece it
writes."""

_STEP = 256
"""Pieces deleted in one transaction: 10 ms on ext4, during which other processes do not write."""

_CLOCK_SLACK_S = 3_600
"""A piece from the future was fetched while a clock was wrong. Nobody knows its age; it goes."""

_DOOMED = "doomed"
"""In the place of the process that writes a piece: nobody, and nobody alive."""

_COLUMNS = "id, first, stop, shelf, number, fetched_s, used_ms, read"


class NoRoom(Rest):
    """Not even with everything deleted."""


@dataclass(frozen=True)
class Run:
    """Adjacent blocks that were offered."""

    edition: Edition
    name: bytes
    """The edition's."""
    recording: bytes
    """The recording's name."""
    first: int
    blocks: Sequence[Block]
    read: bool
    fetched_s: int

    def part(self, first: int, stop: int) -> Run:
        """Some of it."""
        blocks = self.blocks[first - self.first : stop - self.first]
        return Run(self.edition, self.name, self.recording, first, blocks, self.read, self.fetched_s)


@dataclass(frozen=True)
class Reserved:
    """A piece that has room and a place, and is about to be written."""

    id: int
    run: Run
    shelf: str
    number: int


class Ledger:
    """All changes are made within a transaction that the caller holds."""

    def __init__(self, index: Index, place: Directory, shelves: Shelves, settings: DiskSettings) -> None:
        self._index = index
        self._place = place
        self._shelves = shelves
        self._settings = settings

    def find(self, db: sqlite3.Connection, name: bytes, first: int, stop: int, now_s: float) -> list[Piece]:
        """What is held of a run of blocks, and is not too old."""
        rows = db.execute(
            f"SELECT {_COLUMNS} FROM pieces WHERE edition = ? AND first < ? AND stop > ? AND writer IS NULL "
            "AND fetched_s > ? AND fetched_s < ? ORDER BY first",
            (name, stop, first, *self._young(now_s)),
        )
        return [Piece(*row) for row in rows]

    def _young(self, now_s: float) -> tuple[float, float]:
        return now_s - self._settings.max_age_s, now_s + _CLOCK_SLACK_S

    # Bringing in.

    def reserve(self, change: sqlite3.Connection, runs: Iterable[Run], now_s: float) -> list[Reserved]:
        """Room and places for what is not held yet. Raises `NoRoom` and OSError."""
        while self.expire(change, now_s):
            pass
        parts = [part for run in runs for part in self._missing(change, run)]
        need = sum(_bytes_of(part) for part in parts)
        if not parts:
            return []
        self._make_room(change, need)
        reserved = []
        for part in parts:
            shelf, number = self._shelves.next_name()
            (piece,) = change.execute(
                "INSERT INTO pieces (edition, recording, tenant, first, stop, bytes, shelf, number,"
                " fetched_s, used_ms, read, writer) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
                (
                    *(part.name, part.recording, self._index.tenant(change, part.edition.recording.tenant)),
                    *(part.first, part.first + len(part.blocks), _bytes_of(part), shelf, number),
                    *(part.fetched_s, int(now_s * 1000), part.read, self._place.process),
                ),
            ).fetchone()
            reserved.append(Reserved(piece, part, shelf, number))
        unread = sum(_bytes_of(part) for part in parts if not part.read)
        change.execute("UPDATE room SET used = used + ?, unread = unread + ?", (need, unread))
        return reserved

    def _missing(self, change: sqlite3.Connection, run: Run) -> Iterator[Run]:
        """The run without what is held or reserved, cut where pieces end."""
        rows = change.execute(
            "SELECT first, stop FROM pieces WHERE edition = ? AND first < ? AND stop > ? AND writer IS NOT ?",
            (run.name, run.first + len(run.blocks), run.first, _DOOMED),
        ).fetchall()
        held = {index for first, stop in rows for index in range(first, stop)}
        begin = None
        for index in range(run.first, run.first + len(run.blocks) + 1):
            wanted = index < run.first + len(run.blocks) and index not in held
            if begin is not None and (not wanted or index % PIECE_BLOCKS == 0):
                yield run.part(begin, index)
                begin = None
            if wanted and begin is None:
                begin = index

    def _make_room(self, change: sqlite3.Connection, need: int) -> None:
        short = self._short(change, need)
        if short > 0 and need <= self._settings.size_bytes:
            self.evict(change, short + self._slack)
            # Asked again: a file that somebody still reads gives its room back later.
            short = self._short(change, need)
        if short > 0:
            raise NoRoom("other files leave no room: free some, or set a smaller `keep_free`", readable=True)

    @property
    def _slack(self) -> int:
        return min(self._settings.size_bytes // _SLACK_SHARE, _SLACK_MOST_BYTES)

    def _short(self, change: sqlite3.Connection, need: int) -> int:
        """Bytes by which the bounds would be exceeded."""
        (used,) = change.execute("SELECT used FROM room").fetchone()
        (coming,) = change.execute(
            "SELECT coalesce(sum(bytes), 0) FROM pieces WHERE writer IS NOT NULL"
        ).fetchone()
        over_size = used + need - self._settings.size_bytes
        over_free = need + coming + self._settings.keep_free_bytes - self._place.free_bytes()
        return int(max(over_size, over_free))

    def publish(self, change: sqlite3.Connection, written: Iterable[Reserved]) -> list[Reserved]:
        """What was written is there for everybody. Gives back what somebody has deleted in the meantime."""
        gone = []
        for piece in written:
            statement = "UPDATE pieces SET writer = NULL WHERE id = ? AND writer = ?"
            if not change.execute(statement, (piece.id, self._place.process)).rowcount:
                gone.append(piece)
        self._shelves.remove([(piece.shelf, piece.number) for piece in gone])
        return gone

    # Letting go.

    def evict(self, change: sqlite3.Connection, amount: int) -> int:
        """Delete what goes first until `amount` bytes are free, or nothing is left; how many pieces that
        were."""
        pieces = freed = 0
        while freed < amount:
            (unread,) = change.execute("SELECT unread FROM room").fetchone()
            surplus = unread - self._settings.size_bytes // _UNREAD_SHARE
            batch = self._oldest(change, 0, min(amount - freed, surplus)) if surplus > 0 else []
            batch = (
                batch or self._oldest(change, 1, amount - freed) or self._oldest(change, 0, amount - freed)
            )
            if not batch:
                break
            self.delete(change, batch)
            freed += sum(size for _, size in batch)
            pieces += len(batch)
        return pieces

    @staticmethod
    def _oldest(change: sqlite3.Connection, read: int, amount: int) -> list[tuple[int, int]]:
        rows = change.execute(
            "SELECT id, bytes FROM pieces WHERE writer IS NULL AND read = ? ORDER BY used_ms, id LIMIT ?",
            (read, _STEP),
        ).fetchall()
        taken: list[tuple[int, int]] = []
        for row in rows:
            if amount <= 0:
                break
            taken.append(row)
            amount -= row[1]
        return taken

    def delete(self, change: sqlite3.Connection, pieces: Iterable[tuple[int, ...]]) -> int:
        """Delete pieces by their number; what the caller did before is committed with their doom. How many
        there were. Raises OSError."""
        ids = [piece[0] for piece in pieces]
        if not ids:
            return 0
        marks = ", ".join("?" * len(ids))
        change.execute(f"UPDATE pieces SET writer = ? WHERE id IN ({marks})", (_DOOMED, *ids))
        self._index.commit(change)
        # Asked for now: another process may have buried some of them in between.
        rows = change.execute(
            f"SELECT shelf, number, bytes, read FROM pieces WHERE id IN ({marks})", ids
        ).fetchall()
        self._shelves.remove([(shelf, number) for shelf, number, _, _ in rows])
        change.execute(f"DELETE FROM pieces WHERE id IN ({marks})", ids)
        used = sum(row[2] for row in rows)
        unread = sum(row[2] for row in rows if not row[3])
        change.execute("UPDATE room SET used = used - ?, unread = unread - ?", (used, unread))
        return len(ids)

    def condemn(self, change: sqlite3.Connection, piece: int) -> int:
        """Delete a piece that a reader found damaged; 0 where it was not: it was deleted, by whichever
        process, between the reader's look at the index and its look at the disk."""
        visible = "SELECT id FROM pieces WHERE id = ? AND writer IS NULL"
        return self.delete(change, change.execute(visible, (piece,)).fetchall())

    def expire(self, change: sqlite3.Connection, now_s: float) -> int:
        """Delete some of what is too old; how many pieces that were, 0 when there is nothing left to
        delete."""
        rows = change.execute(
            "SELECT id FROM (SELECT id FROM pieces WHERE fetched_s <= ? UNION ALL "
            "SELECT id FROM pieces WHERE fetched_s >= ?) LIMIT ?",
            (*self._young(now_s), _STEP),
        ).fetchall()
        return self.delete(change, rows) if rows else 0

    def keep_free(self, change: sqlite3.Connection) -> int:
        """Make room for others where they took it; how many pieces went."""
        short = self._short(change, 0)
        return self.evict(change, short + self._slack) if short > 0 else 0

    def bury(self, change: sqlite3.Connection) -> int:
        """Delete what dead processes had reserved or doomed."""
        writers = change.execute("SELECT DISTINCT writer FROM pieces WHERE writer IS NOT NULL").fetchall()
        gone = 0
        for (writer,) in writers:
            if not self._place.lives(writer):
                rows = change.execute("SELECT id FROM pieces WHERE writer = ?", (writer,)).fetchall()
                gone += self.delete(change, rows)
        return gone

    def withdraw(self, change: sqlite3.Connection) -> None:
        """Delete what this process had reserved and could not write."""
        rows = change.execute("SELECT id FROM pieces WHERE writer = ?", (self._place.process,)).fetchall()
        self.delete(change, rows)

    def forget(self, change: sqlite3.Connection, column: str, name: bytes) -> int:
        """Delete all pieces of an edition, or of a recording."""
        assert column in ("edition", "recording")
        rows = change.execute(
            f"SELECT id FROM pieces WHERE {column} = ? AND writer IS NULL", (name,)
        ).fetchall()
        return self.delete(change, rows) if rows else 0

    def used(self, change: sqlite3.Connection, ids: Iterable[int], now_s: float) -> None:
        """These were read."""
        for piece in ids:
            row = change.execute(
                "SELECT bytes FROM pieces WHERE id = ? AND NOT read AND writer IS NULL", (piece,)
            ).fetchone()
            change.execute(
                "UPDATE pieces SET used_ms = ?, read = 1 WHERE id = ? AND writer IS NULL",
                (int(now_s * 1000), piece),
            )
            if row:
                change.execute("UPDATE room SET unread = unread - ?", row)

    @staticmethod
    def audio_bytes(db: sqlite3.Connection) -> int:
        """What all pieces take."""
        return int(db.execute("SELECT used FROM room").fetchone()[0])

    # Agreeing with the disk.

    def recount(self, change: sqlite3.Connection) -> None:
        """Count anew what the pieces take, then keep to the bounds."""
        change.execute(
            "UPDATE room SET used = (SELECT coalesce(sum(bytes), 0) FROM pieces),"
            " unread = (SELECT coalesce(sum(bytes), 0) FROM pieces WHERE NOT read)"
        )
        self.keep_free(change)

    def shelves(self, db: sqlite3.Connection) -> set[str]:
        """All shelves that the index knows."""
        return {shelf for (shelf,) in db.execute("SELECT DISTINCT shelf FROM pieces")}

    def compare(
        self, change: sqlite3.Connection, shelf: str, files: dict[str, os.stat_result], now_s: float
    ) -> int:
        """Make index and disk agree about one shelf, of which `files` were seen before; how many pieces
        were damaged."""
        rows = change.execute(
            "SELECT id, number, bytes, writer FROM pieces WHERE shelf = ?", (shelf,)
        ).fetchall()
        known = {f"{number:04x}": (piece, size, writer) for piece, number, size, writer in rows}
        damaged = []
        for name, (piece, size, writer) in known.items():
            seen = files.get(name)
            if writer is not None:
                continue
            if seen is None:  # perhaps written since
                try:
                    seen = os.lstat(self._shelves.path(shelf, int(name, 16)))
                except (OSError, NotOurs):
                    damaged.append((piece,))
                    continue
            old = seen.st_mtime <= self._young(now_s)[0]
            if on_disk_bytes(seen.st_size) != size or old:
                damaged.append((piece,))
        self.delete(change, damaged)
        unknown = files.keys() - known.keys()
        self._shelves.discard(shelf, unknown)
        return len(damaged) + len(unknown)


def _bytes_of(part: Run) -> int:
    return on_disk_bytes(piece_bytes(part.edition, part.first, part.first + len(part.blocks)))
