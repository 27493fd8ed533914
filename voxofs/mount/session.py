"""A session of the kernel's: the core under the FUSE adapter, from `init` to the last request.

kernel → adapter → fs → catalog / reader → blocks → source → http → network
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pyfuse3
import trio

from voxofs.central import CentralTime
from voxofs.clock import Clock
from voxofs.config.settings import Config
from voxofs.core.build import Core, open_core
from voxofs.core.status import Status
from voxofs.errors import AccessDenied, MountFailed, VoxofsError
from voxofs.model import Tenant

from . import kernel
from .adapter import Adapter
from .entries import Appearance
from .waiting import Waiting

log = logging.getLogger(__name__)

_REQUESTS_AT_ONCE = 3_000
"""FUSE requests served at once; `Waiting` gives half of them to tenants that hang. Each that waits is a task
of some tens of KiB (an estimate)."""
_IDLE_WORKERS = 8
"""Tasks that wait for a request at all times; more are started when they are all at work. A rule of thumb: a
few programs that take turns, as `cp` and `ls` do, start no task at all."""
_ANSWER_TIMEOUT_S = 10.0
"""How long the first listing of the root may take, which asks nobody. A rule of thumb: it
takes milliseconds, and a machine on which it takes ten seconds will not serve anybody."""
_FIRST_WORD_S = 2.0
"""How long whoever mounts waits to hear whether the credential is taken. A rule of thumb: a service that can
be reached answers within one, and where none can the mount is there all the same."""
_HOUSEKEEPERS = 2
"""Threads for the mount itself: trio's common ones may all be waiting for a name server."""


@dataclass
class Session:
    """One mount, from the kernel's first request to its last, and what the process around it may ask of it.

    Nothing happens before `serve`.
    """

    config: Config
    clock: Clock

    def __post_init__(self) -> None:
        self._core: Core | None = None

    async def serve(self, mountpoint: str, *, on_ready: Callable[[], Awaitable[None]]) -> None:
        """Mount, call `on_ready` once the mount answers, return when it is unmounted by anybody.

        Cancellation unmounts. Raises `MountFailed`.
        """
        async with open_core(self.config, self.clock) as core:
            config = self.config
            kernel.raise_descriptor_limit(config.api.connections + config.storage.connections)
            waiting = Waiting(_REQUESTS_AT_ONCE, tenants=len(config.tenants))
            central = CentralTime(config.api.timezone)
            most_inodes = config.cache.known_sizes
            adapter = Adapter(core.fs, self._appearance(), waiting, central, most_inodes=most_inodes)
            self._core = core
            core.status.add("kernel", adapter.gauges)
            try:
                pyfuse3.init(adapter, os.fspath(mountpoint), self._options())
            except RuntimeError as error:
                raise MountFailed(
                    f"{mountpoint} cannot be mounted ({error}): run 'voxofs check {mountpoint}' to see why"
                ) from error
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._announce, mountpoint, waiting, on_ready)
                    nursery.start_soon(waiting.watch)
                    if self.config.metrics.listen is not None:
                        nursery.start_soon(self._serve_metrics, self.config.metrics.listen, core.status)
                    await pyfuse3.main(min_tasks=_IDLE_WORKERS, max_tasks=_REQUESTS_AT_ONCE)
                    nursery.cancel_scope.cancel()
            finally:
                pyfuse3.close(unmount=True)
                adapter.close_all()
                self._core = None

    async def reload(self) -> None:
        """Read the token again at the next request, and ask anew for listings that reach the present."""
        if self._core is not None:
            self._core.reload()
            log.info("credentials and live listings are read again at the next access")

    async def first_word(self) -> str:
        """What whoever mounts should know at once: that the service refuses the credential. Empty where it
        does not, and where it cannot be asked."""
        if self._core is None:
            return ""
        first = next(iter(self.config.tenants.items()))
        tenant = Tenant(first[0], first[1].id, first[1].since)
        with trio.move_on_after(_FIRST_WORD_S):
            try:
                await self._core.source.admitted(tenant)
            except AccessDenied as error:
                token_file = self.config.api.token_file
                remedy = f"; put a fresh token into {token_file}: it is read again by itself"
                known = token_file is not None and error.status == 401
                return f"it is mounted, but nothing in it can be read: {error}{remedy if known else ''}"
            except VoxofsError as error:
                log.info("the service cannot be asked yet: %s", error)
        return ""

    def log_statistics(self) -> None:
        """One line of JSON with everything the status file says."""
        if self._core is not None:
            log.info("statistics: %s", json.dumps(self._core.status.facts()))

    def status_line(self) -> str:
        """The state in a few words."""
        return "starting" if self._core is None else self._core.status.line()

    async def _serve_metrics(self, listen: str, status: Status) -> None:
        """Metrics are a convenience: an address that is taken costs a line in the log, not the mount."""
        from voxofs.observe.metrics import serve_metrics  # loaded only where it is wanted

        try:
            await serve_metrics(listen, status.facts)
        except (OSError, ExceptionGroup) as error:
            cause: Exception = error
            while isinstance(cause, ExceptionGroup):
                cause = cause.exceptions[0]
            log.error(
                "metrics cannot be served on %s (%s): choose another [metrics] listen; the mount goes on",
                listen,
                cause,
            )

    def _appearance(self) -> Appearance:
        mount = self.config.mount
        return Appearance(
            os.getuid() if mount.uid is None else mount.uid,
            os.getgid() if mount.gid is None else mount.gid,
            mount.file_mode,
            mount.dir_mode,
        )

    def _options(self) -> set[str]:
        shown_as = self.config.shown_as.replace("\\", r"\\").replace(",", r"\,")  # fuse_opt.c's own escapes
        options = {*pyfuse3.default_options, f"fsname={shown_as}", "subtype=voxofs"}
        options |= {"ro", "nodev", "nosuid", "noexec", "noatime"}
        if self.config.mount.allow_other:
            options.add("allow_other")
        return options

    async def _announce(
        self, mountpoint: str, waiting: Waiting, on_ready: Callable[[], Awaitable[None]]
    ) -> None:
        """Ready means that the mount has answered, not that it was asked for."""
        limiter = trio.CapacityLimiter(_HOUSEKEEPERS)
        with trio.move_on_after(_ANSWER_TIMEOUT_S) as patience:
            await trio.to_thread.run_sync(os.listdir, mountpoint, abandon_on_cancel=True, limiter=limiter)
            waiting.background_setting = await trio.to_thread.run_sync(
                kernel.widen, mountpoint, abandon_on_cancel=True, limiter=limiter
            )
            readahead_bytes = await trio.to_thread.run_sync(
                kernel.readahead_bytes, mountpoint, abandon_on_cancel=True, limiter=limiter
            )
            if self._core is not None:
                self._core.fs.read_by(readahead_bytes)
            await on_ready()
        if patience.cancelled_caught:
            raise MountFailed(f"{mountpoint} was mounted but does not answer: look into the log")
