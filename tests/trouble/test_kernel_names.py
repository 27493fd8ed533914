"""A name is answered before its size is known: who waits for one recording keeps nobody from its folder, and
whatever asks for a size, in whichever way, is told the right one."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from harness.fronts import MountFront, mount_front
from harness.handles import FileHandle, forget_everything, handle_of, need_handles, opened
from harness.rig import until
from harness.world import BYTES, HOUR, NAMES, SIZES
from trials.programs import in_thread, program, timed

from voxofs.simulator.faults import Fault

_LIBC = ctypes.CDLL(None)
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
_LIBC.memcpy.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_LIBC.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
AT_ONCE_S = 1.5
"""For one look-up that nothing holds up: some 20 ms, on two cores shared with other tests."""
SECTIONS = {"mount": {"deadline_s": 60.0, "prefetch": False}}


async def test_a_name_that_hangs_keeps_nobody_from_its_folder() -> None:
    async with mount_front(sections=SECTIONS) as front:
        assert isinstance(front, MountFront)
        paths = [Path(front.daemon.path(f"{HOUR}/{name}")) for name in NAMES]
        hanging = paths[3]
        front.sim.add_fault(Fault("stall", {"route": "link", "unique_id": hanging.stem}, times=None))
        async with program("stat", str(hanging)) as first, program("stat", str(hanging)) as second:
            await until(lambda: front.sim.log.in_flight["api"])
            for path, size in zip(paths, SIZES, strict=True):
                if path != hanging:
                    took_s, seen = await timed(path.stat)
                    assert seen.st_size == size
                    assert took_s < AT_ONCE_S, f"{path.name} took {took_s:.1f} s"
            took_s, names = await timed(lambda: os.listxattr(hanging))
            assert "user.voxo.start" in names, "what the record tells needs no size"
            assert took_s < AT_ONCE_S
            for process in (first, second):
                process.send_signal(signal.SIGKILL)
                took_s, code = await timed(lambda process=process: process.wait(60))  # type: ignore[misc]
                assert (code, took_s < 2.5) == (-signal.SIGKILL, True)


def by_stat(path: Path) -> int:
    return path.stat().st_size


def by_access(path: Path) -> int:
    assert os.access(path, os.R_OK)
    return os.lstat(path).st_size


@contextmanager
def reading(path: str | Path) -> Iterator[int]:
    """A descriptor, and nothing asked of it: Python's `open` asks fstat(2)."""
    file = os.open(path, os.O_RDONLY)
    try:
        yield file
    finally:
        os.close(file)


def by_seek(path: Path) -> int:
    with reading(path) as file:
        return os.lseek(file, 0, os.SEEK_END)


def by_read(path: Path) -> int:
    with reading(path) as file:
        return sum(iter(lambda: len(os.read(file, 1 << 20)), 0))


def by_read_of_the_rest(path: Path) -> int:
    with reading(path) as file:
        return 1 + len(os.pread(file, 1 << 20, 1))


def by_splice(path: Path) -> int:
    """splice(2) believes the size that the kernel has (`filemap_splice_read` in mm/filemap.c)."""
    out, into = os.pipe()
    try:
        with reading(path) as file:
            size = 0
            while moved := os.splice(file, into, 4096):
                size += len(os.read(out, moved))
            return size
    finally:
        os.close(out)
        os.close(into)


def by_sendfile(path: Path) -> int:
    copy = os.memfd_create("copy")
    try:
        with reading(path) as file:
            return sum(iter(lambda: os.sendfile(copy, file, None, 1 << 20), 0))
    finally:
        os.close(copy)


def by_map(path: Path) -> int:
    """Pages beyond the size that the kernel has are SIGBUS (`filemap_fault` in mm/filemap.c)."""
    with reading(path) as file:
        pages = _LIBC.mmap(None, 4096, mmap.PROT_READ, mmap.MAP_SHARED, file, 0)
    assert pages != ctypes.c_void_p(-1).value
    first = ctypes.create_string_buffer(1)
    _LIBC.memcpy(first, pages, 1)  # without the interpreter's lock: what brings the page is in this process
    assert first.raw == BYTES[path.name][:1]
    _LIBC.munmap(pages, 4096)
    return path.stat().st_size


def by_a_descriptor_of_the_path(path: Path) -> int:
    place = os.open(path, os.O_PATH)
    try:
        with reading(f"/proc/self/fd/{place}") as file:
            return sum(iter(lambda: len(os.read(file, 1 << 20)), 0))
    finally:
        os.close(place)


WAYS = (
    by_stat,
    by_access,
    by_seek,
    by_read,
    by_read_of_the_rest,
    by_splice,
    by_sendfile,
    by_map,
    by_a_descriptor_of_the_path,
)


@pytest.mark.parametrize("way", WAYS)
async def test_whatever_asks_first_is_told_the_size(way: Callable[[Path], int]) -> None:
    """On names that nobody has looked at, and on those of which the kernel knows the name alone."""
    async with mount_front(sections=SECTIONS) as front:
        assert isinstance(front, MountFront)
        paths = [Path(front.daemon.path(f"{HOUR}/{name}")) for name in NAMES]

        def look() -> list[int]:
            for path in paths[6:]:
                os.close(os.open(path, os.O_PATH))
            return [way(path) for path in paths]

        assert await in_thread(look) == list(SIZES)


async def test_a_name_alone_costs_no_request() -> None:
    async with mount_front(sections=SECTIONS) as front:
        assert isinstance(front, MountFront)
        for name in NAMES:
            place = await in_thread(partial(os.open, front.daemon.path(f"{HOUR}/{name}"), os.O_PATH))
            os.close(place)
        assert dict(front.sim.log.requests) == {"reports": 1}


async def test_a_handle_that_was_made_of_a_name_outlives_it() -> None:
    """It was made when no version was known, and is good for the first one that is told (of others:
    test_forgotten)."""
    async with mount_front(sections=SECTIONS) as front:
        assert isinstance(front, MountFront)
        mount = Path(front.daemon.directory)
        paths = [Path(front.daemon.path(f"{HOUR}/{name}")) for name in NAMES[:2]]

        def read(handle: FileHandle) -> bytes:
            with opened(mount, handle) as file:
                return os.read(file, 1 << 20)

        def look() -> None:
            need_handles(mount)
            handles = [handle_of(path) for path in paths]
            for _ in range(2):
                assert [read(handle) for handle in handles] == [BYTES[path.name] for path in paths]
                forget_everything(mount)

        await in_thread(look)
