"""Recordings as real MP3, any range of them without building the rest.

MPEG audio at a constant bit rate with the bit reservoir switched off has frames that depend on nothing
before them, so a recording can be put together like a string of beads. `tones.mp3` holds 39 half-second
words (touch tones, ringing, single notes, chords), seven frames of 144 bytes each, made by `tones.py`.
A recording is an ID3v2.4 tag that names its call, then all words in an order drawn from the call,
repeated to the call's length. At 16 kbit/s one second is 2,000 bytes.

The repeat is 39,312 bytes long, and its least common multiple with 64 KiB is 161 MB: a reader that puts
blocks in the wrong places gets wrong bytes, not the same bytes by luck.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from functools import cache, lru_cache
from importlib.resources import files
from random import Random
from typing import NamedTuple

FRAME_BYTES = 144
"""MPEG-2.5 layer III: 72 × bit rate / sample rate (ISO/IEC 13818-3), at 16 kbit/s and 8 kHz."""
WORD_BYTES = 7 * FRAME_BYTES
"""As `tones.mp3` has them: 7 frames of 576 samples are half a second."""
BYTES_PER_S = 2_000
"""16 kbit/s."""
TAG_BYTES = 512
"""Length of the ID3 tag, padding included; up to one frame longer where an exact size was asked for."""

PIECE_BYTES = 256 * 1024
"""Of an answer, in one write: few system calls, and little beside what is in flight (rule of thumb)."""
_TURNS_KEPT = 256
"""The benchmark's hour has 200 recordings; 39 KB each."""
_LONG_BYTES = 2 << 20
"""From here on the words of a recording are repeated once and kept: eight pieces repay it (rule of thumb)."""


class Label(NamedTuple):
    """What the ID3 tag says about a recording."""

    unique_id: str
    people: str
    start: str
    tenant: str


class Audio:
    """The bytes of one recording: `size`, `etag`, `modified_s` and `read(start, stop)`."""

    __slots__ = ("etag", "modified_s", "size")

    def __init__(self, size: int, etag: str, modified_s: float) -> None:
        self.size = size
        self.etag = etag
        self.modified_s = modified_s

    def read(self, start: int, stop: int) -> bytes:
        """Bytes [start, stop), cut at the end; at most `PIECE_BYTES` in one call."""
        raise NotImplementedError


class FixedAudio(Audio):
    """Bytes that somebody wrote by hand."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes, modified_s: float) -> None:
        super().__init__(len(data), hashlib.md5(data, usedforsecurity=False).hexdigest(), modified_s)
        self._data = data

    def read(self, start: int, stop: int) -> bytes:
        return self._data[start : min(stop, start + PIECE_BYTES)]


class ToneAudio(Audio):
    """A recording made of tones; different for every (seed, revision), the same every time."""

    __slots__ = ("_key", "_label", "_tag_bytes")

    def __init__(self, seed: str, label: Label, size: int, modified_s: float) -> None:
        key = hashlib.md5(f"{seed}/{label.unique_id}/{size}".encode(), usedforsecurity=False).hexdigest()
        super().__init__(size, key, modified_s)
        self._key = key
        self._label = label
        self._tag_bytes = tag_bytes(size)

    def read(self, start: int, stop: int) -> bytes:
        stop = min(stop, self.size, start + PIECE_BYTES)
        if stop <= start:
            return b""
        head = b""
        if start < self._tag_bytes:
            head = id3_tag(self._label, self._tag_bytes)[start:stop]
            start += len(head)
        if start == stop:
            return head
        turn = _turn(self._key)
        offset = (start - self._tag_bytes) % len(turn)
        end = offset + stop - start
        wheel = _wheel(self._key) if self.size > _LONG_BYTES else turn * -(-end // len(turn))
        body = wheel[offset:end]
        return head + body if head else body


def size_of(duration_s: int) -> int:
    """Bytes of a recording of that many seconds: its tag and as many whole frames as fit."""
    return TAG_BYTES + duration_s * BYTES_PER_S // FRAME_BYTES * FRAME_BYTES


def tag_bytes(size: int) -> int:
    """The tag's length in a recording of exactly `size` bytes: padded until whole frames remain."""
    return TAG_BYTES + (size - TAG_BYTES) % FRAME_BYTES


@lru_cache(maxsize=_TURNS_KEPT)
def id3_tag(label: Label, length: int) -> bytes:
    """An ID3v2.4 tag of exactly `length` bytes (id3.org, ID3v2.4.0: sizes are 7 bits to a byte)."""
    frames = (
        _frame(b"TIT2", b"\x03" + _text(label.unique_id))
        + _frame(b"TPE1", b"\x03" + _text(label.people))
        + _frame(b"TDRC", b"\x03" + _text(label.start.replace(" ", "T")))
        + _frame(b"COMM", b"\x03eng\0" + _text(label.tenant))
    )
    return b"ID3\x04\0\0" + _syncsafe(length - 10) + frames.ljust(length - 10, b"\0")


def _frame(name: bytes, body: bytes) -> bytes:
    return name + _syncsafe(len(body)) + b"\0\0" + body


def _text(text: str) -> bytes:
    """UTF-8, cut so that four of them always fit a tag."""
    return text.encode("utf-8", "replace")[:100].decode("utf-8", "ignore").encode()


def _syncsafe(number: int) -> bytes:
    return bytes((number >> shift) & 0x7F for shift in (21, 14, 7, 0))


@cache
def _words_joined() -> bytes:
    return files(__package__).joinpath("tones.mp3").read_bytes()


@cache
def _words() -> tuple[bytes, ...]:
    tones = _words_joined()
    return tuple(tones[at : at + WORD_BYTES] for at in range(0, len(tones), WORD_BYTES))


_turns: OrderedDict[str, bytes] = OrderedDict()


def _turn(key: str) -> bytes:
    """All words once, in the call's order."""
    turn = _turns.get(key)
    if turn is not None:
        _turns.move_to_end(key)
        return turn
    words = list(_words())
    Random(key).shuffle(words)
    turn = _turns[key] = b"".join(words)
    if len(_turns) > _TURNS_KEPT:
        _turns.popitem(last=False)
    return turn


@lru_cache(maxsize=4)  # 0.3 MB each; readers of long recordings are few
def _wheel(key: str) -> bytes:
    """The words in order, repeated so far that any piece is one slice of it; worth keeping for long reads."""
    turn = _turn(key)
    return turn * (2 + PIECE_BYTES // len(turn))
