"""Open recordings as Python's file objects.

Bytes come from the core's reader, which sees the pattern of the reads and fetches ahead of it. fsspec's own
caches would hold them a second time and hide that pattern, so there is none: every read asks the core, which
has most of them in memory and answers in a third of a millisecond.
"""

from __future__ import annotations

from typing import Any

from fsspec.asyn import AbstractAsyncStreamedFile
from fsspec.spec import AbstractBufferedFile

from voxofs.core.build import Core
from voxofs.core.handles import Handle

from .cores import CoreThread
from .trees import Info, names_of, open_file, read

LINE_BYTES = 131_072
"""What `readline` and its like ask for at once: as much as the kernel reads ahead on a mount."""


class VoxoFile(AbstractBufferedFile):  # type: ignore[misc]
    """A recording, open for reading, for threads. The handle behind it belongs to one edition of the
    recording: a replaced one fails with OSError (EIO) instead of giving bytes of both."""

    def __init__(self, fs: Any, path: str, thread: CoreThread, handle: Handle, info: Info) -> None:
        self._thread = thread
        self._handle = handle
        super().__init__(fs, path, block_size=LINE_BYTES, cache_type="none", size=info["size"])
        self.details = info

    def __repr__(self) -> str:
        return f"<VoxoFile {self.path}, {self.size} bytes>"

    def _fetch_range(self, start: int, end: int) -> bytes:
        """Bytes from `start` to `end`. Raises OSError."""

        async def work(_: Core) -> bytes:
            return await read(self._handle, start, min(end, self.size))

        return self._thread.run_sync(work)

    def close(self) -> None:
        """The handle is no longer used."""
        if not self.closed:
            self._thread.post(self._handle.close)
        super().close()


class VoxoStream(AbstractAsyncStreamedFile):  # type: ignore[misc]
    """The same for asyncio: `async with await fs.open_async(path) as file`."""

    def __init__(self, fs: Any, path: str, thread: CoreThread, handle: Handle, info: Info) -> None:
        self._thread = thread
        self._handle = handle
        super().__init__(fs, path, block_size=LINE_BYTES, cache_type="none", size=info["size"])
        self.details = info

    async def _fetch_range(self, start: int, end: int) -> bytes:
        """Bytes from `start` to `end`. Raises OSError."""

        async def work(_: Core) -> bytes:
            return await read(self._handle, start, min(end, self.size))

        return await self._thread.run(work)

    async def close(self) -> None:
        """The handle is no longer used."""
        if not self.closed:
            self._thread.post(self._handle.close)
        await super().close()

    def __del__(self) -> None:
        if not self.closed:
            self._thread.post(self._handle.close)
            self.closed: bool = True


async def opened(thread: CoreThread, path: str) -> tuple[Handle, Info]:
    """A handle and what is known of the recording. Raises OSError."""

    async def work(core: Core) -> tuple[Handle, Info]:
        return await open_file(core, names_of(path), whole=False)

    return await thread.run(work)


def opened_sync(thread: CoreThread, path: str) -> tuple[Handle, Info]:
    """The same for a thread that waits."""

    async def work(core: Core) -> tuple[Handle, Info]:
        return await open_file(core, names_of(path), whole=False)

    return thread.run_sync(work)


__all__ = ["VoxoFile", "VoxoStream", "opened", "opened_sync"]
