"""Texts of others as a person may be shown them: on one line, and without what a terminal would obey.

Tenants' and programs' names, paths, hosts and the vendor's messages come from outside. An escape sequence in
one of them moves a cursor, changes a title or hides a line; a line end forges a line of the log; U+202E turns
a name round. Everything that goes to a terminal, a log or the service manager passes here.
"""

from __future__ import annotations


def one_line(text: str) -> str:
    """The text with everything that cannot be printed written as Python would escape it (`\\x1b`): control
    and format characters, surrogates, and separators other than the space."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def lines(text: str) -> list[str]:
    """The same for a text of several lines, such as a traceback, which are told apart by line feeds alone."""
    return [one_line(line) for line in text.split("\n")]


def _escaped(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()
