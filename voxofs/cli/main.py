"""The command line: what people and scripts call. The exit codes are a contract, `errors.Exit`.

A command is a file here, named like it, with `add_to(commands)` and `run(options)`, and a line in `COMMANDS`.
Commands import what they need when they run: `--help` and `--version` stay quick, and `mount` forks before
anything heavy is loaded. Whatever goes wrong below ends here as one line on stderr; a traceback is printed
with VOXOFS_DEBUG=1 only, secrets struck out.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from voxofs.daemon.terminal import say
from voxofs.errors import Exit, VoxofsError

from . import cache, calls, check, demo, export, mount, setup, stats, umount
from .parser import Commands, Parser, Run, UsageError

COMMANDS = (setup, mount, umount, demo, check, stats, calls, export, cache)
"""In the order of the help."""
_NAMES = tuple(command.__name__.rpartition(".")[2] for command in COMMANDS)

_HELP = """
start here:
  voxofs demo                              try it without an account: a simulated phone system, mounted
  voxofs setup                             an account: asks, tries, writes the configuration
  voxofs check                             is everything ready for a mount? says what to do if not
  voxofs mount ~/calls                     mount; returns once the mount answers
  ls ~/calls/demo/2024/03/05/10            the calls of an hour
  voxofs stats ~/calls --watch             what the mount is doing
  voxofs umount ~/calls                    unmount
  voxofs calls demo/2024/03/05             which calls there were; needs no mount
  voxofs export demo/2024/03 ~/archive     keep recordings, with a manifest; needs no mount

configuration: --config FILE, else ~/.config/voxofs/voxofs.toml, else /etc/voxofs/voxofs.toml:
  [api]
  token_file = "/etc/voxofs/token"         # chmod 600; or set $VOXOFS_TOKEN
  [tenants.demo]                           # the folder's name
  id = 37                                  # the tenant's number
  since = 2021-01-01                       # first day shown

exit codes: 0 done, 1 usage or configuration, 2 system, 3 some cannot be had, 32 the mount failed
"""


def parser() -> Parser:
    """The parser of `voxofs` with all its commands."""
    made = Parser(
        prog="voxofs",
        description="A phone system's call recordings, mounted as a drive (read-only).",
        epilog=_HELP,
    )
    made.add_version()
    commands = Commands(made)
    for command in COMMANDS:
        command.add_to(commands)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """The `voxofs` command, and `mount.voxofs` where it is called by that name. Returns the exit code."""
    if argv is None and Path(sys.argv[0]).name == "mount.voxofs":
        return mount_helper_main()
    return _guarded(lambda: _run(sys.argv[1:] if argv is None else argv))


def mount_helper_main(argv: Sequence[str] | None = None) -> int:
    """The `mount.voxofs` command, which mount(8) runs for type voxofs. Returns the exit code."""
    return _guarded(lambda: mount.run_helper(sys.argv[1:] if argv is None else argv))


def _run(argv: Sequence[str]) -> int:
    whole = parser()
    _hint_at_misspelt_command(argv)
    options = whole.parse_args(argv)
    if options.command is None:
        whole.print_help(sys.stderr)
        return Exit.USAGE
    run: Run = options.run
    return run(options)


def _hint_at_misspelt_command(argv: Sequence[str]) -> None:
    word = argv[0] if argv else "-"
    if word.startswith("-") or word in _NAMES:
        return
    close = "umount" if word == "unmount" else next(iter(difflib.get_close_matches(word, _NAMES, n=1)), None)
    hint = f", did you mean “{close}”?" if close else f"; there are {', '.join(_NAMES)}"
    raise UsageError(f"unknown command “{word}”{hint}")


def _guarded(run: Callable[[], int]) -> int:
    """The boundary: every failure becomes a line for people and an exit code."""
    try:
        code = run()
        sys.stdout.flush()
        return code
    except SystemExit as ended:  # argparse's: help, version, usage
        return ended.code if isinstance(ended.code, int) else Exit.USAGE
    except KeyboardInterrupt:
        say("interrupted")
        return Exit.SYSTEM
    except BrokenPipeError:  # the reader of our output went away; Python would complain at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.OK
    except VoxofsError as error:
        say(str(error))
        return error.exit_code
    except Exception as error:
        from voxofs.config.secrets import redact
        from voxofs.daemon import process
        from voxofs.observe import logs

        say(process.unexpected(error))
        if logs.debugging():
            import traceback

            print(redact(traceback.format_exc()), file=sys.stderr)
        return Exit.SYSTEM
