"""A mount that is there already, when mount(8) asks for it again: the same is success, another is refused.

A script that runs twice, `-o remount`: they ask for a mount that may be there. What it was made with is told
by its status, as digests. A mount cannot change its settings; what can be read anew (credentials, live
listings) is asked for by SIGHUP.
"""

from __future__ import annotations

import os
import shlex
import signal
from typing import TYPE_CHECKING

from voxofs.errors import MountFailed, VoxofsError

from .stats import parse_status, read_status

if TYPE_CHECKING:
    from voxofs.config.settings import Config
    from voxofs.daemon.mount_table import MountEntry


def at(mountpoint: str) -> MountEntry | None:
    """The mount of ours that answers at a folder, if any. A dead one is none: the next mount heals it."""
    from voxofs.daemon import mount_table as mounts

    entry = mounts.entry_at(mounts.real_path(mountpoint))
    if entry is None or entry.fs_type != mounts.FS_TYPE or mounts.is_dead(entry.mountpoint):
        return None
    return entry


def again(config: Config, mountpoint: str, *, remount: bool) -> None:
    """Make sure that what is mounted is what is asked for. Raises MountFailed with what it is not."""
    entry = at(mountpoint)
    if entry is None:
        raise MountFailed(f"{mountpoint}: remount: voxofs is not mounted there; leave remount out")
    where = shlex.quote(entry.mountpoint)
    try:
        status = parse_status(read_status(entry.mountpoint), entry.mountpoint)
    except VoxofsError as error:
        raise MountFailed(f"{entry.mountpoint}: voxofs is already mounted here, and {error}") from None
    differs = _differences(config, status.get("settings"))
    if remount:
        _hang_up(status.get("pid"), entry.mountpoint)
        if differs:
            raise MountFailed(
                f"{entry.mountpoint}: remount: credentials and live listings are read again; only a new "
                f"mount can change {differs}: voxofs umount {where}, then mount"
            )
    elif entry.source != config.shown_as or differs:
        other = f", with another {differs}" if differs else ""
        raise MountFailed(
            f"{entry.mountpoint}: voxofs is already mounted here ({entry.source}){other}; "
            f"unmount it first with: voxofs umount {where}"
        )


def _differences(config: Config, theirs: object) -> str:
    """Keys of settings that are not the same; "" where all are."""
    if not isinstance(theirs, dict):
        return "version of voxofs"
    ours = config.fingerprint()
    return ", ".join(sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)))


def _hang_up(pid: object, mountpoint: str) -> None:
    """SIGHUP to the daemon. Raises MountFailed where that is another user's, or cannot be seen."""
    try:
        if not isinstance(pid, int) or pid <= 1:
            raise ProcessLookupError
        os.kill(pid, signal.SIGHUP)
    except OSError as error:
        raise MountFailed(f"{mountpoint}: remount: the daemon cannot be told: {error.strerror}") from None
