"""Reports of the VOXO API: JSON in, the records that are kept out.

A report may hold tens of thousands of records. It is cut between records into chunks that are decoded one
after the other, so that nobody else waits for longer than a chunk takes. Only `uniqueId` and the start matter
to the tree; every other field may have any type, come or go. One record that makes no sense is skipped and
counted; a body that is not a list of records is an error of the whole window, because an empty folder would
be a lie.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from operator import attrgetter
from typing import Any

import msgspec

from voxofs.central import CentralTime, Starts
from voxofs.errors import BadAnswer
from voxofs.model import DETAILS, SUFFIX, Detail, Record, packed_details

_NAME_MAX_BYTES = 255
"""NAME_MAX of Linux's file systems."""
_CONTROL = frozenset(map(chr, (*range(32), *range(127, 160))))
_PLAIN_LETTERS = 200
"""Names of printable ASCII up to here need no closer look: nearly all."""
_DOTS = (".", "..")
_UNSAFE = "uniqueId is no safe file name"
_CHUNK_BYTES = 131_072
"""About 300 records: 1 ms of decoding and 3 ms of checking, measured; a listing waits as long for a turn."""
_RECORD_LIMIT_BYTES = 2**20
"""A record has under 1 KiB. What is no record after a mebibyte is none."""
_BETWEEN_RECORDS = re.compile(rb"[}\]]\s*,")


_Value = str | int | float | bool | None


class _Call(msgspec.Struct, rename="camel", gc=False):
    """A record on the wire. `Any`: what may be of the wrong type in a record that is skipped."""

    unique_id: Any = None
    start: Any = None
    time: Any = None
    """The start's name and form in a later edition of the vendor's page."""
    recorded: Any = None
    id: _Value = None
    direction: _Value = None
    disposition: _Value = None
    duration: _Value = None
    percent_jitter: _Value = None
    packet_loss: _Value = None
    qos: _Value = None
    prev_unique_id: _Value = None
    caller_id_number: _Value = None
    caller_id_name: _Value = None
    dialed_num: _Value = None
    who_answered: _Value = None


_WIRE_NAMES = {each.encode_name: each.name for each in msgspec.structs.fields(_Call)}
_details = attrgetter(*(_WIRE_NAMES[name] for name in DETAILS))
_READ = frozenset(_WIRE_NAMES).difference(DETAILS)
"""What is looked at here, and not only kept."""
_decoder = msgspec.json.Decoder(list[_Call])


def decoded(
    body: bytes | bytearray, central: CentralTime, skipped: Counter[str]
) -> Iterator[list[tuple[datetime, Record]]]:
    """Hour by the wall clock and record of everything that can be shown, a chunk at a time; the reasons for
    the rest are counted. Raises `BadAnswer` where the body is not a JSON list."""
    starts = Starts(central)
    for calls, others in _chunks(body):
        if others:
            skipped["not an object"] += others
        yield list(_accepted(calls, starts, skipped))


def _chunks(body: bytes | bytearray) -> Iterator[tuple[list[_Call], int]]:
    """The records chunk by chunk, with the number of elements that are no objects.

    A chunk ends where a bracket and a comma follow each other, and that is between two elements of the list
    if and only if what was cut off is valid by itself: inside a text the quote, inside an element the bracket
    would be missing.
    """
    begin, end = _inside_of_list(body)
    while begin < end:
        size = _CHUNK_BYTES
        while True:
            cut = _BETWEEN_RECORDS.search(body, begin + size, end) if begin + size < end else None
            stop = cut.start() + 1 if cut else end
            chunk = _decode(b"[" + body[begin:stop] + b"]")
            if chunk is not None:
                break
            if cut is None or size > _RECORD_LIMIT_BYTES:
                raise _no_json()
            size *= 2
        yield chunk
        begin = cut.end() if cut else end


def _inside_of_list(body: bytes | bytearray) -> tuple[int, int]:
    """Where the elements of the list begin and end. Raises `BadAnswer` where the body is none."""
    begin, end = 0, len(body)
    while begin < end and body[begin] in b" \t\r\n":
        begin += 1
    while end > begin and body[end - 1] in b" \t\r\n":
        end -= 1
    if end - begin >= 2 and body[begin] == ord("[") and body[end - 1] == ord("]"):
        return begin + 1, end - 1
    try:
        json.loads(body[begin : begin + _RECORD_LIMIT_BYTES].decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise _no_json() from None
    raise BadAnswer("the report is not a list of records: check [api] base_url, or tell the vendor")


def _no_json() -> BadAnswer:
    return BadAnswer(
        "the report is not JSON: something between here and the API answers in its place; "
        "check [api] base_url and any proxy"
    )


def _decode(chunk: bytes) -> tuple[list[_Call], int] | None:
    """The records of a chunk and how many of its elements are no objects; None where it is not valid."""
    try:
        return _decoder.decode(chunk), 0
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # a null among the objects, a list in a field, a broken character, a cut at the wrong place
    try:
        elements = json.loads(chunk.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    objects = [element for element in elements if isinstance(element, dict)]
    calls = [
        _Call(
            **{
                field: element[name] if name in _READ else _plain(element[name])
                for name, field in _WIRE_NAMES.items()
                if name in element
            }
        )
        for element in objects
    ]
    return calls, len(elements) - len(objects)


def _accepted(
    calls: Iterable[_Call], starts: Starts, skipped: Counter[str]
) -> Iterator[tuple[datetime, Record]]:
    """What can be shown."""
    for call in calls:
        start_text = call.start if call.start is not None else call.time
        reason = _unfit(call, start_text)
        if reason is None:
            try:
                hour, instant_s = starts.read(start_text, call.unique_id)
            except (ValueError, OverflowError):
                reason = "start is no date and time"
        if reason is not None:
            skipped[reason] += 1
            continue
        details = _details(call)
        try:
            packed = packed_details(details)
        except (ValueError, OverflowError, TypeError):
            packed = packed_details(tuple(map(_plain, details)))
        yield hour, Record(call.unique_id, start_text, instant_s, packed)


def _plain(value: object) -> Detail:
    """The nearest value that can be kept: no list, no half of a surrogate pair, no integer beyond 64 bits."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    return value if isinstance(value, float) else None


def _unfit(call: _Call, start_text: object) -> str | None:
    """Why a record cannot be shown as a file, or None."""
    unique_id = call.unique_id
    if call.recorded is not None and call.recorded in (0, "", "0"):
        return "not recorded"
    if not isinstance(unique_id, str) or not unique_id:
        return "no uniqueId"
    if not isinstance(start_text, str):
        return "start is no date and time"
    if len(unique_id) < _PLAIN_LETTERS and unique_id.isascii() and unique_id.isprintable():
        return None if "/" not in unique_id and unique_id not in _DOTS else _UNSAFE
    if unique_id in _DOTS or "/" in unique_id or not _CONTROL.isdisjoint(unique_id):
        return _UNSAFE
    try:
        encoded = unique_id.encode()
    except UnicodeEncodeError:
        return _UNSAFE
    return None if len(encoded) + len(SUFFIX) <= _NAME_MAX_BYTES else "uniqueId is too long for a file name"
