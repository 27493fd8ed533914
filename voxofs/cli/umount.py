"""`voxofs umount`: take a mount of ours away, or name who holds it."""

from __future__ import annotations

import argparse
import os

from voxofs.errors import Exit, MountFailed

from .parser import Commands

_HELP = """
example:
  voxofs umount ~/calls

A mount that is in use is not taken away; who uses it is told. --lazy takes it away at once and lets go of
it when its last user has closed.
"""

_GONE_TIMEOUT_S = 30.0
"""How long the mount may stay in the table after the kernel has agreed. A rule of thumb: it is gone at once
unless the machine is in trouble, and the deadline of an operation is as long (`mount.deadline_s`)."""


def add_to(commands: Commands) -> None:
    parser = commands.add("umount", run, summary="unmount", epilog=_HELP)
    parser.add_argument("--lazy", "-l", "-z", action="store_true", help="also when it is in use")
    parser.add_argument("mountpoint", metavar="MOUNTPOINT")


def run(options: argparse.Namespace) -> int:
    """Unmount and wait until it is done. A dead mount is taken away lazily. Raises MountFailed."""
    from voxofs.daemon import mount_table as mounts

    path = mounts.real_path(options.mountpoint)
    entry = mounts.entry_at(path)
    if entry is None:
        raise MountFailed(f"{path}: nothing is mounted there")
    if entry.fs_type != mounts.FS_TYPE:
        raise MountFailed(f"{path}: is a mount of type {entry.fs_type}, not one of voxofs; use umount")
    os.chdir("/")  # `voxofs umount .` would be a user of the mount itself
    try:
        mounts.unmount(path, lazy=options.lazy or mounts.is_dead(path))
    except mounts.MountBusy:
        raise mounts.MountBusy(
            f"{mounts.busy_message(path)}; close it there, or unmount with --lazy"
        ) from None
    if not mounts.wait_until_gone(entry.mount_id, _GONE_TIMEOUT_S):
        raise MountFailed(
            f"{path}: is still mounted {_GONE_TIMEOUT_S:.0f} s after the kernel agreed to unmount it"
        )
    return Exit.OK
