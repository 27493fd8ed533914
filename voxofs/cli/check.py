"""`voxofs check`: everything a mount needs, looked at one by one, with what to do about what is wrong.

Only what is broken changes the exit code: `Exit.USAGE` for the configuration, else `Exit.SYSTEM`. The machine
is seen through `preflight.Host` and the service through one callable, so that tests can show broken ones.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TextIO

from voxofs.errors import ConfigError, Exit

from . import configuration
from .parser import Commands

if TYPE_CHECKING:
    from voxofs.config.settings import Config
    from voxofs.daemon.preflight import Host

    from .finding import Finding

_HELP = """
examples:
  voxofs check
  voxofs check --config office.toml ~/calls

Exit codes: 0 nothing is broken, 1 the configuration is, 2 something else is.
"""


def add_to(commands: Commands) -> None:
    parser = commands.add(
        "check", run, summary="say whether everything is ready, and what to do if not", epilog=_HELP
    )
    configuration.add_options(parser)
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", nargs="?", help="the folder to mount on")


def run(options: argparse.Namespace) -> int:
    """Check and print everything. Raises UsageError for words that make no sense."""
    words = configuration.overrides(options, from_mount=False)
    return check(lambda: configuration.load(options.config, words), options.mountpoint)


def check(
    load: Callable[[], Config],
    mountpoint: str | None,
    *,
    host: Host | None = None,
    ask: Callable[[Config], Awaitable[list[Finding]]] | None = None,
    out: TextIO | None = None,
) -> Exit:
    """Check and print everything; returns the exit code. `load` raises ConfigError as `settings.load` does;
    `host`, `ask` (None: `ask_service`) and `out` are for tests."""
    import trio

    from voxofs.daemon.preflight import Host, Problem, files_of

    from .check_disk import disk
    from .check_machine import folder, machine
    from .check_network import network
    from .check_service import ask_service
    from .finding import broken, good, show

    host, out = host or Host(), out or _standard_output()
    config: Config | None = None
    try:
        config = load()
    except ConfigError as error:
        show([broken(Problem(problem)) for problem in error.problems], out)
    else:
        show([good(f"configuration {config.source or 'of the environment'} is sound")], out)
    any_broken = show(machine(host, allow_other=config is not None and config.mount.allow_other), out)
    if mountpoint is not None:
        any_broken |= show([folder(mountpoint, host, files_of(config) if config else ())], out)
    if config is None:
        return Exit.USAGE
    any_broken |= show(disk(config.disk), out)
    # Without certificates that can be read nobody can be asked.
    any_broken |= show(network(config, os.environ), out) or show(trio.run(ask or ask_service, config), out)
    return Exit.SYSTEM if any_broken else Exit.OK


def _standard_output() -> TextIO:
    """stdout, where the marks of a terminal that knows only ASCII do not end in an error."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    return sys.stdout
