"""The mount: the core under the FUSE adapter, from `init` to the last request.

kernel → fuse → fs → catalog / reader → cache → api / storage → http → network
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pyfuse3
import trio

from .api import VoxoApi
from .clock import Clock
from .config import Config
from .core import Core, open_core
from .errors import VoxofsError
from .fuse import Adapter, Appearance
from .status import Status

log = logging.getLogger(__name__)

_REQUESTS_AT_ONCE = 1_000
"""FUSE requests served at once: those of a tenant that hangs must not keep others waiting."""
_IDLE_WORKERS = 8
_ANSWER_TIMEOUT_S = 10.0
_KERNEL_READAHEAD_KIB = 512


class MountFailed(VoxofsError):
    """The mount could not be made, or does not answer."""


def build(config: Config, mountpoint: str, clock: Clock | None = None) -> Mount:
    """Everything for one mount; nothing happens before `serve`."""
    return Mount(config, clock or Clock())


@dataclass
class Mount:
    """One mount and what the process around it may ask of it."""

    config: Config
    clock: Clock

    def __post_init__(self) -> None:
        self._core: Core | None = None
        self._status: Status | None = None

    async def serve(self, mountpoint: str, *, on_ready: Callable[[], Awaitable[None]]) -> None:
        """Mount, call `on_ready` once the mount answers, return when it is unmounted by anybody.

        Cancellation unmounts. Raises `MountFailed`.
        """
        async with open_core(self.config, self.clock) as core:
            most_inodes = self.config.cache.known_sizes
            adapter = Adapter(core.fs, self._appearance(), most_inodes=most_inodes)
            self._core = core
            self._status = Status(self.config, core, lambda: (len(adapter.inodes), len(adapter.handles)))
            core.fs.status = self._status.text
            try:
                pyfuse3.init(adapter, os.fspath(mountpoint), self._options())
            except RuntimeError as error:
                raise MountFailed(
                    f"{mountpoint} cannot be mounted ({error}): run 'voxofs check {mountpoint}' to see why"
                ) from error
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._announce, mountpoint, on_ready)
                    if self.config.metrics.listen is not None:
                        nursery.start_soon(self._serve_metrics, self.config.metrics.listen, self._status)
                    await pyfuse3.main(min_tasks=_IDLE_WORKERS, max_tasks=_REQUESTS_AT_ONCE)
                    nursery.cancel_scope.cancel()
            finally:
                pyfuse3.close(unmount=True)
                self._core = self._status = None

    async def reload(self) -> None:
        """Read the token again at the next request, and ask anew for listings that reach the present."""
        if self._core is not None:
            self._core.api.credentials.forget()
            self._core.catalog.drop_live()
            log.info("credentials and live listings are read again at the next access")

    def log_statistics(self) -> None:
        """One line of JSON with everything the status file says."""
        if self._status is not None:
            log.info("statistics: %s", json.dumps(self._status.facts()))

    def status_line(self) -> str:
        """The state in a few words."""
        return "starting" if self._status is None else self._status.line()

    async def _serve_metrics(self, listen: str, status: Status) -> None:
        """Metrics are a convenience: an address that is taken costs a line in the log, not the mount."""
        from .metrics import serve_metrics  # the server's libraries load only where they are wanted

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
        options = {*pyfuse3.default_options, "fsname=voxofs", "subtype=voxofs"}
        options |= {"ro", "nodev", "nosuid", "noexec", "noatime"}
        if self.config.mount.allow_other:
            options.add("allow_other")
        return options

    async def _announce(self, mountpoint: str, on_ready: Callable[[], Awaitable[None]]) -> None:
        """Ready means that the mount has answered, not that it was asked for."""
        with trio.move_on_after(_ANSWER_TIMEOUT_S) as patience:
            await trio.to_thread.run_sync(os.listdir, mountpoint, abandon_on_cancel=True)
            await trio.to_thread.run_sync(_widen_kernel_readahead, mountpoint, abandon_on_cancel=True)
            await on_ready()
        if patience.cancelled_caught:
            raise MountFailed(f"{mountpoint} was mounted but does not answer: look into the log")


def _widen_kernel_readahead(mountpoint: str) -> None:
    """Let the kernel read up to 512 KiB at once, for long recordings; only root may, others keep 128 KiB.

    No more than that: from 1 MiB on the kernel's first read of a file is 128 KiB instead of 64 (its
    `get_init_ra_size`), and a look at a header would cost a second block.
    """
    device = os.stat(mountpoint).st_dev
    setting = Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
    with suppress(OSError):
        setting.write_text(str(_KERNEL_READAHEAD_KIB))


@asynccontextmanager
async def prober(config: Config) -> AsyncIterator[Prober]:
    """What `voxofs check` asks of the service, over connections of its own."""
    async with open_core(config, Clock()) as core:
        yield Prober(core.api)


@dataclass
class Prober:
    """Proofs that the API can be used. Each raises the `VoxofsError` that says what is wrong."""

    api: VoxoApi

    async def sign_in(self) -> None:
        """Make sure that there is a token."""
        await self.api.sign_in()

    async def tenant(self, tenant_id: int) -> str:
        """The tenant's name, as the API has it."""
        return await self.api.tenant_name(tenant_id)

    async def server_clock_offset_s(self) -> float | None:
        """The API's clock less this machine's, from the last answer, in seconds."""
        return self.api.clock_offset_s
