"""`voxofs mount`, and `mount.voxofs`, by which mount(8) and fstab do the same."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from voxofs.daemon.terminal import say
from voxofs.errors import Exit

from . import configuration, mounted
from .parser import Commands, Parser, UsageError

if TYPE_CHECKING:
    from voxofs.config.settings import Config

_HELP = """
examples:
  voxofs mount ~/calls
  voxofs mount --foreground -o memory=1GiB ~/calls
  voxofs mount --config office.toml -o allow_other,gid=audio,file_mode=0640,dir_mode=0750 /srv/calls

-o takes any key of the configuration file: `-o cache.memory=1GiB`, or the key alone where only one section
has it, `-o memory=1GiB`. Words of other mounts (ro, nodev, _netdev, nofail, x-systemd.automount, …) are
accepted. It overrides the environment (VOXOFS_CACHE_MEMORY=1GiB), and that overrides the file.

in /etc/fstab, where mount.voxofs is installed:
  /etc/voxofs/voxofs.toml  /srv/calls  voxofs  _netdev,nofail,x-systemd.automount,allow_other  0  0
"""
_HELPER_HELP = """
mount(8) calls this for `mount -t voxofs SOURCE MOUNTPOINT` and for lines of /etc/fstab. SOURCE is a
configuration file, or the name of one of the configured tenants (then only that one is shown), or voxofs, for
all that the configuration has. What is mounted so already is success; -o remount has credentials and live
listings read again, and names settings that only a new mount changes.

examples:
  mount -t voxofs voxofs /srv/calls
  mount -t voxofs /etc/voxofs/office.toml /srv/calls -o allow_other
  mount -t voxofs demo /srv/demo -o config=/etc/voxofs/office.toml
"""


_ANY = frozenset({"voxofs", "none"})
"""Sources that name nothing; fstab(5) has "none" for what has no device."""


def add_to(commands: Commands) -> None:
    parser = commands.add("mount", run, summary="mount the recordings", epilog=_HELP)
    configuration.add_options(parser)
    parser.add_argument("--foreground", "-f", action="store_true", help="stay, and log to stderr")
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", help="an empty folder")


def run(options: argparse.Namespace) -> int:
    """Mount, as a daemon unless told otherwise. What fails after the configuration is said on stderr."""
    words = configuration.overrides(options, from_mount=False)
    config = configuration.load(options.config, words)
    from voxofs.daemon import process

    if options.foreground:
        return process.run_foreground(config, options.mountpoint)
    return process.run_background(config, options.mountpoint)


def helper_parser() -> Parser:
    """The calling convention of mount(8)'s helpers (mount(8), EXTERNAL HELPERS)."""
    parser = Parser(
        prog="mount.voxofs", description="Mounts the recordings for mount(8).", epilog=_HELPER_HELP
    )
    parser.add_version()
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument("mountpoint", metavar="MOUNTPOINT")
    parser.add_argument("-s", action="store_true", dest="sloppy", help="ignore unknown options")
    parser.add_argument("-f", action="store_true", dest="fake", help="only check, do not mount")
    parser.add_argument("-n", action="store_true", help="accepted (there is no mtab to write)")
    parser.add_argument("-v", action="store_true", dest="verbose", help="log to stderr what is being done")
    parser.add_argument("-N", metavar="NAMESPACE", dest="namespace", help=argparse.SUPPRESS)
    parser.add_argument("-t", metavar="TYPE", dest="fs_type", help=argparse.SUPPRESS)
    configuration.add_words(parser)
    return parser


def run_helper(argv: Sequence[str]) -> int:
    """What mount(8) asks for. A source is a file, or one of the tenants, or "voxofs" for all of them."""
    options = helper_parser().parse_intermixed_args(argv)
    words = configuration.overrides(options, from_mount=True)
    remount = words.pop("remount", None) is not None
    if options.sloppy:
        words = configuration.without_unknown(words)
    config = _of_source(str(options.source), words)
    if options.fake:
        return Exit.OK
    if remount or mounted.at(options.mountpoint) is not None:
        mounted.again(config, options.mountpoint, remount=remount)
        if options.verbose:
            say(f"{options.mountpoint} is mounted so already")
        return Exit.OK
    from voxofs.daemon import process

    if options.verbose:
        say(f"mounting {', '.join(config.tenants)} at {options.mountpoint}")
    return process.run_background(config, options.mountpoint)


def _of_source(source: str, words: dict[str, str]) -> Config:
    """The configuration that a source means, shown as what it is called. Raises ConfigError, UsageError."""
    from voxofs.config.values import did_you_mean

    is_file = "/" in source or source.endswith(".toml")
    config = configuration.load(Path(source) if is_file and "config" not in words else None, words)
    if source in config.tenants:
        config = config.only_tenant(source)
    elif not is_file and source not in _ANY:
        near = did_you_mean(source, config.tenants) or f"; there are {', '.join(config.tenants)}"
        raise UsageError(
            f"{source}: no tenant of that name is configured{near} (all of them: mount -t voxofs voxofs)"
        )
    return config.called(source)
