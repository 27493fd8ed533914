"""Reading an export back: every file against its line of the manifest."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import trio

from voxofs.model import SUFFIX

from .disk import Disk, sha256_of
from .manifest import Row

_AT_ONCE = 4
"""Files read at once: a hash a core, and a disk that has the next ones ready. A rule of thumb."""

OTHER_TIME = "has another time than the recording"
"""The one difference that is mended without fetching anything."""


async def differences(
    disk: Disk, rows: Mapping[str, Row], looked_at: Callable[[int], None]
) -> dict[str, str]:
    """Path and difference of everything that is not as its line says. `looked_at` is told the bytes of each
    file.

    Raises `DestinationFailed` where the destination cannot be read at all.
    """
    found: dict[str, str] = {}
    todo = iter(sorted(rows.items()))

    async def work() -> None:
        for path, row in todo:
            difference = await disk.run(_difference, disk.root / path, row)
            if difference is not None:
                found[path] = difference
            looked_at(row.size)

    async with trio.open_nursery() as nursery:
        for _ in range(_AT_ONCE):
            nursery.start_soon(work)
    return dict(sorted(found.items()))


def _difference(file: Path, row: Row) -> str | None:
    try:
        status = file.lstat()
        if status.st_size != row.size:
            return f"has {status.st_size:,} bytes instead of {row.size:,}"
        if sha256_of(file) != row.sha256:
            return "has other content than was fetched"
        return None if int(status.st_mtime) == row.mtime_s else OTHER_TIME
    except (FileNotFoundError, NotADirectoryError):
        return "is not there"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def mend_time(file: Path, row: Row) -> None:
    """Give a file the time of its recording. Raises OSError."""
    os.utime(file, (row.mtime_s, row.mtime_s))


def strangers(root: Path, rows: Mapping[str, Row]) -> list[str]:
    """Recordings by their name that no line tells of. Raises OSError."""
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = str(Path(folder, name).relative_to(root))
            if name.endswith(SUFFIX) and path not in rows:
                found.append(path)
    return sorted(found)
