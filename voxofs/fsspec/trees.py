"""What fsspec asks of a tree, in terms of the core's paths, listings and handles. Runs beside the core.

Everything here asks for many things at once: windows where a tree is wanted, sizes where they are. How many
at once is bounded, because an operation's deadline runs while it stands in line.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import trio

from voxofs.audio.library import WHOLE_BYTES
from voxofs.core.build import Core
from voxofs.core.fs import FileSystem
from voxofs.core.handles import Handle
from voxofs.core.listings import Attributes, Folders, Listing
from voxofs.core.tree import DAY_DEPTH, Names
from voxofs.errors import NotFound, VoxofsError
from voxofs.model import BLOCK_BYTES
from voxofs.observe.audit import own_caller

Info = dict[str, Any]
"""What fsspec's `info` says of one path."""

_DAYS_AT_ONCE = 32
"""Days whose reports are asked for together: a month, which is 16 reports; as far as a walk looks ahead,
too."""
_SIZES_AT_ONCE = 64
"""A third more than there are connections by default, so that the next ones are at hand. A rule of thumb."""


def names_of(path: str) -> Names:
    """A path as the core has it."""
    return tuple(name for name in path.split("/") if name)


def info_of(path: Names, attributes: Attributes) -> Info:
    """A path's attributes in fsspec's words. `size` is None while nobody has asked for it; `mtime` is seconds
    since the epoch, UTC."""
    info: Info = {
        "name": "/".join(path),
        "size": attributes.size,
        "type": "directory" if attributes.is_folder else "file",
        "mtime": float(attributes.mtime_s),
    }
    if attributes.version is not None and attributes.version.etag is not None:
        info["ETag"] = attributes.version.etag
    return info


async def ls(core: Core, path: Names, *, sizes: bool) -> list[Info]:
    """The entries of a folder, or the one file that a path names. Raises `NotFound`, and what requests
    raise."""
    here = await core.fs.entry(path)
    infos = _infos(path, await core.fs.listing(path)) if here.is_folder else [info_of(path, here)]
    if sizes:
        await measure(core.fs, infos)
    return infos


async def measure(fs: FileSystem, infos: Iterable[Info]) -> None:
    """Fill in the sizes that are not known. Those of recordings whose audio is missing stay None."""

    async def one(info: Info) -> None:
        try:
            path = names_of(info["name"])
            info.update(info_of(path, await fs.measure(path)))
        except NotFound:
            pass  # its name is there and its bytes are not, as on a mount

    unknown = [info for info in infos if info["size"] is None]
    await _at_once([(one, info) for info in unknown], _SIZES_AT_ONCE)


class Search:
    """Everything below a folder, down to a depth; `wanted` are patterns of names, one a level."""

    def __init__(
        self, core: Core, root: Names, maxdepth: int | None, wanted: Sequence[re.Pattern[str]] = ()
    ) -> None:
        self._fs = core.fs
        self._root = root
        self._deepest = float("inf") if maxdepth is None else len(root) + maxdepth
        self._wanted = wanted
        self.found: list[Info] = []

    async def run(self, *, withdirs: bool, sizes: bool) -> list[Info]:
        """What there is, sorted by path. A failure is raised: it is never an absence."""
        try:
            here = await self._fs.entry(self._root)
        except NotFound:
            return []
        if not here.is_folder:
            self.found.append(info_of(self._root, here))
        else:
            if withdirs and self._root:
                self.found.append(info_of(self._root, here))
            await self._folders([self._root])
        if not withdirs:
            self.found = [info for info in self.found if info["type"] == "file"]
        self.found.sort(key=lambda info: info["name"])
        if sizes:
            await measure(self._fs, self.found)
        return self.found

    async def _folders(self, folders: list[Names]) -> None:
        """Level by level down to the days, which costs nothing; then all days, many at once."""
        while folders and self._goes_below(folders[0]) and len(folders[0]) < DAY_DEPTH:
            folders = [child for each in folders for child in self._note(each, await self._list(each))]
        if folders and self._goes_below(folders[0]):
            await _at_once([(self._day, folder) for folder in folders], _DAYS_AT_ONCE)

    async def _day(self, day: Names) -> None:
        """A day, or an hour. A day's report has told of all its hours: their listings are taken before
        another report may push this one out of memory, and only then are others given their turn."""
        taken = [(day, await self._list(day))]
        for folder, listing in taken:  # it grows on the way
            for child in self._children(folder, listing):
                taken.append((child, await self._list(child)))  # noqa: PERF401 - it is iterated over
        for folder, listing in taken:
            self._note(folder, listing)
            await trio.lowlevel.checkpoint()

    async def _list(self, folder: Names) -> Listing | None:
        """A listing, or None where the folder has gone since its parent was listed."""
        try:
            return await self._fs.listing(folder, alone=True)
        except NotFound:
            return None

    def _note(self, folder: Names, listing: Listing | None) -> list[Names]:
        """Keep the entries that are wanted; returns the folders among them."""
        if listing is not None:
            self.found += self._wanted_of(_infos(folder, listing), len(folder))
        return self._children(folder, listing)

    def _children(self, folder: Names, listing: Listing | None) -> list[Names]:
        """The folders in a folder that are to be searched."""
        if not isinstance(listing, Folders) or not self._goes_below((*folder, "")):
            return []
        kept = self._wanted_of(_infos(folder, listing), len(folder))
        return [names_of(info["name"]) for info in kept if info["type"] == "directory"]

    def _goes_below(self, folder: Names) -> bool:
        return len(folder) < self._deepest

    def _wanted_of(self, infos: list[Info], depth: int) -> list[Info]:
        level = depth - len(self._root)
        if level >= len(self._wanted):
            return infos
        matches = self._wanted[level].match
        return [info for info in infos if matches(info["name"].rpartition("/")[2])]


def _infos(folder: Names, listing: Listing) -> list[Info]:
    return [info_of((*folder, name), told) for name, told in map(listing.entry, range(len(listing)))]


async def _at_once(jobs: Sequence[tuple[Callable[[Any], Awaitable[None]], Any]], most: int) -> None:
    """Do all of it, `most` at once, in order. The first failure ends the rest and is raised."""
    failures: list[VoxofsError] = []
    line = iter(jobs)

    async def work(scope: trio.CancelScope) -> None:
        for job, argument in line:
            try:
                await job(argument)
            except VoxofsError as error:
                failures.append(error)
                scope.cancel()
                return

    async with trio.open_nursery() as nursery:
        for _ in range(min(most, len(jobs))):
            nursery.start_soon(work, nursery.cancel_scope)
    if failures:
        raise failures[0]


async def open_file(core: Core, path: Names, *, whole: bool, end: int | None = None) -> tuple[Handle, Info]:
    """An open recording and what is known of it, from one request where its size is not known yet: `whole`
    asks for all of it with that, `end` for as much as will be read."""
    if whole:
        handle = await core.fs.open(path, own_caller(), extent_bytes=WHOLE_BYTES, alone=True)
    elif end is not None:
        blocks = max(1, -(-end // BLOCK_BYTES))
        extent_bytes = min(blocks * BLOCK_BYTES, WHOLE_BYTES)
        handle = await core.fs.open(path, own_caller(), extent_bytes=extent_bytes, alone=True)
    else:
        handle = await core.fs.open(path, own_caller())
    info = info_of(path, await core.fs.entry(path))
    info["size"] = handle.size
    return handle, info


async def read(handle: Handle, start: int, end: int) -> bytes:
    """Bytes from `start` to `end`, piece by piece: the deadline is each piece's."""
    pieces = []
    while start < end:
        piece = await handle.read(start, min(WHOLE_BYTES, end - start))
        if not piece:
            break
        pieces.append(piece)
        start += len(piece)
    return b"".join(pieces)  # a copy: views of the cache would keep its memory


async def cat(core: Core, path: Names, start: int | None, end: int | None) -> bytes:
    """The bytes of a recording, or those that `[start:end]` means, as of a Python sequence."""
    few = end if end is not None and 0 <= (start or 0) <= end <= WHOLE_BYTES else None
    handle, info = await open_file(core, path, whole=start is None and end is None, end=few)
    try:
        first, stop, _ = slice(start, end).indices(info["size"])
        return await read(handle, first, stop)
    finally:
        handle.close()
