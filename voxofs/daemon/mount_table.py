"""What the kernel knows about mounts: the table, who holds one, and taking one away.

Everything here reads /proc and never the mount itself, so that it can be asked from inside the daemon
that serves the mount (a stat of one's own mount waits for oneself) and about a mount that is dead. The one
exception is `is_dead`, which is the question whether a call to it fails.

All functions block; call them from a thread where an event loop runs.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import select
import shlex
import shutil
import subprocess
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from voxofs.errors import MountFailed

FS_TYPE = "fuse.voxofs"
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8  # MNT_DETACH of <sys/mount.h>, UMOUNT_NOFOLLOW: umount2(2)
_ESCAPE = re.compile(r"\\([0-7]{3})")  # three octal digits: proc_pid_mountinfo(5), by way of getmntent(3)

_STATFS_TIMEOUT_S = 2.0
"""How long a statfs may take before the mount counts as alive but slow. A rule of thumb: a dead mount answers
ENOTCONN at once, as nobody need be asked, and a person waits for `check` or `umount` meanwhile."""


class MountBusy(MountFailed):
    """Processes still use the mount."""


class MountEntry(NamedTuple):
    """One line of /proc/self/mountinfo (proc_pid_mountinfo(5))."""

    mount_id: int
    device: str
    mountpoint: str
    options: str
    fs_type: str
    source: str


class Holder(NamedTuple):
    """A process that keeps a mount busy, and by what: cwd, root, an open file or a mapped one."""

    pid: int
    name: str
    how: str

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid}, {self.how})"


def parse_mountinfo(text: str) -> list[MountEntry]:
    """The entries in order, the last one of a mountpoint being on top. Lines that make no sense are left out.

    Spaces, tabs, newlines and backslashes in paths are octal escapes; a variable number of optional
    fields ends with a dash.
    """
    entries = []
    for line in text.split("\n"):
        left, dash, right = line.partition(" - ")
        fields, rest = left.split(" "), right.split(" ")
        if dash and len(fields) >= 6 and len(rest) >= 2 and fields[0].isdecimal():
            entries.append(
                MountEntry(
                    int(fields[0]), fields[2], _unescaped(fields[4]), fields[5], rest[0], _unescaped(rest[1])
                )
            )
    return entries


def _unescaped(field: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), field)


def entries(mountinfo: Path = Path("/proc/self/mountinfo")) -> list[MountEntry]:
    """The mounts of this process's namespace."""
    return parse_mountinfo(os.fsdecode(mountinfo.read_bytes()))


def real_path(mountpoint: str | os.PathLike[str]) -> str:
    """The path as mountinfo spells it; works on a dead mount, too."""
    return os.path.realpath(mountpoint)


def entry_at(mountpoint: str, table: Iterable[MountEntry] | None = None) -> MountEntry | None:
    """The topmost mount at that very path (real path), if any."""
    found = None
    for entry in entries() if table is None else table:
        if entry.mountpoint == mountpoint:
            found = entry
    return found


def entry_above(path: str) -> MountEntry | None:
    """The mount of ours that a real path lies in, if any."""
    table = entries()
    found = (entry_at(str(each), table) for each in (Path(path), *Path(path).parents))
    nearest = next((entry for entry in found if entry is not None), None)
    return nearest if nearest is not None and nearest.fs_type == FS_TYPE else None


def is_dead(mountpoint: str) -> bool:
    """Whether the daemon behind the mount is gone, so that calls answer ENOTCONN.

    Asked by statfs: a stat is answered from the kernel's own attributes for a while after the death. In a
    thread that may be left behind: a daemon that is stopped never answers, and is not dead.
    """
    answers: list[int | None] = []

    def ask() -> None:
        try:
            os.statvfs(mountpoint)
        except OSError as error:
            answers.append(error.errno)

    thread = threading.Thread(target=ask, name=f"statfs of {mountpoint}", daemon=True)
    thread.start()
    thread.join(_STATFS_TIMEOUT_S)
    return bool(answers) and answers[0] in (errno.ENOTCONN, errno.ECONNABORTED)


def holders(mountpoint: str, proc: Path = Path("/proc")) -> list[Holder]:
    """The processes that use something on the mount, one entry each, as far as this user may see them; not
    the one that asks."""
    entry = entry_at(mountpoint)
    device = entry.device if entry is not None else None
    found = []
    for process in sorted(proc.glob("[0-9]*"), key=lambda path: int(path.name)):
        how = None if process.name == str(os.getpid()) else next(_uses(process, mountpoint, device), None)
        if how is not None:
            found.append(Holder(int(process.name), _process_name(process), how))
    return found


def _uses(process: Path, mountpoint: str, device: str | None) -> Iterator[str]:
    """What of the mount a process uses. Only links are read: following them would ask the mount."""
    for name, how in (("cwd", "working directory"), ("root", "root directory")):
        if (target := _link(process / name)) and _is_below(target, mountpoint):
            yield f"{how} {target}"
    try:
        descriptors = os.listdir(process / "fd")
    except OSError:
        descriptors = []  # it ended, or belongs to somebody else
    for descriptor in descriptors:
        if (target := _link(process / "fd" / descriptor)) and _is_below(target, mountpoint):
            yield f"open file {target}"
    try:
        maps = (process / "maps").read_bytes() if device is not None else b""
    except OSError:
        maps = b""
    for line in os.fsdecode(maps).splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and _same_device(fields[3], device) and _is_below(fields[5], mountpoint):
            yield f"mapped file {fields[5]}"


def _same_device(in_maps: str, in_mountinfo: str | None) -> bool:
    """Whether "00:2d" of maps (hexadecimal) is "0:45" of mountinfo (decimal)."""
    major, _, minor = in_maps.partition(":")
    return f"{int(major, 16)}:{int(minor, 16)}" == in_mountinfo


def _link(path: Path) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _is_below(path: str, mountpoint: str) -> bool:
    return path == mountpoint or path.startswith(mountpoint.rstrip("/") + "/")


def _process_name(process: Path) -> str:
    try:
        return (process / "comm").read_text(errors="replace").strip() or "?"
    except OSError:
        return "?"


def unmount(mountpoint: str, *, lazy: bool = False) -> None:
    """Take the topmost mount at this real path away. Lazily: it vanishes now and ends with its last user.

    Raises MountBusy when processes use it (see `holders`), MountFailed with the reason otherwise. Root
    asks the kernel itself; other users go through fusermount3, which is setuid for this purpose, and where
    that one fails through umount(8), which lets a user take away FUSE mounts of his own: fusermount3 reads
    /etc/mtab (libfuse, util/fusermount.c, may_unmount), which small machines lack, and umount does not.
    """
    flags = _UMOUNT_NOFOLLOW | (_MNT_DETACH if lazy else 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(mountpoint), ctypes.c_int(flags)) == 0:
        return
    code = ctypes.get_errno()
    if code == errno.EBUSY:
        raise MountBusy(f"{mountpoint}: the mount is in use")
    if code != errno.EPERM:
        reason = "nothing is mounted there" if code == errno.EINVAL else os.strerror(code)
        raise MountFailed(f"{mountpoint}: cannot be unmounted: {reason}")
    _unmount_as_user(mountpoint, lazy=lazy)


def _unmount_as_user(mountpoint: str, *, lazy: bool) -> None:
    reasons = []
    for command in (["fusermount3", "-u", *(["-z"] if lazy else [])], ["umount", *(["-l"] if lazy else [])]):
        helper = shutil.which(command[0])
        if helper is None:
            reasons.append(f"there is no {command[0]}")
            continue
        result = subprocess.run(
            [helper, *command[1:], "--", mountpoint],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
            env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
        if result.returncode == 0:
            return
        if "busy" in result.stderr:
            raise MountBusy(f"{mountpoint}: the mount is in use")
        reasons += result.stderr.strip().splitlines()[-1:] or [f"{helper} ended with {result.returncode}"]
    why = "; ".join(reasons)
    raise MountFailed(
        f"{mountpoint}: cannot be unmounted: {why}; as root: umount -l {shlex.quote(mountpoint)}"
    )


def clear_away(mountpoint: str) -> None:
    """Take a mount of ours away whose daemon is gone, and leave any other. Raises MountFailed."""
    entry = entry_at(mountpoint)
    if entry is not None and entry.fs_type == FS_TYPE and is_dead(mountpoint):
        unmount(mountpoint, lazy=True)


def wait_until_gone(mount_id: int, timeout_s: float) -> bool:
    """Wait until the mount with this id has left the table; False when it is still there after the time.

    The kernel wakes a poll on mountinfo at every change (proc_pid_mounts(5)), so nothing is polled.
    """
    with open("/proc/self/mountinfo", "rb") as table:
        changes = select.poll()
        changes.register(table, select.POLLPRI | select.POLLERR)
        while True:
            table.seek(0)
            if all(entry.mount_id != mount_id for entry in parse_mountinfo(os.fsdecode(table.read()))):
                return True
            if not changes.poll(timeout_s * 1000):
                return False


def busy_message(mountpoint: str) -> str:
    """Who holds a busy mount and what to do, on one line."""
    found = holders(mountpoint)
    if not found:
        return (
            f"{mountpoint}: the mount is in use, but not by a process that this user can see: "
            f"look as root, or for a mount below it"
        )
    return f"{mountpoint}: the mount is in use by {', '.join(map(str, found))}"
