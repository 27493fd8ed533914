"""What lies in a directory, told and deleted from outside: `voxofs cache show` and `voxofs cache purge`.

Both work beside mounts that run on the directory: those find the rows gone with their next look. Without
the key only numbers can be told, because names are sealed; everything can be deleted by age, but nothing by
tenant. Block.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from voxofs.clock import Clock
from voxofs.errors import VoxofsError

from .health import Broken, translated
from .index import ForeignKey, Index
from .key import key_in_memory
from .ledger import Ledger
from .place import Directory
from .seal import Seal
from .settings import DiskSettings
from .shelf import Shelves

_STEP = 256
"""Pieces deleted in one transaction, so that mounts which write wait for 10 ms and not for a whole purge."""


@dataclass(frozen=True)
class Held:
    """What is held of one tenant, or of all where `tenant` is None."""

    tenant: str | None
    recordings: int
    """Of which there is audio."""
    bytes: int
    oldest_s: int | None
    """When the oldest audio was fetched, seconds since the epoch."""
    versions: int
    windows: int


@dataclass(frozen=True)
class Purged:
    """What was deleted."""

    pieces: int
    bytes: int
    rows: int
    """Versions and windows."""


class _Opened:
    def __init__(self, path: Path, key: bytes | None) -> None:
        self.place = Directory(path, Clock().monotonic_s)
        if not self.place.database.is_file():
            raise VoxofsError(f"{path}: no disk tier there; name the directory that `path` in [disk] names")
        seal = Seal(key or key_in_memory())
        self.place.share()
        self.index = Index(self.place.database, seal, 0)
        try:
            if key is None:
                self.index.attach()
            else:
                self.index.open()
        except BaseException:
            self.close()
            raise
        self.shelves = Shelves(self.place.audio, seal)
        self.ledger = Ledger(self.index, self.place, self.shelves, DiskSettings(path=path))

    def close(self) -> None:
        self.index.close()
        self.place.close()


@contextmanager
def _opened(path: Path, key: bytes | None) -> Iterator[_Opened]:
    try:
        with closing(_Opened(path, key)) as opened:
            yield opened
    except ForeignKey:
        raise VoxofsError(f"{path}: was sealed under another key; name its key_file, or none") from None
    except (OSError, sqlite3.Error, Broken) as error:
        trouble = translated(error)
        hint = "; it is begun anew with the next mount" if isinstance(trouble, Broken) else ""
        raise VoxofsError(f"{path}: {trouble}{hint}") from None


def show(path: Path, key: bytes | None) -> list[Held]:
    """What is held: all of it first, then by tenant where the key is given. Raises VoxofsError."""
    with _opened(path, key) as opened, opened.index.reading() as db:
        held = [_held(db, None, None)]
        names = opened.index.tenants(db) if key is not None else {}
        held += (_held(db, number, name) for number, name in sorted(names.items(), key=lambda item: item[1]))
    return held


def audio_bytes(path: Path) -> int:
    """What the audio takes on the disk, as the index has it; 0 where there is none that can be read."""
    try:
        with _opened(path, None) as opened, opened.index.reading() as db:
            return int(db.execute("SELECT used FROM room").fetchone()[0])
    except VoxofsError:
        return 0


def _held(db: sqlite3.Connection, number: int | None, name: str | None) -> Held:
    where, parameters = ("", ()) if number is None else (" WHERE tenant = ?", (number,))
    recordings, size, oldest_s = db.execute(
        f"SELECT count(DISTINCT recording), coalesce(sum(bytes), 0), min(fetched_s) FROM pieces{where}",
        parameters,
    ).fetchone()
    (versions,) = db.execute(f"SELECT count(*) FROM versions{where}", parameters).fetchone()
    (windows,) = db.execute(f"SELECT count(*) FROM windows{where}", parameters).fetchone()
    return Held(name, recordings, size, oldest_s, versions, windows)


def purge(
    path: Path, key: bytes | None, *, tenant: str | None = None, before_s: float | None = None
) -> Purged:
    """Delete what is held, of one tenant or of all, kept before `before_s` (seconds since the epoch) or
    whenever. A tenant needs the key. Raises VoxofsError."""
    if tenant is not None and key is None:
        raise VoxofsError(f"{path}: the names of tenants are sealed; name the key_file, or purge all of them")
    with _opened(path, key) as opened:
        number = None
        if tenant is not None:
            with opened.index.reading() as db:
                names = opened.index.tenants(db)
            number = next((number for number, name in names.items() if name == tenant), None)
            if number is None:
                raise VoxofsError(f"{path}: holds nothing of {tenant}; see: voxofs cache show {path}")
        pieces, freed = _purge_pieces(opened, number, before_s)
        rows = _purge_rows(opened, number, before_s)
    return Purged(pieces, freed, rows)


def _where(number: int | None, before_s: float | None, column: str) -> tuple[str, tuple[float, ...]]:
    conditions = [("tenant = ?", number), (f"{column} < ?", before_s)]
    used = [(text, value) for text, value in conditions if value is not None]
    return " AND ".join(text for text, _ in used) or "1", tuple(value for _, value in used)


def _purge_pieces(opened: _Opened, number: int | None, before_s: float | None) -> tuple[int, int]:
    where, parameters = _where(number, before_s, "fetched_s")
    pieces = freed = 0
    while True:
        with opened.place.batch(), opened.index.change() as change:
            rows = change.execute(
                f"SELECT id, bytes FROM pieces WHERE {where} LIMIT {_STEP}", parameters
            ).fetchall()
            if not rows:
                return pieces, freed
            pieces += opened.ledger.delete(change, rows)
            freed += sum(size for _, size in rows)


def _purge_rows(opened: _Opened, number: int | None, before_s: float | None) -> int:
    where, parameters = _where(number, before_s, "kept_s")
    with opened.place.batch(), opened.index.change() as change:
        rows = sum(
            change.execute(f"DELETE FROM {table} WHERE {where}", parameters).rowcount
            for table in ("versions", "windows")
        )
        if before_s is None:
            # A mount may have brought something in the meantime: that keeps its tenant's name.
            change.execute(
                f"DELETE FROM tenants WHERE {where.replace('tenant', 'id')} "
                "AND id NOT IN (SELECT tenant FROM pieces)",
                parameters,
            )
    return rows
