"""Storage options: what a program says to `fsspec.filesystem("voxofs", …)`, as a configuration.

They are the configuration file's path, settings over it, or settings alone. A pickle of a file system carries
its options in the clear, from a driver to all of its workers, and engines print them. So an option may say
where a secret is, and never what it is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from voxofs.clock import Clock
from voxofs.config.settings import Config, load
from voxofs.errors import ConfigError

WORDS = {
    "base_url": ("api.base_url",),
    "token_file": ("api.token_file",),
    "email": ("api.email",),
    "password_file": ("api.password_file",),
    "timezone": ("api.timezone",),
    "connections": ("api.connections", "storage.connections"),
    "memory": ("cache.memory",),
    "disk": ("disk.path",),
    "key_file": ("disk.key_file",),
    "deadline_s": ("mount.deadline_s",),
}
"""Options with a setting's name, and the settings that each one sets."""

OPTIONS = (*WORDS, "tenants", "since")

_YEARS_SHOWN = 10
"""Where nobody says `since`: more than a phone system keeps calls. A rule of thumb."""
_SECRETIVE = re.compile(r"token|passw|secret|key|auth|credential|bearer|jwt", re.IGNORECASE)


def configuration(
    config: str | os.PathLike[str] | None,
    options: Mapping[str, Any],
    *,
    prefetch: bool,
    environ: Mapping[str, str],
) -> Config:
    """The configuration that storage options mean. Raises ValueError with every problem at once, a line each.

    With neither a file nor a setting the file is looked for where `voxofs mount` looks for it; with settings
    alone no file is read. The environment (`$VOXOFS_TOKEN`, …) lies over the file and below the options.
    """
    given = {name: value for name, value in options.items() if value is not None}
    _check_names(given)
    words = _words(given)
    # Settings alone are a file system that no file of this machine changes: an empty file stands for it.
    path = Path(config) if config is not None else Path(os.devnull) if words else None
    try:
        found = load(path, environ=environ, overrides=words)
    except ConfigError as error:
        raise ValueError("\n".join(_in_our_words(problem) for problem in error.problems)) from None
    mount = msgspec.structs.replace(found.mount, prefetch=prefetch)
    return msgspec.structs.replace(found, mount=mount)


def _check_names(given: Mapping[str, Any]) -> None:
    for name in given:
        if name in OPTIONS:
            continue
        if _SECRETIVE.search(name):
            raise ValueError(
                f"{name}: a secret may not be a storage option, because pickles, logs and dashboards show "
                "those: put it into a file that only you can read and give token_file=PATH, or set "
                "$VOXOFS_TOKEN"
            )
        raise ValueError(f"{name}: unknown option; known are config, {', '.join(OPTIONS)} and prefetch")


def _words(given: Mapping[str, Any]) -> dict[str, str]:
    """The options as mount words."""
    words = {word: _text(given[name]) for name in WORDS if name in given for word in WORDS[name]}
    tenants = given.get("tenants", {})
    if not isinstance(tenants, Mapping):
        raise ValueError('tenants: must be a mapping of folder names to numbers, such as {"demo": 37}')
    for name, said in tenants.items():
        keys = said if isinstance(said, Mapping) else {"id": said}
        for key, value in {"since": given.get("since", _first_day()), **keys}.items():
            words[f"tenants.{name}.{key}"] = _text(value)
    return words


def _first_day() -> str:
    year = datetime.fromtimestamp(Clock().wall_s(), UTC).year
    return f"{year - _YEARS_SHOWN:04}-01-01"


def _text(value: object) -> str:
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)


def _in_our_words(problem: str) -> str:
    """A problem of the configuration, as somebody who gave options and no file reads it."""
    return problem.removeprefix(f"{os.devnull}: ").replace("-o ", "")
