"""The audit: one JSON line for each recording that was opened, when it is closed.

    handle, export → note() → a queue → a thread → file or journal

Nobody waits for the disk: lines are queued, and a thread writes them. What a full or hanging disk does not
take is kept and tried again each second; where the queue is full lines are lost, and counted. Where the audit
is `required`, nothing is opened meanwhile, so that nothing is lost: room is looked for ahead.

Everything a stranger may have chosen (names of programs, users, recordings) is JSON in ASCII: a line is one
line, and no terminal obeys it.
"""

from __future__ import annotations

import json
import logging
import os
import pwd
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from voxofs.clock import Clock
from voxofs.config.sections import AuditSection
from voxofs.errors import AuditFailed
from voxofs.model import Caller

from .audit_target import FileTarget, JournalTarget, Target

log = logging.getLogger(__name__)

_MOST_WAITING = 10_000
"""Lines that wait for a disk: 3 MB, and what a busy minute of an archive's `cp -r` opens. A rule of thumb."""
_AGAIN_S = 1.0
"""How often a disk that takes nothing is tried again, and room is looked for. A rule of thumb: who frees room
sees it at once, and a full disk is not kept busy."""
_HANGS_S = 5.0
"""How long a disk may take for a line before it counts as hanging. A rule of thumb: disks that spin up need
less."""
_ENDS_S = 2.0
"""How long the end of a mount waits for the last lines. A rule of thumb."""


@dataclass(frozen=True)
class Opened:
    """A recording that was opened, and what became of it."""

    opened_at_s: float
    """Wall clock, seconds since the epoch."""
    path: str
    caller: Caller
    number_bytes: int
    """Bytes that were handed out, those that were asked for twice counted twice."""
    read: str
    """`whole`, `part` or `none` of it."""


def own_caller() -> Caller:
    """This very process, for front ends that are part of a program."""
    return Caller(os.getuid(), os.getgid(), os.getpid(), os.path.basename(sys.argv[0]) or "python")


class Audit:
    """The audit of one core. `note` and `check` belong to the event loop, the rest to anybody."""

    def __init__(self, target: Target, clock: Clock, *, required: bool, where: str) -> None:
        self._target = target
        self._clock = clock
        self.required = required
        self._where = where
        self._queue: queue.SimpleQueue[Opened | None] = queue.SimpleQueue()
        self._pending: deque[bytes] = deque()
        self._reopen = self._ending = False
        self._trouble: OSError | None = None
        self._busy_since_s: float | None = None
        self._noted = self._written = self._lost = 0
        self._users: dict[int, str] = {}
        self._looked = threading.Event()
        self._thread = threading.Thread(target=self._live, name="voxofs audit", daemon=True)
        self._thread.start()

    def note(self, opened: Opened) -> None:
        """Write a line, soon."""
        if self._waiting() >= _MOST_WAITING:
            self._lost += 1
        else:
            self._noted += 1
            self._queue.put(opened)

    def check(self) -> None:
        """Raises `AuditFailed` where the audit is required and a line could not be written now."""
        if self.required and (reason := self._reason()) is not None:
            trouble = self._trouble
            raise AuditFailed(
                f"nothing can be opened: the audit is required, and {self._where} takes no line ({reason}); "
                "mend that, and try again",
                None if trouble is None else trouble.errno,
            )

    def look_again(self) -> None:
        """Open the file anew (SIGHUP)."""
        self._reopen = True
        self._queue.put(None)

    def facts(self) -> dict[str, Any]:
        """For the status."""
        reason = self._reason()
        return {
            "to": self._where,
            "required": self.required,
            "state": "working" if reason is None else "failing",
            "reason": reason,
            "written": self._written,
            "waiting": self._waiting(),
            "lost": self._lost,
        }

    def begin(self) -> None:
        """Wait, for a moment at most, until it is known whether a line could be written. Blocks."""
        self._looked.wait(_ENDS_S)

    def close(self) -> None:
        """Write what is left, for as long as that makes sense. Blocks."""
        self._ending = True
        self._queue.put(None)
        self._thread.join(_ENDS_S)
        if (left := self._waiting()) > 0:
            log.error("the audit lacks %d lines: %s did not take them", left, self._where)

    def _waiting(self) -> int:
        return self._noted - self._written  # also what is on its way from the queue

    def _reason(self) -> str | None:
        if self._trouble is not None:
            return self._trouble.strerror or str(self._trouble)
        since_s = self._busy_since_s
        if since_s is not None and self._clock.monotonic_s() - since_s > _HANGS_S:
            return "it does not answer"
        return None

    # In the thread.

    def _live(self) -> None:
        while not self._ending or (self._pending and self._trouble is None):
            self._attempt(self._work)
            self._looked.set()
            self._take(wait=not self._ending)
        self._attempt(self._work)
        self._attempt(self._target.close)

    def _take(self, *, wait: bool) -> None:
        """Lines of what has been noted."""
        looks_ahead = self.required or self._trouble is not None
        try:
            opened = self._queue.get(wait, _AGAIN_S if looks_ahead else None)
            while True:
                if opened is not None:
                    self._pending.append(self._line(opened))
                opened = self._queue.get_nowait()
        except queue.Empty:
            return

    def _work(self) -> None:
        if self._reopen:
            self._reopen = False
            self._target.reopen()
        if self.required or not self._written:
            self._target.check()
        while self._pending:
            self._target.write(self._pending[0])
            self._pending.popleft()
            self._written += 1

    def _attempt(self, work: Callable[[], None]) -> None:
        """Work that may fail, and that is told of once."""
        self._busy_since_s = self._clock.monotonic_s()
        try:
            work()
        except OSError as error:
            if self._trouble is None:
                held = "nothing can be opened meanwhile" if self.required else "the mount goes on"
                log.error("the audit cannot be written to %s: %s; %s", self._where, error.strerror, held)
            self._trouble = error
        else:
            if self._trouble is not None:
                log.warning("the audit is written to %s again; %d lines are lost", self._where, self._lost)
            self._trouble = None
        finally:
            self._busy_since_s = None

    def _line(self, opened: Opened) -> bytes:
        caller = opened.caller
        entry = {
            "time": datetime.fromtimestamp(opened.opened_at_s, UTC).isoformat(timespec="milliseconds"),
            "tenant": opened.path.split("/", 2)[1],
            "path": opened.path,
            "uid": caller.uid,
            "user": self._user(caller.uid),
            "pid": caller.pid,
            "program": caller.program,
            "bytes": opened.number_bytes,
            "read": opened.read,
        }
        return json.dumps(entry).encode() + b"\n"

    def _user(self, uid: int) -> str | None:
        """The user's name, which may come from a directory far away: asked for once."""
        if uid not in self._users:
            try:
                self._users[uid] = pwd.getpwuid(uid).pw_name
            except KeyError:
                return None
        return self._users[uid]


def audit_of(section: AuditSection, clock: Clock) -> Audit | None:
    """The audit that is configured, begun; None where none is."""
    if section.file is not None:
        path = section.file.absolute()
        return Audit(FileTarget(path), clock, required=section.required, where=str(path))
    if section.journal:
        return Audit(JournalTarget(), clock, required=section.required, where="the journal")
    return None
