"""The FUSE adapter: inodes, lookup counts and handles on one side, paths on the other.

Nothing is decided here about recordings. What is decided here is what the kernel may keep: names and
attributes of what does not change, pages of a recording for as long as its edition is the same, the absence
of names that cannot exist.

What is at hand is answered at once, by plain functions: no task, event, scope or wait. What may wait for the
network is answered through `Waiting`, which knows how many may do so and when to give up. Names are UTF-8
here, whatever the locale says.

pyfuse3 ends the mount on any exception but its own, so the boundary around the handlers is total.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Coroutine, Sequence
from functools import wraps
from itertools import count
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

import pyfuse3
import trio

from voxofs.central import CentralTime
from voxofs.core.fs import FileSystem
from voxofs.core.handles import Handle
from voxofs.core.listings import Attributes, Listing
from voxofs.core.tree import DAY_DEPTH, RECORDING_DEPTH, STATUS_FOLDER, Names, NoSuchName
from voxofs.errors import Replaced, VoxofsError
from voxofs.model import BLOCK_BYTES, Block, Caller

from .callers import Callers
from .entries import Appearance, BareEntry, inode_place
from .folders import OpenFolder
from .forgotten import path_of
from .inodes import Inode, Inodes
from .pages import PAGE_BYTES, AskedAgain
from .signals import Asker, sees_callers
from .waiting import Waiting

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_DOTS = (b".", b"..")
"""Names that only those ask for who know a number instead of a path (`fuse_get_dentry` in
fs/fuse/inode.c)."""


class OpenFile(NamedTuple):
    """A handle, the inode that it was opened as, and by whom."""

    handle: Handle
    inode: Inode
    pid: int
    direct: bool
    """Whether the program reads past the kernel's pages (O_DIRECT): it sees every errno itself."""
    opened_s: float
    """When, on trio's clock."""


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

    supports_dot_lookup = True
    enable_writeback_cache = False

    def __init__(
        self,
        fs: FileSystem,
        appearance: Appearance,
        waiting: Waiting,
        central: CentralTime,
        *,
        most_inodes: int = 100_000,
    ) -> None:
        super().__init__()
        self._fs = fs
        self._appearance = appearance
        self._waiting = waiting
        self._callers = Callers()
        self._sees_callers = sees_callers()
        self._most_inodes = self._trim_at = most_inodes
        place = inode_place()
        self._bare = None if place is None else BareEntry(place)
        self.inodes = Inodes(central)
        self.handles: dict[int, OpenFile] = {}
        self.listings: dict[int, OpenFolder] = {}
        self._forgotten = 0
        """FORGETs of an inode that ended it, so far."""
        self._asked_again = AskedAgain()
        self._numbers = count(1)

    def gauges(self) -> dict[str, int]:
        """What the kernel holds of us."""
        waiting = self._waiting
        return {
            "inodes": len(self.inodes),
            "forgotten": self._forgotten,
            "handles": len(self.handles),
            "waiting": len(waiting),
            "refused": waiting.refused,
            "interrupted": waiting.interrupted,
        }

    # Names and attributes. A name is answered before its size is known: until a LOOKUP is answered, the
    # kernel sends no other one of that folder, and whoever waits for that cannot even be killed
    # (`fuse_lock_inode` in fs/fuse/inode.c; pyfuse3 does not ask for FUSE_PARALLEL_DIROPS). GETATTR, which
    # then waits for the size, keeps nobody. Only a new inode may be answered so: no size may become 0 under
    # those who read.

    @_answered
    async def lookup(self, parent_inode: int, name: bytes, ctx: Any) -> pyfuse3.EntryAttributes:
        if name in _DOTS:
            return await self._known_by_number(parent_inode, name, ctx)
        path = (*self.inodes[parent_inode].path, _text(name))
        caller = self._caller(ctx)
        try:
            attributes = self._fs.lookup_at_hand(path, caller)
            if attributes is None and len(path) == RECORDING_DEPTH:
                attributes = self._fs.entry_at_hand(path, caller)
                if attributes is not None and attributes.size is None and not self._is_new(path, attributes):
                    attributes = None
            if attributes is None:
                attributes = await self._answer(path, ctx.pid, self._look_up(path, caller))
        except NoSuchName as error:
            absent = pyfuse3.EntryAttributes()
            absent.st_ino = 0
            absent.entry_timeout = error.ttl_s
            return absent
        inode = self.inodes.find(path, attributes.version, attributes.mtime_s)
        self.inodes.looked_up(inode)
        self._trim()
        return (self._appearance.named if attributes.size is None else self._appearance.entry)(
            inode, attributes
        )

    async def _look_up(self, path: Names, caller: Caller) -> Attributes:
        """A name that somebody has to be asked for, and its size where that must not be told later."""
        with self._fs.outcomes.together(path, "look-up"):
            if len(path) == RECORDING_DEPTH:
                attributes = await self._fs.entry(path, caller)
                if attributes.size is not None or self._is_new(path, attributes):
                    return attributes
            return await self._fs.lookup(path, caller)

    def _is_new(self, path: Names, attributes: Attributes) -> bool:
        """Whether nobody can have pages, or a handle, of another version of this recording."""
        return self.inodes.at(path) is None and not self.inodes.has_had_a_version(path, attributes.mtime_s)

    async def _known_by_number(self, number: int, name: bytes, ctx: Any) -> pyfuse3.EntryAttributes:
        """What an NFS server asks for: the inode with a number (".") that may be forgotten, or its folder."""
        caller = self._caller(ctx)

        async def listing(folder: Names) -> Listing:
            return await self._answer(folder, ctx.pid, self._fs.listing(folder, caller, alone=True))

        known = self.inodes.get(number)
        path = await path_of(number, self.inodes.numbers, listing) if known is None else known.path
        if path is None:
            raise pyfuse3.FUSEError(errno.ESTALE)
        path = path if name == b"." else path[:-1]
        attributes = await self._answer(path, ctx.pid, self._fs.lookup(path, caller))
        inode = self.inodes.find(path, attributes.version, attributes.mtime_s)
        if name == b"." and inode.number != number:
            raise pyfuse3.FUSEError(errno.ESTALE)  # replaced, or the number was that of another path
        self.inodes.looked_up(inode)
        self._trim()
        return self._appearance.entry(inode, attributes)

    @_answered
    async def getattr(self, inode: int, ctx: Any) -> pyfuse3.EntryAttributes:
        known = self.inodes[inode]
        caller = self._caller(ctx)
        attributes = self._fs.lookup_at_hand(known.path, caller)
        if attributes is None:
            attributes = await self._answer(known.path, ctx.pid, self._fs.lookup(known.path, caller))
        if known.version is None or attributes.version == known.version:
            self.inodes.tell(known, attributes.version)
            return self._appearance.entry(known, attributes)
        # Replaced meanwhile: this inode keeps the size that its readers were told, the name gets another.
        self._look_again(known)
        told = attributes._replace(size=known.version.size, ttl_s=0.0)
        return self._appearance.entry(known, told)

    @_unanswered
    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        for inode, times in inode_list:
            if self.inodes.forget(inode, times):
                self._forgotten += 1
                self._asked_again.forget(inode)
        self._trim_at = max(self._most_inodes, min(self._trim_at, len(self.inodes) + self._most_inodes // 4))

    @_answered
    async def statfs(self, ctx: Any) -> pyfuse3.StatvfsData:
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = BLOCK_BYTES
        data.f_namemax = 255
        return data

    # Listings.

    @_answered
    async def opendir(self, inode: int, ctx: Any) -> int:
        path = self.inodes[inode].path
        caller = self._caller(ctx)
        listing = self._fs.listing_at_hand(path, caller)
        if listing is None:
            listing = await self._answer(path, ctx.pid, self._fs.listing(path, caller))
        number = next(self._numbers)
        self.listings[number] = OpenFolder(path, caller, listing)
        return number

    @_answered
    async def readdir(self, fh: int, start_id: int, token: Any) -> None:
        folder = self.listings[fh]
        if start_id == 0 and folder.begun:  # rewinddir(3): the folder as it is now
            work = self._fs.listing(folder.path, folder.caller)
            folder.renew(await self._answer(folder.path, folder.caller.pid, work, any_thread=True))
        folder.tell(start_id, token, self.inodes, self._appearance, self._bare)

    @_unanswered
    async def releasedir(self, fh: int) -> None:
        del self.listings[fh]

    # Bytes.

    @_answered
    async def open(self, inode: int, flags: int, ctx: Any) -> pyfuse3.FileInfo:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_TRUNC):  # O_APPEND alone writes nothing (open(2))
            raise pyfuse3.FUSEError(errno.EROFS)
        known = self.inodes[inode]
        caller = self._caller(ctx)
        handle = self._fs.open_at_hand(known.path, caller)
        if handle is None:
            handle = await self._answer(known.path, ctx.pid, self._fs.open(known.path, caller))
        number = next(self._numbers)
        self.handles[number] = OpenFile(
            handle, known, ctx.pid, bool(flags & os.O_DIRECT), trio.current_time()
        )
        if handle.version is None:
            return pyfuse3.FileInfo(fh=number, direct_io=True)
        if known.version is None:
            self.inodes.tell(known, handle.version)
        if known.version != handle.version:
            # The kernel looks the name up again and opens what it finds, unseen by the program.
            self.handles.pop(number).handle.close()
            raise pyfuse3.FUSEError(errno.ESTALE)
        return pyfuse3.FileInfo(fh=number, keep_cache=not self._fs.audited)

    @_answered
    async def read(self, fh: int, off: int, size: int) -> Block:  # type: ignore[override]  # it takes any buffer
        opened = self.handles[fh]
        handle, inode = opened.handle, opened.inode
        if (data := handle.read_at_hand(off, size)) is not None:
            return data
        again = self._asked_again
        if not opened.direct and (told := again.told(inode.number, off, opened.opened_s)) is not None:
            raise told.with_traceback(None)
        background = not opened.direct and size > PAGE_BYTES and not again.expected(inode.number, off)
        work = handle.read(off, size)
        try:
            data = await self._answer(inode.path, opened.pid, work, any_thread=True, background=background)
        except (pyfuse3.FUSEError, VoxofsError) as error:
            again.failed(inode.number, off, size)
            if isinstance(error, VoxofsError):
                again.tell(inode.number, off, size, error)
            if isinstance(error, Replaced):
                self._look_again(inode)
            raise
        again.succeeded(inode.number, off, size)
        return data

    @_unanswered
    async def release(self, fh: int) -> None:
        opened = self.handles.pop(fh)
        through = opened.handle.read_through
        if through is not None:
            self._callers.closed(opened.pid, opened.inode.path[:-1], through=through)
        opened.handle.close()

    def close_all(self) -> None:
        """Close what the kernel did not come to close before its end."""
        while self.handles:
            self.handles.popitem()[1].handle.close()

    # Extended attributes.

    @_answered
    async def listxattr(self, inode: int, ctx: Any) -> list[bytes]:
        path = self.inodes[inode].path
        return [_bytes(name) for name in await self._answer(path, ctx.pid, self._fs.xattr_names(path))]

    @_answered
    async def getxattr(self, inode: int, name: bytes, ctx: Any) -> bytes:
        if name.startswith(b"system."):  # ACLs: an NFS server (ganesha 6) lists nothing where they cannot be
            raise pyfuse3.FUSEError(pyfuse3.ENOATTR)
        if not name.startswith(b"user."):  # `ls -l` asks a file for security.selinux; told that there is no
            raise pyfuse3.FUSEError(errno.ENOTSUP)  # such thing here (xattr(7)), it asks no other one
        path = self.inodes[inode].path
        value = await self._answer(path, ctx.pid, self._fs.xattr(path, _text(name)))
        if value is None:
            raise pyfuse3.FUSEError(pyfuse3.ENOATTR)
        return value.encode("utf-8", "replace")

    # Who waits, and for what.

    def _caller(self, ctx: Any) -> Caller:
        return self._callers.caller(ctx.pid, ctx.uid, ctx.gid)

    async def _answer(
        self,
        path: Names,
        tid: int,
        work: Coroutine[Any, Any, T],
        *,
        any_thread: bool = False,
        background: bool = False,
    ) -> T:
        """The result of work on a path; what cannot wait for a network takes no place among those who do."""
        if len(path) < DAY_DEPTH or path[0] == STATUS_FOLDER:
            return await work
        asker = Asker(tid if self._sees_callers else 0, any_thread=any_thread)
        return await self._waiting.answer(path[0], asker, work, background=background)

    # What the kernel should forget.

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
            pyfuse3.invalidate_entry_async(folder.number, _bytes(inode.path[-1]), ignore_enoent=True)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
