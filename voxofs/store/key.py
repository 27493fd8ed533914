"""The disk key: a file with 32 bytes in base64 that its owner alone may read, or bytes in memory.

Who has the key reads everything that lies in the directory; who loses it loses nothing that the source does
not still have. Without a file the key lives in memory, and what an earlier process left is dropped at the
next start.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from pathlib import Path

from voxofs.config.secrets import read_secret_file
from voxofs.errors import ConfigError

from .seal import KEY_BYTES


def key_in_memory() -> bytes:
    """A key that ends with this process."""
    return os.urandom(KEY_BYTES)


def make_key_file(path: Path) -> None:
    """Make a key and put it into a new file of mode 0600. Raises ConfigError where that cannot be done; a
    file that exists is never overwritten, because what was sealed under its key would be lost."""
    line = base64.b64encode(os.urandom(KEY_BYTES)) + b"\n"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise ConfigError(
            [f"{path}: exists already, and a key is never overwritten; use it, or remove it first"]
        ) from None
    except OSError as error:
        raise ConfigError([f"{path}: the key cannot be written: {error.strerror}"]) from None
    try:
        os.fchmod(descriptor, 0o600)  # a umask may have taken even the owner's rights
        written = os.write(descriptor, line)
        os.fsync(descriptor)
    except OSError as error:
        os.unlink(path)
        raise ConfigError([f"{path}: the key cannot be written: {error.strerror}"]) from None
    finally:
        os.close(descriptor)
    if written != len(line):
        os.unlink(path)
        raise ConfigError([f"{path}: the key cannot be written: no room on that disk"])


def read_key_file(path: Path, environ: Mapping[str, str] | None = None) -> bytes:
    """The key in a file. Raises ConfigError, which never shows what the file holds: missing, readable by
    others (systemd's credentials excepted, see `read_secret_file`), or not 32 bytes in base64."""
    line = read_secret_file(path, environ)
    try:
        key = base64.b64decode(line.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(
            [f"{path}: does not hold 32 bytes in base64; make a key with: voxofs cache key {path}"]
        )
    return key
