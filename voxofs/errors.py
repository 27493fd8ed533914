"""What can go wrong, each kind with the errno that a program on the mount will see.

One place decides: a domain error declares its errno here, once. The adapter's boundary maps these and
nothing else, so no other module ever chooses an errno. Three rules stand behind the choice:

* a failure is never an end of file and never an absence: only the API's or the storage's own "not
  there" becomes ENOENT, because `rsync --delete` believes it;
* a permission error is not an outage: it keeps its own errno so that a person knows whom to ask;
* every message names the thing, the cause and the next step, and holds no secret: no query string of a
  link, no token, no password.
"""

from __future__ import annotations

import errno as _errno
from collections.abc import Sequence


class VoxofsError(Exception):
    """Something voxofs can explain. The message is for people; `errno` is for programs."""

    errno: int = _errno.EIO
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


class BadAnswer(VoxofsError):
    """The other side answered with something that makes no sense; trying again will not help."""


class Replaced(VoxofsError):
    """The recording's object was replaced after this handle had seen its first version (RFC 9110, 412)."""


class ConfigError(VoxofsError):
    """The configuration cannot be used. Holds every problem found, one line each."""

    errno = _errno.EINVAL

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)
