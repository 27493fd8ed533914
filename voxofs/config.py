"""The configuration: one TOML file, the environment over it, mount words and flags over both.

    file   --config, else $XDG_CONFIG_HOME/voxofs/voxofs.toml, else /etc/voxofs/voxofs.toml
    env    VOXOFS_TOKEN, VOXOFS_<SECTION>_<KEY>, VOXOFS_TENANTS_<NAME>_<KEY>
    words  -o section.key=value, or the key alone where only one section has it

Each source becomes a layer of settings that remember where they came from; the layers are laid over each
other, every setting is read by the converter that the table below names for its key, and what is wrong is
collected, so that a person sees every problem at once, with file and key. Nothing here trusts the
configuration to be sane, and nothing echoes a value that may be a secret.

Credentials are one kind at a time: the highest layer that names a credential decides the kind, so that
$VOXOFS_TOKEN wins over a file's token_file; two kinds in one layer are a contradiction and an error.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from . import config_layers
from . import config_values as values
from .clock import Clock
from .config_layers import Layer, Setting
from .errors import ConfigError
from .secret import Secret, mode_problem, read_secret_file

__all__ = [
    "Api", "Cache", "Config", "Log", "Metrics", "Mount", "Secret", "Storage", "Tenant", "Xattr",
    "load", "read_secret_file",
]  # fmt: skip


class Api(msgspec.Struct, frozen=True, kw_only=True):
    """How the API is reached. Exactly one of token, token_file, email with password_file is set."""

    base_url: str = "https://api.voxo.co"
    token: Secret | None = None
    token_file: Path | None = None
    email: str | None = None
    password_file: Path | None = None
    timezone: str = "America/Chicago"
    connections: int = 32
    recordings: str | None = None
    """Value of the undocumented query parameter of that name; sent only when set."""


class Storage(msgspec.Struct, frozen=True, kw_only=True):
    """How the storage behind the links is reached."""

    connections: int = 32
    link_lifetime_s: float = 60.0


class Cache(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept in memory, and for how long."""

    memory_bytes: int = 256 * values.MIB
    records: int = 200_000
    live_ttl_s: float = 30.0
    settle_s: float = 14_400.0
    """A window still counts as live this long after its end: a call is reported when it has ended."""
    known_sizes: int = 100_000


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """What the mount looks like. uid and gid: None means the mounting user's."""

    uid: int | None = None
    gid: int | None = None
    file_mode: int = 0o440
    dir_mode: int = 0o550
    allow_other: bool = False
    deadline_s: float = 30.0
    prefetch: bool = True


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """Where the log goes and in which form."""

    level: str = "info"
    format: str = "text"
    file: Path | None = None


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """Prometheus metrics, off unless an address is given."""

    listen: str | None = None


class Xattr(msgspec.Struct, frozen=True, kw_only=True):
    """Which personal fields of a record extended attributes may show."""

    personal: list[str] = msgspec.field(default_factory=list)


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """One tenant: its number at the API and the first day shown."""

    id: int
    since: date


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a mount needs to know. `source` is the file that was read, if any."""

    tenants: dict[str, Tenant]
    api: Api = Api()
    storage: Storage = Storage()
    cache: Cache = Cache()
    mount: Mount = Mount()
    log: Log = Log()
    metrics: Metrics = Metrics()
    xattr: Xattr = Xattr()
    source: Path | None = None

    def only_tenant(self, name: str) -> Config:
        """The same configuration with a single tenant."""
        return msgspec.structs.replace(self, tenants={name: self.tenants[name]})


class _Key(NamedTuple):
    """How one key is read: the attribute it fills, its converter, and whether a relative path is meant."""

    convert: Callable[[object], Any]
    attribute: str | None = None
    is_path: bool = False


_PATH = _Key(values.text, is_path=True)
_SECTIONS: dict[str, dict[str, _Key]] = {
    "api": {
        "base_url": _Key(values.base_url),
        "token": _Key(lambda value: Secret(values.token(value))),
        "token_file": _PATH,
        "email": _Key(values.text),
        "password_file": _PATH,
        "timezone": _Key(values.timezone),
        "connections": _Key(values.whole(1, 256)),
        "recordings": _Key(values.text),
    },
    "storage": {
        "connections": _Key(values.whole(1, 256)),
        "link_lifetime_s": _Key(values.seconds(1, 7 * 86_400)),  # S3 signs for a week at most
    },
    "cache": {
        "memory": _Key(values.size(8 * values.MIB, 1024 * 1024 * values.MIB), "memory_bytes"),
        "records": _Key(values.whole(1_000, 100_000_000)),
        "live_ttl_s": _Key(values.seconds(1, 86_400)),
        "settle_s": _Key(values.seconds(0, 7 * 86_400)),
        "known_sizes": _Key(values.whole(1_000, 100_000_000)),
    },
    "mount": {
        "uid": _Key(values.user),
        "gid": _Key(values.group),
        "file_mode": _Key(values.mode),
        "dir_mode": _Key(values.mode),
        "allow_other": _Key(values.flag),
        "deadline_s": _Key(values.seconds(0.1, 3_600)),
        "prefetch": _Key(values.flag),
    },
    "log": {
        "level": _Key(values.choice("debug", "info", "warning", "error")),
        "format": _Key(values.choice("text", "json")),
        "file": _PATH,
    },
    "metrics": {"listen": _Key(values.listen_address)},
    "xattr": {"personal": _Key(values.personal_fields)},
}  # fmt: skip
_NAMES = {section: tuple(keys) for section, keys in _SECTIONS.items()}
_CREDENTIAL_KINDS = {"token": "token", "token_file": "token_file", "email": "login", "password_file": "login"}
_NO_CREDENTIAL = (
    'no credential is set: put token_file = "FILE" below [api] (or email and password_file), '
    "or set $VOXOFS_TOKEN"
)


def load(
    path: Path | None,
    *,
    environ: Mapping[str, str],
    overrides: Mapping[str, str],
    today: date | None = None,
) -> Config:
    """Read, lay over each other and check all sources.

    `path` is what --config said (None: search), `overrides` are mount words with their values ("" for a
    bare word). `today` is the last day that `since` may name; by default the day it is now in UTC, which
    is never behind the day in America. Raises ConfigError with every problem at once.
    """
    problems: list[str] = []
    source, candidates = config_layers.search(path, environ)
    of_file = _file_layer(source, environ, problems) if source is not None else {}
    tenants = [place[1] for place in of_file or () if place[0] == "tenants"]
    of_environment = config_layers.environment_layer(environ, _NAMES, tenants, problems)
    layers = [of_file or {}, of_environment, _words_layer(overrides, problems)]

    settings: Layer = {}
    for layer in layers:
        settings |= layer
    missing: list[str] = []
    if not any(place[0] == "tenants" for place in settings):
        missing.append(_no_tenants(source, candidates))
    _choose_credential(layers, settings, problems, missing)
    if of_file is not None:  # what an unreadable file would have said is not missing
        problems.extend(missing)
    sections = {name: _section(name, settings, problems) for name in _SECTIONS}
    found = _tenants(settings, today or datetime.fromtimestamp(Clock().wall_s(), UTC).date(), problems)
    _check_secret_files(sections["api"], settings, environ, problems)
    if problems:
        raise ConfigError([_printable(problem) for problem in dict.fromkeys(problems)])
    return Config(
        tenants={name: Tenant(**keys) for name, keys in found.items()},
        source=source,
        api=Api(**sections["api"]),
        storage=Storage(**sections["storage"]),
        cache=Cache(**sections["cache"]),
        mount=Mount(**sections["mount"]),
        log=Log(**sections["log"]),
        metrics=Metrics(**sections["metrics"]),
        xattr=Xattr(**sections["xattr"]),
    )


def knows_word(word: str) -> bool:
    """Whether a mount word names a key, so that a sloppy mount can leave the others out."""
    unknown: list[str] = []
    config_layers.words_layer({word: ""}, _NAMES, unknown)
    return not unknown


def _printable(problem: str) -> str:
    """One problem is one line, whatever control characters a quoted TOML key may hold."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in problem)


def _no_tenants(source: Path | None, candidates: list[Path]) -> str:
    what = "no tenant is configured: add a section such as [tenants.demo] with id = 37 and since = 2021-01-01"
    if source is not None:
        return f"{source}: {what}"
    looked = " and ".join(str(candidate) for candidate in candidates)
    return f"no configuration file was found ({looked}), and {what}"


def _file_layer(source: Path, environ: Mapping[str, str], problems: list[str]) -> Layer | None:
    try:
        table, status = config_layers.read_toml(source)
    except ConfigError as error:
        problems.extend(error.problems)
        return None
    layer = config_layers.file_layer(source, table, _NAMES, problems)
    if ("api", "token") in layer and (problem := mode_problem(source.absolute(), status, environ)):
        problems.append(f"{source}: {problem}")
    return layer


def _words_layer(overrides: Mapping[str, str], problems: list[str]) -> Layer:
    layer = config_layers.words_layer(overrides, _NAMES, problems)
    for place, setting in list(layer.items()):
        if place == ("api", "token"):
            problems.append(
                f"{setting.origin}: a token on the command line can be read by everybody on this machine; "
                f"use token_file or $VOXOFS_TOKEN"
            )
            del layer[place]
        elif setting.value == "" and place[0] in _SECTIONS and _is_flag(place):
            layer[place] = setting._replace(value=True)
        elif setting.value == "":
            problems.append(f"{setting.origin}: needs a value, {setting.origin}=VALUE")
            del layer[place]
    return layer


def _is_flag(place: config_layers.Place) -> bool:
    return _SECTIONS[place[0]][place[1]].convert is values.flag


def _choose_credential(layers: list[Layer], settings: Layer, problems: list[str], missing: list[str]) -> None:
    """Leave one kind of credential in the settings: the one that the highest layer names."""
    for layer in reversed(layers):
        named = {key: layer["api", key] for key in _CREDENTIAL_KINDS if ("api", key) in layer}
        if not named:
            continue
        kinds = {_CREDENTIAL_KINDS[key] for key in named}
        if len(kinds) > 1:
            origins = ", ".join(setting.origin for setting in named.values())
            problems.append(
                f"more than one kind of credential ({origins}): keep one of token, token_file, "
                f"or email with password_file"
            )
        for key, kind in _CREDENTIAL_KINDS.items():
            if kind not in kinds:
                settings.pop(("api", key), None)
        break
    else:
        missing.append(_NO_CREDENTIAL)
        return
    email, password = settings.get(("api", "email")), settings.get(("api", "password_file"))
    if email and not password:
        problems.append(f"{email.origin}: needs password_file beside it, the file that holds the password")
    if password and not email:
        problems.append(f"{password.origin}: needs email beside it, the address to sign in with")


def _section(section: str, settings: Layer, problems: list[str]) -> dict[str, Any]:
    """The attributes of one section that are set and sound."""
    attributes: dict[str, Any] = {}
    for name, key in _SECTIONS[section].items():
        setting = settings.get((section, name))
        if setting is None:
            continue
        try:
            value = key.convert(setting.value)
            attributes[key.attribute or name] = _path(value, setting) if key.is_path else value
        except ValueError as error:
            problems.append(f"{setting.origin}: {error}")
    return attributes


def _path(value: str, setting: Setting) -> Path:
    if re.fullmatch(r"[\w-]{8,}\.[\w-]+\.[\w-]+", value, re.ASCII) and value.startswith("ey"):
        raise ValueError("must be the path of a file; this looks like the token itself (not shown here)")
    try:
        return setting.folder / Path(value).expanduser()
    except RuntimeError:
        raise ValueError("must be a path; the home directory that ~ stands for is not known") from None


def _check_secret_files(
    api: Mapping[str, Any], settings: Layer, environ: Mapping[str, str], problems: list[str]
) -> None:
    for key in ("token_file", "password_file"):
        if key in api:
            try:
                line = read_secret_file(api[key], environ)
            except ConfigError as error:
                problems.extend(f"{settings['api', key].origin}: {problem}" for problem in error.problems)
                continue
            if key == "token_file":
                try:
                    values.token(line)
                except ValueError as error:
                    problems.append(f"{settings['api', key].origin}: {api[key]}: {error}")


def _tenants(settings: Layer, today: date, problems: list[str]) -> dict[str, dict[str, Any]]:
    converters = {"id": values.whole(1, 2**53), "since": values.first_day(today)}
    origins: dict[str, str] = {}
    for place, setting in settings.items():
        if place[0] == "tenants":
            origins.setdefault(place[1], setting.origin)
    folded: dict[str, str] = {}
    found: dict[str, dict[str, Any]] = {}
    for name, origin in origins.items():
        if problem := values.folder_name_problem(name):
            problems.append(f"{origin}: the tenant's name is its folder's name and {problem}")
        same = unicodedata.normalize("NFKC", name).casefold()
        if folded.setdefault(same, name) != name:
            problems.append(
                f"{origin}: the name differs from {folded[same]} only in case or form; rename one"
            )
        found[name] = {}
        for key, convert in converters.items():
            setting_of_key = settings.get(("tenants", name, key))
            if setting_of_key is None:
                example = "37, the tenant's number" if key == "id" else "2021-01-01, the first day shown"
                problems.append(f"{origin}: {key} is missing; add {key} = {example}")
                continue
            try:
                found[name][key] = convert(setting_of_key.value)
            except ValueError as error:
                problems.append(f"{setting_of_key.origin}: {error}")
    return found
