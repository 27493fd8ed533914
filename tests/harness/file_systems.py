"""The third front end: fsspec's file system, called from threads, as a program without asyncio calls it."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

from voxofs.core.build import Core
from voxofs.fsspec.cores import end_all
from voxofs.fsspec.files import VoxoFile
from voxofs.fsspec.filesystem import VoxoFileSystem
from voxofs.simulator.server import Simulator
from voxofs.simulator.world import FixedTenant, TenantSpec

from .fronts import Front, OpenFile, Seen
from .mounts import toml
from .rig import Sections, check_at_rest
from .world import office


class FsspecFront:
    """fsspec's calls, each in a thread."""

    def __init__(self, sim: Simulator, fs: VoxoFileSystem) -> None:
        self.sim = sim
        self.fs = fs

    async def listdir(self, path: str) -> list[str]:
        found = await trio.to_thread.run_sync(partial(self.fs.ls, path, detail=False))
        return [each.rpartition("/")[2] for each in found]

    async def stat(self, path: str) -> Seen:
        info = await trio.to_thread.run_sync(self.fs.info, path)
        return Seen(info["size"], int(info["mtime"]), info["type"] == "directory")

    @asynccontextmanager
    async def opened(self, path: str) -> AsyncIterator[OpenFile]:
        await self.stat(path)  # as the kernel does, so that requests can be compared
        file = await trio.to_thread.run_sync(self.fs.open, path)
        try:
            yield FsspecFile(file)
        finally:
            file.close()

    async def xattrs(self, path: str) -> dict[str, str]:
        return await trio.to_thread.run_sync(self.fs.fields, path)


class FsspecFile:
    """An open file."""

    def __init__(self, file: VoxoFile) -> None:
        self.file = file

    async def read(self, offset: int, size: int) -> bytes:
        self.file.seek(offset)
        return bytes(await trio.to_thread.run_sync(self.file.read, size))


@contextmanager
def configured(
    sim: Simulator, sections: Sections | None = None, *, since: str | None = None
) -> Iterator[Path]:
    """A configuration file that points at a simulator, with its token in a file beside it."""
    given: dict[str, Mapping[str, Any]] = {"mount": {"deadline_s": 10.0}, **(sections or {})}
    with tempfile.TemporaryDirectory(prefix="voxofs-test-") as place:
        token, config = Path(place, "token"), Path(place, "voxofs.toml")
        token.touch(0o600)
        token.write_text(sim.token + "\n")
        if not {"token_file", "email"} & set(given.get("api", {})):
            given["api"] = {**given.get("api", {}), "token_file": token}
        config.write_text(
            toml(sim.api_url, {each.code: each.id for each in sim.world.tenants.values()}, given)
        )
        yield config


@asynccontextmanager
async def fsspec_front(
    tenants: Sequence[TenantSpec | FixedTenant] | None = None,
    *,
    sections: Sections | None = None,
    **simulator: Any,
) -> AsyncIterator[Front]:
    """A file system over a simulator in this process; its core looks ahead as a mount's does. Leaves nothing
    under way behind it: that is checked."""
    prefetch = bool((sections or {}).get("mount", {}).get("prefetch", True))
    async with Simulator([office()] if tenants is None else tenants, **simulator) as sim:
        with configured(sim, sections) as config:
            fs = VoxoFileSystem(config=config, prefetch=prefetch, skip_instance_cache=True)
            try:
                core = await trio.to_thread.run_sync(fs._core().run_sync, _itself)
                yield FsspecFront(sim, fs)
            finally:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(end_all)
            check_at_rest(core)
        assert sim.log.leaked_authorization == 0, "the token was given to the storage"


async def _itself(core: Core) -> Core:
    return core
