"""The FUSE adapter: inodes, lookup counts and handles on one side, paths on the other.

Nothing is decided here about recordings. What is decided here is what the kernel may keep: names and
attributes of what does not change, pages of a recording for as long as its edition is the same, the absence
of names that cannot exist.

An entry whose size is not known yet is replied to a listing with `st_size` = -1: the kernel shows the name
and its type, drops the attributes, sends the FORGET itself, and asks LOOKUP when somebody needs them
(verified on Linux 6.18). A guessed size would be applied to readers that have the file open.

pyfuse3 ends the mount on any exception but its own, so the boundary around the handlers is total.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from itertools import count
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

import pyfuse3

from .callers import Callers
from .errors import Replaced, VoxofsError
from .fs import Attributes, FileSystem, Handle, Listing
from .inodes import Inode, Inodes
from .tree import NoSuchName, Path

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_BLOCK_BYTES = 65_536
_UNKNOWN_SIZE = -1


@dataclass(frozen=True)
class Appearance:
    """Owner and modes that every file and folder shows."""

    uid: int
    gid: int
    file_mode: int
    dir_mode: int


class OpenFile(NamedTuple):
    """A handle, the inode that it was opened as, and by whom."""

    handle: Handle
    inode: Inode
    pid: int


def _answered(
    handler: Callable[Concatenate[Adapter, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Adapter, P], Coroutine[Any, Any, T]]:
    """The boundary: whatever a handler raises becomes an errno; cancellation passes."""

    @wraps(handler)
    async def boundary(self: Adapter, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await handler(self, *args, **kwargs)
        except pyfuse3.FUSEError:
            raise
        except VoxofsError as error:
            raise pyfuse3.FUSEError(error.errno) from None
        except Exception:
            log.exception("a defect in voxofs: %s failed; the program gets EIO", handler.__name__)
            raise pyfuse3.FUSEError(errno.EIO) from None

    return boundary


def _unanswered(
    handler: Callable[Concatenate[Adapter, P], Coroutine[Any, Any, None]],
) -> Callable[Concatenate[Adapter, P], Coroutine[Any, Any, None]]:
    """The boundary around requests that take no answer."""

    @wraps(handler)
    async def boundary(self: Adapter, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            await handler(self, *args, **kwargs)
        except Exception:
            log.exception("a defect in voxofs: %s failed", handler.__name__)

    return boundary


class Adapter(pyfuse3.Operations):
    """pyfuse3's operations on a `FileSystem`."""

    supports_dot_lookup = False
    enable_writeback_cache = False

    def __init__(self, fs: FileSystem, appearance: Appearance, *, most_inodes: int = 100_000) -> None:
        super().__init__()
        self._fs = fs
        self._appearance = appearance
        self._callers = Callers()
        self._most_inodes = self._trim_at = most_inodes
        self.inodes = Inodes()
        self.handles: dict[int, OpenFile] = {}
        self.listings: dict[int, tuple[Path, Listing]] = {}
        self._numbers = count(1)

    # Names and attributes.

    @_answered
    async def lookup(self, parent_inode: int, name: bytes, ctx: Any) -> pyfuse3.EntryAttributes:
        path = (*self.inodes[parent_inode].path, os.fsdecode(name))
        try:
            attributes = await self._fs.lookup(path, crawler=self._callers.is_crawler(ctx.pid))
        except NoSuchName as error:
            absent = pyfuse3.EntryAttributes()
            absent.st_ino = 0
            absent.entry_timeout = error.ttl_s
            return absent
        inode = self.inodes.find(path, attributes.version, attributes.mtime_s)
        self.inodes.looked_up(inode)
        self._trim()
        return self._entry(inode, attributes)

    @_answered
    async def getattr(self, inode: int, ctx: Any) -> pyfuse3.EntryAttributes:
        known = self.inodes[inode]
        attributes = await self._fs.lookup(known.path, crawler=self._callers.is_crawler(ctx.pid))
        if known.version is None or attributes.version == known.version:
            return self._entry(known, attributes)
        # Replaced meanwhile: this inode keeps the size that its readers were told, the name gets another.
        self._look_again(known)
        return self._entry(known, replace(attributes, size=known.version.size, ttl_s=0.0))

    @_unanswered
    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        for inode, times in inode_list:
            self.inodes.forget(inode, times)
        self._trim_at = max(self._most_inodes, min(self._trim_at, len(self.inodes) + self._most_inodes // 4))

    @_answered
    async def statfs(self, ctx: Any) -> pyfuse3.StatvfsData:
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = _BLOCK_BYTES
        data.f_namemax = 255
        return data

    # Listings.

    @_answered
    async def opendir(self, inode: int, ctx: Any) -> int:
        path = self.inodes[inode].path
        number = next(self._numbers)
        self.listings[number] = (
            path,
            await self._fs.listing(path, crawler=self._callers.is_crawler(ctx.pid)),
        )
        return number

    @_answered
    async def readdir(self, fh: int, start_id: int, token: Any) -> None:
        path, listing = self.listings[fh]
        for index in range(start_id, len(listing)):
            name, attributes = listing.entry(index)
            inode = self.inodes.find((*path, name), attributes.version, attributes.mtime_s)
            if not pyfuse3.readdir_reply(token, os.fsencode(name), self._entry(inode, attributes), index + 1):
                break
            self.inodes.looked_up(inode)

    @_unanswered
    async def releasedir(self, fh: int) -> None:
        del self.listings[fh]

    # Bytes.

    @_answered
    async def open(self, inode: int, flags: int, ctx: Any) -> pyfuse3.FileInfo:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_APPEND):
            raise pyfuse3.FUSEError(errno.EROFS)
        known = self.inodes[inode]
        handle = await self._fs.open(known.path, crawler=self._callers.is_crawler(ctx.pid))
        number = next(self._numbers)
        self.handles[number] = OpenFile(handle, known, ctx.pid)
        if handle.version is None:
            return pyfuse3.FileInfo(fh=number, direct_io=True)
        if known.version not in (None, handle.version):
            # The kernel looks the name up again and opens what it finds, unseen by the program.
            self.handles.pop(number).handle.close()
            raise pyfuse3.FUSEError(errno.ESTALE)
        return pyfuse3.FileInfo(fh=number, keep_cache=True)

    @_answered
    async def read(self, fh: int, off: int, size: int) -> bytes:
        opened = self.handles[fh]
        try:
            return await opened.handle.read(off, size)
        except Replaced:
            self._look_again(opened.inode)
            raise

    @_unanswered
    async def release(self, fh: int) -> None:
        opened = self.handles.pop(fh)
        through = opened.handle.read_through
        if through is not None:
            self._callers.closed(opened.pid, opened.inode.path[:-1], through=through)
        opened.handle.close()

    # Extended attributes.

    @_answered
    async def listxattr(self, inode: int, ctx: Any) -> list[bytes]:
        return [name.encode() for name in await self._fs.xattr_names(self.inodes[inode].path)]

    @_answered
    async def getxattr(self, inode: int, name: bytes, ctx: Any) -> bytes:
        value = await self._fs.xattr(self.inodes[inode].path, os.fsdecode(name))
        if value is None:
            raise pyfuse3.FUSEError(pyfuse3.ENOATTR)
        return value.encode("utf-8", "replace")

    # Shapes.

    def _entry(self, inode: Inode, attributes: Attributes) -> pyfuse3.EntryAttributes:
        look = self._appearance
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = inode.number
        entry.st_uid, entry.st_gid = look.uid, look.gid
        if attributes.is_folder:
            entry.st_mode = stat.S_IFDIR | look.dir_mode
            entry.st_size = 0
        else:
            entry.st_mode = stat.S_IFREG | look.file_mode
            entry.st_size = _UNKNOWN_SIZE if attributes.size is None else attributes.size
            entry.st_blocks = -(-(attributes.size or 0) // 512)
        entry.st_nlink = 1
        entry.st_blksize = _BLOCK_BYTES
        entry.st_mtime_ns = entry.st_ctime_ns = entry.st_atime_ns = attributes.mtime_s * 1_000_000_000
        entry.entry_timeout = entry.attr_timeout = attributes.ttl_s
        return entry

    def _trim(self) -> None:
        """Have the kernel forget the recordings that it has known for longest, when it knows too many: it
        would keep a million of them, and so would we, until its own memory runs short."""
        if len(self.inodes) < self._trim_at:
            return
        surplus = self.inodes.oldest_recordings(len(self.inodes) - self._most_inodes * 3 // 4)
        for inode in surplus:
            self._look_again(inode)
        # They leave one by one; the next time is when as many have come anew.
        self._trim_at = len(self.inodes) + self._most_inodes // 4

    def _look_again(self, inode: Inode) -> None:
        """Have the kernel ask for a name anew. Asynchronously: the folder may be locked by a request that
        waits for us."""
        folder = self.inodes.at(inode.path[:-1])
        if folder is not None:
            pyfuse3.invalidate_entry_async(folder.number, os.fsencode(inode.path[-1]), ignore_enoent=True)
