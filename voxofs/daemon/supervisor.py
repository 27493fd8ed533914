"""The event loop around a mount: signals in, service manager informed, until somebody unmounts.

    TERM, INT  unmount; when the mount is busy its holders are named and it keeps serving. The second
               signal unmounts lazily, the third gives up on whoever still has files open.
    HUP        mount.reload(): read credentials again, forget live listings
    USR1       mount.log_statistics()

What the mount is made of is not known here, see `Served`.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import trio

from voxofs.errors import MountFailed, VoxofsError

from . import mount_table as mounts
from .mount_table import MountBusy
from .systemd import Notifier

_log = logging.getLogger(__name__)
_STATUS_INTERVAL_S = 10.0
"""How old the line may be that `systemctl status` shows. A rule of thumb: one datagram in ten seconds costs
nothing, and a person who looks twice sees it move."""


class Served(Protocol):
    """A mount as this module sees it."""

    async def serve(self, mountpoint: str, *, on_ready: Callable[[], Awaitable[None]]) -> None:
        """Mount, call on_ready once the mount answers, return when unmounted by anybody."""

    async def reload(self) -> None:
        """Read credentials again and forget listings that may have changed."""

    def log_statistics(self) -> None:
        """Write the counters to the log."""

    async def first_word(self) -> str:
        """What whoever mounts should know at once, "" for nothing; within a few seconds."""
        raise NotImplementedError

    def status_line(self) -> str:
        """The state in a few words, for people."""
        raise NotImplementedError


def cause_of(error: Exception) -> Exception:
    """What a nursery's group is about: the one error that voxofs can explain, else its first."""
    if not isinstance(error, ExceptionGroup):
        return error
    leaves = [cause_of(each) for each in error.exceptions]
    return next((leaf for leaf in leaves if isinstance(leaf, VoxofsError)), leaves[0])


class Supervisor:
    """Serves one mount and answers signals meanwhile.

    The mount's first word goes to the log soon after the mount answers. `announce` is called with it, "" for
    none, in the event loop, and must not block. `look_around` runs in a thread then, where it may
    read the mount, and is abandoned when the mount ends.
    """

    def __init__(
        self,
        mount: Served,
        mountpoint: str,
        *,
        notifier: Notifier,
        announce: Callable[[str], None] | None = None,
        look_around: Callable[[], None] | None = None,
        unmount: Callable[..., None] = mounts.unmount,
        busy_message: Callable[[str], str] = mounts.busy_message,
    ) -> None:
        self._mount = mount
        self._mountpoint = mountpoint
        self._notifier = notifier
        self._announce = announce
        self._look_around = look_around
        self._unmount = unmount
        self._busy_message = busy_message
        self._stops = 0
        self._reloading = False
        self.ready = False
        """Whether the mount has answered; what fails before is a failure to mount."""

    async def run(self) -> None:
        """Serve until the mount is gone. Raises what `serve` raises, not wrapped in a group."""
        signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
        failure: Exception | None = None
        with trio.open_signal_receiver(*signals) as received:
            async with trio.open_nursery() as nursery:

                async def on_ready() -> None:
                    self._now_ready(nursery)

                nursery.start_soon(self._answer, received, nursery)
                try:
                    await self._mount.serve(self._mountpoint, on_ready=on_ready)
                except Exception as error:
                    failure = cause_of(error)
                nursery.cancel_scope.cancel()
        self._notifier.stopping()
        if self.ready:
            _log.info("%s: unmounted", self._mountpoint)
        if failure is not None:
            raise failure
        if not self.ready and not self._stops:
            raise MountFailed(f"{self._mountpoint}: the mount ended before it answered")

    def _now_ready(self, nursery: trio.Nursery) -> None:
        self.ready = True
        self._notifier.ready(self._status())
        if self._notifier.active:
            nursery.start_soon(self._heartbeat)
        _log.info("%s: mounted, %s", self._mountpoint, self._mount.status_line())
        nursery.start_soon(self._tell)
        if self._look_around is not None:
            nursery.start_soon(self._in_thread, self._look_around)

    async def _tell(self) -> None:
        """After READY: a service that is slow to answer holds up no unit."""
        word = await self._mount.first_word()
        if word:
            _log.warning("%s: %s", self._mountpoint, word)
        if self._announce is not None:
            self._announce(word and f"{self._mountpoint}: {word}")

    async def _in_thread(self, work: Callable[[], None]) -> None:
        await trio.to_thread.run_sync(work, abandon_on_cancel=True)

    def _status(self) -> str:
        return f"Serving {self._mountpoint}: {self._mount.status_line()}"

    async def _heartbeat(self) -> None:
        """Tell systemd that this very loop still turns, and what it is doing."""
        watchdog_s = self._notifier.watchdog_interval_s
        beat = ["WATCHDOG=1"] if watchdog_s is not None else []
        while True:
            status = [] if self._stops else [f"STATUS={self._status()}"]  # a busy unmount keeps its own
            self._notifier.send(*beat, *status)
            await trio.sleep(min(watchdog_s or _STATUS_INTERVAL_S, _STATUS_INTERVAL_S))

    async def _answer(self, received: AsyncIterator[int], nursery: trio.Nursery) -> None:
        async for number in received:
            if number == signal.SIGUSR1:
                self._mount.log_statistics()
            elif number == signal.SIGHUP:
                if not self._reloading:
                    self._reloading = True
                    nursery.start_soon(self._reload)
            else:
                self._stops += 1
                if not self.ready or self._stops > 2:
                    nursery.cancel_scope.cancel()
                else:
                    nursery.start_soon(self._stop, self._stops > 1)

    async def _reload(self) -> None:
        self._notifier.reloading()
        try:
            await self._mount.reload()
        except VoxofsError as error:
            _log.error("reload: %s; going on with what was there before", error)
        else:
            _log.info("%s: reloaded", self._mountpoint)
        finally:
            self._reloading = False
            self._notifier.ready(self._status())

    async def _stop(self, lazy: bool) -> None:
        """Unmount from a thread: the unmount asks the mount, which this loop must answer."""

        def unmount() -> None:
            self._unmount(self._mountpoint, lazy=lazy)

        try:
            await trio.to_thread.run_sync(unmount, abandon_on_cancel=True)
        except MountBusy:
            message = await trio.to_thread.run_sync(
                self._busy_message, self._mountpoint, abandon_on_cancel=True
            )
            _log.warning("%s; still serving, a second signal unmounts lazily", message)
            self._notifier.send(f"STATUS=Cannot unmount: {message}")
        except MountFailed as error:
            # Also when somebody has already unmounted lazily: what is still open is served to its end.
            _log.warning("%s; serving what is still open", error)
        else:
            if lazy:
                _log.info("%s: unmounted lazily, serving what is still open", self._mountpoint)
