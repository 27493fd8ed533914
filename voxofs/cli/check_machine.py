"""What `voxofs check` looks at on this machine: FUSE, its helper, a mount that is tried, updatedb.

Nothing here changes anything; the mount that is tried is taken away at once.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from voxofs.daemon import mount_table as mounts
from voxofs.daemon import preflight
from voxofs.daemon.preflight import Host, Problem
from voxofs.errors import MountFailed

from .finding import Finding, Grade, broken, good, warning

_TOOL_TIMEOUT_S = 10.0
"""How long fusermount3 may take: a rule of thumb, it answers in milliseconds."""


def machine(host: Host, *, allow_other: bool) -> Iterator[Finding]:
    """FUSE itself, and what else on this machine would trouble a mount."""
    device = preflight.device_problem(host)
    yield good(f"{host.fuse_device} can be opened") if device is None else broken(device)
    helper = _fusermount(host)
    yield helper
    if device is None and helper.grade is Grade.GOOD:
        yield _trial_mount()
    if preflight.allow_other_problem(host, wanted=allow_other) is not None:
        yield broken(
            Problem(
                f"allow_other is set, but {host.fuse_conf} does not allow it to users",
                f"add the line user_allow_other to {host.fuse_conf} as root, or leave allow_other out",
            )
        )
    elif not host.is_root and not preflight.user_allow_other(host):
        yield warning(
            Problem(
                f"{host.fuse_conf} has no user_allow_other, so only you will see your mounts",
                f"to let others in, add the line user_allow_other to {host.fuse_conf} as root",
            )
        )
    else:
        yield good("allow_other may be used")
    yield from _updatedb(host)
    yield from _dead_mounts(host)


def _fusermount(host: Host) -> Finding:
    if (problem := preflight.helper_problem(host)) is not None:
        return broken(problem)
    helper = shutil.which("fusermount3", path=host.search_path)
    if helper is None:
        what = "fusermount3 is missing; root mounts without it, other users cannot"
        return warning(Problem(what, "install the package fuse3"))
    try:
        answer = subprocess.run(
            [helper, "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TOOL_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return broken(Problem(f"{helper} does not run", "install the package fuse3 again"))
    version = re.search(r"version:?\s*(\S+)", answer.stdout)
    return good(f"{helper} works (version {version[1] if version else 'unknown'})")


def _trial_mount() -> Finding:
    """Mount nothing on a new folder by way of fusermount3, as libfuse would, and take it away again."""
    folder = tempfile.mkdtemp(prefix="voxofs-check-")
    ours, theirs = socket.socketpair()
    try:
        with ours, theirs:
            answer = subprocess.run(
                ["fusermount3", "-o", "ro,nodev,nosuid,noexec,fsname=voxofs-check", "--", folder],
                capture_output=True, text=True, errors="replace", timeout=_TOOL_TIMEOUT_S, check=False,
                pass_fds=[theirs.fileno()], env={**os.environ, "_FUSE_COMMFD": str(theirs.fileno())},
            )  # fmt: skip
            if answer.returncode == 0:
                _message, descriptors, _flags, _address = socket.recv_fds(ours, 1, 1)
                for descriptor in descriptors:
                    os.close(descriptor)  # first: nobody can then wait for an answer of this mount
                mounts.unmount(folder, lazy=True)
    except (OSError, subprocess.TimeoutExpired, MountFailed) as error:
        what = f"a mount was tried and failed: {error}"
        return broken(Problem(what, "look at what dmesg says about fuse"))
    finally:
        with suppress(OSError):  # the mount could not be taken away, which has been said
            os.rmdir(folder)
    if answer.returncode != 0:
        return broken(
            Problem(
                f"a mount was tried and refused: {answer.stderr.strip()}",
                "in a container, allow it with --device /dev/fuse --cap-add SYS_ADMIN "
                "(and --security-opt apparmor=unconfined where AppArmor forbids mount)",
            )
        )
    return good("a mount can be made")


def _updatedb(host: Host) -> Iterator[Finding]:
    """Whether updatedb (locate) would walk through every recording there ever was."""
    try:
        text = host.updatedb_conf.read_text(errors="replace")
    except OSError:
        return  # no updatedb here
    match = re.search(r"""^\s*PRUNEFS\s*=\s*["']?([^"'\n]*)""", text, re.MULTILINE)
    pruned = match[1].split() if match else []
    if mounts.FS_TYPE.casefold() in (name.casefold() for name in pruned):
        yield good(f"updatedb leaves mounts of voxofs alone ({host.updatedb_conf})")
    else:
        yield warning(
            Problem(
                f"updatedb would crawl the mount: PRUNEFS in {host.updatedb_conf} lacks {mounts.FS_TYPE}",
                f'put this line there: PRUNEFS="{" ".join([*pruned, mounts.FS_TYPE])}"',
            )
        )


def _dead_mounts(host: Host) -> Iterator[Finding]:
    dead = preflight.dead_mounts(host)
    for mountpoint in dead:
        yield warning(
            Problem(
                f"{mountpoint}: a dead mount was left behind by a voxofs that ended unexpectedly",
                f"the next mount there heals it; or remove it with: voxofs umount {shlex.quote(mountpoint)}",
            )
        )
    if not dead:
        yield good("no dead mount is left behind")


def folder(mountpoint: str, host: Host, needed: Iterable[Path] = ()) -> Finding:
    """Whether something can be mounted at the folder, by the rules that a mount goes by, or is."""
    entry = mounts.entry_at(mounts.real_path(mountpoint), mounts.entries(host.mountinfo))
    if entry is not None and entry.fs_type == mounts.FS_TYPE and not mounts.is_dead(entry.mountpoint):
        return good(f"{entry.mountpoint} is mounted by voxofs ({entry.source}), and answers")
    if (problem := preflight.mountpoint_problem(mountpoint, host, needed)) is not None:
        return broken(problem)
    path = mounts.real_path(mountpoint)
    if path not in preflight.dead_mounts(host) and (note := preflight.not_empty_note(path, host)) is not None:
        return warning(Problem(note, "mount on an empty folder"))
    return good(f"{path} can be mounted on")
