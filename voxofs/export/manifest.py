"""`manifest.csv`: what has been exported. It is the state of an export, and all of it.

A line is appended, and flushed to the disk, when its recording lies whole in its partial file, and before it
gets its name. So whatever moment a run is killed at, the next one knows everything that was done. A last line
that is torn is no line. One recording has one line; where it was fetched again, the later one counts, and the
file is written anew, whole, under a temporary name, before and after a run that finds it untidy. One run at a
time holds it.
"""

from __future__ import annotations

import csv
import errno
import fcntl
import io
import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from voxofs.catalog.window import Place
from voxofs.errors import VoxofsError
from voxofs.model import PERSONAL_FIELDS

from .disk import failed
from .fields import text_of

NAME = "manifest.csv"
COLUMNS = (
    "path", "uniqueId", "start", "instant", "duration", "direction", "disposition", "bytes", "ETag", "sha256",
)  # fmt: skip
"""Of every manifest; personal fields follow where they are shown."""
_OF_THE_RECORD = ("uniqueId", "start", "instant", "duration", "direction", "disposition")
_CANNOT_LOCK = frozenset({errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP})
"""What flock(2) answers on NFS and others, which lock open files only, or nothing."""


class Row(NamedTuple):
    """One line: a recording that lies in the destination."""

    path: str
    record: tuple[str, ...]
    """The values of `_OF_THE_RECORD`, as text."""
    size: int
    etag: str
    sha256: str
    personal: tuple[str, ...] = ()

    @property
    def mtime_s(self) -> int:
        """The instant of its start, seconds since the epoch. Raises `ValueError`."""
        return int(datetime.fromisoformat(self.record[2]).timestamp())

    def texts(self) -> tuple[str, ...]:
        """As the file has it."""
        return (self.path, *self.record, str(self.size), self.etag, self.sha256, *self.personal)


def row_of(path: str, place: Place, size: int, etag: str, sha256: str, personal: Sequence[str]) -> Row:
    """The line of a recording that was just fetched, or that is there already."""
    record = tuple(text_of(place, name) for name in _OF_THE_RECORD)
    return Row(path, record, size, etag, sha256, tuple(text_of(place, name) for name in personal))


class Manifest:
    """The manifest of one destination, held by this process. `show`: the personal fields it may have.

    Whoever changes it calls the methods from one thread at a time. All raise what `failed` makes of an
    OSError.
    """

    def __init__(self, root: Path, show: Sequence[str]) -> None:
        self.personal = tuple(name for name in PERSONAL_FIELDS if name in show)
        self.rows: dict[str, Row] = {}
        self.distrusted: set[str] = set()
        """Recordings that are to be fetched again: they were read back and differ."""
        self._root = root
        self._path = root / NAME
        self._columns = (*COLUMNS, *self.personal)
        self._file: int | None = None
        self._lock: int | None = None
        self._untidy = False

    def open(self) -> None:
        """Take the destination for this process and read what is there. Raises `VoxofsError`."""
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._take_lock(self._lock)
            self._read()
            if self._untidy or not self._path.exists():
                self.tidy()
            else:
                self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            raise failed(self._root, error) from None

    def _take_lock(self, folder: int) -> None:
        """Hold the folder itself. Network file systems that cannot lock one are used without."""
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise VoxofsError(f"{self._root}: another export is at work there: wait until it ends") from None
        except OSError as error:
            if error.errno not in _CANNOT_LOCK:
                raise

    def _read(self) -> None:
        self.rows = read(self._path)
        text = self._path.read_text("utf-8", "replace") if self._path.exists() else ""
        head = ",".join(self._columns)
        lines = text.split("\n")
        self._untidy = lines[0] != head or lines[-1] != "" or len(lines) - 2 != len(self.rows)
        if self._untidy and self.rows:
            fields = lines[0].split(",")
            self.rows = {
                path: row._replace(personal=_personal(row, fields[len(COLUMNS) :], self.personal))
                for path, row in self.rows.items()
            }

    def append(self, rows: Sequence[Row]) -> None:
        """These are whole: lines, flushed to the disk. Raises OSError, with nothing half behind it."""
        assert self._file is not None
        begin = os.fstat(self._file).st_size
        data = _csv(row.texts() for row in rows)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
            os.fdatasync(self._file)
        except OSError:
            os.ftruncate(self._file, begin)
            raise
        for row in rows:
            self._untidy = self._untidy or row.path in self.rows
            self.rows[row.path] = row

    def refresh(self, row: Row) -> None:
        """What the reports say today of a recording that is there; written by `tidy`."""
        if self.rows[row.path] != row:
            self.rows[row.path] = row
            self._untidy = True

    def trusted(self, path: str) -> Row | None:
        """The line of a recording that need not be fetched again, as far as the manifest knows."""
        return None if path in self.distrusted else self.rows.get(path)

    def tidy(self, *, final: bool = False) -> None:
        """Write the file anew, sorted, unless it is as it should be. Raises OSError."""
        if final and not self._untidy and list(self.rows) == sorted(self.rows):
            return
        self.rows = dict(sorted(self.rows.items()))
        temporary = self._root / f".{NAME}.new"
        with temporary.open("wb") as file:
            file.write(_csv([self._columns]))
            file.write(_csv(row.texts() for row in self.rows.values()))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
        if self._file is not None:
            os.close(self._file)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._untidy = False

    def close(self) -> None:
        """Let others have the destination."""
        for each in (self._file, self._lock):
            if each is not None:
                os.close(each)
        self._file = self._lock = None


def read(path: Path) -> dict[str, Row]:
    """The lines of a manifest by path, none where there is no file. A line that is torn or makes no sense is
    none. Raises OSError, and `VoxofsError` for a file that is no manifest."""
    try:
        text = path.read_text("utf-8", "replace")
    except FileNotFoundError:
        return {}
    head, _, rest = text.partition("\n")
    fields = head.split(",")
    if not rest and COLUMNS[: len(fields)] != tuple(fields):  # torn within its very first line
        if not ",".join(COLUMNS).startswith(head):
            raise _no_manifest(path)
        return {}
    if tuple(fields[: len(COLUMNS)]) != COLUMNS:
        if rest or not ",".join(COLUMNS).startswith(head):
            raise _no_manifest(path)
        return {}
    rows = {}
    for line in rest.split("\n")[:-1]:
        row = _row(line, len(fields))
        if row is not None:
            rows[row.path] = row
    return rows


def _no_manifest(path: Path) -> VoxofsError:
    return VoxofsError(f"{path}: is not a manifest of voxofs: choose another destination, or move it away")


def _row(line: str, columns: int) -> Row | None:
    """A line as a row; None for one that is torn."""
    try:
        [texts] = csv.reader([line], strict=True)
        if len(texts) != columns:
            return None
        number = len(_OF_THE_RECORD)
        size, etag, sha256 = texts[1 + number : len(COLUMNS)]
        row = Row(
            texts[0], tuple(texts[1 : 1 + number]), int(size), etag, sha256, tuple(texts[len(COLUMNS) :])
        )
        if len(sha256) != 64 or row.size < 0 or row.mtime_s < 0:
            return None
        return row if _is_inside(row.path) else None
    except (ValueError, csv.Error):
        return None


def _is_inside(path: str) -> bool:
    """Whether a path stays in the destination: a manifest may have been edited."""
    return all(part not in ("", ".", "..") for part in path.split("/"))


def _personal(row: Row, fields: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    values = dict(zip(fields, row.personal, strict=False))
    return tuple(values.get(name, "") for name in wanted)


def _csv(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8")
