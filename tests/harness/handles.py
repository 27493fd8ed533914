"""Files by handle, as NFS servers name and open them: name_to_handle_at(2) and open_by_handle_at(2)."""

from __future__ import annotations

import ctypes
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .rig import PATIENCE_S

_LIBC = ctypes.CDLL(None, use_errno=True)
_MOST_BYTES = 128
"""MAX_HANDLE_SZ in linux/fcntl.h."""
_FD_CWD = -100
_REMOUNT_READ_ONLY = 32 | 1
"""MS_REMOUNT and MS_RDONLY in linux/mount.h."""


class FileHandle(ctypes.Structure):
    """`struct file_handle` of name_to_handle_at(2)."""

    _fields_ = (
        ("handle_bytes", ctypes.c_uint),
        ("handle_type", ctypes.c_int),
        ("f_handle", ctypes.c_ubyte * _MOST_BYTES),
    )


def handle_of(path: Path) -> FileHandle:
    """What an NFS server would give to its client."""
    handle, mount_id = FileHandle(handle_bytes=_MOST_BYTES), ctypes.c_int()
    name = os.fsencode(path)
    if _LIBC.name_to_handle_at(_FD_CWD, name, ctypes.byref(handle), ctypes.byref(mount_id), 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return handle


@contextmanager
def opened(mount: Path, handle: FileHandle) -> Iterator[int]:
    """A descriptor, from nothing but the handle."""
    root = os.open(mount, os.O_RDONLY | os.O_DIRECTORY)
    try:
        file = _LIBC.open_by_handle_at(root, ctypes.byref(handle), os.O_RDONLY)
        number = ctypes.get_errno()
    finally:
        os.close(root)
    if file == -1:
        raise OSError(number, os.strerror(number))
    try:
        yield file
    finally:
        os.close(file)


def forget_unused(mount: Path) -> None:
    """Have the kernel drop the names that nobody uses. By mount(2): util-linux 2.41 repeats all options to
    fsconfig(2), where FUSE allows no changes."""
    if _LIBC.mount(None, os.fsencode(mount), None, _REMOUNT_READ_ONLY, None) != 0:
        raise OSError(ctypes.get_errno(), "mount")


def forget_everything(mount: Path) -> None:
    """Have the kernel drop all names of this mount, as it does when memory runs short: a remount that changes
    nothing does (`shrink_dcache_sb` in fs/super.c)."""
    few = 3  # the root, and what leads to the status
    forget_unused(mount)
    gives_up_s = time.monotonic() + PATIENCE_S
    while json.loads((mount / ".voxofs/status").read_bytes())["kernel"]["inodes"] > few:
        assert time.monotonic() < gives_up_s, "the kernel remembers"


def need_handles(mount: Path) -> None:
    """Skip what the machine does not allow; every root may do it, but in a container by default none."""
    try:
        with opened(mount, handle_of(mount)):
            pass
    except PermissionError:
        pytest.skip("open_by_handle_at(2) takes CAP_DAC_READ_SEARCH, which is not given here")
