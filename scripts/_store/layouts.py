"""Where sealed blocks should lie: rows of SQLite, a file each, or runs of up to N blocks in a file.

    python scripts/_store/layouts.py FOLDER [--big-mib 256] [--gib 2]

Prints one line a layout: seconds to write 200 small recordings and one big one, to read both cold (kernel
caches dropped; needs root), and to evict everything oldest first. Everything is sealed with AES-256-GCM. Wall
and CPU seconds.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

BLOCK = 65_536
CIPHER = AESGCM(bytes(32))
SMALL = [(number, 5) for number in range(200)]  # 290 KB each, as in the benchmark's hour


def seal(block: bytes) -> bytes:
    nonce = os.urandom(12)
    return nonce + CIPHER.encrypt(nonce, block, b"")


def unseal(sealed: bytes | memoryview) -> bytes:
    return CIPHER.decrypt(bytes(sealed[:12]), sealed[12:], b"")


class Layout:
    def __init__(self, path: Path) -> None:
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        self.path = path
        self.open()

    def open(self) -> None:
        self.db = sqlite3.connect(self.path / "index.db", isolation_level=None)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = NORMAL")
        self.schema()

    def close(self) -> None:
        self.db.close()

    def schema(self) -> None:
        raise NotImplementedError

    def write(self, batch: list[tuple[int, int, list[bytes]]]) -> None:
        raise NotImplementedError

    def read(self, number: int, first: int, stop: int) -> list[bytes]:
        raise NotImplementedError

    def evict(self, blocks: int) -> int:
        raise NotImplementedError


class Rows(Layout):
    name = "rows"

    def schema(self) -> None:
        self.db.execute("CREATE TABLE IF NOT EXISTS b (id INTEGER PRIMARY KEY, r INT, i INT, v BLOB)")
        self.db.execute("CREATE INDEX IF NOT EXISTS bi ON b (r, i)")

    def write(self, batch: list[tuple[int, int, list[bytes]]]) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        for number, first, blocks in batch:
            rows = [(number, index, seal(block)) for index, block in enumerate(blocks, first)]
            self.db.executemany("INSERT INTO b (r, i, v) VALUES (?, ?, ?)", rows)
        self.db.execute("COMMIT")

    def read(self, number: int, first: int, stop: int) -> list[bytes]:
        query = "SELECT v FROM b WHERE r = ? AND i >= ? AND i < ? ORDER BY i"
        return [unseal(value) for (value,) in self.db.execute(query, (number, first, stop))]

    def evict(self, blocks: int) -> int:
        return self.db.execute(
            "DELETE FROM b WHERE id IN (SELECT id FROM b ORDER BY id LIMIT ?)", (blocks,)
        ).rowcount


class Files(Layout):
    run = 1

    @property
    def name(self) -> str:
        return f"files of {self.run}"

    def schema(self) -> None:
        self.db.execute(
            "CREATE TABLE IF NOT EXISTS p (id INTEGER PRIMARY KEY, r INT, f INT, s INT, shelf INT)"
        )
        self.db.execute("CREATE INDEX IF NOT EXISTS pi ON p (r, f)")

    def write(self, batch: list[tuple[int, int, list[bytes]]]) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        for number, first, blocks in batch:
            for at in range(0, len(blocks), self.run):
                run = blocks[at : at + self.run]
                row = (number, first + at, first + at + len(run))
                id_ = self.db.execute("INSERT INTO p (r, f, s) VALUES (?, ?, ?)", row).lastrowid or 0
                os.makedirs(self.path / f"{id_ // 1024}", exist_ok=True) if id_ % 1024 < 2 else None
                descriptor = os.open(
                    self.path / f"{id_ // 1024}" / f"{id_}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600
                )
                os.writev(descriptor, [seal(block) for block in run])
                os.close(descriptor)
        self.db.execute("COMMIT")

    def read(self, number: int, first: int, stop: int) -> list[bytes]:
        query = "SELECT id, f, s FROM p WHERE r = ? AND f < ? AND s > ? ORDER BY f"
        found = []
        for id_, begin, end in self.db.execute(query, (number, stop, first)).fetchall():
            low, high = max(first, begin), min(stop, end)
            descriptor = os.open(f"{self.path}/{id_ // 1024}/{id_}", os.O_RDONLY)
            data = memoryview(os.pread(descriptor, (high - low) * (BLOCK + 28), (low - begin) * (BLOCK + 28)))
            os.close(descriptor)
            found += [unseal(data[at : at + BLOCK + 28]) for at in range(0, len(data), BLOCK + 28)]
        return found

    def evict(self, blocks: int) -> int:
        self.db.execute("BEGIN IMMEDIATE")
        gone, ids = 0, []
        for id_, first, stop in self.db.execute("SELECT id, f, s FROM p ORDER BY id LIMIT ?", (blocks,)):
            os.unlink(f"{self.path}/{id_ // 1024}/{id_}")
            ids.append((id_,))
            gone += stop - first
            if gone >= blocks:
                break
        self.db.executemany("DELETE FROM p WHERE id = ?", ids)
        self.db.execute("COMMIT")
        return gone


class Runs16(Files):
    run = 16


class Runs64(Files):
    run = 64


@contextmanager
def timed(told: dict[str, str], what: str) -> Iterator[None]:
    begin, cpu = time.perf_counter(), time.process_time()
    yield
    told[what] = f"{time.perf_counter() - begin:.2f}/{time.process_time() - cpu:.2f}"


def cold() -> None:
    subprocess.run(["sync"], check=True)
    Path("/proc/sys/vm/drop_caches").write_text("3")


def measure(kind: Callable[[Path], Layout], folder: Path, big_mib: int, gib: float) -> dict[str, str]:
    told: dict[str, str] = {}
    layout = kind(folder / "layout")
    told["layout"] = layout.name  # type: ignore[attr-defined]
    block, run = os.urandom(BLOCK), 16
    big = big_mib * 16
    with timed(told, "write 200"):
        for at in range(0, 200, 20):
            layout.write([(number, 0, [block] * blocks) for number, blocks in SMALL[at : at + 20]])
    with timed(told, "write big"):
        for first in range(0, big, 128):
            layout.write([(1000, first, [block] * 128)])
    layout.close()
    cold()
    layout.open()
    with timed(told, "read 200 cold"):
        for number, blocks in SMALL:
            assert len(layout.read(number, 0, blocks)) == blocks
    with timed(told, "read big cold"):
        for first in range(0, big, run):
            assert len(layout.read(1000, first, first + run)) == run
    with timed(told, "read big warm"):
        for first in range(0, big, run):
            layout.read(1000, first, first + run)
    for number in range(int(gib * 1024) // 8):
        layout.write([(2000 + number, 0, [block] * 128)])
    before = shutil.disk_usage(folder).used
    with timed(told, f"evict {gib:g} GiB"):
        while layout.evict(512):
            pass
        layout.close()
    told["given back"] = f"{(before - shutil.disk_usage(folder).used) / 2**30:.1f} GiB"
    shutil.rmtree(layout.path)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--big-mib", type=int, default=256)
    parser.add_argument("--gib", type=float, default=2)
    options = parser.parse_args()
    for kind in (Rows, Files, Runs16, Runs64):
        print(measure(kind, options.folder, options.big_mib, options.gib), flush=True)


if __name__ == "__main__":
    main()
