"""The command line: what people and scripts call. The exit codes are a contract, those of mount(8).

    0 done    1 usage or configuration    2 system    32 the mount failed

Commands import what they need when they run: `--help` and `--version` stay quick, and `mount` forks before
anything heavy is loaded. Whatever goes wrong below ends here as one line on stderr; a traceback is printed
with VOXOFS_DEBUG=1 only, secrets struck out.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from . import __version__, cli_help, mount_words
from .errors import ConfigError, VoxofsError

if TYPE_CHECKING:
    from .config import Config

OK, USAGE, SYSTEM, MOUNT_FAILED = 0, 1, 2, 32


class UsageError(VoxofsError):
    """The command line makes no sense; the message says how."""


class _Parser(argparse.ArgumentParser):
    """argparse with mount(8)'s exit code for usage and a hint for a misspelt command."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message}\ntry: {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="voxofs",
        description="A phone system's call recordings, mounted as a drive (read-only).",
        epilog=cli_help.MAIN,
    )
    parser.add_argument("--version", action="version", version=f"voxofs {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", parser_class=_Parser)

    def command(name: str, run: Callable[[argparse.Namespace], int], summary: str, epilog: str) -> _Parser:
        made: _Parser = commands.add_parser(
            name, help=summary, description=summary.capitalize(), epilog=epilog
        )
        made.set_defaults(run=run)
        return made

    mount = command("mount", _mount, "mount the recordings", cli_help.MOUNT)
    _add_configuration(mount)
    mount.add_argument("--foreground", "-f", action="store_true", help="stay, and log to stderr")
    mount.add_argument("mountpoint", metavar="MOUNTPOINT", help="an empty folder")

    umount = command("umount", _umount, "unmount", cli_help.UMOUNT)
    umount.add_argument("--lazy", "-l", "-z", action="store_true", help="also when it is in use")
    umount.add_argument("mountpoint", metavar="MOUNTPOINT")

    demo = command("demo", _demo, "mount a simulated phone system to try things on", cli_help.DEMO)
    demo.add_argument(
        "mountpoint", metavar="MOUNTPOINT", nargs="?", help="an empty folder (default: a new one)"
    )

    check = command("check", _check, "say whether everything is ready, and what to do if not", cli_help.CHECK)
    _add_configuration(check)
    check.add_argument("mountpoint", metavar="MOUNTPOINT", nargs="?", help="the folder to mount on")

    stats = command("stats", _stats, "show what a mount is doing", cli_help.STATS)
    stats.add_argument("--watch", "-w", action="store_true", help="every second, until Ctrl-C")
    stats.add_argument("--json", action="store_true", help="as the mount's status file has it, one line")
    stats.add_argument("mountpoint", metavar="MOUNTPOINT")
    return parser


def _add_configuration(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", "-c", metavar="FILE", type=Path, help="the configuration file")
    parser.add_argument(
        "-o",
        dest="options",
        metavar="OPT[,OPT=VAL…]",
        action="append",
        default=[],
        help="mount options, see below",
    )
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"))
    parser.add_argument("--log-format", choices=("text", "json"))
    parser.add_argument("--log-file", metavar="FILE")


def _helper_parser() -> argparse.ArgumentParser:
    """The calling convention of mount(8)'s helpers (mount(8), EXTERNAL HELPERS)."""
    parser = _Parser(
        prog="mount.voxofs", description="Mounts the recordings for mount(8).", epilog=cli_help.HELPER
    )
    parser.add_argument("--version", action="version", version=f"voxofs {__version__}")
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument("mountpoint", metavar="MOUNTPOINT")
    parser.add_argument("-s", action="store_true", dest="sloppy", help="ignore unknown options")
    parser.add_argument("-f", action="store_true", dest="fake", help="only check, do not mount")
    parser.add_argument("-n", action="store_true", help="accepted (there is no mtab to write)")
    parser.add_argument("-v", action="store_true", dest="verbose", help="log to stderr what is being done")
    parser.add_argument("-N", metavar="NAMESPACE", dest="namespace", help=argparse.SUPPRESS)
    parser.add_argument("-t", metavar="TYPE", dest="fs_type", help=argparse.SUPPRESS)
    parser.add_argument("-o", dest="options", metavar="OPT[,OPT=VAL…]", action="append", default=[])
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The `voxofs` command, and `mount.voxofs` where it is called by that name. Returns the exit code."""
    if argv is None and Path(sys.argv[0]).name == "mount.voxofs":
        return mount_helper_main()
    return _guarded(lambda: _run(sys.argv[1:] if argv is None else argv))


def _run(argv: Sequence[str]) -> int:
    parser = _parser()
    _hint_at_misspelt_command(argv)
    options = parser.parse_args(argv)
    if options.command is None:
        parser.print_help(sys.stderr)
        return USAGE
    run: Callable[[argparse.Namespace], int] = options.run
    return run(options)


def _hint_at_misspelt_command(argv: Sequence[str]) -> None:
    commands = ("mount", "umount", "demo", "check", "stats")
    word = argv[0] if argv else "-"
    if word.startswith("-") or word in commands:
        return
    close = (
        "umount" if word == "unmount" else next(iter(difflib.get_close_matches(word, commands, n=1)), None)
    )
    hint = f", did you mean “{close}”?" if close else f"; there are {', '.join(commands)}"
    raise UsageError(f"unknown command “{word}”{hint}")


def mount_helper_main(argv: Sequence[str] | None = None) -> int:
    """The `mount.voxofs` command, which mount(8) runs for type voxofs. Returns the exit code."""
    return _guarded(lambda: _mount_helper(sys.argv[1:] if argv is None else argv))


def _guarded(run: Callable[[], int]) -> int:
    """The boundary: every failure becomes a line for people and an exit code."""
    try:
        code = run()
        sys.stdout.flush()
        return code
    except SystemExit as ended:  # argparse's: help, version, usage
        return ended.code if isinstance(ended.code, int) else USAGE
    except (ConfigError, UsageError) as error:
        _complain(str(error))
        return USAGE
    except KeyboardInterrupt:
        _complain("interrupted")
        return SYSTEM
    except BrokenPipeError:  # the reader of our output went away; Python would complain at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return OK
    except VoxofsError as error:
        from .mounts import MountFailure

        _complain(str(error))
        return MOUNT_FAILED if isinstance(error, MountFailure) else SYSTEM
    except Exception as error:
        from . import logs, service
        from .secret import redact

        _complain(service.unexpected(error))
        if logs.debugging():
            import traceback

            print(redact(traceback.format_exc()), file=sys.stderr)
        return SYSTEM


def _complain(message: str) -> None:
    for line in message.splitlines():
        print(f"voxofs: {line}", file=sys.stderr)


def _words(options: argparse.Namespace, *, from_mount: bool) -> dict[str, str]:
    """Mount words and flags as one table of overrides, flags over words."""
    try:
        words = mount_words.own(mount_words.split(options.options), from_mount=from_mount)
    except ValueError as error:
        raise UsageError(str(error)) from None
    flags = {"log.level": "log_level", "log.format": "log_format", "log.file": "log_file"}
    return words | {key: value for key, name in flags.items() if (value := getattr(options, name, None))}


def _load(path: Path | None, words: Mapping[str, str]) -> Config:
    """The configuration; the word config=FILE stands for --config."""
    from . import config

    rest = dict(words)
    named = rest.pop("config", None)
    return config.load(path or (Path(named) if named else None), environ=os.environ, overrides=rest)


def _mount(options: argparse.Namespace) -> int:
    config = _load(options.config, _words(options, from_mount=False))
    from . import service

    if options.foreground:
        return service.run_foreground(config, options.mountpoint)
    return service.run_background(config, options.mountpoint)


def _mount_helper(argv: Sequence[str]) -> int:
    options = _helper_parser().parse_intermixed_args(argv)
    words = _words(options, from_mount=True)
    if options.sloppy:
        words = _without_unknown(words)
    source = str(options.source)
    is_file = "/" in source or source.endswith(".toml")
    config = _load(Path(source) if is_file and "config" not in words else None, words)
    if not is_file and source in config.tenants:
        config = config.only_tenant(source)
    if options.fake:
        return OK
    from . import service

    if options.verbose:
        _complain(f"mounting {', '.join(config.tenants)} at {options.mountpoint}")
    return service.run_background(config, options.mountpoint)


def _without_unknown(words: Mapping[str, str]) -> dict[str, str]:
    """What `mount -s` means: words nobody knows are ignored."""
    from . import config

    return {word: value for word, value in words.items() if word == "config" or config.knows_word(word)}


def _umount(options: argparse.Namespace) -> int:
    from . import mounts

    path = mounts.real_path(options.mountpoint)
    entry = mounts.entry_at(path)
    if entry is None:
        raise mounts.MountFailure(f"{path}: nothing is mounted there")
    if entry.fs_type != mounts.FS_TYPE:
        raise mounts.MountFailure(
            f"{path}: is a mount of type {entry.fs_type}, not one of voxofs; use umount"
        )
    try:
        mounts.unmount(path, lazy=options.lazy or mounts.is_dead(path))
    except mounts.MountBusy:
        raise mounts.MountBusy(
            f"{mounts.busy_message(path)}; close it there, or unmount with --lazy"
        ) from None
    if not mounts.wait_until_gone(entry.mount_id, timeout_s=30):
        raise mounts.MountFailure(f"{path}: is still mounted 30 s after the kernel agreed to unmount it")
    return OK


def _demo(options: argparse.Namespace) -> int:
    from . import demo

    return demo.run(options.mountpoint)


def _check(options: argparse.Namespace) -> int:
    from . import check

    words = _words(options, from_mount=False)
    return check.run(lambda: _load(options.config, words), options.mountpoint)


def _stats(options: argparse.Namespace) -> int:
    from . import stats

    try:
        stats.run(options.mountpoint, watch=options.watch, as_json=options.json)
    except KeyboardInterrupt:
        if not options.watch:
            raise
    return OK
