"""What everything speaks of: tenants, records, recordings and their versions, and who is asking.

Values only. They import nothing of ours, know no protocol, and mean the same tomorrow and in another process:
whatever is kept of a recording, in memory or on a disk, is named by an `Edition` and the index of a block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import msgspec

BLOCK_BYTES = 65_536
"""The unit in which audio is asked for, cached and kept. The head of a recording is one block: it brings the
size, and tags and first frames for whoever looks at headers only. With half of it a read of the kernel
(128 KiB) would ask twice as often; with twice of it a look at a header would cost twice the bytes."""

SUFFIX = ".mp3"
"""What a recording's file name ends with, here and in the storage's own keys (the vendor's page)."""

PERSONAL_FIELDS = ("callerIdNumber", "callerIdName", "dialedNum", "whoAnswered")
"""Fields of a record that name people: shown only where the configuration lists them."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant: the folder's name, the vendor's number for it, and the first day shown."""

    name: str
    id: int
    since: date


Detail = str | int | float | None
"""What a field of a record may be."""


def packed_details(details: tuple[Detail, ...]) -> bytes:
    """Values of `DETAILS` as `Record` holds them: a quarter of the memory that the objects take. Raises
    `ValueError` and `OverflowError` for texts that are no Unicode and integers beyond 64 bits."""
    return _pack(details)


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(tuple[Any, ...]).decode


class Record(msgspec.Struct, gc=False):
    """One call, as its report told it. Small, and without what the tree does not show."""

    unique_id: str
    start_text: str
    """The record's own start, byte for byte as the source wants it back (the vendor's page)."""
    instant_s: int
    """The instant of the start, seconds since the epoch."""
    packed: bytes = b""
    """What else its report told, as `packed_details` makes it."""

    @property
    def name(self) -> str:
        """The file's name."""
        return self.unique_id + SUFFIX

    @property
    def details(self) -> tuple[Detail, ...]:
        """Values of `DETAILS`, in that order; fewer where the rest is not known."""
        return _unpack(self.packed) if self.packed else ()

    def fields(self, personal: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Name and text of what may be shown: no null, no personal field unless listed."""
        yield "uniqueId", self.unique_id
        yield "start", self.start_text
        for name, value in zip(DETAILS, self.details, strict=False):
            if value is not None and (name not in PERSONAL_FIELDS or name in personal):
                yield name, str(value)


DETAILS = (
    "id",
    "direction",
    "disposition",
    "duration",
    "percentJitter",
    "packetLoss",
    "qos",
    "prevUniqueId",
    *PERSONAL_FIELDS,
)
"""What else a report tells of a call and is kept, by the vendor's names (the vendor's page)."""


class RecordingKey(NamedTuple):
    """Which recording: the same uniqueId with the same start, of the same tenant, is the same recording."""

    tenant: str
    unique_id: str
    start_text: str


class Version(msgspec.Struct, frozen=True):
    """Which bytes a recording consists of. Every range must belong to the same ones."""

    size: int
    etag: str | None
    last_modified: str | None

    def differs_from(self, other: Version) -> bool:
        """Whether two answers tell of different objects, by all that both of them say."""
        return (
            self.size != other.size
            or _both_and_unequal(self.etag, other.etag)
            or _both_and_unequal(self.last_modified, other.last_modified)
        )


def _both_and_unequal(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one != other


class Edition:
    """One version of one recording: the name under which its bytes are kept. Equal by value; the hash is
    made once, because every block of every read is looked up by it."""

    __slots__ = ("_hash", "recording", "version")

    def __init__(self, recording: RecordingKey, version: Version) -> None:
        self.recording = recording
        self.version = version
        self._hash = hash((recording, version))

    def __repr__(self) -> str:
        return f"<Edition {self.recording.unique_id} of {self.recording.tenant}, {self.size} bytes>"

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Edition)
            and self._hash == other._hash
            and self.recording == other.recording
            and self.version == other.version
        )

    def __hash__(self) -> int:
        return self._hash

    @property
    def size(self) -> int:
        """Bytes."""
        return self.version.size

    @property
    def blocks(self) -> int:
        """Blocks, the last of which may be short."""
        return -(-self.version.size // BLOCK_BYTES)


BlockKey = tuple[Edition, int]
"""An edition and the index of one of its blocks."""

Block = bytes | memoryview
"""Bytes of a recording that nobody changes any more, on their own or within a larger piece of memory."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a process, as a front end knows it. A crawler is served after everybody else, and nothing is
    fetched ahead for it."""

    uid: int = 0
    gid: int = 0
    pid: int = 0
    program: str = ""
    crawls: bool = False


NOBODY = Caller()
"""Work that voxofs does for itself, or for a front end that knows no processes."""
