"""Who is asking: people and their tools, or a crawler that nobody invited.

Indexers and thumbnailers open everything that appears under a mount point, and would download years of
calls. They are known by name, or by what they do: one process that has looked at the headers of hundreds of
recordings in several folders and read none of them. Who was known by what it did and now reads recordings
through is a crawler no more. They get what they ask for, after everybody else, and
nothing is fetched ahead for them; the log says once how to keep each of them out.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

from voxofs.model import Caller

log = logging.getLogger(__name__)

_NAMES = (
    "updatedb",
    "mlocate",
    "plocate",
    "tracker-miner",
    "tracker-extract",
    "localsearch",
    "baloo_file",
    "tumblerd",
    "thumbnail",
    "ffmpegthumb",
    "totem-video-th",
    "gnome-desktop-t",
    "recollindex",
    "clamscan",
    "clamd",
    "mdworker",
)
_GNOME_REMEDY = "gsettings set org.freedesktop.Tracker3.Miner.Files ignored-directories \"['MOUNTPOINT']\""
_REMEDIES = {
    "updatedb": "add fuse.voxofs to PRUNEFS in /etc/updatedb.conf",
    "tracker": _GNOME_REMEDY,
    "localsearch": _GNOME_REMEDY,
    "baloo": "balooctl6 config add excludeFolders MOUNTPOINT",
}
_ANY_REMEDY = "exclude the mount point in its settings"
_SWEEP_RECORDINGS = 300
_SWEEP_FOLDERS = 4
"""More headers than a person's tool looks at in a busy hour of 200, in more folders than are open at once. A
rule of thumb."""
_READS_TO_EARN = 3
"""Recordings read through one after another, by a process that crawled. A rule of thumb."""
_REMEMBERED = 256
"""Processes: more than use a mount at once; one that comes back later is read of again."""


class _Process:
    """One process, as far as it has been seen here."""

    __slots__ = ("caller", "folders", "headers", "wholes")

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.headers = 0
        """Recordings that it has looked at since it last read one through."""
        self.wholes = 0
        """Recordings that it has read through since it last looked at one."""
        self.folders: set[object] = set()


class Callers:
    """The processes that used the mount lately. `process_root`: where /proc is."""

    def __init__(self, process_root: Path = Path("/proc")) -> None:
        self._process_root = process_root
        self._seen: OrderedDict[int, _Process] = OrderedDict()
        self._warned: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def caller(self, pid: int, uid: int = 0, gid: int = 0) -> Caller:
        """Who asks. Costs one read of /proc when the process is new."""
        process = self._seen.get(pid)
        if process is None or process.caller.uid != uid or process.caller.gid != gid:
            program = self._program(pid)
            crawls = _crawls_by_name(program)
            process = self._seen[pid] = _Process(Caller(uid, gid, pid, program, crawls))
            if len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
            if crawls:
                self._warn(program)
        return process.caller

    def closed(self, pid: int, folder: object, *, through: bool) -> None:
        """A process has closed a recording, having read it through or looked at parts of it."""
        process = self._seen.get(pid)
        if process is None or _crawls_by_name(process.caller.program):
            return
        if through:
            process.headers = 0
            process.wholes += 1
            process.folders.clear()
            if process.caller.crawls and process.wholes >= _READS_TO_EARN:
                process.caller = replace(process.caller, crawls=False)
                log.info("%s reads recordings through: it is served as everybody", process.caller.program)
            return
        process.wholes = 0
        if process.caller.crawls:
            return
        process.headers += 1
        process.folders.add(folder)
        if process.headers >= _SWEEP_RECORDINGS and len(process.folders) >= _SWEEP_FOLDERS:
            process.caller = replace(process.caller, crawls=True)
            self._warn(process.caller.program)

    def _program(self, pid: int) -> str:
        """The program's name as the kernel keeps it: 15 bytes, which may end inside a letter, and may be any
        bytes at all. What a terminal would take for more than text is replaced."""
        try:
            name = (self._process_root / str(pid) / "comm").read_bytes()
        except OSError:
            return ""
        text = name.decode("utf-8", "replace").strip()
        return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)

    def _warn(self, program: str) -> None:
        if program in self._warned:
            return
        self._warned[program] = None
        if len(self._warned) > _REMEMBERED:
            self._warned.popitem(last=False)
        remedy = next((text for name, text in _REMEDIES.items() if program.startswith(name)), _ANY_REMEDY)
        log.warning(
            "%s crawls the mount: it is served last and nothing is fetched ahead for it; to keep it out, %s",
            program or "a process",
            remedy,
        )


def _crawls_by_name(program: str) -> bool:
    return program.startswith(_NAMES)
