"""The sections of the configuration as the program sees them: every setting with its default, and why."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import msgspec

from .secrets import Secret
from .values import GIB, MIB

_DAY_S = 86_400
_CONNECTIONS = 48
"""Requests at once to one origin, to which a mount grows from 32 (`traffic.pace`). Measured (docs/design.md):
`ls -l` of 200 calls took 0.75 s with 32, 0.62 with 48 and 0.64 with 64."""


class ApiSection(msgspec.Struct, frozen=True, kw_only=True):
    """How the API is reached. Exactly one of token, token_file, email with password_file is set."""

    base_url: str = "https://api.voxo.co"
    token: Secret | None = None
    token_file: Path | None = None
    email: str | None = None
    password_file: Path | None = None
    timezone: str = "America/Chicago"
    connections: int = _CONNECTIONS
    proxy: Secret | None = None
    """A URL that may hold a password; "" means no proxy at all. What counts is in `Config.proxies`."""
    ca_file: Path | None = None
    """Certificates of authorities to believe besides the machine's (PEM)."""
    recordings: str | None = None
    """Value of the undocumented query parameter of that name; sent only when set."""


class StorageSection(msgspec.Struct, frozen=True, kw_only=True):
    """How the storage behind the links is reached."""

    connections: int = _CONNECTIONS
    link_lifetime_s: float = 60.0
    """What the vendor signs its links for."""
    hosts: list[str] | None = None
    """Where links may lead. None: anywhere but to this machine and its link (`source.address`)."""


class CacheSection(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept in memory, and for how long. Its defaults are rules of thumb."""

    memory_bytes: int = 256 * MIB
    """What a desktop has to spare."""
    records: int = 200_000
    """Some 50 MB, at 250 bytes a record (measured, RSS by 320): a week of an office of 24,000 calls a day."""
    live_ttl_s: float = 30.0
    """As long as somebody waits for a call that has just ended before looking again."""
    settle_s: float = 14_400.0
    """A window still counts as live this long after its end: a call is reported when it has ended."""
    known_sizes: int = 100_000
    """Half of the records: what is known of a recording's size costs a request to find out again."""


class MountSection(msgspec.Struct, frozen=True, kw_only=True):
    """What the mount looks like. uid and gid: None means the mounting user's."""

    uid: int | None = None
    gid: int | None = None
    file_mode: int = 0o640
    dir_mode: int = 0o750
    """The owner may write to what is copied out with its modes (`cp -r`, `rsync -p`): a folder of mode 0550
    could not even be deleted. To the mount itself nobody writes, it is mounted read-only."""
    allow_other: bool = False
    deadline_s: float = 30.0
    """As long as a person waits before taking a program for hung; a rule of thumb."""
    prefetch: bool = True


class LogSection(msgspec.Struct, frozen=True, kw_only=True):
    """Where the log goes and in which form."""

    level: str = "info"
    format: str = "text"
    file: Path | None = None


class AuditSection(msgspec.Struct, frozen=True, kw_only=True):
    """Where a line goes for each recording that was opened; nowhere unless one of the two is set.
    `required`: nothing is opened that could not be put on record."""

    file: Path | None = None
    journal: bool = False
    required: bool = False


class MetricsSection(msgspec.Struct, frozen=True, kw_only=True):
    """Prometheus metrics, off unless an address is given."""

    listen: str | None = None


class DiskSection(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept on a disk, sealed; off unless `path` is set, or a key where systemd gives a directory.
    Without `key_file` the key is in memory, and what is kept ends with the process."""

    path: Path | None = None
    size_bytes: int = 20 * GIB
    keep_free_bytes: int = GIB
    max_age_s: float = 30 * _DAY_S
    recheck_s: float = 7 * _DAY_S
    key_file: Path | None = None


class HttpSection(msgspec.Struct, frozen=True, kw_only=True):
    """How requests are carried: by a transport of voxofs's own, or by httpx's."""

    transport: str = "direct"


class PrivacySection(msgspec.Struct, frozen=True, kw_only=True):
    """Which personal fields of a record are shown, wherever fields are."""

    show: list[str] = msgspec.field(default_factory=list)


class TenantSection(msgspec.Struct, frozen=True, kw_only=True):
    """One tenant: its number at the API and the first day shown."""

    id: int
    since: date
