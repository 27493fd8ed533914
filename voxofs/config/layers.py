"""Where settings come from: the file, the environment, and mount words, each as one layer.

A layer maps a place, ("cache", "memory") or ("tenants", "demo", "id"), to a setting: the raw value and
the words by which a person finds it again. Values are not looked at here; what is checked is that every
name is known. The names of unknown things are echoed, their values never: a misspelt `tokn` is a token.
"""

from __future__ import annotations

import os
import re
import select
import stat
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from voxofs.clock import Clock
from voxofs.errors import ConfigError

from . import values

Place = tuple[str, ...]
Names = Mapping[str, Collection[str]]
"""Every section but `tenants`, with its keys."""
TENANT_KEYS = ("id", "since")
ENVIRONMENT_PREFIX = "VOXOFS_"
_MAX_BYTES = 2**20
"""Of a configuration file. A rule of thumb: ten thousand tenants fit, and a wrong file is noticed."""
_PIPE_PATIENCE_S = 10.0
"""How long a pipe may take to bring it. A rule of thumb: what decrypts it may have to ask somebody."""
_ALIKE_VARIABLES = 0.85
"""difflib's ratio from which a variable counts as misspelt. A rule of thumb: the prefix alone makes any two
of them alike, and VOXOFS_TOKN is to be found while VOXOFS_DEBUG is left alone."""


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
        content, status = _content(path)
        return tomllib.loads(content.decode()), status
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


def _content(path: Path) -> tuple[bytes, os.stat_result]:
    """What a file holds, or what a pipe brings (`--config <(sops decrypt …)`): bounded in size and in time,
    so that a named pipe that nobody writes to is told of and not waited for. Raises OSError, ConfigError."""
    # Not blocking: opening a named pipe would wait for its writer (fifo(7)).
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        content, ends_s = bytearray(), Clock().monotonic_s() + _PIPE_PATIENCE_S
        while len(content) <= _MAX_BYTES:
            if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
                _wait_for_bytes(path, descriptor, ends_s - Clock().monotonic_s())
            piece = os.read(descriptor, _MAX_BYTES + 1)
            content += piece
            if not piece:
                return bytes(content), status
    finally:
        os.close(descriptor)
    raise ConfigError([f"{path}: is too long for a configuration file (over {_MAX_BYTES} bytes)"])


def _wait_for_bytes(path: Path, descriptor: int, left_s: float) -> None:
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    if not waiting.poll(max(0.0, left_s) * 1000):
        raise ConfigError(
            [f"{path}: this pipe brought nothing within {_PIPE_PATIENCE_S:g} s: is anybody writing to it?"]
        )


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
            known = [ENVIRONMENT_PREFIX + place for place in places]
            hint = values.did_you_mean(variable, known, _ALIKE_VARIABLES)
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


def rename(layer: Layer, aliases: Mapping[Place, Place], problems: list[str]) -> None:
    """Settings of a layer by their present names. Both names in one layer are a contradiction."""
    for former, present in aliases.items():
        setting = layer.pop(former, None)
        if setting is not None and present in layer:
            name = ".".join(present)
            problems.append(f"{setting.origin}: is a former name of {name}, which is set, too; keep {name}")
        elif setting is not None:
            layer[present] = setting
