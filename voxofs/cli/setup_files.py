"""What `voxofs setup` writes, and where: a configuration, a secret beside it, the folders that they need.

Nothing that exists is touched before somebody has said so; a file is there whole or not at all, and closed to
others from its first byte on if it holds a secret.
"""

from __future__ import annotations

import json
import os
import re
import stat
import tempfile
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import NamedTuple

from voxofs.config.sections import ApiSection
from voxofs.errors import ConfigError
from voxofs.store.key import make_key_file, read_key_file

from .setup_account import Credential, Service

SECRET_MODE, OPEN_MODE = 0o600, 0o644
SYSTEM_CONFIG = Path("/etc/voxofs/voxofs.toml")


class Places(NamedTuple):
    """Where things are by default."""

    config: Path
    mountpoint: Path
    cache: Path
    folder_mode: int
    """Of folders that are made: root's may be entered by others, a user's are the user's alone."""
    config_mode: int
    is_usual: bool
    """Whether the configuration lies where it is looked for."""

    def secret(self, kind: str) -> Path:
        """Beside the configuration, and named after it where that is not the usual one."""
        usual = self.config.name == SYSTEM_CONFIG.name
        return self.config.with_name(kind if usual else f"{self.config.stem}.{kind}")


def places(config: Path | None, environ: Mapping[str, str], *, is_root: bool) -> Places:
    """The machine's for root, a user's own otherwise (XDG Base Directory Specification). Raises ConfigError
    where no home is known."""
    if is_root:
        usual, mountpoint, cache = SYSTEM_CONFIG, Path("/srv/calls"), Path("/var/cache/voxofs")
        folder_mode, config_mode = 0o755, OPEN_MODE
    else:
        home = environ.get("HOME", "")
        if not os.path.isabs(home):
            raise ConfigError(
                ["$HOME is not set, so it is not known where your configuration belongs: use --config"]
            )
        config_home, cache_home = (
            Path(value if os.path.isabs(value := environ.get(name, "")) else Path(home, below))
            for name, below in (("XDG_CONFIG_HOME", ".config"), ("XDG_CACHE_HOME", ".cache"))
        )
        usual, mountpoint, cache = (
            config_home / "voxofs/voxofs.toml",
            Path(home, "calls"),
            cache_home / "voxofs",
        )
        folder_mode, config_mode = 0o700, SECRET_MODE
    file = _absolute(config or usual)
    return Places(file, mountpoint, cache, folder_mode, config_mode, is_usual=file == usual)


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path.expanduser()))


class WantedDisk(NamedTuple):
    """The disk tier that is wanted."""

    path: Path
    size: str


class Wanted(NamedTuple):
    """Every answer."""

    service: Service
    credential: Credential
    tenants: Mapping[str, int]
    since: date
    mountpoint: Path
    disk: WantedDisk | None


class Planned(NamedTuple):
    """A file that is to be written."""

    path: Path
    what: str
    content: bytes
    mode: int

    @property
    def is_there(self) -> bool:
        """Whether something has that name already."""
        return os.path.lexists(self.path)

    @property
    def is_done(self) -> bool:
        """Whether it is there already as it would be written, and closed as it should be."""
        try:
            status = self.path.lstat()
            closed = stat.S_ISREG(status.st_mode) and not status.st_mode & 0o7777 & ~self.mode
            return closed and self.path.read_bytes() == self.content
        except OSError:
            return False


def plan(at: Places, wanted: Wanted) -> list[Planned]:
    """The files, the configuration last: whoever finds it finds what it names."""
    kind, name = ("token", "the token") if wanted.credential.email is None else ("password", "the password")
    secret = (wanted.credential.secret.reveal() + "\n").encode()
    config = configuration(at, wanted).encode()
    proxy = wanted.service.proxies.of_url(wanted.service.base_url)
    mode = SECRET_MODE if proxy is not None and proxy.has_password else at.config_mode
    return [
        Planned(at.secret(kind), name, secret, SECRET_MODE),
        Planned(at.config, "the configuration", config, mode),
    ]


def configuration(at: Places, wanted: Wanted) -> str:
    """The text of the configuration file."""
    default = ApiSection()
    lines = ["# Made by `voxofs setup`. Every setting there is: man voxofs.toml", "", "[api]"]
    if wanted.service.base_url != default.base_url:
        lines.append(f"base_url = {quoted(wanted.service.base_url)}")
    if (proxy := wanted.service.proxies.of_url(wanted.service.base_url)) is not None:
        lines.append(f"proxy = {quoted(proxy.url.reveal())}")
    if wanted.service.ca_file is not None:
        lines.append(f"ca_file = {quoted(wanted.service.ca_file)}")
    if wanted.credential.email is None:
        lines.append(f"token_file = {quoted(at.secret('token'))}")
    else:
        lines.append(f"email = {quoted(wanted.credential.email)}")
        lines.append(f"password_file = {quoted(at.secret('password'))}")
    if wanted.disk is not None:
        lines += [
            "",
            "[disk]",
            f"path = {quoted(wanted.disk.path)}",
            f"key_file = {quoted(at.secret('disk.key'))}",
        ]
        lines.append(f"size = {quoted(wanted.disk.size)}")
    for name, number in wanted.tenants.items():
        key = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else quoted(name)
        lines += ["", f"[tenants.{key}]", f"id = {number}", f"since = {wanted.since.isoformat()}"]
    return "\n".join(lines) + "\n"


def quoted(text: str | Path) -> str:
    """A basic string of TOML 1.0: JSON's but for DEL, which no name or path here may hold."""
    return json.dumps(str(text), ensure_ascii=False)


def write(at: Places, wanted: Wanted, planned: list[Planned]) -> None:
    """Make the folders, then the files; what is there is replaced. Raises ConfigError."""
    make_folder(wanted.mountpoint, at.folder_mode)
    make_folder(at.config.parent, at.folder_mode)
    status = at.config.parent.stat()
    if status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX:
        raise ConfigError(
            [f"{at.config.parent}: others may write there, so no secret is safe in it; chmod go-w it first"]
        )
    if wanted.disk is not None:
        make_folder(wanted.disk.path, 0o700)
        key = at.secret("disk.key")
        if os.path.lexists(key):
            read_key_file(key)  # never overwritten: what lies sealed under it would be lost
        else:
            make_key_file(key)
    for each in planned:
        if not each.is_done:
            _replace(each)


def make_folder(path: Path, mode: int) -> None:
    """The folder and those above it that are missing, whatever the umask. Raises ConfigError."""
    missing = [each for each in (path, *path.parents) if not os.path.lexists(each)]
    for each in reversed(missing):
        try:
            each.mkdir()
            each.chmod(mode)
        except OSError as error:
            raise ConfigError([f"{each}: the folder cannot be made: {error.strerror}"]) from None


def _replace(planned: Planned) -> None:
    """By way of a file beside it, so that a full disk leaves what there was."""
    path = planned.path
    try:
        descriptor, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    except OSError as error:
        raise ConfigError([f"{path}: cannot be written: {error.strerror}"]) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(planned.content)
            file.flush()
            os.fchmod(file.fileno(), planned.mode)
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        os.unlink(beside)
        raise ConfigError([f"{path}: cannot be written: {error.strerror}"]) from None
