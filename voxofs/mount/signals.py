"""Whether whoever waits for an answer is being killed.

A program that waits for FUSE in the kernel cannot be killed: the signal stays pending until the answer comes,
and is seen in `/proc/TID/status` (proc(5)) meanwhile. Fatal is SIGKILL, and every other signal that ends a
process by default and is neither blocked, ignored nor caught. A signal that the program catches is none: it
means to go on, and few programs expect EINTR from a file.

Where that cannot be seen nobody is dying: a caller in a pid namespace that is not ours has the number 0, and
`hidepid` hides other users' processes.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

_HARMLESS = frozenset(
    {
        signal.SIGCHLD,
        signal.SIGCONT,
        signal.SIGURG,
        signal.SIGWINCH,
        signal.SIGSTOP,
        signal.SIGTSTP,
        signal.SIGTTIN,
        signal.SIGTTOU,
    }
)
"""What does not end a process by default (signal(7))."""


def _mask(*numbers: int) -> int:
    """Signals as proc(5) writes them: signal 1 is the lowest bit."""
    return sum(1 << number - 1 for number in numbers)


_KILL = _mask(signal.SIGKILL)
_FATAL = _mask(*range(1, 65)) & ~_mask(*_HARMLESS)
_PROC = Path("/proc")


class Asker:
    """Who waits for an answer: a thread or, where `any_thread`, some thread of its process."""

    __slots__ = ("_any_thread", "_process", "_tid")

    def __init__(self, tid: int, *, any_thread: bool = False) -> None:
        self._tid = tid
        self._any_thread = any_thread
        self._process: str | None = None

    def is_dying(self, processes: Path = _PROC) -> bool:
        """Whether it has a fatal signal pending, as far as that can be seen. `processes`: where /proc is."""
        if self._tid == 0:
            return False
        facts = _status(processes / str(self._tid))
        if self._any_thread and self._process is None and "Tgid" in facts:
            self._process = facts["Tgid"]
        if _fatal(facts):
            return True
        if self._process is None or facts.get("Threads") == "1":
            return False
        folder = processes / self._process / "task"
        try:
            return any(_fatal(_status(folder / thread)) for thread in os.listdir(folder))
        except OSError:
            return False


def sees_callers(processes: Path = _PROC) -> bool:
    """Whether numbers of processes mean the same in /proc as they do to the kernel that answers us."""
    try:
        return os.readlink(processes / "self") == str(os.getpid())
    except OSError:
        return False


def _status(thread: Path) -> dict[str, str]:
    """What proc(5) says of a thread; nothing where it is gone or hidden."""
    try:
        lines = (thread / "status").read_bytes().decode("utf-8", "replace").split("\n")
    except OSError:
        return {}
    return {key: value.strip() for key, colon, value in (line.partition(":") for line in lines) if colon}


def _fatal(facts: dict[str, str]) -> bool:
    if "SigPnd" not in facts or facts.get("State", "Z")[:1] in "ZX":
        return False
    pending, all_pending, blocked, ignored, caught = (
        int(facts[name], 16) for name in ("SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt")
    )
    pending |= all_pending
    return bool(pending & _KILL or pending & _FATAL & ~(blocked | ignored | caught))
