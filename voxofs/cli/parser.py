"""What the parsers of commands have in common: the exit code for usage, and how a command adds itself."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from voxofs import __version__
from voxofs.errors import Exit, VoxofsError

Run = Callable[[argparse.Namespace], int]
"""What a command does: parsed words in, the exit code out. Whatever it raises is the boundary's business."""


class UsageError(VoxofsError):
    """The command line makes no sense; the message says how."""

    exit_code = Exit.USAGE


class Parser(argparse.ArgumentParser):
    """argparse that ends with `Exit.USAGE`, keeps the lines of an epilog and guesses no abbreviations."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)

    intermixed = False
    """Whether options may stand between the words of one list; argparse ends a list at the first option."""
    _is_inside = False

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        if not self.intermixed or self._is_inside:
            return super().parse_known_args(args, namespace)
        self._is_inside = True  # the other method comes back here, twice
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._is_inside = False

    def error(self, message: str) -> NoReturn:
        self.exit(Exit.USAGE, f"{self.prog}: {message}\ntry: {self.prog} --help\n")

    def add_version(self) -> None:
        """Accept --version."""
        self.add_argument("--version", action="version", version=f"voxofs {__version__}")


class Commands:
    """The commands of one parser, in the order in which help lists them."""

    def __init__(self, parser: Parser, dest: str = "command") -> None:
        self._parsers = parser.add_subparsers(metavar="COMMAND", dest=dest, parser_class=Parser)

    def add(self, name: str, run: Run, *, summary: str, epilog: str) -> Parser:
        """The parser of a new command, to which its words are added."""
        made = self._parsers.add_parser(name, help=summary, description=summary.capitalize(), epilog=epilog)
        made.set_defaults(run=run)
        return made
