"""The other people's programs: where they are found, and what is to be installed for those that are not.

rclone and mutagen come from PyPI, into `.venv-bench` (made by `scripts/bench`), because Debian's rclone is
years old; the others are Debian's.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from processes import run

ROOT = Path(__file__).resolve().parents[2]
_VENV = ROOT / ".venv-bench/bin"

SYSTEMS = {
    "before": None,
    "rclone": "rclone",
    "rclone-full": "rclone",
    "httpdirfs": "httpdirfs",
    "httpdirfs-cache": "httpdirfs",
    "curl": "curl",
    "gocryptfs": "gocryptfs",
}
"""What voxofs is measured beside, and the program that it takes; `before` is an earlier voxofs."""
PACKAGES = {"ffprobe": "ffmpeg", "fusermount3": "fuse3", "exiftool": "libimage-exiftool-perl"}
"""Debian's package where it has another name than the program."""


def program(name: str) -> str | None:
    """Its path: ours before the machine's."""
    own = _VENV / name
    return str(own) if own.exists() else shutil.which(name)


def needed(name: str) -> str:
    """Its path, or its name, so that what starts it complains."""
    return program(name) or name


def present(wanted: list[str]) -> tuple[list[str], list[str]]:
    """Of these systems, those that can take part, and the programs that are missing for the others."""
    found, missing = [], set()
    for system in wanted:
        name = SYSTEMS[system]
        if name is None or program(name):
            found.append(system)
        else:
            missing.add(name)
    return found, sorted(missing)


def versions() -> str:
    """Which rclone and curl these are."""
    said = []
    for name, option in (("rclone", "version"), ("curl", "--version")):
        path = program(name)
        if path is not None:
            said.append(f"{name} {run([path, option]).decode().split()[1].removeprefix('v')}")
    return ", ".join(said)
