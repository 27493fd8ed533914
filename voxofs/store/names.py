"""Keyed names: what editions, recordings, folders and windows are called in the index."""

from __future__ import annotations

from functools import lru_cache

from voxofs.model import Edition, RecordingKey

from .seal import Seal

VersionName = tuple[bytes, bytes]
"""The folder (tenant and day) and the recording."""

_DAY_TEXT = 10
"""A record's start begins with its day (`2021-08-13 19:36:59`, the vendor's page). Only what lies beside
what depends on it: were it different, everything would be found as well."""

_WINDOW_FORM = 2
"""Of a window's records (`records`); goes up when they are kept differently: what was kept before is then
under names that nobody asks for, and ages away."""

_FOLDER_BYTES = 8
"""Two folders under one name would only lie together."""

_EDITIONS_KEPT = 1_024
"""Names in memory: every block of a recording that is being read or fetched asks for its edition's."""


class Names:
    """Names under one key."""

    def __init__(self, seal: Seal) -> None:
        self._seal = seal
        self.edition = lru_cache(maxsize=_EDITIONS_KEPT)(self._edition)
        """An edition's name."""
        self._folder = lru_cache(maxsize=_EDITIONS_KEPT)(self._folder_of)

    def _edition(self, edition: Edition) -> bytes:
        version = edition.version
        fields = (*edition.recording, version.size, version.etag, version.last_modified)
        return self._seal.name("edition", *fields)

    def _folder_of(self, tenant: str, day: str) -> bytes:
        return self._seal.name("folder", tenant, day)[:_FOLDER_BYTES]

    def recording(self, recording: RecordingKey) -> bytes:
        """A recording's name."""
        return self._seal.name("recording", *recording)

    def version(self, recording: RecordingKey) -> VersionName:
        """Where a recording's version is kept."""
        day = recording.start_text[:_DAY_TEXT]
        return self._folder(recording.tenant, day), self.recording(recording)

    def window(self, tenant: str, number: int) -> bytes:
        """A window's name."""
        return self._seal.name("window", _WINDOW_FORM, tenant, number)
