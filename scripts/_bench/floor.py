#!/usr/bin/env python3
"""A file system that has its names in lists and does nothing else: what pyfuse3 itself costs in `find`.

    python floor.py MOUNTPOINT

The tree is like that of the full month: 31 days of 24 hours of 25 files (March itself has an hour less). An
inode number is a place in it: the root is 1, then the days, then the hours, then the files. Every answer may
be kept by the kernel for good.
"""

from __future__ import annotations

import signal
import stat
import sys

import pyfuse3
import trio

_DAYS, _HOURS, _FILES = 31, 24, 25
_FIRST_DAY = 2
_FIRST_HOUR = _FIRST_DAY + _DAYS
_FIRST_FILE = _FIRST_HOUR + _DAYS * _HOURS
FILES = _DAYS * _HOURS * _FILES
_FOR_GOOD_S = 1e6


class Floor(pyfuse3.Operations):
    """Names and types."""

    supports_dot_lookup = False

    def __init__(self) -> None:
        super().__init__()
        self._children: dict[int, list[tuple[bytes, pyfuse3.EntryAttributes]]] = {}
        days, hours = range(_DAYS), range(_HOURS)
        self._children[pyfuse3.ROOT_INODE] = [_entry(f"{day + 1:02}", _FIRST_DAY + day, True) for day in days]
        for day in days:
            first = _FIRST_HOUR + day * _HOURS
            self._children[_FIRST_DAY + day] = [_entry(f"{hour:02}", first + hour, True) for hour in hours]
        for hour in range(_DAYS * _HOURS):
            first = _FIRST_FILE + hour * _FILES
            self._children[_FIRST_HOUR + hour] = [
                _entry(f"atl-ast2-{first + number}.mp3", first + number, False) for number in range(_FILES)
            ]
        self._attributes = {
            attributes.st_ino: attributes for entries in self._children.values() for _, attributes in entries
        }
        self._attributes[pyfuse3.ROOT_INODE] = _entry("", pyfuse3.ROOT_INODE, True)[1]

    async def getattr(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext | None = None
    ) -> pyfuse3.EntryAttributes:
        """Those made at the start."""
        return self._attributes[inode]

    async def lookup(
        self, parent_inode: pyfuse3.InodeT, name: pyfuse3.FileNameT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """For what is not asked for by a walk."""
        for found, attributes in self._children[parent_inode]:
            if found == name:
                return attributes
        raise pyfuse3.FUSEError(2)

    async def opendir(self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext) -> pyfuse3.FileHandleT:
        """The handle is the folder."""
        return pyfuse3.FileHandleT(inode)

    async def readdir(self, fh: pyfuse3.FileHandleT, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        """Names with their attributes, from the one after `start_id`."""
        entries = self._children[fh]
        for index in range(start_id, len(entries)):
            name, attributes = entries[index]
            if not pyfuse3.readdir_reply(token, pyfuse3.FileNameT(name), attributes, index + 1):
                return


def _entry(name: str, inode: int, folder: bool) -> tuple[bytes, pyfuse3.EntryAttributes]:
    attributes = pyfuse3.EntryAttributes()
    attributes.st_ino = pyfuse3.InodeT(inode)
    attributes.st_mode = pyfuse3.ModeT(stat.S_IFDIR | 0o555 if folder else stat.S_IFREG | 0o444)
    attributes.entry_timeout = attributes.attr_timeout = _FOR_GOOD_S
    return name.encode(), attributes


async def _serve() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_on_signal)
        await pyfuse3.main()
        nursery.cancel_scope.cancel()


async def _end_on_signal() -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            pyfuse3.terminate()


def main() -> None:
    """Until it is unmounted."""
    options = set(pyfuse3.default_options) | {"fsname=floor", "ro"}
    pyfuse3.init(Floor(), sys.argv[1], options)
    try:
        trio.run(_serve)
    finally:
        pyfuse3.close()


if __name__ == "__main__":
    main()
