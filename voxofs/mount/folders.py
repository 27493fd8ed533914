"""Folders that programs have open, and how the kernel is told of their entries.

An entry whose size is not known is told without attributes (`entries`), or, where that cannot be, with
`st_size` = -1: the kernel shows the name and its type, drops the attributes, and asks LOOKUP when somebody
needs them (verified on Linux 6.18). For the second it makes an inode and sends the FORGET itself. A guessed
size would be applied to readers that have the file open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyfuse3

from voxofs.core.listings import Listing, Recordings
from voxofs.core.tree import Names
from voxofs.model import Caller

from .entries import Appearance, BareEntry
from .inodes import Inodes


class OpenFolder:
    """A listing, and what it takes to make it anew."""

    __slots__ = ("_names", "_numbers", "begun", "caller", "listing", "path")

    def __init__(self, path: Names, caller: Caller, listing: Listing) -> None:
        self.path = path
        self.caller = caller
        self.listing = listing
        self.begun = False
        """Whether it has been read from."""
        self._names: list[bytes] | None = None
        self._numbers: Sequence[int] = ()
        """Of an hour's recordings, once it is read."""

    def renew(self, listing: Listing) -> None:
        """Have it as it is now."""
        self.listing = listing
        self._names = None

    def tell(
        self, start_id: int, token: Any, inodes: Inodes, look: Appearance, bare: BareEntry | None
    ) -> None:
        """Tell the kernel of the entries from `start_id` on, as many as it has room for; of recordings
        without a known size by `bare`, where that can be."""
        self.begun = True
        if bare is not None and isinstance(self.listing, Recordings):
            self._tell_recordings(self.listing, start_id, token, inodes, look, bare)
            return
        for index in range(start_id, len(self.listing)):
            if not self._tell_all(index, token, inodes, look):
                break

    def _tell_all(self, index: int, token: Any, inodes: Inodes, look: Appearance) -> bool:
        """Tell of an entry with its attributes; whether there was room for it."""
        name, attributes = self.listing.entry(index)
        inode = inodes.find((*self.path, name), attributes.version, attributes.mtime_s)
        if not pyfuse3.readdir_reply(token, _bytes(name), look.entry(inode, attributes), index + 1):
            return False
        inodes.looked_up(inode)
        return True

    def _tell_recordings(
        self,
        listing: Recordings,
        start_id: int,
        token: Any,
        inodes: Inodes,
        look: Appearance,
        bare: BareEntry,
    ) -> None:
        if self._names is None:
            self._names = [_bytes(name) for name in listing.names]
            self._numbers = inodes.numbers.of_hour(self.path, self._names, listing.starts_s)
        path, names, numbers = self.path, self._names, self._numbers
        for index in range(start_id, len(names)):
            if listing.edition(index) is not None:
                told = self._tell_all(index, token, inodes, look)
            else:
                number = inodes.number_shown((*path, listing.names[index]), numbers[index])
                told = pyfuse3.readdir_reply(token, names[index], bare.numbered(number), index + 1)
            if not told:
                break


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
