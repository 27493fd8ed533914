"""`--where`: a condition on the fields of a call, read by a parser of its own. Nothing is ever evaluated as
code.

    condition   = conjunction { "or" conjunction }
    conjunction = negation { "and" negation }
    negation    = "not" negation | "(" condition ")" | comparison
    comparison  = operand ( == != < <= > >= operand )+ | operand [ "not" ] "in" ( list | operand )
    operand     = field | number | text | none
    list        = "(" literal { "," literal } ")", or the same in brackets

It means what it would mean in Python, with one difference: a missing value is `none`, equals nothing else,
and is neither smaller nor larger than anything. Both sides of a comparison are of one kind, which is seen
before any call is looked at; a text beside a time is read as one.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from voxofs.catalog.window import Place
from voxofs.central import CentralTime
from voxofs.config.values import did_you_mean
from voxofs.model import PERSONAL_FIELDS

from .fields import KINDS, Getter, Kind, Value, getter, shown_fields
from .words import WhereError, Word, words_of

Condition = Callable[[Place], bool]

_DEEPEST = 50
"""Parentheses and `not` inside each other. A rule of thumb: nobody writes five."""
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_COMPARISONS = ("==", "!=", *_ORDER)
_KEYWORDS = ("and", "or", "not", "in", "none")
_OPERAND = "a field, a number, or a text in quotes"
_EXAMPLES = {
    Kind.NUMBER: "a number, such as 600",
    Kind.TEXT: 'a text in quotes, such as "IN"',
    Kind.START: 'a time on the wall clock, such as "2021-08-13" or "2021-08-13 19:30"',
    Kind.INSTANT: 'an instant, such as "2021-08-14T00:30:00Z"',
}


def condition(text: str, central: CentralTime, show: Sequence[str]) -> Condition:
    """The condition that an expression states. `show`: the personal fields that may be asked for.

    Raises `WhereError`, which points at the place and says what may stand there.
    """
    return _Parser(text, central, show).whole()


@dataclass(frozen=True, slots=True)
class _Operand:
    """One side of a comparison. `kind` is None for `none`; `literal` is None for a field."""

    word: Word
    kind: Kind | None
    get: Getter
    literal: Word | None = None


class _Parser:
    """One expression, word by word. Every method leaves the place behind what it has read."""

    def __init__(self, text: str, central: CentralTime, show: Sequence[str]) -> None:
        self._text = text
        self._central = central
        self._shown = shown_fields(show)
        self._words = words_of(text)
        self._next = 0
        self._depth = 0

    def whole(self) -> Condition:
        found = self._condition()
        if self._word.kind != "end":
            raise self._error(f"{self._word.shown} cannot stand here: `and`, `or` or the end may")
        return found

    @property
    def _word(self) -> Word:
        return self._words[self._next]

    def _error(self, problem: str, word: Word | None = None) -> WhereError:
        return WhereError(self._text, (word or self._word).place, problem)

    def _took(self, *texts: str) -> Word | None:
        """The next word, read, if it is one of these signs or keywords."""
        word = self._word
        if word.kind in ("sign", "name") and word.text in texts:
            self._next += 1
            return word
        return None

    def _condition(self) -> Condition:
        found = [self._conjunction()]
        while self._took("or"):
            found.append(self._conjunction())
        return found[0] if len(found) == 1 else lambda place: any(each(place) for each in found)

    def _conjunction(self) -> Condition:
        found = [self._negation()]
        while self._took("and"):
            found.append(self._negation())
        return found[0] if len(found) == 1 else lambda place: all(each(place) for each in found)

    def _negation(self) -> Condition:
        begin = self._took("not", "(")
        if begin is None:
            return self._comparison()
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error(f"more than {_DEEPEST} levels of `not` and parentheses are not read", begin)
        if begin.text == "not":
            inner = self._negation()
            found: Condition = lambda place: not inner(place)  # noqa: E731
        else:
            found = self._condition()
            if not self._took(")"):
                raise self._error("a parenthesis has no end: `and`, `or` or ) may stand here")
        self._depth -= 1
        return found

    def _comparison(self) -> Condition:
        left = self._operand("a condition begins with " + _OPERAND + ", `not` or a parenthesis")
        negated = self._took("not")
        if self._took("in"):
            return self._membership(left, negated=negated is not None)
        if negated is not None:
            raise self._error("behind a value, `not` may stand before `in` only")
        found = []
        while (sign := self._took(*_COMPARISONS)) is not None:
            right = self._operand(f"behind {sign.text} stands {_OPERAND}")
            found.append(self._compared(left, sign, right))
            left = right
        if not found:
            raise self._error(
                f"{left.word.shown} is compared with nothing: behind it stands {' '.join(_COMPARISONS)}, "
                "`in` or `not in`"
            )
        return found[0] if len(found) == 1 else lambda place: all(each(place) for each in found)

    def _compared(self, left: _Operand, sign: Word, right: _Operand) -> Condition:
        left, right = self._matched(left, right), self._matched(right, left)
        one, other = left.get, right.get
        if sign.text == "==":
            return lambda place: one(place) == other(place)
        if sign.text == "!=":
            return lambda place: one(place) != other(place)
        if left.kind is None or right.kind is None:
            raise self._error("nothing is smaller or larger than none: == or != may stand here", sign)
        compare = _ORDER[sign.text]

        def found(place: Place) -> bool:
            a, b = one(place), other(place)
            return a is not None and b is not None and compare(a, b)

        return found

    def _matched(self, operand: _Operand, other: _Operand) -> _Operand:
        """The operand in the kind of the other one. Raises `WhereError` where it is of another."""
        if operand.kind is other.kind or operand.kind is None or other.kind is None:
            return operand
        if operand.literal is None and other.literal is not None:
            return operand
        if operand.literal is not None and other.literal is None:
            constant = self._constant(operand.literal, other.kind, other.word)
            return _Operand(operand.word, other.kind, lambda _: constant, operand.literal)
        what = f"{operand.word.text} is {operand.kind.value} and {other.word.text} is {other.kind.value}"
        raise self._error(f"{what}: they cannot be compared", other.word)

    def _constant(self, literal: Word, kind: Kind, of: Word) -> Value:
        """What a literal means beside a field of this kind. Raises `WhereError`."""
        problem = f"{of.text} is {kind.value}: beside it stands {_EXAMPLES[kind]}, or a field"
        if not _readable(literal, kind):
            raise self._error(problem, literal)
        value = literal.value
        if kind not in (Kind.START, Kind.INSTANT) or not isinstance(value, str):
            return value
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            raise self._error(problem, literal) from None
        if kind is Kind.START:
            if moment.tzinfo is not None:
                raise self._error(problem + "; a time with an offset is compared with instant", literal)
            return moment
        try:
            return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
        except OverflowError:
            raise self._error(problem, literal) from None

    def _membership(self, left: _Operand, *, negated: bool) -> Condition:
        opening = self._took("(", "[")
        if opening is not None:
            values = self._list(left, ")" if opening.text == "(" else "]")
            get = left.get
            return lambda place: (get(place) in values) is not negated
        right = self._operand('behind `in` stands a list such as ("IN", "OUT"), or a field that holds a text')
        for operand in (left, right):
            if operand.kind is not Kind.TEXT:
                kind = "nothing" if operand.kind is None else operand.kind.value
                what = f"{operand.word.shown} is {kind}"
                raise self._error(
                    f"{what}: without a list, `in` asks whether a text holds another", operand.word
                )
        one, other = left.get, right.get

        def found(place: Place) -> bool:
            part, text = one(place), other(place)
            return (isinstance(part, str) and isinstance(text, str) and part in text) is not negated

        return found

    def _list(self, left: _Operand, end: str) -> tuple[Value, ...]:
        if left.kind is None:
            raise self._error("none is asked for by == or !=, not by `in`", left.word)
        values: list[Value] = []
        while True:
            word = self._word
            if word.kind not in ("number", "text"):
                raise self._error(f"in a list stand numbers or texts in quotes, not {word.shown}")
            self._next += 1
            values.append(self._constant(word, left.kind, left.word))
            if self._took(end):
                return tuple(values)
            if not self._took(","):
                raise self._error(f"the list goes on with a comma or ends with {end}")
            if self._took(end):
                return tuple(values)

    def _operand(self, expected: str) -> _Operand:
        word = self._word
        if word.kind == "number" or word.kind == "text":
            self._next += 1
            value = word.value
            return _Operand(word, Kind.NUMBER if word.kind == "number" else Kind.TEXT, lambda _: value, word)
        if word.kind != "name" or (word.text in _KEYWORDS and word.text != "none"):
            raise self._error(f"{word.shown} cannot stand here: {expected}")
        self._next += 1
        if word.text == "none":
            return _Operand(word, None, lambda _: None)
        return _Operand(word, self._kind(word), getter(word.text, self._central))

    def _kind(self, word: Word) -> Kind:
        """The kind of a field that may be asked for. Raises `WhereError`."""
        name = word.text
        if name in self._shown:
            return KINDS[name]
        if name in PERSONAL_FIELDS:
            raise self._error(
                f'{name} names people and is not shown: list it below [privacy], show = ["{name}"], or set '
                f"VOXOFS_PRIVACY_SHOW={name}",
                word,
            )
        hint = did_you_mean(name, (*self._shown, *_KEYWORDS)) or f"; there are {', '.join(self._shown)}"
        raise self._error(f"no field is called {name}{hint}; a text stands in quotes", word)


def _readable(literal: Word, kind: Kind) -> bool:
    """Whether a literal may stand beside a field of this kind, as far as its form tells."""
    return (literal.kind == "number") is (kind is Kind.NUMBER)
