"""The fields of a call by name: what kind of value each holds, and how it is taken from a place in the tree.

A report's fields may have any type, come or go. Here each has one kind: a value that is not of it counts as
missing, but for numbers that were sent as text and texts that were sent as numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import Enum

from voxofs.catalog.window import Place
from voxofs.central import CentralTime
from voxofs.model import DETAILS, PERSONAL_FIELDS

Value = str | int | float | datetime | None
Getter = Callable[[Place], Value]

_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,15})?", re.ASCII)
"""Fifteen digits: what a float holds exactly."""


class Kind(Enum):
    """What a field holds; the value is how a message calls it."""

    TEXT = "a text"
    NUMBER = "a number"
    START = "a time on the wall clock"
    INSTANT = "an instant"


KINDS = {
    "tenant": Kind.TEXT,
    "uniqueId": Kind.TEXT,
    "start": Kind.START,
    "instant": Kind.INSTANT,
} | {
    name: Kind.NUMBER if name in ("duration", "percentJitter", "packetLoss", "qos") else Kind.TEXT
    for name in DETAILS
}
"""Every field, in the order in which they are named."""

OPEN_FIELDS = tuple(name for name in KINDS if name not in PERSONAL_FIELDS)
"""Those that name nobody."""


def shown_fields(show: Sequence[str]) -> tuple[str, ...]:
    """The fields that may be shown where the configuration lists these personal ones."""
    return (*OPEN_FIELDS, *(name for name in PERSONAL_FIELDS if name in show))


def path_of(place: Place) -> str:
    """The recording's path in the tree, without a leading slash."""
    day = place.hour.day
    name = place.hour.names[place.index]
    return f"{place.tenant.name}/{day:%Y/%m/%d}/{place.hour.label}/{name}"


def instant_text(instant_s: int) -> str:
    """An instant in UTC (RFC 3339)."""
    return datetime.fromtimestamp(instant_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def text_of(place: Place, name: str) -> str:
    """A field as a table or a CSV file shows it; empty where it is missing. Control characters are written as
    escapes: a terminal would obey them, and a line must stay a line."""
    value = raw(place, name)
    return "" if value is None else printable(str(value))


def raw(place: Place, name: str) -> str | int | float | None:
    """A field as its report told it, of whatever type; `instant` in UTC."""
    record = place.record
    if name == "tenant":
        return place.tenant.name
    if name == "uniqueId":
        return record.unique_id
    if name == "start":
        return record.start_text
    if name == "instant":
        return instant_text(record.instant_s)
    index = DETAILS.index(name)
    return record.details[index] if index < len(record.details) else None


def printable(text: str) -> str:
    """The text with everything that a terminal might obey, or not show, written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def getter(name: str, central: CentralTime) -> Getter:
    """How a field is taken from a place, in its own kind; None where it is missing."""
    kind = KINDS[name]
    if kind is Kind.START:
        return lambda place: central.parse_start(place.record.start_text)
    if kind is Kind.INSTANT:
        return lambda place: datetime.fromtimestamp(place.record.instant_s, UTC)
    convert = _number if kind is Kind.NUMBER else _text
    return lambda place: convert(raw(place, name))


def _number(value: str | int | float | None) -> int | float | None:
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            return None
        return float(value) if "." in value else int(value)
    return value


def _text(value: str | int | float | None) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)
