"""What must be true of the machine before a mount is tried, each with what to do when it is not.

`mount(2)` and fusermount3 answer a failure with one errno; the questions here are the ones whose answers
explain it. Each answer is "what is wrong; what to do". `service` asks them before it mounts and `check`
shows them all. They read the machine through `Host`, so that a test can show them another one.
"""

from __future__ import annotations

import errno
import os
import shlex
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from . import mounts
from .mounts import MountFailure


@dataclass(frozen=True)
class Host:
    """Where the machine's facts are read."""

    fuse_device: Path = Path("/dev/fuse")
    fuse_conf: Path = Path("/etc/fuse.conf")
    updatedb_conf: Path = Path("/etc/updatedb.conf")
    mountinfo: Path = Path("/proc/self/mountinfo")
    is_root: bool = field(default_factory=lambda: os.geteuid() == 0)
    search_path: str | None = None
    """Where programs are looked for; None means $PATH."""


def device_problem(host: Host) -> str | None:
    """Why /dev/fuse cannot be used, or None."""
    device = host.fuse_device
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return f"{device} does not exist; load it with `modprobe fuse` (a container needs --device /dev/fuse)"
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            return (
                f"{device} must not be opened by this user; `chmod 666 {device}` as root mends it "
                f"(a container needs --device /dev/fuse --cap-add SYS_ADMIN)"
            )
        if error.errno in (errno.ENODEV, errno.ENXIO):
            return f"{device} has no driver behind it; load it with `modprobe fuse`"
        return f"{device} cannot be opened: {error.strerror}"
    return None


def helper_problem(host: Host) -> str | None:
    """Why somebody who is not root could not mount through fusermount3, or None."""
    if host.is_root:
        return None
    helper = shutil.which("fusermount3", path=host.search_path)
    if helper is None:
        return "fusermount3 is missing, without which only root may mount; install the package fuse3"
    if not os.stat(helper).st_mode & 0o4000:
        return f"{helper} is not setuid root, so it cannot mount; `chmod u+s {helper}` as root mends it"
    return None


def user_allow_other(host: Host) -> bool:
    """Whether fuse.conf allows everybody to use allow_other."""
    try:
        lines = host.fuse_conf.read_text(errors="replace").splitlines()
    except OSError:
        return False
    return any(line.strip() == "user_allow_other" for line in lines)


def allow_other_problem(host: Host, *, wanted: bool) -> str | None:
    """Why `allow_other` would be refused, or None."""
    if not wanted or host.is_root or user_allow_other(host):
        return None
    return f"allow_other needs the line `user_allow_other` in {host.fuse_conf}; add it as root, or do without"


def dead_mounts(host: Host) -> list[str]:
    """Mountpoints of voxofs whose daemon is gone."""
    ours = {entry.mountpoint for entry in mounts.entries(host.mountinfo) if entry.fs_type == mounts.FS_TYPE}
    return sorted(mountpoint for mountpoint in ours if mounts.is_dead(mountpoint))


def mountpoint_problem(mountpoint: str, host: Host) -> str | None:
    """Why nothing can be mounted at this real path, or None. A dead mount of ours is none: `heal`."""
    entry = _entry(mountpoint, host)
    if entry is not None and entry.fs_type.startswith("fuse"):
        where, dead = shlex.quote(mountpoint), mounts.is_dead(mountpoint)
        if entry.fs_type == mounts.FS_TYPE:
            already = f"{mountpoint}: voxofs is already mounted here ({entry.source})"
            return None if dead else f"{already}; unmount it first with: voxofs umount {where}"
        if dead:
            what = f"a dead mount of {entry.fs_type} is in the way"
            return f"{mountpoint}: {what}; remove it with: umount -l {where}"
    try:
        _look_into(mountpoint, host)
    except FileNotFoundError:
        remedy = f"make it with: mkdir -p {shlex.quote(mountpoint)}"
        return f"{mountpoint}: the folder to mount on does not exist; {remedy}"
    except NotADirectoryError:
        return f"{mountpoint}: is not a folder; choose an empty folder to mount on"
    except OSError as error:
        return f"{mountpoint}: cannot be read: {error.strerror}"
    return None


def _entry(mountpoint: str, host: Host) -> mounts.MountEntry | None:
    return mounts.entry_at(mountpoint, mounts.entries(host.mountinfo))


def _look_into(mountpoint: str, host: Host) -> list[str]:
    """What is in the folder; nothing where it is an automount's.

    Opening that one asks for the very mount that is being made and would wait for it forever
    (x-systemd.automount in fstab).
    """
    entry = _entry(mountpoint, host)
    return [] if entry is not None and entry.fs_type == "autofs" else os.listdir(mountpoint)


def heal(mountpoint: str, host: Host) -> bool:
    """Take away a dead mount that an earlier voxofs left here. True when there was one."""
    healed = False
    while (entry := _entry(mountpoint, host)) is not None and entry.fs_type == mounts.FS_TYPE:
        if not mounts.is_dead(mountpoint):
            break
        mounts.unmount(mountpoint, lazy=True)
        healed = True
    return healed


def prepare(mountpoint: str | os.PathLike[str], *, allow_other: bool, host: Host) -> tuple[str, list[str]]:
    """Make sure that a mount can be tried. Returns the real path and notes for the log.

    Heals a dead mount of our own. Raises MountFailure with every reason against it, one a line.
    """
    path = mounts.real_path(mountpoint)
    problems = [
        problem
        for problem in (
            device_problem(host),
            helper_problem(host),
            allow_other_problem(host, wanted=allow_other),
            mountpoint_problem(path, host),
        )
        if problem is not None
    ]
    if problems:
        raise MountFailure("\n".join(problems))
    notes = []
    if heal(path, host):
        notes.append(f"{path}: removed the dead mount that an earlier voxofs left behind")
        # What lies below it could not be seen until now.
        if (problem := mountpoint_problem(path, host)) is not None:
            raise MountFailure(problem)
    if _look_into(path, host):
        notes.append(f"{path}: is not empty; what is in it stays hidden until the unmount")
    return path, notes
