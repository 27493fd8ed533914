"""What can go wrong, each kind with the errno that a program on the mount sees and a script's exit code.

One place decides: a domain error declares both here, once. The adapter's boundary and the command line's
map these and nothing else, so no other module ever chooses one. Three rules stand behind the errnos:

* a failure is never an end of file and never an absence: only the API's or the storage's own "not
  there" becomes ENOENT, because `rsync --delete` believes it;
* a permission error is not an outage: it keeps its own errno so that a person knows whom to ask;
* every message names the thing, the cause and the next step, and holds no secret: no query string of a
  link, no token, no password.
"""

from __future__ import annotations

import errno as _errno
from collections.abc import Sequence
from enum import IntEnum


class Exit(IntEnum):
    """What a command ends with: a contract with scripts and systemd. Those of mount(8), and 3, which it
    leaves free."""

    OK = 0
    USAGE = 1
    """The command line or the configuration makes no sense."""
    SYSTEM = 2
    MISSING = 3
    """Done but for what could not be had; it was named."""
    MOUNT_FAILED = 32


class VoxofsError(Exception):
    """Something voxofs can explain. The message is for people, `errno` is for programs on the mount,
    `exit_code` for who ran the command."""

    errno: int = _errno.EIO
    exit_code: Exit = Exit.SYSTEM
    status: int | None = None
    """The HTTP status that caused it, where one did."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class NotFound(VoxofsError):
    """The path, the recording or its audio does not exist (the calendar, a report or a 404 says so)."""

    errno = _errno.ENOENT


class AccessDenied(VoxofsError):
    """The API or the storage refuses this user: 401 after the token was renewed, or 403."""

    errno = _errno.EACCES


class DeadlineExceeded(VoxofsError):
    """An operation did not finish within its deadline."""

    errno = _errno.ETIMEDOUT


class Unavailable(VoxofsError):
    """The other side cannot be reached or answers with a passing failure; trying again later may help."""

    retry_after_s: float | None = None
    """What the server asked for in `Retry-After` (RFC 9110, 10.2.3), in seconds."""

    def __init__(
        self, message: str, *, status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, status=status)
        self.retry_after_s = retry_after_s
        self.exhausted = False
        """It has been tried as often as makes sense: nobody further up need try again."""


class Unanswered(Unavailable):
    """The other side can be reached, or so it seems, and says nothing."""

    errno = _errno.ETIMEDOUT


class BadAnswer(VoxofsError):
    """The other side answered with something that makes no sense; trying again will not help."""


class Replaced(VoxofsError):
    """The recording's object was replaced after this handle had seen its first version (RFC 9110, 412)."""


class AuditFailed(VoxofsError):
    """A recording may not be opened, because that could not be put on record."""

    def __init__(self, message: str, number: int | None = None) -> None:
        super().__init__(message)
        if number == _errno.ENOSPC:  # what a program says of a full disk tells people more than EIO
            self.errno = number


class ConfigError(VoxofsError):
    """The configuration cannot be used. Holds every problem found, one line each."""

    errno = _errno.EINVAL
    exit_code = Exit.USAGE

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class MountFailed(VoxofsError):
    """A mount cannot be made or does not answer, or it cannot be taken away."""

    exit_code = Exit.MOUNT_FAILED
