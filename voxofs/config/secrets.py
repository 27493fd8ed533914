"""Secrets: how they are held so that no log shows them, and how they are read from files.

A `Secret` shows itself as asterisks wherever a value is printed; only `reveal()` gives it away, so that
every place that does can be found by that word. A file that holds one is refused when anybody but its
owner may read it, with the chmod that mends it. systemd's own credential files are the exception: they
are readable by root's group in a directory that only the service sees.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shlex
import stat
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import NoReturn

from voxofs.errors import ConfigError, Unavailable

_MAX_SECRET_BYTES = 64 * 1024
"""More than any server takes in one header, where the token goes; a rule of thumb that stops a wrong file."""

_SECRET_PARAMETERS = re.compile(
    r"((?:X-Amz-)?(?:Signature|Security-Token)|X-Amz-Credential|AWSAccessKeyId|access_?token|token|password)"
    r"""(["']?\s*[=:]\s*["']?)[^\s&"'\\;,)}\]]+""",
    re.IGNORECASE,
)
_USERINFO = re.compile(r"(\bhttps?://)[^\s/@\"']+@", re.IGNORECASE)
"""User and password in front of a host (RFC 3986, 3.2.1), as proxies have them."""
_BEARER = re.compile(r"(Bearer\s+)[^\s\"'\\,;)}\]]+", re.IGNORECASE)
# A JWT matches `\bey[\w-]{6,}\.[\w-]{4,}\.[\w-]*`: its first part begins with "ey", which is `{"` in
# base64url (RFC 7519, 3; RFC 7515, 3.1). Lengths are rules of thumb: shorter ones are words with dots. By the
# plain expression every "ey" in a run of such letters begins a search to its end, and 60 KB of "ey-" take
# ten seconds; so a run is looked at once, from its beginning. (Possessive quantifiers would do it in one
# expression, but Python 3.11.2, which is Debian 12's, matches wrongly with them.)
_RUN_BEFORE_ANOTHER = re.compile(r"(?<![\w-])[\w-]+(?=\.[\w-]{4,}\.)")
_HEAD = re.compile(r"\bey[\w-]{6}")
_REST = re.compile(r"\.[\w-]+\.[\w-]*")
_TOKEN = re.compile(r"[\x21-\x7e]+")
_TOKEN_VARIABLES = ("VOXOFS_TOKEN", "VOXOFS_API_TOKEN")


def redact(line: str) -> str:
    """The line with everything that looks like a secret struck out, in a time linear in its length."""
    line = _BEARER.sub(r"\1********", line)
    line = _SECRET_PARAMETERS.sub(r"\1\2********", line)
    line = _USERINFO.sub(r"\1********@", line)
    return _without_jwts(line)


def _without_jwts(line: str) -> str:
    kept, copied, at = [], 0, 0
    while (run := _RUN_BEFORE_ANOTHER.search(line, at)) is not None:
        at = run.end()
        head, rest = _HEAD.search(run[0]), _REST.match(line, at)
        if head is not None and rest is not None:
            kept += [line[copied : run.start() + head.start()], "********"]
            copied = at = rest.end()
    return "".join([*kept, line[copied:]])


def token(value: object) -> str:
    """An access token without the white space around it. Raises ValueError, which does not echo it.

    It travels in a header, so it is one word of printable ASCII (field values: RFC 9110, 5.5; RFC 6750, 2.1
    allows fewer characters, which is the API's to judge).
    """
    word = value.strip() if isinstance(value, str) else ""
    if not _TOKEN.fullmatch(word):
        raise ValueError("must be one word of printable ASCII (what is there is not shown)")
    return word


def withdraw_tokens(environ: MutableMapping[str, str] = os.environ) -> None:
    """Take tokens out of this process's environment once they have been read.

    Helpers do not inherit them then. /proc/PID/environ shows the memory in which the kernel laid the
    environment at exec (proc_pid_environ(5)), whatever is unset later, so they are overwritten there, too.
    """
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_void_p
    for variable in _TOKEN_VARIABLES:
        value = environ.get(variable)
        if value is None:
            continue
        if environ is os.environ and (address := libc.getenv(variable.encode())):
            ctypes.memset(address, ord("*"), len(ctypes.string_at(address)))
        del environ[variable]


class Secret:
    """A text that must not be shown."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself, for the one place that sends it."""
        return self._value

    def __repr__(self) -> str:
        return "********"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not to be serialised")


def mode_problem(path: Path, status: os.stat_result, environ: Mapping[str, str] | None = None) -> str | None:
    """Why a file that holds a secret must be refused for its permissions, or None.

    A file in $CREDENTIALS_DIRECTORY that belongs to root may be readable by its group, as systemd makes
    it (systemd.exec(5), LoadCredential=).
    """
    mode = stat.S_IMODE(status.st_mode)
    directory = (os.environ if environ is None else environ).get("CREDENTIALS_DIRECTORY")
    granted = bool(directory) and path.parent == Path(directory or "") and status.st_uid == 0
    if not mode & (0o037 if granted else 0o077):
        return None
    who = "everybody on this machine" if mode & 0o007 else "its group"
    return (
        f"can be used by {who} (mode {mode:04o}) and holds a secret; mend it with: "
        f"chmod 600 {shlex.quote(str(path))}"
    )


def read_secret_file(path: Path, environ: Mapping[str, str] | None = None) -> str:
    """The one line that the file holds, without its line end.

    Raises ConfigError with one problem that names the file: missing, unreadable, not a regular file, empty,
    more than one line, not UTF-8, or readable by others. Raises Unavailable where there is no
    descriptor left to read it with: that says nothing of the file. `environ` (os.environ when not
    given) tells where systemd put its credentials. Blocks for a disk read; the file is small.
    """
    try:
        # Not blocking, so that a named pipe is refused instead of waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError([f"{path}: is not a regular file; put the secret into one"])
            problem = mode_problem(path, status, environ)
            if problem is not None:
                raise ConfigError([f"{path}: {problem}"])
            content = os.read(descriptor, _MAX_SECRET_BYTES + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise ConfigError([f"{path}: the file does not exist; create it, readable by you alone"]) from None
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            raise Unavailable(
                f"{path}: cannot be read now: {error.strerror}; raise the limit of open files (ulimit -n)"
            ) from None
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise ConfigError([f"{path}: the file cannot be read: {reason}"]) from None
    return _one_line(path, content)


def read_token_file(path: Path, environ: Mapping[str, str] | None = None) -> str:
    """The access token that the file holds, see `token`. Raises ConfigError as `read_secret_file` does, and
    where what is there cannot be sent."""
    try:
        return token(read_secret_file(path, environ))
    except ValueError as error:
        raise ConfigError([f"{path}: {error}"]) from None


def _one_line(path: Path, content: bytes) -> str:
    if len(content) > _MAX_SECRET_BYTES:
        raise ConfigError([f"{path}: is too long for a secret (over {_MAX_SECRET_BYTES} bytes)"])
    try:
        line = content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: is not UTF-8 text"]) from None
    if not line.strip():
        raise ConfigError([f"{path}: the file is empty; put the secret into it"])
    if any(mark in line for mark in "\r\n\0"):
        raise ConfigError([f"{path}: must hold one line, the secret alone"])
    return line
