"""Inode numbers: made of a path, and led back to it.

A number depends on nothing but the path (and, of a recording, on when it started), so that it is the same
after a remount: `rsync`, `find -inum` and NFS clients care. It can be led back, because an NFS server names a
file by its number alone, also when the kernel and we have long forgotten it. 63 bits:

    tenant 10 | hour 20 | second 13 | rest 20

The tenant is a hash of its name: few candidates are left, and they are tried. The hour counts wall-clock
hours. The second is that of the start within the hour's folder, so that within an hour the numbers follow the
starts in any zone, also where daylight saving makes two hours of one: `cp -r` and others sort what they read
by inode, and would otherwise walk a folder in an order that nobody can look ahead in. The rest is a CRC of
the name. A folder has a second that no recording has, and its depth instead of the name. What has no date
(the status file) is hashed.

Of two calls that start in the same second of the same tenant, once in a million both have the same number.
Then one of them has a neighbouring one while both are in use (`inodes`), and the generation tells them apart:
a number that leads to another file than it once meant is stale, never that other file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from zlib import crc32

from voxofs.central import CentralTime
from voxofs.core.tree import HOUR_DEPTH, RECORDING_DEPTH, STATUS_FILE, STATUS_FOLDER, Names
from voxofs.model import Version

_REST_BITS, _SECOND_BITS, _HOUR_BITS, _TENANT_BITS = 20, 13, 20, 10
_SECOND_AT = _REST_BITS
_HOUR_AT = _SECOND_AT + _SECOND_BITS
_TENANT_AT = _HOUR_AT + _HOUR_BITS
_DEPTH_AT = _REST_BITS - 3
"""Three bits tell the depths 1 to 5; below them is more of the tenant's hash."""
_FOLDER = (1 << _SECOND_BITS) - 1
"""The second of folders. An hour that occurs twice has 7,200 seconds, so that no recording has this one."""
_FIRST_DAY = date(2000, 1, 1)
_DAYS = (1 << _HOUR_BITS) // 24
"""How many days 20 bits can tell: until 2119. Others count as some day of these, and are not led back."""
_HOURS_KEPT = 1_024
"""Folders whose bits are remembered: a month of busy hours. A rule of thumb."""
_STATUS_PATH = (STATUS_FOLDER, STATUS_FILE)


class Numbers:
    """Numbers of paths, and paths of numbers."""

    def __init__(self, central: CentralTime) -> None:
        self._central = central
        self._hour = lru_cache(maxsize=_HOURS_KEPT)(self._find_hour)

    def number(self, path: Names, start_s: int) -> int:
        """The number of a path, of a recording with its start. Two paths may have the same one."""
        if len(path) == RECORDING_DEPTH:
            [number] = self.of_hour(path[:-1], [path[-1].encode("utf-8", "surrogateescape")], [start_s])
            return number
        hour = _hour_of(path)
        if hour is None:
            return _hash("/".join(path), 63)
        return _upper_bits(path[0], hour) | _FOLDER << _SECOND_AT | len(path) << _DEPTH_AT | _more(path[0])

    def of_hour(self, hour: Names, names: Sequence[bytes], starts_s: Sequence[int]) -> list[int]:
        """The numbers of an hour's recordings, each another one: of two that would have the same, the later
        name has a neighbouring one."""
        bits, begin_s = self._hour(hour)
        numbers = [
            (bits | min(max(0, start_s - begin_s), _FOLDER - 1) << _SECOND_AT)
            ^ crc32(name) >> 32 - _REST_BITS
            for name, start_s in zip(names, starts_s, strict=True)
        ]
        if len(set(numbers)) < len(numbers):
            taken: set[int] = set()
            for index, number in enumerate(numbers):
                while number in taken:
                    number += 1
                taken.add(number)
                numbers[index] = number
        return numbers

    def folders(self, number: int, tenants: Iterable[str]) -> Iterator[Names]:
        """The folders, or the status file, that may have this number."""
        if number == self.number(_STATUS_PATH, 0):
            yield _STATUS_PATH
        depth = number >> _DEPTH_AT & 0b111
        for hour in self._hours(number, (*tenants, STATUS_FOLDER)):
            if self.number(hour[:depth], 0) == number:
                yield hour[:depth]

    def hours(self, number: int, tenants: Iterable[str]) -> Iterator[Names]:
        """The hours in which a recording with this number would be."""
        if number >> _SECOND_AT & _FOLDER != _FOLDER:
            yield from self._hours(number, tenants)

    def _hours(self, number: int, tenants: Iterable[str]) -> Iterator[Names]:
        days, hour = divmod(number >> _HOUR_AT & (1 << _HOUR_BITS) - 1, 24)
        day = _FIRST_DAY + timedelta(days=days)
        for tenant in tenants:
            if _hash(tenant, _TENANT_BITS) == number >> _TENANT_AT:
                yield (tenant, f"{day.year:04}", f"{day.month:02}", f"{day.day:02}", f"{hour:02}")

    def _find_hour(self, path: Names) -> tuple[int, int]:
        """The bits that an hour's recordings share, and the instant at which its folder begins: the first
        one, where the hour occurs twice."""
        hour = _hour_of(path)
        if hour is None:
            raise ValueError(f"{path} is no hour's folder")
        year, month, day, label = (int(name) for name in path[1:])
        begin_s = int(self._central.instant_s(datetime(year, month, day, label)))
        return _upper_bits(path[0], hour) | _more(path[0]), begin_s


def generation(path: Names, version: Version | None) -> int:
    """32 bits that tell apart what has the same number: another path, or a later version of a recording. The
    kernel has no more (`i_generation`), and wants none for the root."""
    if not path:
        return 0
    told = "/".join(path)
    if version is not None:
        told = f"{told}//{version.size}/{version.etag}/{version.last_modified}"
    return crc32(told.encode("utf-8", "surrogateescape"))


def _upper_bits(tenant: str, hour: int) -> int:
    return _hash(tenant, _TENANT_BITS) << _TENANT_AT | hour << _HOUR_AT


def _more(tenant: str) -> int:
    """More of a tenant's hash, for two whose first bits are the same."""
    return _hash(tenant, _TENANT_BITS + _DEPTH_AT) & (1 << _DEPTH_AT) - 1


def _hour_of(path: Names) -> int | None:
    """Which wall-clock hour a folder begins with, of as many as the bits can tell. None: it has no date."""
    if len(path) > HOUR_DEPTH:
        return None
    if len(path) == 1:
        return 0
    hour = path[4] if len(path) == HOUR_DEPTH else "00"
    try:
        year, month, day = (int(name) for name in (*path[1:4], "01", "01")[:3])
        return (date(year, month, day) - _FIRST_DAY).days % _DAYS * 24 + int(hour) % 24
    except (ValueError, OverflowError):
        return None


def _hash_of(text: str, bits: int) -> int:
    """Bits that depend on nothing but the text; fewer of them are the first ones of more."""
    digest = blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 64 - bits


_hash = lru_cache(maxsize=_HOURS_KEPT)(_hash_of)
"""The same for tenants, which are asked for again and again."""
