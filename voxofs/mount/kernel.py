"""What is asked of the kernel beside FUSE: readahead, background requests, file descriptors.

All of it is done once the mount answers, and none of it is needed: where it is refused, the kernel's own
values stay.
"""

from __future__ import annotations

import logging
import os
import resource
import subprocess
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)

_READAHEAD_KIB = 512
KERNEL_BACKGROUND = 12
"""The kernel's own `max_background` (FUSE_DEFAULT_MAX_BACKGROUND in fs/fuse/inode.c)."""
_BACKGROUND = 512
"""Readahead requests under way at once. A reader has two of them, so that half is for 128 readers that hang;
at 512 KiB each they pin 256 MiB of the kernel's memory at the very most."""
_CONNECTIONS = Path("/sys/fs/fuse/connections")
_MAX_FOR_USERS = Path("/sys/module/fuse/parameters/max_user_bgreq")
_MOUNT_TIMEOUT_S = 5.0
_DESCRIPTORS_BESIDE_CONNECTIONS = 256
"""The daemon's own, files of the configuration, connections to the metrics. It has about 30; a rule of
thumb."""


def widen(mountpoint: str) -> Path:
    """Have the kernel read more at once, as far as it lets us; returns the file of its `max_background`."""
    device = os.stat(mountpoint).st_dev
    setting = _CONNECTIONS / str(os.minor(device)) / "max_background"
    _widen_readahead(device)
    _widen_background(setting)
    return setting


def readahead_bytes(mountpoint: str) -> int:
    """How much the kernel reads at once on this mount; 0 where it does not tell."""
    try:
        return int(_readahead_setting(os.stat(mountpoint).st_dev).read_text()) * 1_024
    except (OSError, ValueError):
        return 0


def background(setting: Path | None) -> int:
    """`max_background` as it is now: whoever mounted may change it at any time."""
    try:
        return KERNEL_BACKGROUND if setting is None else int(setting.read_text())
    except (OSError, ValueError):
        return KERNEL_BACKGROUND


def _widen_readahead(device: int) -> None:
    """Let the kernel read up to 512 KiB at once, for long recordings; only root may, others keep 128 KiB.

    No more than that: from 1 MiB on the kernel's first read of a file is 128 KiB instead of 64 (its
    `get_init_ra_size`), and a look at a header would cost a second block.
    """
    with suppress(OSError):
        _readahead_setting(device).write_text(str(_READAHEAD_KIB))


def _readahead_setting(device: int) -> Path:
    return Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")


def _widen_background(setting: Path) -> None:
    """Raise `max_background`, and `congestion_threshold` to three quarters of it, which is the kernel's own
    proportion (Documentation/filesystems/fuse.rst). The files belong to whoever mounted; without
    CAP_SYS_ADMIN the kernel refuses more than `max_user_bgreq`."""
    _have_fusectl()
    wanted = _BACKGROUND
    try:
        try:
            setting.write_text(str(wanted))
        except OSError:
            wanted = min(wanted, int(_MAX_FOR_USERS.read_text()))
            setting.write_text(str(wanted))
        setting.with_name("congestion_threshold").write_text(str(wanted * 3 // 4))
    except (OSError, ValueError) as error:
        log.info("the kernel reads ahead with %d requests at once (%s)", background(setting), error)


def _have_fusectl() -> None:
    """Mount the kernel's control files where they are missing and we are root, as systemd does at every boot.
    They stay: they belong to all FUSE mounts of the machine, and another one may use them by now."""
    if os.geteuid() != 0 or not _CONNECTIONS.is_dir() or os.path.ismount(_CONNECTIONS):
        return
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(
            ["mount", "-t", "fusectl", "fusectl", str(_CONNECTIONS)],
            check=False,
            timeout=_MOUNT_TIMEOUT_S,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def raise_descriptor_limit(connections: int) -> None:
    """Be allowed as many open files as so many connections can need: each may have one that closes beside
    it."""
    needed = 2 * connections + _DESCRIPTORS_BESIDE_CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    with suppress(OSError, ValueError):  # a filter of system calls may forbid it
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        soft = allowed
    if soft < needed:
        log.warning(
            "%d open files are allowed and %d may be needed: raise the limit (ulimit -Hn, LimitNOFILE=)",
            soft,
            needed,
        )
