"""The process around a mount: in the foreground, or as a daemon that reports back once the mount answers.

    parent ── preflight ── fork ─────────────── waits on a pipe ── prints the reason, or returns 0
                             └─ child: setsid, log, event loop, mount ── answers: "0" into the pipe, detaches

The fork comes before trio, httpx and pyfuse3 are imported, so no thread of theirs is lost in it. Whatever the
machine or the service does wrong before the mount answers makes a mount that failed, `Exit.MOUNT_FAILED`;
afterwards an error has the exit code of its own.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from voxofs.config.secrets import redact
from voxofs.config.settings import Config
from voxofs.errors import ConfigError, Exit, VoxofsError
from voxofs.observe import logs

from . import mount_table as mounts
from . import preflight
from .preflight import Host
from .systemd import Notifier
from .terminal import say

if TYPE_CHECKING:
    from .supervisor import Served, Supervisor

_log = logging.getLogger(__name__)

_START_TIMEOUT_S = 90.0
"""How long the parent waits for the mount to answer: as long as systemd waits for a unit's start
(DefaultTimeoutStartSec, systemd-system.conf(5)), so that both tell the same story."""
_PIPE_BYTES = 65_536
"""What one read may take of the child's report, a line: the capacity of a pipe (pipe(7))."""

MakeSession = Callable[[Config], "Served"]


class Outcome(NamedTuple):
    """An exit code and the reason for people; with OK, what they should know all the same."""

    code: Exit
    reason: str = ""


def make_session(config: Config) -> Served:
    """The mount itself. Only here, behind the fork, are trio, httpx and pyfuse3 imported."""
    from voxofs.clock import Clock
    from voxofs.mount.session import Session

    return Session(config, Clock())


def run_foreground(
    config: Config,
    mountpoint: str | os.PathLike[str],
    *,
    look_around: Callable[[], None] | None = None,
    make: MakeSession = make_session,
    host: Host | None = None,
) -> Exit:
    """Mount and serve until unmounted; returns the exit code, the reason for a failure is on stderr.

    `look_around` runs in a thread once the mount answers. `make` and `host` are for tests.
    """
    try:
        logs.set_up(config.log, background=False, environ=os.environ)
        path = _prepare(config, mountpoint, host or Host(), _log.warning)
    except (VoxofsError, OSError) as error:
        return _said(_outcome(error, answered=False))
    return _said(_serve(config, path, None, look_around, make))


def run_background(
    config: Config,
    mountpoint: str | os.PathLike[str],
    *,
    make: MakeSession = make_session,
    host: Host | None = None,
) -> Exit:
    """Mount in a child process; returns OK once the mount answers, else the code, the reason on stderr."""
    try:
        path = _prepare(config, mountpoint, host or Host(), say)
    except (VoxofsError, OSError) as error:
        return _said(_outcome(error, answered=False))
    if config.log.file is None and not logs.SYSLOG_SOCKET.exists():
        say(f"this machine has no {logs.SYSLOG_SOCKET}, so no log is kept; set [log] file to keep one")
    receiver, sender = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(receiver)
        _become_daemon(config, path, sender, make)  # does not return
    os.close(sender)
    try:
        return _said(_wait_for_child(child, receiver, _START_TIMEOUT_S))
    except KeyboardInterrupt:
        os.kill(child, signal.SIGTERM)
        return _said(Outcome(Exit.MOUNT_FAILED, f"{path}: interrupted before the mount answered"))
    finally:
        os.close(receiver)


def _prepare(
    config: Config, mountpoint: str | os.PathLike[str], host: Host, tell: Callable[[str], None]
) -> str:
    path, notes = preflight.prepare(
        mountpoint, allow_other=config.mount.allow_other, host=host, needed=preflight.files_of(config)
    )
    for note in notes:
        tell(note)
    return path


def _become_daemon(config: Config, path: str, sender: int, make: MakeSession) -> None:
    """The child's whole life. Nothing may escape from here into the parent's code."""
    outcome = Outcome(Exit.SYSTEM, "the daemon ended in an unexpected way")
    try:
        os.setsid()
        os.chdir("/")
        os.umask(0o077)
        _detach_from_caller(sender)
        logs.set_up(config.log, background=True, environ=os.environ)
        outcome = _serve(config, path, lambda word: _report(sender, Outcome(Exit.OK, word)), None, make)
        if outcome.code:
            for line in outcome.reason.split("\n"):  # a reason may have several
                _log.error("%s", line)
        _report(sender, outcome)  # when it answered before, the parent is gone and this goes nowhere
        logging.shutdown()
    except BaseException as error:  # a traceback must not reach the caller's terminal
        outcome = _outcome(error, answered=False)
        _report(sender, outcome)
    finally:
        os._exit(outcome.code)


def _detach_from_caller(sender: int) -> None:
    """Keep none of the caller's files open: somebody may wait for the end of a pipe."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.closerange(3, sender)
    os.closerange(sender + 1, os.sysconf("SC_OPEN_MAX"))


def _report(sender: int, outcome: Outcome) -> None:
    # Nobody waits any more where the parent was interrupted or already has its answer (EPIPE).
    with contextlib.suppress(OSError):
        os.write(sender, json.dumps(outcome).encode() + b"\n")


def _wait_for_child(child: int, receiver: int, timeout_s: float) -> Outcome:
    """What the child reports, or how it died without a word."""
    message = b""
    while not message.endswith(b"\n"):
        readable, _, _ = select.select([receiver], [], [], timeout_s)
        if not readable:
            os.kill(child, signal.SIGTERM)
            return Outcome(Exit.MOUNT_FAILED, f"the mount did not answer within {timeout_s:.0f} s")
        part = os.read(receiver, _PIPE_BYTES)
        if not part:
            _, status = os.waitpid(child, 0)
            return Outcome(Exit.MOUNT_FAILED, f"the daemon died while it started ({_death(status)})")
        message += part
    code, reason = json.loads(message)
    return Outcome(Exit(code), reason)


def _death(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"signal {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exit code {os.waitstatus_to_exitcode(status)}"


def _serve(
    config: Config,
    path: str,
    announce: Callable[[str], None] | None,
    look_around: Callable[[], None] | None,
    make: MakeSession,
) -> Outcome:
    """Make the mount and run its event loop; every failure becomes an outcome."""
    import trio

    from .supervisor import Supervisor, cause_of

    supervisors: list[Supervisor] = []

    async def run() -> None:
        supervisor = Supervisor(
            make(config),
            path,
            notifier=Notifier(os.environ),
            announce=announce,
            look_around=look_around,
        )
        supervisors.append(supervisor)
        await supervisor.run()

    try:
        trio.run(run)
    except Exception as error:  # the boundary: whatever it is becomes one line and an exit code
        return _outcome(cause_of(error), answered=any(supervisor.ready for supervisor in supervisors))
    finally:
        _leave_nothing(path)
    return Outcome(Exit.OK)


def _leave_nothing(path: str) -> None:
    """Take away what libfuse may have left: it unmounts by fusermount3 alone, and does not tell how that
    ended. The kernel's connection is closed by now, so a mount of ours that is still there is dead."""
    try:
        mounts.clear_away(path)
    except VoxofsError as error:
        _log.error("%s", error)


def _outcome(error: BaseException, *, answered: bool) -> Outcome:
    """The exit code and the line that a failure deserves."""
    if isinstance(error, ConfigError):  # names keys such as `token:`, and `redact` would strike out the cause
        return Outcome(error.exit_code, str(error))
    if isinstance(error, VoxofsError | OSError) and not answered:
        return Outcome(Exit.MOUNT_FAILED, redact(str(error)))
    if isinstance(error, VoxofsError):
        return Outcome(error.exit_code, redact(str(error)))
    return Outcome(Exit.SYSTEM, unexpected(error))


def unexpected(error: BaseException) -> str:
    """One line for a failure that nobody foresaw; its traceback goes to the log when VOXOFS_DEBUG=1."""
    if logs.debugging():
        _log.error("this ended it", exc_info=error)
    return redact(
        f"unexpected failure: {type(error).__name__}: {error} (this is a defect of voxofs; "
        f"run it again with VOXOFS_DEBUG=1 and --foreground, and report what it prints)"
    )


def _said(outcome: Outcome) -> Exit:
    say(outcome.reason)
    return outcome.code
