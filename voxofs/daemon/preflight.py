"""What must be true of the machine before a mount is tried, each with what to do when it is not.

`mount(2)` and fusermount3 answer a failure with one errno; the questions here are the ones whose answers
explain it. Each answer is a `Problem` or None. `process` asks them before it mounts and `voxofs check` shows
them all. They read the machine through `Host`, so that a test can show them another one.
"""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from voxofs.config.settings import Config
from voxofs.errors import MountFailed

from . import mount_table as mounts

_KERNEL_FOLDERS = frozenset({"/dev", "/proc", "/sys"})
"""The kernel's own file systems, whose folders are nobody's to mount on (hier(7))."""
_SYSTEM_FOLDERS = frozenset(
    {"/", "/bin", "/boot", "/etc", "/lib", "/lib32", "/lib64", "/run", "/sbin", "/tmp", "/usr", "/var"}
    | _KERNEL_FOLDERS
)
"""What programs, voxofs among them, need at these very places (Filesystem Hierarchy Standard 3.0). Folders in
them are not meant: /run/user/1000/calls is a fine place."""


@dataclass(frozen=True)
class Problem:
    """What is wrong, and what to do about it where that is known. As text, both on one line."""

    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}" if self.remedy else self.what


@dataclass(frozen=True)
class Host:
    """Where the machine's facts are read."""

    fuse_device: Path = Path("/dev/fuse")
    fuse_conf: Path = Path("/etc/fuse.conf")
    updatedb_conf: Path = Path("/etc/updatedb.conf")
    mountinfo: Path = Path("/proc/self/mountinfo")
    mtab: Path = Path("/etc/mtab")
    is_root: bool = field(default_factory=lambda: os.geteuid() == 0)
    search_path: str | None = None
    """Where programs are looked for; None means $PATH."""


def device_problem(host: Host) -> Problem | None:
    """Why /dev/fuse cannot be used, or None."""
    device = host.fuse_device
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return Problem(
            f"{device} does not exist", "load it with `modprobe fuse` (a container needs --device /dev/fuse)"
        )
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            return Problem(
                f"{device} must not be opened by this user",
                f"`chmod 666 {device}` as root mends it "
                f"(a container needs --device /dev/fuse --cap-add SYS_ADMIN)",
            )
        if error.errno in (errno.ENODEV, errno.ENXIO):
            return Problem(f"{device} has no driver behind it", "load it with `modprobe fuse`")
        return Problem(f"{device} cannot be opened: {error.strerror}")
    return None


def helper_problem(host: Host) -> Problem | None:
    """Why somebody who is not root could not mount through fusermount3, or None."""
    if host.is_root:
        return None
    helper = shutil.which("fusermount3", path=host.search_path)
    if helper is None:
        return Problem(
            "fusermount3 is missing, without which only root may mount", "install the package fuse3"
        )
    if not os.stat(helper).st_mode & stat.S_ISUID:
        return Problem(
            f"{helper} is not setuid root, so it cannot mount", f"`chmod u+s {helper}` as root mends it"
        )
    if not host.mtab.exists() and not _umount_is_setuid(host):
        return Problem(
            f"{host.mtab} does not exist, so fusermount3 could not take a mount away again",
            f"`ln -s /proc/self/mounts {host.mtab}` as root mends it",
        )
    return None


def _umount_is_setuid(host: Host) -> bool:
    """Whether umount(8) would unmount for a user where fusermount3 does not."""
    umount = shutil.which("umount", path=host.search_path)
    return umount is not None and bool(os.stat(umount).st_mode & stat.S_ISUID)


def user_allow_other(host: Host) -> bool:
    """Whether fuse.conf allows everybody to use allow_other."""
    try:
        lines = host.fuse_conf.read_text(errors="replace").splitlines()
    except OSError:
        return False
    return any(line.strip() == "user_allow_other" for line in lines)


def allow_other_problem(host: Host, *, wanted: bool) -> Problem | None:
    """Why `allow_other` would be refused, or None."""
    if not wanted or host.is_root or user_allow_other(host):
        return None
    return Problem(
        f"allow_other needs the line `user_allow_other` in {host.fuse_conf}", "add it as root, or do without"
    )


def dead_mounts(host: Host) -> list[str]:
    """Mountpoints of voxofs whose daemon is gone."""
    ours = {entry.mountpoint for entry in mounts.entries(host.mountinfo) if entry.fs_type == mounts.FS_TYPE}
    return sorted(mountpoint for mountpoint in ours if mounts.is_dead(mountpoint))


def files_of(config: Config) -> list[Path]:
    """What a mount with this configuration has to reach while it is there."""
    api = config.api
    found = (config.source, api.token_file, api.password_file, config.log.file, config.audit.file)
    return [path for path in found if path is not None]


def mountpoint_problem(
    mountpoint: str | os.PathLike[str], host: Host, needed: Iterable[Path] = ()
) -> Problem | None:
    """Why nothing can be mounted at this folder, or None. A dead mount of ours is none: `heal`.

    `needed`: files that must stay in sight, see `files_of`. This is asked before every mount and by `voxofs
    check`, so that both say the same.
    """
    if not os.fspath(mountpoint):
        # As a path it would mean the working directory, and be an unset variable of a script's.
        return Problem("the folder to mount on has an empty name", "name an empty folder")
    mountpoint = mounts.real_path(mountpoint)
    entry = _entry(mountpoint, host)
    if entry is not None and entry.fs_type.startswith("fuse"):
        where, dead = shlex.quote(mountpoint), mounts.is_dead(mountpoint)
        if entry.fs_type == mounts.FS_TYPE:
            already = f"{mountpoint}: voxofs is already mounted here ({entry.source})"
            return None if dead else Problem(already, f"unmount it first with: voxofs umount {where}")
        if dead:
            what = f"{mountpoint}: a dead mount of {entry.fs_type} is in the way"
            return Problem(what, f"remove it with: umount -l {where}")
    try:
        _look_into(mountpoint, host)
    except FileNotFoundError:
        return Problem(
            f"{mountpoint}: the folder to mount on does not exist",
            f"make it with: mkdir -p {shlex.quote(mountpoint)}",
        )
    except NotADirectoryError:
        return Problem(f"{mountpoint}: is not a folder", "choose an empty folder to mount on")
    except OSError as error:
        return Problem(f"{mountpoint}: cannot be read: {error.strerror}")
    return _hidden(mountpoint, needed) or _not_ours(mountpoint, host)


def _hidden(mountpoint: str, needed: Iterable[Path]) -> Problem | None:
    """What the mount would hide that it needs itself, or that the machine does."""
    elsewhere = "choose an empty folder, such as one that you make in your home"
    if mountpoint in _SYSTEM_FOLDERS or os.path.dirname(mountpoint) in _KERNEL_FOLDERS:
        return Problem(f"{mountpoint}: belongs to the system, which a mount there would hide", elsewhere)
    for path in (Path(sys.prefix), Path(sys.base_prefix), Path(__file__), *needed):
        if Path(mounts.real_path(path)).is_relative_to(mountpoint):
            return Problem(f"{mountpoint}: a mount there would hide {path}, which voxofs needs", elsewhere)
    return None


def _not_ours(mountpoint: str, host: Host) -> Problem | None:
    """Why fusermount3 would refuse the folder to somebody who is not root: it asks for the right to write,
    and in a sticky folder to own it (libfuse, util/fusermount.c, check_perm)."""
    if host.is_root:
        return None
    status = os.stat(mountpoint)
    if status.st_mode & stat.S_ISVTX and status.st_uid != os.geteuid():
        return Problem(f"{mountpoint}: belongs to somebody else", "choose a folder of your own")
    if not os.access(mountpoint, os.W_OK):
        return Problem(
            f"{mountpoint}: cannot be written by this user, so fusermount3 refuses to mount there",
            "choose a folder of your own",
        )
    return None


def not_empty_note(mountpoint: str, host: Host) -> str | None:
    """That the folder at this real path has something in it, which a mount hides; None where it is empty."""
    if not _look_into(mountpoint, host):
        return None
    return f"{mountpoint}: is not empty; what is in it stays hidden until the unmount"


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


def prepare(
    mountpoint: str | os.PathLike[str], *, allow_other: bool, host: Host, needed: Iterable[Path] = ()
) -> tuple[str, list[str]]:
    """Make sure that a mount can be tried. Returns the real path and notes for the log.

    Heals a dead mount of our own. Raises MountFailed with every reason against it, one a line.
    """
    needed = tuple(needed)
    problems = [
        problem
        for problem in (
            device_problem(host),
            helper_problem(host),
            allow_other_problem(host, wanted=allow_other),
            mountpoint_problem(mountpoint, host, needed),
        )
        if problem is not None
    ]
    if problems:
        raise MountFailed("\n".join(map(str, problems)))
    path = mounts.real_path(mountpoint)
    notes = []
    if heal(path, host):
        notes.append(f"{path}: removed the dead mount that an earlier voxofs left behind")
        # What lies below it could not be seen until now.
        if (problem := mountpoint_problem(path, host, needed)) is not None:
            raise MountFailed(str(problem))
    if (note := not_empty_note(path, host)) is not None:
        notes.append(note)
    return path, notes
