"""The configuration: one TOML file, the environment over it, mount words and flags over both.

    file   --config, else $XDG_CONFIG_HOME/voxofs/voxofs.toml, else /etc/voxofs/voxofs.toml
    env    VOXOFS_TOKEN, VOXOFS_<SECTION>_<KEY>, VOXOFS_TENANTS_<NAME>_<KEY>
    words  -o section.key=value, or the key alone where only one section has it

Each source becomes a layer of settings that remember where they came from; the layers are laid over each
other, every setting is read by the converter that the table below names for its key, and what is wrong is
collected, so that a person sees every problem at once, with file and key. Nothing here trusts the
configuration to be sane, and nothing echoes a value that may be a secret.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from voxofs.clock import Clock
from voxofs.errors import ConfigError

from . import layers as config_layers
from . import values
from .credential import choose_credential
from .layers import Layer, Setting
from .legible import one_line
from .proxies import Proxies, proxies
from .secrets import Secret, mode_problem, read_secret_file, read_token_file, token
from .sections import (
    ApiSection,
    AuditSection,
    CacheSection,
    DiskSection,
    HttpSection,
    LogSection,
    MetricsSection,
    MountSection,
    PrivacySection,
    StorageSection,
    TenantSection,
)

_DAY_S = 86_400


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a mount needs to know. `source` is the file that was read, if any."""

    tenants: dict[str, TenantSection]
    api: ApiSection = ApiSection()
    storage: StorageSection = StorageSection()
    cache: CacheSection = CacheSection()
    mount: MountSection = MountSection()
    log: LogSection = LogSection()
    audit: AuditSection = AuditSection()
    metrics: MetricsSection = MetricsSection()
    privacy: PrivacySection = PrivacySection()
    http: HttpSection = HttpSection()
    disk: DiskSection = DiskSection()
    proxies: Proxies = Proxies()
    """Of the configuration, or of the environment."""
    source: Path | None = None
    shown_as: str = "voxofs"
    """The mount's source in the kernel's table: what fstab says where mount(8) mounts."""

    def fingerprint(self) -> dict[str, str]:
        """A short digest of every setting that is not at its default, by key: whether a running mount has
        the same ones can be told by it, and what they are cannot. Credentials are left out."""
        return _fingerprint(self)

    def without_disk(self) -> Config:
        """The same configuration without the disk tier."""
        return msgspec.structs.replace(self, disk=DiskSection())

    def called(self, shown_as: str) -> Config:
        """The same configuration, shown under this name in the kernel's table of mounts."""
        return msgspec.structs.replace(self, shown_as=shown_as)

    def only_tenant(self, name: str) -> Config:
        """The same configuration with a single tenant."""
        return msgspec.structs.replace(self, tenants={name: self.tenants[name]})


class Key(NamedTuple):
    """How one key is read: the attribute it fills, its converter, and whether a relative path is meant."""

    convert: Callable[[object], Any]
    attribute: str | None = None
    is_path: bool = False


# Bounds are rules of thumb unless said otherwise: they catch a wrong unit and a zero too many.
_MOST_CONNECTIONS = 256  # well below the 1,024 open files that a process has by default (getrlimit(2))
_MEMORY_BYTES = (8 * values.MIB, 1024 * 1024 * values.MIB)  # 128 blocks, enough for a few readers; 1 TiB
_RECORDS = (1_000, 100_000_000)  # an hour of a busy office; 25 GB
_DEADLINES_S = (0.1, 3_600.0)
_MOST_ID = 2**53  # every whole number up to here survives JSON (RFC 8259, 6)
_PATH = Key(values.text, is_path=True)


def _proxy(value: object) -> Secret:
    return Secret(values.proxy_url(value))


SECTIONS: dict[str, dict[str, Key]] = {
    "api": {
        "base_url": Key(values.base_url),
        "token": Key(lambda value: Secret(token(value))),
        "token_file": _PATH,
        "email": Key(values.text),
        "password_file": _PATH,
        "timezone": Key(values.timezone),
        "connections": Key(values.whole(1, _MOST_CONNECTIONS)),
        "proxy": Key(_proxy),
        "ca_file": _PATH,
        "recordings": Key(values.text),
    },
    "storage": {
        "connections": Key(values.whole(1, _MOST_CONNECTIONS)),
        "link_lifetime_s": Key(values.seconds(1, 7 * _DAY_S)),  # S3 signs for a week at most
        "hosts": Key(values.hosts),
    },
    "cache": {
        "memory": Key(values.size(*_MEMORY_BYTES), "memory_bytes"),
        "records": Key(values.whole(*_RECORDS)),
        "live_ttl_s": Key(values.seconds(1, _DAY_S)),
        "settle_s": Key(values.seconds(0, 7 * _DAY_S)),
        "known_sizes": Key(values.whole(*_RECORDS)),
    },
    "mount": {
        "uid": Key(values.user),
        "gid": Key(values.group),
        "file_mode": Key(values.mode),
        "dir_mode": Key(values.mode),
        "allow_other": Key(values.flag),
        "deadline_s": Key(values.seconds(*_DEADLINES_S)),
        "prefetch": Key(values.flag),
    },
    "log": {
        "level": Key(values.choice("debug", "info", "warning", "error")),
        "format": Key(values.choice("text", "json")),
        "file": _PATH,
    },
    "audit": {
        "file": _PATH,
        "journal": Key(values.flag),
        "required": Key(values.flag),
    },
    "metrics": {"listen": Key(values.listen_address)},
    "disk": {
        "path": _PATH,
        "size": Key(values.size(64 * values.MIB, 1024 * 1024 * values.GIB), "size_bytes"),
        "keep_free": Key(values.size(0, 1024 * 1024 * values.GIB), "keep_free_bytes"),
        "max_age": Key(values.duration(60, 3_650 * _DAY_S), "max_age_s"),
        "recheck": Key(values.duration(60, 3_650 * _DAY_S), "recheck_s"),
        "key_file": _PATH,
    },
    "http": {"transport": Key(values.choice("direct", "stock"))},
    "privacy": {"show": Key(values.personal_fields)},
    "xattr": {"personal": Key(values.personal_fields)},
}  # fmt: skip
ALIASES: dict[config_layers.Place, config_layers.Place] = {("xattr", "personal"): ("privacy", "show")}
"""Former names of settings, and what each is called now. Both mean the same at every source."""
_NOT_TOLD = {("api", "token"), ("api", "email")}
_DIGEST = 12
"""Hexadecimal digits of a digest: 48 bits do not meet by chance."""
NAMES = {section: tuple(keys) for section, keys in SECTIONS.items()}
"""Every section but `tenants`, and its keys."""


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
    of_environment = config_layers.environment_layer(environ, NAMES, tenants, problems)
    layers = [of_file or {}, of_environment, _words_layer(overrides, problems)]
    for layer in layers:
        config_layers.rename(layer, ALIASES, problems)

    settings: Layer = {}
    for layer in layers:
        settings |= layer
    missing: list[str] = []
    if not any(place[0] == "tenants" for place in settings):
        missing.append(_no_tenants(source, candidates))
    choose_credential(layers, settings, problems, missing)
    if of_file is not None:  # what an unreadable file would have said is not missing
        problems.extend(missing)
    sections = {name: _section(name, settings, problems) for name in SECTIONS}
    found = _tenants(settings, today or datetime.fromtimestamp(Clock().wall_s(), UTC).date(), problems)
    _check_secret_files(sections["api"], settings, environ, problems)
    said = settings.get(("api", "proxy"))
    ways = proxies(environ, sections["api"].get("proxy"), said.origin if said else "", problems)
    if problems:
        raise ConfigError([one_line(problem) for problem in dict.fromkeys(problems)])
    return Config(
        tenants={name: TenantSection(**keys) for name, keys in found.items()},
        source=source,
        proxies=ways,
        api=ApiSection(**sections["api"]),
        storage=StorageSection(**sections["storage"]),
        cache=CacheSection(**sections["cache"]),
        mount=MountSection(**sections["mount"]),
        log=LogSection(**sections["log"]),
        audit=AuditSection(**sections["audit"]),
        metrics=MetricsSection(**sections["metrics"]),
        privacy=PrivacySection(**sections["privacy"]),
        http=HttpSection(**sections["http"]),
        disk=DiskSection(**_granted(sections["disk"], environ)),
    )


def _granted(disk: dict[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """What a service is given by systemd (LoadCredential=disk.key, CacheDirectory=; systemd.exec(5)) counts
    where nothing else is said. The directory counts with a key alone: without one, what lies there is of no
    use to the next start, and nobody has asked for 20 GiB of it."""
    caches, credentials = environ.get("CACHE_DIRECTORY"), environ.get("CREDENTIALS_DIRECTORY")
    if credentials and disk.get("key_file") is None and (key := Path(credentials, "disk.key")).exists():
        disk = disk | {"key_file": key}
    if caches and disk.get("path") is None and disk.get("key_file") is not None:
        disk = disk | {"path": Path(caches.partition(":")[0])}
    return disk


def converter(section: str, key: str) -> Callable[[object], Any]:
    """How a key's value is read: raises ValueError with half a sentence, "must be …". For whoever asks a
    person for one."""
    return SECTIONS[section][key].convert


def _fingerprint(config: Config) -> dict[str, str]:
    found: dict[str, object] = {}
    usual = Config(tenants={})
    for section, keys in SECTIONS.items():
        for key, rule in keys.items():
            if (section, key) in ALIASES or (section, key) in _NOT_TOLD:
                continue
            name = rule.attribute or key
            value = getattr(getattr(config, section), name)
            if value != getattr(getattr(usual, section), name):
                found[f"{section}.{key}"] = value
    for tenant, each in config.tenants.items():
        found[f"tenants.{tenant}"] = each
    return {name: sha256(repr(value).encode()).hexdigest()[:_DIGEST] for name, value in found.items()}


def knows_word(word: str) -> bool:
    """Whether a mount word names a key, so that a sloppy mount can leave the others out."""
    unknown: list[str] = []
    config_layers.words_layer({word: ""}, NAMES, unknown)
    return not unknown


def _no_tenants(source: Path | None, candidates: list[Path]) -> str:
    what = "no tenant is configured: add a section such as [tenants.demo] with id = 37 and since = 2021-01-01"
    if source is not None:
        return f"{source}: {what}"
    looked = " and ".join(str(candidate) for candidate in candidates)
    return f"no configuration file was found ({looked}): make one with `voxofs setup`; and {what}"


def _file_layer(source: Path, environ: Mapping[str, str], problems: list[str]) -> Layer | None:
    try:
        table, status = config_layers.read_toml(source)
    except ConfigError as error:
        problems.extend(error.problems)
        return None
    layer = config_layers.file_layer(source, table, NAMES, problems)
    proxy = layer.get(("api", "proxy"))
    has_secret = ("api", "token") in layer or (proxy is not None and "@" in str(proxy.value))
    if has_secret and (problem := mode_problem(source.absolute(), status, environ)):
        problems.append(f"{source}: {problem}")
    return layer


def _words_layer(overrides: Mapping[str, str], problems: list[str]) -> Layer:
    layer = config_layers.words_layer(overrides, NAMES, problems)
    for place, setting in list(layer.items()):
        if place == ("api", "token"):
            problems.append(
                f"{setting.origin}: a token on the command line can be read by everybody on this machine; "
                f"use token_file or $VOXOFS_TOKEN"
            )
            del layer[place]
        elif place == ("api", "proxy") and "@" in str(setting.value):
            problems.append(
                f"{setting.origin}: a password on the command line can be read by everybody on this machine; "
                f"put the proxy into the file (mode 600) or into $HTTPS_PROXY"
            )
            del layer[place]
        elif setting.value == "" and place[0] in SECTIONS and _is_flag(place):
            layer[place] = setting._replace(value=True)
        elif setting.value == "":
            problems.append(f"{setting.origin}: needs a value, {setting.origin}=VALUE")
            del layer[place]
    return layer


def _is_flag(place: config_layers.Place) -> bool:
    return SECTIONS[place[0]][place[1]].convert is values.flag


def _section(section: str, settings: Layer, problems: list[str]) -> dict[str, Any]:
    """The attributes of one section that are set and sound."""
    attributes: dict[str, Any] = {}
    for name, key in SECTIONS[section].items():
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
    # A JWT: three parts in base64url, the first an object, `{"…` (RFC 7519, 3; RFC 7515, 3.1).
    if re.fullmatch(r"[\w-]{8,}\.[\w-]+\.[\w-]+", value, re.ASCII) and value.startswith("ey"):
        raise ValueError("must be the path of a file; this looks like the token itself (not shown here)")
    if re.search(r"[A-Za-z0-9+/]{43}=$", value):  # 32 bytes in base64, as `voxofs cache key` makes them
        raise ValueError("must be the path of a file; this looks like the key itself (not shown here)")
    try:
        return setting.folder / Path(value).expanduser()
    except RuntimeError:
        raise ValueError("must be a path; the home directory that ~ stands for is not known") from None


def _check_secret_files(
    api: Mapping[str, Any], settings: Layer, environ: Mapping[str, str], problems: list[str]
) -> None:
    for key in ("token_file", "password_file"):
        if key in api:
            read = read_token_file if key == "token_file" else read_secret_file
            try:
                read(api[key], environ)
            except ConfigError as error:
                problems.extend(f"{settings['api', key].origin}: {problem}" for problem in error.problems)


def _tenants(settings: Layer, today: date, problems: list[str]) -> dict[str, dict[str, Any]]:
    converters = {"id": values.whole(1, _MOST_ID), "since": values.first_day(today)}
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
