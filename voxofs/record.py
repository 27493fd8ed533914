"""The records of a report: decoded once, checked, kept small.

A report may hold tens of thousands of records, so one pass of the decoder makes the very objects that are
kept. Only `uniqueId` and the start matter to the tree; every other field may have any type, come or go. One
record that makes no sense is skipped and counted; a body that is not a list of records is an error of the
whole window, because an empty folder would be a lie.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec

from .central import CentralTime
from .errors import BadAnswer

SUFFIX = ".mp3"
_NAME_MAX_BYTES = 255
_CONTROL = frozenset(map(chr, (*range(32), *range(127, 160))))

PERSONAL_FIELDS = ("callerIdNumber", "callerIdName", "dialedNum", "whoAnswered")
"""Fields that name people: shown as extended attributes only where the configuration lists them."""


class Record(msgspec.Struct, rename="camel", gc=False):
    """One call, as its report told it. `Any`: the decoder must not stumble over a field's type."""

    unique_id: Any = None
    start: Any = None
    time: Any = None
    recorded: Any = None
    id: Any = None
    direction: Any = None
    disposition: Any = None
    duration: Any = None
    percent_jitter: Any = None
    packet_loss: Any = None
    qos: Any = None
    prev_unique_id: Any = None
    caller_id_number: Any = None
    caller_id_name: Any = None
    dialed_num: Any = None
    who_answered: Any = None
    instant_s: Any = None
    """Not the API's: the instant of the start, seconds since the epoch; set when the record is accepted."""

    @property
    def name(self) -> str:
        """The file's name."""
        return f"{self.unique_id}{SUFFIX}"

    @property
    def start_text(self) -> str:
        """The record's own start, byte for byte as the API wants it back (the vendor's page)."""
        text = self.start if self.start is not None else self.time
        assert isinstance(text, str)
        return text

    def fields(self, personal: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Name and text of what may be shown as `user.voxo.*`: no null, no personal field unless listed."""
        for field, name in _SHOWN:
            if name in PERSONAL_FIELDS and name not in personal:
                continue
            value = getattr(self, field)
            if value is not None:
                yield name, str(value)


_SHOWN = tuple(
    (field.name, field.encode_name)
    for field in msgspec.structs.fields(Record)
    if field.name not in ("time", "instant_s")
)
_SHARED = tuple(field for field, _ in _SHOWN if field not in ("unique_id", "start", "id"))
_decoder = msgspec.json.Decoder(list[Record])


def decode_report(body: bytes) -> tuple[list[Record], int]:
    """The records of a report's body, and how many of its elements were no objects at all.

    Raises `BadAnswer` where the body is not a JSON list.
    """
    try:
        return _decoder.decode(body), 0
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _decode_leniently(body)


def _decode_leniently(body: bytes) -> tuple[list[Record], int]:
    """For bodies the strict decoder refuses as a whole: a null among the objects, a broken character."""
    try:
        elements = json.loads(body.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise BadAnswer(
            "the report is not JSON: something between here and the API answers in its place; "
            "check [api] base_url and any proxy"
        ) from error
    if not isinstance(elements, list):
        raise BadAnswer("the report is not a list of records: check [api] base_url, or tell the vendor")
    objects = [element for element in elements if isinstance(element, dict)]
    records = [
        Record(**{field: element[name] for field, name in _WIRE if name in element}) for element in objects
    ]
    return records, len(elements) - len(objects)


_WIRE = tuple((f.name, f.encode_name) for f in msgspec.structs.fields(Record) if f.name != "instant_s")


def accept(
    records: Iterable[Record], central: CentralTime, skipped: Counter[str]
) -> Iterator[tuple[datetime, Record]]:
    """Wall-clock start and record of everything that can be shown; the reasons for the rest are counted.

    Equal texts of one report become one object: names and numbers repeat thousands of times.
    """
    shared: dict[str, str] = {}
    for record in records:
        reason = _unfit(record)
        if reason is None:
            try:
                moment = central.parse_start(record.start_text)
                record.instant_s = int(central.instant_s(moment, record.unique_id))
            except (ValueError, OverflowError):
                reason = "start is no date and time"
        if reason is not None:
            skipped[reason] += 1
            continue
        for field in _SHARED:
            value = getattr(record, field)
            if type(value) is str:
                setattr(record, field, shared.setdefault(value, value))
            elif value is not None and not isinstance(value, int | float):
                setattr(record, field, None)
        yield moment, record


def _unfit(record: Record) -> str | None:
    """Why a record cannot be shown as a file, or None."""
    unique_id = record.unique_id
    start = record.start if record.start is not None else record.time
    if record.recorded is not None and record.recorded in (0, "", "0"):
        return "not recorded"
    if not isinstance(unique_id, str) or not unique_id:
        return "no uniqueId"
    if not isinstance(start, str):
        return "start is no date and time"
    if unique_id in (".", "..") or "/" in unique_id or not _CONTROL.isdisjoint(unique_id):
        return "uniqueId is no safe file name"
    try:
        encoded = unique_id.encode()
    except UnicodeEncodeError:
        return "uniqueId is no safe file name"
    return None if len(encoded) + len(SUFFIX) <= _NAME_MAX_BYTES else "uniqueId is too long for a file name"
