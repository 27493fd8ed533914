"""The supervisor, with a mount that is none: signals, words to systemd, how it ends."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from harness.systemd import Manager

from voxofs.daemon.mount_table import MountBusy
from voxofs.daemon.supervisor import Supervisor
from voxofs.daemon.systemd import Notifier
from voxofs.errors import AccessDenied, MountFailed, VoxofsError


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with Manager(str(tmp_path / "notify")) as made:
        yield made


class FakeMount:
    """Serves until it is unmounted."""

    def __init__(self, failure: Exception | None = None, *, ready: bool = True) -> None:
        self.gone = trio.Event()
        self.reloaded = trio.Event()
        self.statistics = trio.Event()
        self.cancelled = False
        self._failure = failure
        self._ready = ready
        self.reload_failure: VoxofsError | None = None
        self.asked = trio.Event()
        self.service_answers = trio.Event()
        self.service_answers.set()

    async def serve(self, mountpoint: str, *, on_ready: Callable[[], Awaitable[None]]) -> None:
        if self._ready:
            await on_ready()
        if self._failure is not None:
            raise self._failure
        try:
            await self.gone.wait()
        except trio.Cancelled:
            self.cancelled = True
            raise

    async def first_word(self) -> str:
        self.asked.set()
        await self.service_answers.wait()
        return "the token is refused"

    async def reload(self) -> None:
        self.reloaded.set()
        if self.reload_failure is not None:
            raise self.reload_failure

    def log_statistics(self) -> None:
        self.statistics.set()

    def status_line(self) -> str:
        return "3 requests"


class FakeKernel:
    """Unmounts a FakeMount: the first `busy` calls find it busy."""

    def __init__(self, mount: FakeMount, busy: int = 0) -> None:
        self.calls: list[bool] = []
        self.asked = [trio.Event() for _ in range(4)]
        self._mount, self._busy = mount, busy

    def unmount(self, mountpoint: str, *, lazy: bool) -> None:
        trio.from_thread.run_sync(self._unmount, lazy)

    def _unmount(self, lazy: bool) -> None:
        self.calls.append(lazy)
        if len(self.calls) <= self._busy:
            raise MountBusy("busy")
        self._mount.gone.set()

    def busy_message(self, mountpoint: str) -> str:
        trio.from_thread.run_sync(self.asked[len(self.calls) - 1].set)
        return f"{mountpoint}: the mount is in use by cat (pid 7, open file x)"


@asynccontextmanager
async def supervised(
    mount: FakeMount, kernel: FakeKernel, manager: Manager | None = None
) -> AsyncIterator[Supervisor]:
    """A supervisor that serves; the block ends when it has ended, within a few seconds or not at all."""
    announced = trio.Event()

    def announce(word: str) -> None:
        assert word == "/mnt/calls: the token is refused"
        announced.set()

    environ = {**manager.environ, "WATCHDOG_USEC": "2000000"} if manager is not None else {}
    supervisor = Supervisor(
        mount,
        "/mnt/calls",
        notifier=Notifier(environ),
        announce=announce,
        unmount=kernel.unmount,
        busy_message=kernel.busy_message,
    )
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.run)
            await announced.wait()
            yield supervisor


def signal_self(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_term_and_int_unmount(manager: Manager, number: signal.Signals) -> None:
    mount = FakeMount()
    kernel = FakeKernel(mount)
    async with supervised(mount, kernel, manager):
        signal_self(number)
    assert kernel.calls == [False]
    heard = manager.heard()
    assert heard[0] == "READY=1\nSTATUS=Serving /mnt/calls: 3 requests"
    assert heard[1] == "WATCHDOG=1\nSTATUS=Serving /mnt/calls: 3 requests"
    assert heard[-1].startswith("STOPPING=1")


async def test_a_busy_mount_names_its_holders_and_the_second_signal_is_lazy(
    manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    mount = FakeMount()
    kernel = FakeKernel(mount, busy=1)
    async with supervised(mount, kernel, manager):
        signal_self(signal.SIGTERM)
        await kernel.asked[0].wait()
        await trio.testing.wait_all_tasks_blocked()
        assert not mount.gone.is_set()
        signal_self(signal.SIGTERM)
    heard = manager.heard()
    assert kernel.calls == [False, True]
    assert "in use by cat (pid 7" in caplog.text
    assert any(message.startswith("STATUS=Cannot unmount: ") for message in heard)


async def test_the_third_signal_gives_up_on_the_holders() -> None:
    mount = FakeMount()
    kernel = FakeKernel(mount, busy=9)
    async with supervised(mount, kernel):
        for turn in range(2):
            signal_self(signal.SIGTERM)
            await kernel.asked[turn].wait()
        signal_self(signal.SIGTERM)
    assert mount.cancelled
    assert kernel.calls == [False, True]


async def test_hup_reloads_and_usr1_logs_the_statistics(manager: Manager) -> None:
    mount = FakeMount()
    async with supervised(mount, FakeKernel(mount), manager):
        signal_self(signal.SIGHUP)
        await mount.reloaded.wait()
        signal_self(signal.SIGUSR1)
        await mount.statistics.wait()
        mount.gone.set()  # unmounted by somebody else: the end, too
    words = [message.split("\n")[0] for message in manager.heard()]
    assert words.index("RELOADING=1") < len(words) - 1 - words[::-1].index("READY=1")


async def test_a_reload_that_fails_is_logged_and_serving_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    mount = FakeMount()
    mount.reload_failure = AccessDenied("the token file is gone")
    async with supervised(mount, FakeKernel(mount)):
        signal_self(signal.SIGHUP)
        await mount.reloaded.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert not mount.gone.is_set()
        mount.gone.set()
    assert "the token file is gone" in caplog.text


async def test_a_failure_is_not_wrapped() -> None:
    supervisor = Supervisor(FakeMount(MountFailed("no")), "/mnt", notifier=Notifier({}))
    with pytest.raises(MountFailed, match="no"):
        await supervisor.run()
    assert supervisor.ready


async def test_a_group_of_a_nursery_is_unwrapped() -> None:
    cause = MountFailed("no answer")
    group = ExceptionGroup("outer", [ExceptionGroup("inner", [ValueError("a cancelled neighbour"), cause])])
    with pytest.raises(MountFailed) as caught:
        await Supervisor(FakeMount(group), "/mnt", notifier=Notifier({})).run()
    assert caught.value is cause


async def test_a_mount_that_ends_before_it_answers_has_failed() -> None:
    mount = FakeMount(ready=False)
    mount.gone.set()
    with pytest.raises(MountFailed, match="ended before it answered"):
        await Supervisor(mount, "/mnt", notifier=Notifier({})).run()


async def test_a_signal_before_the_mount_answers_ends_it() -> None:
    mount = FakeMount(ready=False)
    supervisor = Supervisor(mount, "/mnt", notifier=Notifier({}))
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.run)
            await trio.testing.wait_all_tasks_blocked()
            signal_self(signal.SIGTERM)
    assert mount.cancelled


async def test_looking_around_happens_in_a_thread_once_the_mount_answers() -> None:
    mount = FakeMount()

    def look_around() -> None:  # from_thread works in a thread of trio's only
        trio.from_thread.run_sync(mount.gone.set)

    with trio.fail_after(10):
        await Supervisor(mount, "/mnt", notifier=Notifier({}), look_around=look_around).run()


async def test_the_first_word_goes_to_the_log_though_nobody_waits_for_it_and_ready_is_said_before(
    manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    mount = FakeMount()
    mount.service_answers = trio.Event()
    supervisor = Supervisor(mount, "/mnt/calls", notifier=Notifier(manager.environ))
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.run)
            await mount.asked.wait()
            assert manager.heard()[0].startswith("READY=1\n")
            mount.service_answers.set()
            await trio.testing.wait_all_tasks_blocked()
            mount.gone.set()
    warnings = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert warnings == ["/mnt/calls: the token is refused"]


async def test_a_mount_that_ends_does_not_wait_for_its_first_word() -> None:
    mount = FakeMount()
    mount.service_answers = trio.Event()
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Supervisor(mount, "/mnt", notifier=Notifier({})).run)
            await mount.asked.wait()
            mount.gone.set()
