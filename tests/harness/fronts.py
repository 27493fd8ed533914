"""One small interface over every front end, so that one suite says what all must do.

All raise OSError with the errno that a program sees. Reads are as large as the kernel's and as `cat`'s.
"""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import pytest
import trio

from voxofs.core.fs import FileSystem
from voxofs.core.handles import Handle
from voxofs.core.tree import Names
from voxofs.errors import VoxofsError
from voxofs.model import NOBODY, Caller
from voxofs.simulator.server import Simulator
from voxofs.simulator.world import FixedTenant, TenantSpec

from .mounts import Daemon, mounted
from .rig import PATIENCE_S, Hands, Sections, open_rig
from .world import office

CAT_BYTES = 131_072
_FIRST_WORD_S = 3.0
"""A daemon gives up asking for its first word after two seconds."""
T = TypeVar("T")


def raises(number: int) -> pytest.RaisesExc[OSError]:
    """The errno that a program sees."""
    return pytest.RaisesExc(OSError, check=lambda error: error.errno == number)


@dataclass(frozen=True)
class Seen:
    """What stat tells that all fronts know."""

    size: int
    mtime_s: int
    is_folder: bool


class OpenFile(Protocol):
    """An open recording."""

    async def read(self, offset: int, size: int) -> bytes:
        """Bytes from `offset`."""


class Front(Protocol):
    """The mount, fsspec's file system, or the core alone."""

    sim: Simulator

    async def listdir(self, path: str) -> list[str]:
        """Names in the order in which they are listed."""

    async def stat(self, path: str) -> Seen:
        """Attributes; waits for a size."""

    def opened(self, path: str) -> AbstractAsyncContextManager[OpenFile]:
        """An open recording."""

    async def xattrs(self, path: str) -> dict[str, str]:
        """All extended attributes."""


async def cat(front: Front, path: str) -> bytes:
    """A recording from its first to its last byte, as `cat` reads."""
    parts: list[bytes] = []
    async with front.opened(path) as file:
        while not parts or parts[-1]:
            parts.append(await file.read(sum(map(len, parts)), CAT_BYTES))
    return b"".join(parts)


async def walk(front: Front, path: str, deepest: int = 5) -> list[str]:
    """Every path below a folder, by listings alone, as `find -name` does it."""
    found = []
    for name in await front.listdir(path):
        found.append(f"{path}/{name}")
        if path.count("/") < deepest:
            found += await walk(front, f"{path}/{name}", deepest)
    return found


async def settle(front: Front) -> dict[str, int]:
    """Requests by route since the log was reset, once none is under way: background work counts, too."""
    with trio.fail_after(PATIENCE_S):
        calm = 0
        while calm < 3:
            await trio.sleep(0.02)
            calm = 0 if any(front.sim.log.in_flight.values()) else calm + 1
    return dict(front.sim.log.requests)


async def first_word_said(sim: Simulator) -> None:
    """Wait until a daemon that is ready has asked whether its credential is taken, and count that no more."""
    with trio.move_on_after(_FIRST_WORD_S):
        while not sim.log.requests["tenant"] or any(sim.log.in_flight.values()):  # noqa: ASYNC110
            await trio.sleep(0.002)
    del sim.log.requests["tenant"]


class CoreFront:
    """The file system object, called as the adapter calls it; by one process, or by nobody in particular."""

    def __init__(self, sim: Simulator, fs: FileSystem, caller: Caller = NOBODY) -> None:
        self.sim = sim
        self._fs = fs
        self._caller = caller

    async def listdir(self, path: str) -> list[str]:
        with _as_os_error():
            listing = await self._fs.listing(_names(path), self._caller)
            return [listing.entry(index)[0] for index in range(len(listing))]

    async def stat(self, path: str) -> Seen:
        with _as_os_error():
            attributes = await self._fs.lookup(_names(path), self._caller)
        assert attributes.size is not None
        return Seen(attributes.size, attributes.mtime_s, attributes.is_folder)

    @asynccontextmanager
    async def opened(self, path: str) -> AsyncIterator[OpenFile]:
        with _as_os_error():
            await self._fs.lookup(_names(path), self._caller)  # the kernel always does
            handle = await self._fs.open(_names(path), self._caller)
        try:
            yield _CoreFile(handle)
        finally:
            handle.close()

    async def xattrs(self, path: str) -> dict[str, str]:
        names = _names(path)
        with _as_os_error():
            found = {name: await self._fs.xattr(names, name) for name in await self._fs.xattr_names(names)}
        return {name: value for name, value in found.items() if value is not None}


class _CoreFile:
    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    async def read(self, offset: int, size: int) -> bytes:
        with _as_os_error():
            return bytes(await self._handle.read(offset, size))


class MountFront:
    """System calls on a mount, each in a thread."""

    def __init__(self, sim: Simulator, daemon: Daemon) -> None:
        self.sim = sim
        self.daemon = daemon

    async def listdir(self, path: str) -> list[str]:
        return await trio.to_thread.run_sync(os.listdir, self.daemon.path(path))

    async def stat(self, path: str) -> Seen:
        told = await trio.to_thread.run_sync(os.stat, self.daemon.path(path))
        assert told.st_mtime_ns % 1_000_000_000 == 0
        return Seen(told.st_size, int(told.st_mtime), stat.S_ISDIR(told.st_mode))

    @asynccontextmanager
    async def opened(self, path: str) -> AsyncIterator[OpenFile]:
        descriptor = await trio.to_thread.run_sync(os.open, self.daemon.path(path), os.O_RDONLY)
        try:
            yield MountFile(descriptor)
        finally:
            os.close(descriptor)

    async def xattrs(self, path: str) -> dict[str, str]:
        return await trio.to_thread.run_sync(_all_xattrs, self.daemon.path(path))


class MountFile:
    """An open file."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    async def read(self, offset: int, size: int) -> bytes:
        return await trio.to_thread.run_sync(os.pread, self.descriptor, size, offset)


def _all_xattrs(path: str) -> dict[str, str]:
    return {name: os.getxattr(path, name).decode() for name in os.listxattr(path)}


def _names(path: str) -> Names:
    return tuple(name for name in path.split("/") if name)


@contextmanager
def _as_os_error() -> Iterator[None]:
    try:
        yield
    except VoxofsError as error:
        raise OSError(error.errno, str(error)) from error


@asynccontextmanager
async def core_front(
    tenants: Sequence[TenantSpec | FixedTenant] | None = None,
    *,
    sections: Sections | None = None,
    **simulator: Any,
) -> AsyncIterator[Front]:
    """The core over a simulator."""
    async with open_rig(tenants, sections=sections, **simulator) as rig:
        yield CoreFront(rig.sim, rig.core.fs)


@asynccontextmanager
async def mount_front(
    tenants: Sequence[TenantSpec | FixedTenant] | None = None,
    *,
    sections: Sections | None = None,
    prelude: str = "",
    **simulator: Any,
) -> AsyncIterator[Front]:
    """A daemon of its own, mounted, over a simulator in this process. Its clocks are the real ones."""
    given: Mapping[str, Mapping[str, Any]] = {"mount": {"deadline_s": 10.0}, **(sections or {})}
    with_token = not {"token_file", "email"} & set(given.get("api", {}))
    async with Simulator([office()] if tenants is None else tenants, **simulator) as sim:
        folders = {each.code: each.id for each in sim.world.tenants.values()}
        token = sim.token if with_token else None
        manager = mounted(sim.api_url, folders, token=token, sections=given, prelude=prelude)
        daemon = await trio.to_thread.run_sync(manager.__enter__)
        try:
            await first_word_said(sim)
            yield MountFront(sim, daemon)
            assert daemon.process.poll() is None, f"the daemon died: {daemon.said()}"
            assert "Traceback" not in daemon.said(), daemon.said()
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(partial(manager.__exit__, None, None, None))
        assert sim.log.leaked_authorization == 0, "the token was given to the storage"


__all__ = [
    "CAT_BYTES", "CoreFront", "Front", "Hands", "MountFile", "MountFront", "OpenFile", "Seen", "cat",
    "core_front", "first_word_said", "mount_front", "raises", "settle", "walk",
]  # fmt: skip
