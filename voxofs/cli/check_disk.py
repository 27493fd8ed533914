"""What `voxofs check` looks at for the disk tier: its directory, its key, its room. Changes nothing."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from voxofs.config.sections import DiskSection
from voxofs.daemon.preflight import Problem
from voxofs.errors import ConfigError, VoxofsError
from voxofs.store import contents
from voxofs.store.key import read_key_file

from .finding import Finding, broken, good, warning
from .status_text import size

_LEAST_BYTES = 64 << 20
"""The smallest `size` that the configuration takes: with less room the tier is not worth its index."""


def disk(section: DiskSection) -> Iterator[Finding]:
    """Nothing where no tier is configured."""
    if section.path is None:
        return
    key = None
    if section.key_file is None:
        yield warning(
            Problem(
                "the disk tier's key is in memory: what it keeps is gone at the next start",
                "make one: voxofs cache key /etc/voxofs/disk.key; and name it as key_file below [disk]",
            )
        )
    else:
        try:
            key = read_key_file(section.key_file)
        except ConfigError as error:
            yield from (broken(Problem(problem)) for problem in error.problems)
        else:
            yield good(f"the disk tier's key {section.key_file} can be read")
    problem = _directory_problem(section.path)
    if problem is not None:
        yield warning(problem)
        return
    yield _room(section, section.path)
    if key is not None and Path(section.path, "index.db").exists():
        yield _held(section.path, key)


def _directory_problem(path: Path) -> Problem | None:
    """Why the tier would rest: a mount works without it."""
    where = shlex.quote(str(path))
    try:
        status = path.stat()
    except FileNotFoundError:
        if os.access(path.parent, os.W_OK | os.X_OK):
            return None
        return Problem(
            f"{path}: does not exist and cannot be made", f"make it with: install -d -m 700 {where}"
        )
    except OSError as error:
        return Problem(f"{path}: cannot be looked at: {error.strerror}", "name another path below [disk]")
    if not stat.S_ISDIR(status.st_mode):
        return Problem(f"{path}: is not a folder", "name another path below [disk]")
    if status.st_uid != os.geteuid():
        return Problem(
            f"{path}: belongs to another user than this one",
            f"chown {os.geteuid()} {where}, or check as that user",
        )
    if not os.access(path, os.W_OK | os.X_OK):
        return Problem(f"{path}: cannot be written to", "look at its mode and at how its disk is mounted")
    return None


def _room(section: DiskSection, path: Path) -> Finding:
    room = os.statvfs(path if path.exists() else path.parent)
    free = room.f_bavail * room.f_frsize
    left = free - section.keep_free_bytes
    held = contents.audio_bytes(path)
    if left + held < _LEAST_BYTES:
        what = f"{path}: {size(free)} are free, and {size(section.keep_free_bytes)} are to stay free"
        return warning(Problem(what, "free some room, or set a smaller keep_free below [disk]"))
    if left + held < section.size_bytes:
        what = f"{path}: there is room for {size(left + held)} of {size(section.size_bytes)}"
        return warning(Problem(what, "the tier takes what there is; or set a smaller size below [disk]"))
    return good(f"{path} has room for the {size(section.size_bytes)} of the disk tier")


def _held(path: Path, key: bytes) -> Finding:
    try:
        everything = contents.show(path, key)[0]
    except VoxofsError as error:
        return warning(Problem(str(error), "the next mount begins anew there"))
    return good(f"{path} holds {everything.recordings:,} recordings, {size(everything.bytes)}")
