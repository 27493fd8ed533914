"""Words to systemd: sd_notify(3) in a few lines, so that a service is ready only when its mount answers.

Where $NOTIFY_SOCKET is not set every call does nothing, so callers need not ask.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping

from voxofs.config.legible import one_line


class Notifier:
    """Sends the service's state to the service manager."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "").replace("@", "\0", 1)
        timeout_us, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID")
        meant = pid in (None, "", str(os.getpid()))
        self.watchdog_interval_s = int(timeout_us) / 2e6 if meant and timeout_us.isdecimal() else None
        """How often WATCHDOG=1 is due: twice in the time after which systemd gives up on us, as
        sd_watchdog_enabled(3) recommends. The variable counts microseconds."""

    @property
    def active(self) -> bool:
        return bool(self._address)

    def send(self, *assignments: str) -> None:
        """Send assignments such as "READY=1", each of which stays one. Losing one is no reason to fail."""
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)
            channel.sendto("\n".join(map(one_line, assignments)).encode(), self._address)

    def ready(self, status: str) -> None:
        self.send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Announce a reload; systemd wants to know when by CLOCK_MONOTONIC, its own clock."""
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self.send("RELOADING=1", f"MONOTONIC_USEC={now_us}")

    def stopping(self) -> None:
        self.send("STOPPING=1", "STATUS=Unmounted")
