"""How `voxofs setup` asks: questions at a terminal, hidden ones too, each until its answer makes sense.

With --yes nobody is asked: then a question is its default, and one that has none is an error which names the
option that answers it.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable
from typing import TypeVar

from voxofs.config.legible import one_line
from voxofs.config.secrets import Secret

from .parser import UsageError

T = TypeVar("T")

_YES, _NO = frozenset({"y", "yes"}), frozenset({"n", "no"})


def tell(line: str = "") -> None:
    """A line for the person, whatever is in it of others' making."""
    print(one_line(line), flush=True)


class Questions:
    """Somebody to ask. `at_hand`: whether there is anybody."""

    def __init__(self, *, at_hand: bool) -> None:
        self.at_hand = at_hand

    def text(
        self, question: str, default: str, convert: Callable[[str], T], option: str, said: str | None
    ) -> T:
        """The answer, as `convert` reads it, which raises ValueError ("must be …"). Enter takes the default,
        where there is one. `said` is what the option of the same meaning said: then nobody is asked. Raises
        UsageError, EOFError."""
        if said is None and not self.at_hand:
            if not default:
                raise UsageError(f"{option} is missing: there is nobody to ask")
            said = default
        if said is not None:
            try:
                return convert(said)
            except ValueError as error:
                raise UsageError(f"{option}: {error}") from None
        while True:
            answer = input(f"{question} [{one_line(default)}]: " if default else f"{question}: ").strip()
            try:
                return convert(answer or default)
            except ValueError as error:
                tell(f"  {error}")

    def yes(self, question: str, *, default: bool) -> bool:
        """Yes or no. Raises EOFError."""
        while self.at_hand:
            answer = input(f"{question} [{'yes' if default else 'no'}]: ").strip().lower()
            if not answer:
                break
            if answer in _YES | _NO:
                return answer in _YES
            tell("  must be yes or no")
        return default

    def hidden(self, question: str) -> Secret:
        """What is typed without being shown. Raises EOFError."""
        sys.stdout.flush()
        return Secret(getpass.getpass(f"{question}: ").strip("\r\n"))
