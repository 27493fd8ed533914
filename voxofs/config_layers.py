"""Where settings come from: the file, the environment, and mount words, each as one layer.

A layer maps a place, ("cache", "memory") or ("tenants", "demo", "id"), to a setting: the raw value and
the words by which a person finds it again. Values are not looked at here; what is checked is that every
name is known. The names of unknown things are echoed, their values never: a misspelt `tokn` is a token.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from . import config_values as values
from .errors import ConfigError

Place = tuple[str, ...]
Names = Mapping[str, Collection[str]]
"""Every section but `tenants`, with its keys."""
TENANT_KEYS = ("id", "since")
ENVIRONMENT_PREFIX = "VOXOFS_"


class Setting(NamedTuple):
    """A raw value and where it was said."""

    value: object
    origin: str
    folder: Path
    """What a relative path is relative to: the file's folder, or the working directory."""


Layer = dict[Place, Setting]


def search(path: Path | None, environ: Mapping[str, str]) -> tuple[Path | None, list[Path]]:
    """The configuration file to read, if any, and where was looked for it."""
    if path is not None:
        return path, [path]
    homes = []
    if config_home := environ.get("XDG_CONFIG_HOME"):
        homes.append(Path(config_home))
    elif home := environ.get("HOME"):
        homes.append(Path(home, ".config"))
    # The XDG specification tells to ignore a path that is not absolute.
    candidates = [*(home / "voxofs/voxofs.toml" for home in homes if home.is_absolute())]
    candidates.append(Path("/etc/voxofs/voxofs.toml"))
    for candidate in candidates:
        try:
            candidate.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            pass  # it is there but closed to us: reading it will say so
        return candidate, candidates
    return None, candidates


def _working_folder() -> Path:
    try:
        return Path.cwd()
    except OSError:  # it was removed under us
        return Path("/")


def read_toml(path: Path) -> tuple[dict[str, object], os.stat_result]:
    """The file's table and its status. Raises ConfigError with the file's one problem."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read().decode()
        return tomllib.loads(content), status
    except FileNotFoundError:
        raise ConfigError([f"{path}: the configuration file does not exist"]) from None
    except OSError as error:
        raise ConfigError([f"{path}: the configuration file cannot be read: {error.strerror}"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: is not valid TOML: {error}"]) from None
    except (ValueError, RecursionError) as error:
        reason = (
            "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else "a value is far too long"
        )
        raise ConfigError([f"{path}: is not valid TOML: {reason}"]) from None


def file_layer(path: Path, table: Mapping[str, object], names: Names, problems: list[str]) -> Layer:
    layer: Layer = {}
    for section, keys in table.items():
        if section == "tenants":
            layer |= _tenants_of_file(path, keys, problems)
        elif section not in names:
            problems.append(f"{path}: {_unknown_section(section, names)}")
        elif not isinstance(keys, dict):
            problems.append(f"{path}: {section}: must be a section, [{section}], not a value")
        else:
            for key, value in keys.items():
                origin = f"{path}: [{section}] {key}"
                if key in names[section]:
                    layer[section, key] = Setting(value, origin, path.parent.absolute())
                else:
                    problems.append(f"{origin}: unknown key{_nearest_key(section, key, names)}")
    return layer


def _tenants_of_file(path: Path, tenants: object, problems: list[str]) -> Layer:
    layer: Layer = {}
    if not isinstance(tenants, dict):
        problems.append(f"{path}: tenants: must be sections such as [tenants.demo]")
        return layer
    for name, keys in tenants.items():
        if not isinstance(keys, dict):
            problems.append(f"{path}: [tenants] {name}: must be a section, [tenants.NAME], with id and since")
            continue
        layer["tenants", name] = Setting(None, f"{path}: [tenants.{name}]", path.parent)
        for key, value in keys.items():
            origin = f"{path}: [tenants.{name}] {key}"
            if key in TENANT_KEYS:
                layer["tenants", name, key] = Setting(value, origin, path.parent)
            else:
                problems.append(f"{origin}: unknown key{values.did_you_mean(key, TENANT_KEYS)}")
    return layer


def _unknown_section(section: str, names: Names) -> str:
    homes = [home for home, keys in names.items() if section in keys]
    if homes:
        return f"{section}: stands outside of any section; it belongs below [{'] or ['.join(homes)}]"
    return f"[{section}]: unknown section{values.did_you_mean(section, [*names, 'tenants'])}"


def _nearest_key(section: str, key: str, names: Names) -> str:
    """A hint for an unknown key: a near one of its section, else the section that has it."""
    if near := values.did_you_mean(key, names[section]):
        return near
    homes = [home for home, keys in names.items() if key in keys]
    return f", did you mean the one of [{homes[0]}]?" if homes else ""


def environment_layer(
    environ: Mapping[str, str], names: Names, tenants: Collection[str], problems: list[str]
) -> Layer:
    """VOXOFS_TOKEN and VOXOFS_<SECTION>_<KEY>. An empty variable counts as not set.

    A variable of a known section must have a known key. Others are only reported when they look like a
    misspelt one: the prefix is not ours alone.
    """
    layer: Layer = {}
    places = {f"{section}_{key}".upper(): (section, key) for section, keys in names.items() for key in keys}
    places["TOKEN"] = ("api", "token")
    for variable, value in sorted(environ.items()):
        if not variable.startswith(ENVIRONMENT_PREFIX) or not value:
            continue
        word = variable.removeprefix(ENVIRONMENT_PREFIX)
        setting = Setting(value, f"${variable}", _working_folder())
        if word in places:
            layer[places[word]] = setting
        elif match := re.fullmatch(r"TENANTS_(.+)_(ID|SINCE)", word):
            layer["tenants", _tenant_of_variable(match[1], tenants), match[2].lower()] = setting
        else:
            # The prefix alone makes any two of them alike, hence the high cutoff.
            hint = values.did_you_mean(variable, [ENVIRONMENT_PREFIX + place for place in places], 0.85)
            if hint or word.startswith(tuple(f"{section.upper()}_" for section in names)):
                problems.append(f"${variable}: unknown variable{hint}")
    return layer


def _tenant_of_variable(word: str, tenants: Collection[str]) -> str:
    """The tenant a variable means: one of the file's whose name reads so in capitals, else a new one."""
    for name in tenants:
        if re.sub(r"[^A-Z0-9]", "_", name.upper()) == word:
            return name
    return word.lower()


def words_layer(words: Mapping[str, str], names: Names, problems: list[str]) -> Layer:
    """Mount words: section.key, tenants.NAME.key, or a key that only one section has."""
    layer: Layer = {}
    homes: dict[str, list[str]] = {}
    for section, keys in names.items():
        for key in keys:
            homes.setdefault(key, []).append(section)
    for word, value in words.items():
        setting = Setting(value, f"-o {word}", _working_folder())
        section, dot, key = word.partition(".")
        if not dot and len(homes.get(word, ())) == 1:
            layer[homes[word][0], word] = setting
        elif not dot and word in homes:
            choices = " or ".join(f"{home}.{word}" for home in homes[word])
            problems.append(f"-o {word}: is ambiguous; say {choices}")
        elif dot and key in names.get(section, ()):
            layer[section, key] = setting
        elif section == "tenants" and key.rpartition(".")[2] in TENANT_KEYS:
            name, _, tenant_key = key.rpartition(".")
            layer["tenants", name, tenant_key] = setting
        else:
            full = [f"{home}.{known}" for home, keys in names.items() for known in keys]
            short = [known for known, found in homes.items() if len(found) == 1]
            problems.append(f"-o {word}: unknown option{values.did_you_mean(word, full if dot else short)}")
    return layer
