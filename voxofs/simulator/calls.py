"""One call: how a tenant plans it, what its record says.

A call holds its time, its id and 32 random hex digits; numbers, names and direction follow from those when
a record or a tag is written, which keeps an hour of a thousand calls cheap to compute.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from random import Random
from typing import Any, NamedTuple, Protocol

_PEOPLE = (
    "MRJINGLES", "ADA LOVELACE", "GRACE HOPPER", "ZOË MÜLLER", "RECEPTION", "JOSÉ ÁLVAREZ", "WAREHOUSE",
    "O'BRIEN, PAT", "LI WEI", "NIGHT DESK", "BILLING", "",
)  # fmt: skip


class Slot(NamedTuple):
    """One call of an hour as a tenant's `Calls` plans it."""

    offset_s: int
    """Seconds after the hour began."""
    duration_s: int
    size: int = 0
    """Bytes of the recording; 0 for what the duration makes."""


class Moment(NamedTuple):
    """The hour that is being planned."""

    hour: int
    wall: datetime
    switch_day: bool
    live: bool
    """The simulator was already running, or started, in this hour."""


class Calls(Protocol):
    """How busy a tenant is. `plan` must depend on its arguments alone."""

    @property
    def since(self) -> date:
        """No call is earlier than this Central day."""

    def plan(self, moment: Moment, random: Random) -> Sequence[Slot]:
        """The calls of one hour, in any order."""


class Call:
    """One computed call."""

    __slots__ = ("bits", "duration_s", "recorded", "size", "start", "start_s", "unique_id")

    def __init__(
        self, start_s: int, start: str, unique_id: str, duration_s: int, size: int, recorded: int, bits: str
    ) -> None:
        self.start_s = start_s
        self.start = start
        self.unique_id = unique_id
        self.duration_s = duration_s
        self.size = size
        self.recorded = recorded
        self.bits = bits
        """32 hex digits from which everything else about the call follows."""

    def people(self) -> tuple[str, str, str, str, str]:
        """Caller's number and name, dialled number, direction, who answered."""
        bits = int(self.bits[:12], 16)
        extension = str(1000 + bits % 40)
        outside = f"{201 + (bits >> 8) % 780}{555_0000 + (bits >> 20) % 9_999}"
        name = _PEOPLE[(bits >> 4) % len(_PEOPLE)]
        if bits & 0x80:
            return extension, name, outside, "OUT", outside
        return outside, name, f"601{555_0000 + (bits >> 16) % 100}", "IN", extension

    def record(self, later: bool) -> dict[str, Any]:
        """The vendor's record; `later` gives the later edition's form."""
        number, name, dialled, direction, answered = self.people()
        b = self.bits
        disposition = "ANSWERED" if self.recorded else "NO ANSWER"
        record: dict[str, Any] = {"id": f"{b[:8]}-{b[8:12]}-4{b[13:16]}-a{b[17:20]}-{b[20:]}"}
        record["time" if later else "start"] = later_form(self.start) if later else self.start
        record["callerIdNumber"] = number
        record["callerIdName"] = name
        record["dialedNum"] = dialled
        record["direction"] = direction
        record["disposition"] = disposition
        record["duration"] = self.duration_s
        record["percentJitter"] = 0.06 if b[0] == "7" else 0
        record["packetLoss"] = 0
        record["qos"] = 1
        record["uniqueId"] = self.unique_id
        record["prevUniqueId"] = ""
        record["whoAnswered"] = answered if self.recorded else ""
        record["recorded"] = self.recorded
        if later:
            record |= _LATER_FIELDS
        return record


_LATER_FIELDS: dict[str, Any] = {
    "queueCall": 0, "queueName": None, "mos": 4.4, "callOutcome": None, "nextUniqueId": None,
    "geolocation": None, "ringTime": 6,
    "talkTime": None, "holdTime": None, "sentiment": None, "tags": [], "transcription": None,
}  # fmt: skip


def later_form(start: str) -> str:
    """`YYYY-MM-DD HH:MM:SS` as `MM/DD/YY HH:MM:SS`."""
    return f"{start[5:7]}/{start[8:10]}/{start[2:4]}{start[10:]}"


def earlier_form(time: str) -> str:
    """The reverse of `later_form`; what is not in that form comes back as no time at all."""
    if len(time) != 17 or time[2] != "/" or time[5] != "/":
        return ""
    return f"20{time[6:8]}-{time[:2]}-{time[3:5]}{time[8:]}"
