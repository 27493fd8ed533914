"""`voxofs cache`: a key for the disk tier, what lies there, and its deletion.

What lies in the directory is sealed. Without its key only sums can be told, and everything can be deleted,
but nothing by tenant. All of it works beside running mounts; a mount tells in its status which directory and
key are its own.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from voxofs.errors import ConfigError, Exit, VoxofsError

from . import configuration, stats, status_text
from .parser import Commands, Parser, UsageError

if TYPE_CHECKING:
    from voxofs.store.contents import Held

_HELP = """
examples:
  voxofs cache key /etc/voxofs/disk.key    make a key; then key_file = "/etc/voxofs/disk.key" below [disk]
  voxofs cache show ~/calls                what the tier of a mount holds
  voxofs cache show /var/cache/voxofs      the same by its directory
  voxofs cache purge --tenant acme ~/calls
  voxofs cache purge --older-than 30d /var/cache/voxofs
"""
_DIRECTORY = "the directory that path in [disk] names, or the mountpoint of a running mount; default: the " \
    "configuration's"  # fmt: skip


class _Place(NamedTuple):
    """Which directory, and which key opens what lies there."""

    path: Path
    key: bytes | None


def add_to(commands: Commands) -> None:
    parser = commands.add(
        "cache", _usage, summary="make a key for the disk tier, show what it holds, delete it", epilog=_HELP
    )
    parts = Commands(parser, dest="cache_command")
    key = parts.add("key", _make_key, summary="make a key in a new file of mode 600", epilog=_HELP)
    key.add_argument("file", metavar="FILE", type=Path, help="never overwritten")
    show = parts.add("show", _show, summary="say what is held", epilog=_HELP)
    purge = parts.add("purge", _purge, summary="delete what is held", epilog=_HELP)
    purge.add_argument("--tenant", "-t", metavar="T", help="of this one alone")
    purge.add_argument("--older-than", metavar="AGE", help="fetched longer ago than this: 30d, 12 h")
    for each in (show, purge):
        _add_place(each)


def _add_place(parser: Parser) -> None:
    parser.add_argument("--config", "-c", metavar="FILE", type=Path, help="the configuration file")
    parser.add_argument(
        "--key-file", metavar="FILE", type=Path, help="default: the mount's or configuration's"
    )
    parser.add_argument("directory", metavar="DIRECTORY", nargs="?", help=_DIRECTORY)


def _usage(_: argparse.Namespace) -> int:
    raise UsageError("say key, show or purge; try: voxofs cache --help")


def _make_key(options: argparse.Namespace) -> int:
    from voxofs.store.key import make_key_file

    make_key_file(options.file)
    print(f'{options.file}: made; name it below [disk]: key_file = "{options.file.absolute()}"')
    return Exit.OK


def _show(options: argparse.Namespace) -> int:
    from voxofs.store import contents

    place = _place(options)
    for line in _lines(contents.show(*place), time.time()):
        print(line)
    if place.key is None:
        print(f"{place.path}: names of tenants are sealed; --key-file tells them", file=sys.stderr)
    return Exit.OK


def _purge(options: argparse.Namespace) -> int:
    from voxofs.config.values import duration
    from voxofs.store import contents

    before_s = None
    if options.older_than is not None:
        try:
            before_s = time.time() - duration(0, float("inf"))(options.older_than)
        except ValueError as error:
            raise UsageError(f"--older-than: {error}") from None
    purged = contents.purge(*_place(options), tenant=options.tenant, before_s=before_s)
    print(f"{status_text.size(purged.bytes)} of audio and {purged.rows:,} sizes and listings deleted")
    return Exit.OK


def _lines(held: list[Held], now_s: float) -> list[str]:
    """What is held, a line each: all of it, then every tenant."""
    lines = []
    for each in held:
        oldest = "" if each.oldest_s is None else f", oldest {status_text.duration(now_s - each.oldest_s)}"
        audio = f"{each.recordings:,} recordings, {status_text.size(each.bytes)}{oldest}"
        name = "all" if each.tenant is None else status_text.one_line(each.tenant)
        lines.append(f"{name:<10} {audio}; {each.versions:,} sizes, {each.windows:,} listings")
    return lines


def _place(options: argparse.Namespace) -> _Place:
    """Raises VoxofsError where nothing names a directory, or a key cannot be read."""
    from voxofs.store.key import read_key_file

    path, key_file = _named(options)
    key_file = options.key_file or key_file
    return _Place(path, None if key_file is None else read_key_file(key_file))


def _named(options: argparse.Namespace) -> tuple[Path, Path | None]:
    if options.directory is not None and os.path.exists(f"{options.directory}/{stats.status_file()}"):
        return _of_mount(options.directory)
    try:
        section = configuration.load(options.config, {}).disk
    except ConfigError:
        if options.directory is None or options.config is not None:
            raise
        return Path(options.directory), None  # without a configuration, and so without its key
    if options.directory is None:
        if section.path is None:
            raise UsageError("no disk tier is configured: set path below [disk], or name a directory")
        return section.path, section.key_file
    path = Path(options.directory)
    same = section.path is not None and path.resolve() == section.path.resolve()
    return path, section.key_file if same else None


def _of_mount(mountpoint: str) -> tuple[Path, Path | None]:
    disk = stats.parse_status(stats.read_status(mountpoint), mountpoint).get("disk")
    if not isinstance(disk, Mapping) or not isinstance(disk.get("path"), str):
        raise VoxofsError(f"{mountpoint}: has no disk tier; set path below [disk] and mount again")
    key_file = disk.get("key_file")
    return Path(disk["path"]), Path(key_file) if isinstance(key_file, str) else None
