"""`fsspec.filesystem("voxofs")`: the tree of the mount, for programs that speak fsspec.

Paths are `demo/2021/08/13/19/x.mp3`. Every call becomes one piece of work beside this process's core
(`cores`); what it asks for is in `trees`. The same tree, times and errors as on the mount; two things differ,
because programs here say what they want instead of being watched:

* existence and listings come from reports alone. A size costs two requests, and is asked for by those who
  want one: `info`, `size`, `du`, `ls(sizes=True)`. In listings it is None until then;
* `cat` and `get` have a recording's size and bytes from one request. Nothing is fetched ahead of an `open`
  unless `prefetch=True`: engines read neighbouring recordings in several processes, and each would fetch the
  others'.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from fsspec.asyn import AsyncFileSystem, mirror_sync_methods
from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.utils import glob_translate

from voxofs.core.build import Core

from . import trees
from .cores import CoreThread, Work, core_for
from .deadlines import with_errno
from .files import VoxoFile, VoxoStream, opened, opened_sync
from .options import OPTIONS, configuration
from .readonly import ReadOnly, read_only
from .trees import Info, names_of

T = TypeVar("T")

_AT_ONCE = 64
"""Recordings that `cat` and `get` have under way, where the program does not say `batch_size`: a third
more than there are connections by default, so that none idles. Each waits in line at the core, where its
deadline runs."""
_READ_BYTES = 1_048_576
"""`get` writes as the core fetches: a recording up to 1 MiB is one piece."""


class VoxoFileSystem(ReadOnly, AsyncFileSystem):  # type: ignore[misc]
    """Call recordings, read only.

    `config`: the path of a configuration file; or settings: `base_url`, `token_file` (a path; a token itself
    is refused), `tenants` ({"demo": 37} or {"demo": {"id": 37, "since": "2021-01-01"}}), `since`, `timezone`,
    `connections`, `memory`, `disk`, `key_file`, `deadline_s`; or both, settings over the file; or neither,
    as `voxofs mount` finds its file. The environment (`$VOXOFS_TOKEN`) lies in between. `prefetch`: fetch
    ahead in a folder that is gone through, as a mount does.

    Raises ValueError for what cannot be used, with every problem, a line each.
    """

    protocol = "voxofs"
    root_marker = ""
    cachable = True
    mirror_sync_methods = False  # it is done here, so that a deadline keeps its errno

    def __init__(
        self,
        *args: Any,
        config: str | os.PathLike[str] | None = None,
        prefetch: bool = False,
        asynchronous: bool = False,
        loop: Any = None,
        batch_size: int | None = None,
        **options: Any,
    ) -> None:
        of_fsspec = {name: options.pop(name) for name in _OF_FSSPEC if name in options}
        self._config = configuration(config, options, prefetch=prefetch, environ=os.environ)
        super().__init__(
            *args, asynchronous=asynchronous, loop=loop, batch_size=batch_size or _AT_ONCE, **of_fsspec
        )
        self._thread: CoreThread | None = None
        before = set(vars(self))
        mirror_sync_methods(self)
        for name in set(vars(self)) - before:
            setattr(self, name, with_errno(getattr(self, name)))

    def __repr__(self) -> str:
        return f"<VoxoFileSystem of {', '.join(sorted(self._config.tenants))}>"

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        """The names of a path, joined: no protocol, no slash at either end, none twice."""
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        return "/".join(names_of(super()._strip_protocol(path)))

    def _core(self) -> CoreThread:
        if self._pid != os.getpid():
            raise RuntimeError(
                "this file system was made before a fork and its connections are the parent's: make it "
                "again in the child, with the same options"
            )
        if self._thread is None or not self._thread.alive:
            self._thread = core_for(self._config)
        return self._thread

    async def _run(self, work: Work[T]) -> T:
        return await self._core().run(work)

    # Names and attributes.

    async def _info(self, path: str, **kwargs: Any) -> Info:
        names = names_of(self._strip_protocol(path))

        async def work(core: Core) -> Info:
            return trees.info_of(names, await core.fs.lookup(names))

        return await self._run(work)

    async def _entry(self, path: str) -> Info:
        """As a listing would show it: without a size that nobody has asked for."""
        names = names_of(self._strip_protocol(path))

        async def work(core: Core) -> Info:
            return trees.info_of(names, await core.fs.entry(names))

        return await self._run(work)

    async def _exists(self, path: str, **kwargs: Any) -> bool:
        """Whether the calendar or a report tells of it. A failure is raised: it is never an absence."""
        return await self._type(path) is not None

    async def _isfile(self, path: str) -> bool:
        return await self._type(path) == "file"

    async def _isdir(self, path: str) -> bool:
        return await self._type(path) == "directory"

    async def _type(self, path: str) -> str | None:
        try:
            return str((await self._entry(path))["type"])
        except FileNotFoundError:
            return None

    async def _size(self, path: str) -> int | None:
        names = names_of(self._strip_protocol(path))

        async def work(core: Core) -> int | None:
            here = await core.fs.entry(names)
            return 0 if here.is_folder else here.size or (await core.fs.measure(names)).size

        return await self._run(work)

    async def _ls(
        self, path: str, detail: bool = True, sizes: bool = False, **kwargs: Any
    ) -> list[Info] | list[str]:
        names = names_of(self._strip_protocol(path))
        infos = await self._run(lambda core: trees.ls(core, names, sizes=sizes))
        return infos if detail else [info["name"] for info in infos]

    async def _walk(
        self,
        path: str,
        maxdepth: int | None = None,
        topdown: bool = True,
        on_error: str | Callable[[OSError], object] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[tuple[str, Any, Any]]:
        """As `os.walk`, except that a failure is raised unless `on_error` says otherwise ("omit", or a
        function): a listing that cannot be had is not an empty folder."""
        detail = kwargs.pop("detail", False)
        if maxdepth is not None and maxdepth < 1:
            raise ValueError("maxdepth must be at least 1")
        path = self._strip_protocol(path)
        infos: list[Any] = []
        try:
            infos = await self._ls(path, detail=True, **kwargs)
        except OSError as error:
            if on_error == "raise" or (on_error is None and not isinstance(error, FileNotFoundError)):
                raise
            if callable(on_error):
                on_error(error)
        below = {info["name"].rpartition("/")[2]: info for info in infos if info["name"] != path}
        dirs = {name: info for name, info in below.items() if info["type"] == "directory"}
        files = {name: info for name, info in below.items() if info["type"] == "file"}
        here = (path, dirs, files) if detail else (path, list(dirs), list(files))
        if topdown:
            yield here
        if maxdepth is None or maxdepth > 1:
            deeper = None if maxdepth is None else maxdepth - 1
            for name in list(here[1]):  # whoever walks may take names out
                async for step in self._walk(
                    dirs[name]["name"], deeper, topdown, on_error, detail=detail, **kwargs
                ):
                    yield step
        if not topdown:
            yield here

    async def _find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        *,
        detail: bool = False,
        sizes: bool = False,
        wanted: Sequence[re.Pattern[str]] = (),
        **kwargs: Any,
    ) -> dict[str, Info] | list[str]:
        if maxdepth is not None and maxdepth < 1:
            raise ValueError("maxdepth must be at least 1")
        names = names_of(self._strip_protocol(path))
        infos = await self._run(
            lambda core: trees.Search(core, names, maxdepth, wanted).run(withdirs=withdirs, sizes=sizes)
        )
        if detail:
            return {info["name"]: info for info in infos}
        return [info["name"] for info in infos]

    async def _glob(self, path: str, maxdepth: int | None = None, **kwargs: Any) -> Any:
        """As fsspec's, but folders that a pattern leaves out are not searched: `demo/2021/*/13` asks twelve
        reports and not a year's."""
        parts = self._strip_protocol(path).split("/")
        magic = [number for number, part in enumerate(parts) if any(mark in part for mark in "*?[")]
        if magic and not any("**" in part for part in parts):
            kwargs["wanted"] = [re.compile(glob_translate(part)) for part in parts[magic[0] :]]
        return await super()._glob(path, maxdepth=maxdepth, **kwargs)

    async def _du(self, path: str, total: bool = True, maxdepth: int | None = None, **kwargs: Any) -> Any:
        """Bytes below a path, or those of each recording; 0 for one whose audio is missing."""
        found = await self._find(path, maxdepth=maxdepth, detail=True, sizes=True)
        assert isinstance(found, dict)
        sizes = {name: info["size"] or 0 for name, info in found.items()}
        return sum(sizes.values()) if total else sizes

    def modified(self, path: str) -> datetime:
        """The instant at which a call began, in UTC; of a folder, the end of its period."""
        info = self.entry(path)
        return datetime.fromtimestamp(info["mtime"], UTC)

    created = modified

    def entry(self, path: str) -> Info:
        """As `info`, for what a report alone can tell: `size` may be None, and nothing is asked for it."""
        return self._sync(lambda core: self._entry_of(core, path))

    def fields(self, path: str) -> dict[str, str]:
        """The call's record, as the extended attributes on a mount show it: no personal field that the
        configuration does not list."""
        return self._sync(lambda core: self._fields_of(core, path))

    def ukey(self, path: str) -> str:
        """A text that changes when the recording's bytes do. Asks for the size and ETag where they are not
        known."""
        info = self.info(path)
        said = [info["name"], info["type"], info["size"], info["mtime"], info.get("ETag")]
        return hashlib.sha256(repr(said).encode()).hexdigest()

    def checksum(self, path: str) -> int:
        """`ukey` as a number."""
        return int(self.ukey(path), 16)

    def invalidate_cache(self, path: str | None = None) -> None:
        """Ask again for listings that reach the present when they are next wanted. Settled days do not
        change."""
        if self._thread is not None:
            self._sync(_drop_live)

    def _sync(self, work: Work[T]) -> T:
        return self._core().run_sync(work)

    async def _entry_of(self, core: Core, path: str) -> Info:
        names = names_of(self._strip_protocol(path))
        return trees.info_of(names, await core.fs.entry(names))

    async def _fields_of(self, core: Core, path: str) -> dict[str, str]:
        names = names_of(self._strip_protocol(path))
        found = {name: await core.fs.xattr(names, name) for name in await core.fs.xattr_names(names)}
        return {name: value for name, value in found.items() if value is not None}

    # Bytes.

    async def _cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any
    ) -> bytes:
        names = names_of(self._strip_protocol(path))
        return await self._run(lambda core: trees.cat(core, names, start, end))

    async def _get_file(
        self, rpath: str, lpath: Any, callback: Any = DEFAULT_CALLBACK, outfile: Any = None, **kwargs: Any
    ) -> None:
        """Copy one recording into a local file, which is removed again where it cannot be completed."""
        rpath = self._strip_protocol(rpath)
        if await self._isdir(rpath):
            os.makedirs(lpath, exist_ok=True)
            return
        thread = self._core()
        handle, info = await thread.run(lambda core: trees.open_file(core, names_of(rpath), whole=True))
        callback.set_size(info["size"])
        try:
            if outfile is not None:
                await self._copy_out(thread, handle, info["size"], outfile, callback)
                return
            Path(lpath).parent.mkdir(parents=True, exist_ok=True)
            try:
                with open(lpath, "wb") as file:  # noqa: ASYNC230 - as in fsspec's own file systems
                    await self._copy_out(thread, handle, info["size"], file, callback)
            except BaseException:
                with suppress(OSError):
                    os.unlink(lpath)
                raise
        finally:
            thread.post(handle.close)

    async def _copy_out(self, thread: CoreThread, handle: Any, size: int, file: Any, callback: Any) -> None:
        for start in range(0, size, _READ_BYTES):
            piece = await thread.run(partial(_read, handle, start, min(start + _READ_BYTES, size)))
            file.write(piece)
            callback.relative_update(len(piece))

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> VoxoFile:
        if mode != "rb":
            read_only(path)
        thread = self._core()
        return VoxoFile(self, path, thread, *opened_sync(thread, path))

    async def open_async(self, path: str, mode: str = "rb", **kwargs: Any) -> VoxoStream:
        """An open recording for asyncio. Raises OSError."""
        if mode != "rb":
            read_only(path)
        path = self._strip_protocol(path)
        thread = self._core()
        return VoxoStream(self, path, thread, *await opened(thread, path))


_OF_FSSPEC = ("use_listings_cache", "listings_expiry_time", "max_paths", "skip_instance_cache")
"""What fsspec's base class takes and this one has no use for: listings are the core's."""


async def _read(handle: Any, start: int, end: int, _: Core) -> bytes:
    return await trees.read(handle, start, end)


async def _drop_live(core: Core) -> None:
    core.catalog.drop_live()


__all__ = ["OPTIONS", "VoxoFileSystem"]
