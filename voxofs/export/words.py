"""The words of a `--where` expression, each with its place, and errors that point at one.

field   duration            number  600  1.5  -3
text    "IN"  'IN'          sign    == != < <= > >= ( ) [ ] ,
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from voxofs.errors import Exit, VoxofsError

LONGEST = 4_000
"""Characters of an expression: about what fits on a screen. A rule of thumb."""

_WORD = re.compile(
    r"""(?P<space>\s+)
      | (?P<number>-?[0-9]{1,15}(?:\.[0-9]{1,15})?(?![\w.]))
      | (?P<name>[^\W\d]\w*)
      | (?P<text>"(?:[^"\\]|\\["'\\])*"|'(?:[^'\\]|\\["'\\])*')
      | (?P<sign>==|!=|<=|>=|<|>|\(|\)|\[|\]|,)""",
    re.VERBOSE | re.ASCII,
)  # Fifteen digits: what a float holds exactly.
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_HINTS = {
    "=": "a comparison is written ==",
    "!": "the opposite of == is !=, that of a whole condition is `not`",
    "&": "conditions are joined by `and`",
    "|": "conditions are joined by `or`",
    "~": "whether a text holds another is asked by `in`, such as \"555\" in prevUniqueId",
    '"': "the text has no end, or a backslash in it stands before neither a quote nor a backslash",
    "'": "the text has no end, or a backslash in it stands before neither a quote nor a backslash",
}  # fmt: skip
_BEGINNINGS = "a field, a number, a text in quotes, a comparison, `and`, `or`, `not`, `in` or a parenthesis"


class WhereError(VoxofsError):
    """An expression makes no sense; the message has it, with a mark below the place."""

    exit_code = Exit.USAGE

    def __init__(self, text: str, place: int, problem: str) -> None:
        self.place = place
        shown = "".join(c if c.isprintable() else "?" for c in text)
        super().__init__(f"--where: {problem}\n  {shown}\n  {' ' * place}^")


@dataclass(frozen=True, slots=True)
class Word:
    """A word and where it begins. `kind`: name, number, text, sign, end."""

    kind: str
    text: str
    place: int

    @property
    def shown(self) -> str:
        """How a message calls it."""
        return "the end" if self.kind == "end" else self.text

    @property
    def value(self) -> str | int | float:
        """What a number or a text means."""
        if self.kind == "number":
            return float(self.text) if "." in self.text else int(self.text)
        return _ESCAPE.sub(r"\1", self.text[1:-1])


def words_of(text: str) -> list[Word]:
    """The words of an expression, with one of kind `end` behind them. Raises `WhereError`."""
    if len(text) > LONGEST:
        raise WhereError(text[:60] + "…", 0, f"an expression has {LONGEST} characters at the most")
    words, place = [], 0
    while place < len(text):
        match = _WORD.match(text, place)
        if match is None:
            raise WhereError(text, place, _hint(text[place:]))
        if match.lastgroup != "space":
            words.append(Word(match.lastgroup or "", match[0], place))
        place = match.end()
    return [*words, Word("end", "", place)]


def _hint(rest: str) -> str:
    if rest[0].isdigit() or (rest[0] == "-" and rest[1:2].isdigit()):
        return "a number has 15 digits at the most before the point and behind it, and no unit"
    hint = _HINTS.get(rest[0], f"there may stand {_BEGINNINGS}")
    return f"“{rest[0] if rest[0].isprintable() else '?'}” means nothing here: {hint}"
