"""Text as man(7) macros: what the manual pages are written with.

Only what the pages need: headings, paragraphs, lists, tagged paragraphs and blocks kept as they are. Text
that comes in is plain; `inline` turns what stands between backticks into bold, which is how both the help
texts and the pages mark what is to be typed.
"""

from __future__ import annotations

import re

_ESCAPES = {
    "\\": r"\e",
    "-": r"\-",  # a hyphen that can be copied into a shell (man-pages(7), "Generating optimal glyphs")
    "'": r"\(aq",
    "`": r"\(ga",
    "^": r"\(ha",
    "~": r"\(ti",
}
"""Characters that groff would turn into typographic ones, or take for its own (groff_char(7))."""


def escape(text: str) -> str:
    """Plain text as roff in ASCII; a line that begins with a control character is made harmless."""
    escaped = "".join(
        _ESCAPES.get(each) or (each if each.isascii() else rf"\[u{ord(each):04X}]") for each in text
    )
    return re.sub(r"^(?=[.'])", r"\\&", escaped, flags=re.MULTILINE)


def bold(text: str) -> str:
    """Plain text in bold: what is typed as it stands."""
    return rf"\fB{escape(text)}\fR"


def italic(text: str) -> str:
    """Plain text in italics: what is replaced by something of one's own."""
    return rf"\fI{escape(text)}\fR"


def inline(text: str) -> str:
    """Plain text in which backticks enclose what is to be typed."""
    parts = re.split(r"`([^`]+)`", " ".join(text.split()))
    return "".join(bold(part) if number % 2 else escape(part) for number, part in enumerate(parts))


class Page:
    """A manual page, written from the top down. `text` of the methods is roff already."""

    def __init__(self, name: str, number: int, version: str, summary: str) -> None:
        self._lines = [
            f'.TH {escape(name.upper())} {number} "" "voxofs {escape(version)}" "voxofs"',
            ".SH NAME",
            rf"{escape(name)} \- {escape(summary)}",
        ]

    def section(self, title: str) -> None:
        """A heading of the first level; man(7) pages have them in capitals."""
        self._lines.append(f'.SH "{escape(title.upper())}"')

    def subsection(self, title: str) -> None:
        self._lines.append(f'.SS "{escape(title)}"')

    def paragraph(self, text: str) -> None:
        self._lines += [".PP", text]

    def tagged(self, tag: str, *paragraphs: str) -> None:
        """A term and what is said about it."""
        first, *others = [text for text in paragraphs if text] or [""]
        self._lines += [".TP", tag, *([first] if first else [])]
        for text in others:
            self._lines += [".IP", text]

    def item(self, sign: str, text: str) -> None:
        """An item of a list: a bullet, or a number."""
        self._lines += [f'.IP "{sign}" 4', text]

    def kept(self, text: str) -> None:
        """Lines that stay as they are: examples."""
        self._lines += [".PP", ".RS 4", ".nf", escape(text.strip("\n")), ".fi", ".RE"]

    def text(self) -> str:
        """The whole page."""
        return "\n".join(self._lines) + "\n"
