"""What the disk tier is told: where it may be, how much, for how long, under which key."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

_GIB = 1 << 30


@dataclass(frozen=True, kw_only=True)
class DiskSettings:
    """Bounds of the tier. Several processes may use one directory; each keeps to its own bounds."""

    path: Path
    """The directory; made (mode 0700) where it does not exist."""
    size_bytes: int = 20 * _GIB
    """Audio at most, in whole pages of the file system."""
    keep_free_bytes: int = 1 * _GIB
    """What stays free on that file system for others."""
    max_age_s: float = 30 * 86_400.0
    """Audio is deleted this long after it was fetched, while a process with the directory runs."""
    key: bytes | None = field(default=None, repr=False)
    """32 bytes; without them a key in memory."""
    index_bytes: int = 2 * _GIB
    """The index at most. A version takes about 200 bytes, a record about 40: room for 10 million of each."""
    patience_s: float = 0.5
    """How long a reader waits for its own read, and for a thread while no read of anybody is done, before it
    asks the network. A disk that turns needs 20 ms for a seek; one request of the network, in the benchmark's
    world, 110 ms."""
    pending_bytes: int = 80 << 20
    """Audio that waits to be written; more is dropped. A quarter of a second at 300 MB/s; most of it is in
    the cache in memory anyway, and an hour of a busy office fits (55 MiB in the benchmark)."""
