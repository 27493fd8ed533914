"""Completion for bash and zsh, made from the parser by shtab.

shtab and not argcomplete: it writes a script once, so that a TAB costs no start of Python (0.1 s and more,
each time), the package needs nothing at run time, and bash and zsh find it in the folders of their own.
"""

from __future__ import annotations

import argparse

import shtab
from commands import below

from voxofs.cli import main as cli

SHELLS = {
    "bash": "usr/share/bash-completion/completions/voxofs",
    "zsh": "usr/share/zsh/vendor-completions/_voxofs",
}
"""Each shell, and where Debian's looks for the completion of a command."""

_KINDS = {
    "FILE": shtab.FILE,
    "MOUNTPOINT": shtab.DIRECTORY,
    "FOLDER": shtab.DIRECTORY,
    "DIRECTORY": shtab.DIRECTORY,
    "PATH… DEST": shtab.DIRECTORY,  # of these only DEST is on this machine
}
"""What a metavar says about the value."""


def completion(shell: str) -> str:
    """The script for a shell of `SHELLS`."""
    parser = cli.parser()
    for each in (parser, *(each for _, each in below(parser))):
        _tell_kinds(each)
    return str(shtab.complete(parser, shell))


def _tell_kinds(parser: argparse.ArgumentParser) -> None:
    for action in parser._actions:
        if isinstance(action.metavar, str) and (kind := _KINDS.get(action.metavar)):
            action.complete = kind  # type: ignore[attr-defined]
