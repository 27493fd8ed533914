"""Who is asking: people and their tools, or a crawler that nobody invited.

Indexers and thumbnailers open everything that appears under a mount point, and would download years of
calls. They are known by name, or by what they do: one process that has looked at the headers of hundreds of
recordings in several folders and read none of them. They get what they ask for, after everybody else, and
nothing is fetched ahead for them; the log says once how to keep each of them out.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from pathlib import Path

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
_REMEMBERED = 256


class Caller:
    """One process, as far as it has been seen here."""

    __slots__ = ("folders", "headers", "is_crawler", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_crawler = any(name.startswith(each) for each in _NAMES)
        self.headers = 0
        self.folders: set[object] = set()


class Callers:
    """The processes that used the mount lately. `process_root`: where /proc is."""

    def __init__(self, process_root: Path = Path("/proc")) -> None:
        self._process_root = process_root
        self._seen: OrderedDict[int, Caller] = OrderedDict()
        self._warned: set[str] = set()

    def is_crawler(self, pid: int) -> bool:
        """Whether this process crawls. Costs one read of /proc when it is new."""
        caller = self._seen.get(pid)
        if caller is None:
            caller = self._seen[pid] = Caller(self._name(pid))
            if len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
            if caller.is_crawler:
                self._warn(caller)
        return caller.is_crawler

    def closed(self, pid: int, folder: object, *, through: bool) -> None:
        """A process has closed a recording, having read it through or looked at parts of it."""
        caller = self._seen.get(pid)
        if caller is None or caller.is_crawler:
            return
        if through:
            caller.headers = 0
            caller.folders.clear()
            return
        caller.headers += 1
        caller.folders.add(folder)
        if caller.headers >= _SWEEP_RECORDINGS and len(caller.folders) >= _SWEEP_FOLDERS:
            caller.is_crawler = True
            self._warn(caller)

    def _name(self, pid: int) -> str:
        try:
            return (self._process_root / str(pid) / "comm").read_text().strip()
        except OSError:
            return ""

    def _warn(self, caller: Caller) -> None:
        if caller.name in self._warned:
            return
        self._warned.add(caller.name)
        remedy = next((text for name, text in _REMEDIES.items() if caller.name.startswith(name)), _ANY_REMEDY)
        log.warning(
            "%s crawls the mount: it is served last and nothing is fetched ahead for it; to keep it out, %s",
            caller.name or "a process",
            remedy,
        )
