"""The index: one SQLite database (WAL) that tells what is held, shared by all processes that use the
directory.

    pieces     which runs of blocks lie where, since when, used when: `ledger` keeps these
    versions   which bytes a recording consists of, by tenant and day: a folder is one range of the table
    windows    the records of a settled window
    tenants    their names

Keys are keyed names, values are sealed and bound to their keys. In the clear are numbers that the file system
tells anyway: how many, how large, when.

One connection writes; each thread that reads has its own, which is lent from a pool. The pool goes with the
index: a connection lent before the index was closed is closed when it is given back.

Commits are not synced one by one (`synchronous = NORMAL`): a power cut may cost the last of them, never the
database (sqlite.org/wal.html, "Performance Considerations").
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from .health import Broken
from .seal import FORMAT, NotOurs, Seal

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE tenants (id INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL UNIQUE, value BLOB NOT NULL);
CREATE TABLE pieces (
    id INTEGER PRIMARY KEY AUTOINCREMENT, edition BLOB NOT NULL, recording BLOB NOT NULL,
    tenant INTEGER NOT NULL,
    first INTEGER NOT NULL, stop INTEGER NOT NULL, bytes INTEGER NOT NULL,
    shelf TEXT NOT NULL, number INTEGER NOT NULL,
    fetched_s INTEGER NOT NULL, used_ms INTEGER NOT NULL, read INTEGER NOT NULL, writer TEXT
);
CREATE INDEX pieces_by_edition ON pieces (edition, first);
CREATE INDEX pieces_by_recording ON pieces (recording);
CREATE INDEX pieces_by_use ON pieces (read, used_ms) WHERE writer IS NULL;
CREATE INDEX pieces_by_age ON pieces (fetched_s);
CREATE UNIQUE INDEX pieces_by_place ON pieces (shelf, number);
CREATE INDEX pieces_by_writer ON pieces (writer) WHERE writer IS NOT NULL;
CREATE TABLE room (id INTEGER PRIMARY KEY CHECK (id = 0), used INTEGER NOT NULL, unread INTEGER NOT NULL);
INSERT INTO room VALUES (0, 0, 0);
CREATE TABLE versions (
    folder BLOB NOT NULL, key BLOB NOT NULL, tenant INTEGER NOT NULL, value BLOB NOT NULL,
    kept_s INTEGER NOT NULL, used_day INTEGER NOT NULL, PRIMARY KEY (folder, key)
) WITHOUT ROWID;
CREATE INDEX versions_by_use ON versions (used_day);
CREATE TABLE windows (
    key BLOB PRIMARY KEY, tenant INTEGER NOT NULL, value BLOB NOT NULL,
    kept_s INTEGER NOT NULL, used_day INTEGER NOT NULL
);
CREATE INDEX windows_by_use ON windows (used_day);
"""

_TYPES = {
    "pieces": dict.fromkeys(("edition", "recording"), "blob")
    | {"shelf": "text"}
    | dict.fromkeys(
        ("tenant", "first", "stop", "bytes", "number", "fetched_s", "used_ms", "read"), "integer"
    ),
    "room": dict.fromkeys(("used", "unread"), "integer"),
    "versions": dict.fromkeys(("folder", "key", "value"), "blob"),
    "windows": {"key": "blob", "value": "blob", "kept_s": "integer"},
}
"""What SQLite, which takes anything into any column, must find there. (STRICT tables need 3.37; there are
systems with less.)"""

_BUSY_S = 5.0
"""How long a change waits for another process's; those take milliseconds, a purge of 20 GiB a few seconds."""

_PAGE_CACHE_KIB = 1024
"""Of each connection: the file is in the kernel's page cache anyway."""

_IN_ONE_STATEMENT = 500
"""Rows asked for, or deleted, together; SQLite takes up to 32,766 parameters."""

_SCAN_FROM = 16
"""From so many names of one folder on, the folder is read whole: that costs less than as many searches."""

_DAY_S = 86_400


class ForeignKey(Exception):
    """What lies in the directory was sealed under another key."""


class Index:
    """Connections to the database, and all of it but the pieces."""

    def __init__(self, path: Path, seal: Seal, limit_bytes: int) -> None:
        self._path = path
        self._seal = seal
        self._limit_bytes = limit_bytes
        self._writer: sqlite3.Connection | None = None
        self._readers: list[sqlite3.Connection] = []
        """Made anew with each index, so that the list tells which index a connection belongs to."""
        self._lending = threading.Lock()
        self._inode: tuple[int, int] | None = None
        self._tenants: dict[str, int] = {}

    # Connections.

    def open(self) -> bool:
        """Open, and make what is not there; whether there was nothing. Under the directory's lock. Raises
        `ForeignKey`, `Broken`, sqlite3.Error."""
        self.attach()
        db = self._writer
        assert db is not None
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables:
            with self.change() as change:
                for statement in _SCHEMA.split(";"):
                    change.execute(statement)
                change.execute("INSERT INTO meta VALUES ('format', ?)", (FORMAT,))
                change.execute("INSERT INTO meta VALUES ('key', ?)", (self._seal.name("key"),))
        meta = dict(db.execute("SELECT name, value FROM meta"))
        if meta.get("format") != FORMAT:
            raise Broken("the index is of another format")
        if meta.get("key") != self._seal.name("key"):
            raise ForeignKey
        return not tables

    def attach(self) -> None:
        """Open what is there, whoever's it is. Raises sqlite3.Error."""
        self.close()
        self._writer = self._connect()
        self._inode = self._identity()

    def _connect(self) -> sqlite3.Connection:
        # `rw`: a file that is gone is not made anew under a mode of SQLite's choice.
        db = sqlite3.connect(
            f"file:{quote(str(self._path))}?mode=rw",
            uri=True,
            timeout=_BUSY_S,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(f"PRAGMA cache_size = -{_PAGE_CACHE_KIB}")
            db.execute("PRAGMA temp_store = MEMORY")
            db.execute("PRAGMA trusted_schema = OFF")
        except BaseException:
            db.close()
            raise
        return db

    def _identity(self) -> tuple[int, int] | None:
        with suppress(OSError):
            status = self._path.stat()
            return status.st_dev, status.st_ino
        return None

    def replaced(self) -> bool:
        """Whether the path names another file than the one that is open."""
        return self._identity() != self._inode

    def close(self) -> None:
        """Close what no thread uses at the moment."""
        with self._lending:
            connections, self._readers = self._readers, []
            writer, self._writer = self._writer, None
        self._tenants.clear()
        for each in connections if writer is None else [*connections, writer]:
            with suppress(sqlite3.Error):
                each.close()

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """One transaction that changes something. Raises sqlite3.Error."""
        db = self._writer
        if db is None:
            raise Broken("the index is not open")
        db.execute("BEGIN IMMEDIATE")
        self._tenants.clear()  # another process may have deleted them
        try:
            yield db
            db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise

    def commit(self, change: sqlite3.Connection) -> None:
        """Commit what was changed so far, and go on in another transaction. Raises sqlite3.Error."""
        change.execute("COMMIT")
        self._tenants.clear()
        change.execute("BEGIN IMMEDIATE")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for this thread, for a moment."""
        with self._lending:
            pool = self._readers if self._writer is not None else None
            db = pool.pop() if pool else None
        if db is None:
            db = self._connect()
        try:
            yield db
        finally:
            with self._lending:
                # The keeper may have closed the index meanwhile, and opened another.
                kept = pool is self._readers
                if kept:
                    self._readers.append(db)
            if not kept:
                db.close()

    # Tenants.

    def tenant(self, change: sqlite3.Connection, name: str) -> int:
        """A tenant's number in this database."""
        number = self._tenants.get(name)
        if number is None:
            key = self._seal.name("tenant", name)
            row = change.execute("SELECT id FROM tenants WHERE key = ?", (key,)).fetchone()
            if row is None:
                value = self._seal.seal(name.encode("utf-8", "surrogatepass"), b"tenant" + key)
                row = change.execute(
                    "INSERT INTO tenants (key, value) VALUES (?, ?) RETURNING id", (key, value)
                ).fetchone()
            number = self._tenants[name] = int(row[0])
        return number

    def tenants(self, db: sqlite3.Connection) -> dict[int, str]:
        """Names of all tenants that can be opened."""
        names = {}
        for number, key, value in db.execute("SELECT id, key, value FROM tenants"):
            with suppress(NotOurs):
                names[number] = self._seal.open(value, b"tenant" + key).decode("utf-8", "surrogatepass")
        return names

    # Versions.

    def versions(self, wanted: Iterable[tuple[bytes, bytes]]) -> dict[tuple[bytes, bytes], bytes | None]:
        """What is kept of these (folder, key); None for what does not open. The others are not in the
        answer."""
        keys_of: dict[bytes, set[bytes]] = {}
        for folder, key in wanted:
            keys_of.setdefault(folder, set()).add(key)
        found: dict[tuple[bytes, bytes], bytes | None] = {}
        with self.reading() as db:
            for folder, keys in keys_of.items():
                for key, value in self._folder(db, folder, keys):
                    if key in keys:
                        try:
                            found[folder, key] = self._seal.open(value, b"version" + folder + key)
                        except NotOurs:
                            found[folder, key] = None
        return found

    @staticmethod
    def _folder(db: sqlite3.Connection, folder: bytes, keys: set[bytes]) -> Sequence[tuple[bytes, bytes]]:
        if len(keys) >= _SCAN_FROM:
            return db.execute("SELECT key, value FROM versions WHERE folder = ?", (folder,)).fetchall()
        marks = ", ".join("?" * len(keys))
        statement = f"SELECT key, value FROM versions WHERE folder = ? AND key IN ({marks})"
        return db.execute(statement, (folder, *keys)).fetchall()

    def keep_version(
        self, change: sqlite3.Connection, name: tuple[bytes, bytes], tenant: str, value: bytes, now_s: int
    ) -> None:
        """Keep, or replace, what is known of a recording."""
        sealed = self._seal.seal(value, b"version" + name[0] + name[1])
        change.execute(
            "INSERT OR REPLACE INTO versions VALUES (?, ?, ?, ?, ?, ?)",
            (*name, self.tenant(change, tenant), sealed, now_s, now_s // _DAY_S),
        )

    def kept_versions(
        self, change: sqlite3.Connection, names: Iterable[tuple[bytes, bytes]]
    ) -> list[tuple[bytes, bytes]]:
        """Those of them that are kept, whatever they tell."""
        found = "SELECT 1 FROM versions WHERE folder = ? AND key = ?"
        return [name for name in names if change.execute(found, name).fetchone()]

    def forget_version(self, change: sqlite3.Connection, name: tuple[bytes, bytes]) -> None:
        """It is not so any more."""
        change.execute("DELETE FROM versions WHERE folder = ? AND key = ?", name)

    # Windows.

    def window(self, key: bytes) -> tuple[bytes, int] | None:
        """What is kept of a window, and when it was kept. Raises `NotOurs` where it does not open."""
        with self.reading() as db:
            row = db.execute("SELECT value, kept_s FROM windows WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        value, kept_s = row
        return self._seal.open(value, b"window" + key + kept_s.to_bytes(8, "big", signed=True)), kept_s

    def keep_window(
        self, change: sqlite3.Connection, key: bytes, tenant: str, value: bytes, kept_s: int, now_s: int
    ) -> None:
        """Keep, or replace, a window that was asked for at `kept_s`."""
        sealed = self._seal.seal(value, b"window" + key + kept_s.to_bytes(8, "big", signed=True))
        change.execute(
            "INSERT OR REPLACE INTO windows VALUES (?, ?, ?, ?, ?)",
            (key, self.tenant(change, tenant), sealed, kept_s, now_s // _DAY_S),
        )

    def forget_window(self, change: sqlite3.Connection, key: bytes) -> None:
        """It does not open."""
        change.execute("DELETE FROM windows WHERE key = ?", (key,))

    # Bounds.

    def used(self, change: sqlite3.Connection, folders: set[bytes], windows: set[bytes], now_s: int) -> None:
        """These were used today."""
        today = now_s // _DAY_S
        change.executemany(
            "UPDATE versions SET used_day = ? WHERE folder = ? AND used_day < ?",
            [(today, folder, today) for folder in folders],
        )
        change.executemany(
            "UPDATE windows SET used_day = ? WHERE key = ? AND used_day < ?",
            [(today, key, today) for key in windows],
        )

    def size_bytes(self, db: sqlite3.Connection) -> int:
        """What the database holds, free pages not counted."""
        ((pages,),) = db.execute("PRAGMA page_count").fetchall()
        ((free,),) = db.execute("PRAGMA freelist_count").fetchall()
        ((page,),) = db.execute("PRAGMA page_size").fetchall()
        return int((pages - free) * page)

    def shrink(self, change: sqlite3.Connection) -> int:
        """Delete what was not used for longest until the index is within its bound; how many rows that
        were."""
        gone = 0
        while self.size_bytes(change) > self._limit_bytes:
            # Windows weigh as much as thousands of versions: few of them for many of those.
            before = gone
            for table, key, count in (
                ("versions", "folder, key", 4 * _IN_ONE_STATEMENT),
                ("windows", "key", 4),
            ):
                gone += change.execute(
                    f"DELETE FROM {table} WHERE ({key}) IN "
                    f"(SELECT {key} FROM {table} ORDER BY used_day LIMIT {count})"
                ).rowcount
            if gone == before:
                break
        return gone

    def check(self) -> None:
        """Read all of it. Raises `Broken` where pages are not as SQLite wrote them, or rows not as we did."""
        with self.reading() as db:
            answer = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if answer != "ok":
                raise Broken(str(answer))
            for table, types in _TYPES.items():
                wrong = " OR ".join(f"typeof({column}) <> '{kind}'" for column, kind in types.items())
                if db.execute(f"SELECT 1 FROM {table} WHERE {wrong} LIMIT 1").fetchone():
                    raise Broken(f"a row of {table} is not what was written")
            if db.execute("SELECT count(*) FROM room").fetchone() != (1,):
                raise Broken("nothing tells how much is held")
