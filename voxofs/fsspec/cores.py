"""Cores in threads: where calls of any thread and any event loop meet trio.

    caller's thread or loop → TrioToken.run_sync_soon → a task beside the core → the answer, back again

A process has one core for each configuration, however many file systems it makes: they share its memory, its
connections and the vendor's patience. The thread ends with the interpreter: it is a daemon, so that nobody
waits for it in vain, and a handler at exit ends the core properly while other threads can still run.

After a fork the child has no threads but its own. It begins anew with an empty table; what the parent had is
kept where nobody finds it, because ending it would write into the parent's sockets.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import errno
import logging
import os
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

import trio

from voxofs.clock import Clock
from voxofs.config.settings import Config
from voxofs.core.build import Core, open_core
from voxofs.errors import VoxofsError

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[Core], Awaitable[T]]
"""Something to do beside the core, in its thread."""

_ENDS_S = 5.0
"""How long an exit waits for connections to be closed, seconds. They close in milliseconds; a hung resolver
must not hold up a program that is done. A rule of thumb."""


def as_os_error(error: VoxofsError) -> OSError:
    """The exception that a Python program expects: Python chooses FileNotFoundError, PermissionError,
    TimeoutError and their like by the errno. It can be pickled, and it holds what the message says and no
    more."""
    return OSError(error.errno, str(error))


class _Job:
    """One call: the work, where the answer goes, and how to call it off."""

    __slots__ = ("deliver", "scope", "work")

    def __init__(self, work: Work[Any], deliver: Callable[[Any, BaseException | None], None]) -> None:
        self.work = work
        self.deliver = deliver
        self.scope = trio.CancelScope()


class CoreThread:
    """A core and the thread that it lives in. Made by `core_for`."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.pid = os.getpid()
        self._begun = threading.Event()
        self._failure: BaseException | None = None
        self._jobs: set[_Job] = set()
        self._silent = False
        self._thread = threading.Thread(target=self._live, name="voxofs", daemon=True)
        self._thread.start()
        self._begun.wait()
        if self._failure is not None:
            raise self._failure

    @property
    def alive(self) -> bool:
        """Whether it answers."""
        return self._thread.is_alive() and self.pid == os.getpid()

    async def run(self, work: Work[T]) -> T:
        """The work's result, for a task of an asyncio loop. Raises OSError; cancelling ends the work."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def settle(result: T, error: BaseException | None) -> None:
            if not answer.done():
                if error is None:
                    answer.set_result(result)
                else:
                    answer.set_exception(error)

        def deliver(result: T, error: BaseException | None) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(settle, result, error)

        job = self._submit(work, deliver)
        try:
            return await answer
        except asyncio.CancelledError:
            self.post(job.scope.cancel)
            raise

    def run_sync(self, work: Work[T]) -> T:
        """The work's result, for a thread that waits. Raises OSError; an interrupt ends the work."""
        answer: concurrent.futures.Future[T] = concurrent.futures.Future()

        def deliver(result: T, error: BaseException | None) -> None:
            if error is None:
                answer.set_result(result)
            else:
                answer.set_exception(error)

        job = self._submit(work, deliver)
        try:
            return answer.result()
        except KeyboardInterrupt:
            self.post(job.scope.cancel)
            raise

    def post(self, action: Callable[[], object]) -> None:
        """Have something done in the core's thread, soon; nobody waits. Nothing where the core has ended."""
        if self.alive:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(action)

    def end(self, *, silently: bool = False) -> None:
        """End the core and its thread. Whoever waits for an answer gets an error; `silently`: no answer,
        because only threads are left that end with the interpreter, and would complain of an error."""
        if self.alive:
            self._silent = silently
            self.post(self._nursery.cancel_scope.cancel)
            self._thread.join(_ENDS_S)

    def _submit(self, work: Work[T], deliver: Callable[[T, BaseException | None], None]) -> _Job:
        if self.pid != os.getpid():
            raise RuntimeError(
                "this file system or file was made before a fork and its connections are the parent's: make "
                "it again in the child, with the same options"
            )
        job = _Job(work, deliver)
        self._jobs.add(job)
        try:
            self._token.run_sync_soon(self._begin, job)
        except trio.RunFinishedError:
            self._jobs.discard(job)
            raise _ended() from None
        return job

    # In the core's thread.

    def _live(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:
            self._failure = error
            if self._begun.is_set():
                log.exception("a defect in voxofs ended a core; the next call begins another one")
        finally:
            self._begun.set()
            for job in list(self._jobs):
                self._answer(job, None, _ended())

    async def _main(self) -> None:
        async with open_core(self.config, Clock()) as core, trio.open_nursery() as nursery:
            self._core, self._nursery = core, nursery
            self._token = trio.lowlevel.current_trio_token()
            self._begun.set()
            await trio.sleep_forever()

    def _begin(self, job: _Job) -> None:
        try:
            self._nursery.start_soon(self._do, job)
        except RuntimeError:  # the nursery is closed: the core is ending
            self._answer(job, None, _ended())

    async def _do(self, job: _Job) -> None:
        with job.scope:
            try:
                result = await job.work(self._core)
            except VoxofsError as error:
                return self._answer(job, None, as_os_error(error))
            except OSError as error:
                return self._answer(job, None, error)
            except Exception:
                log.exception("a defect in voxofs: a call failed; the program gets EIO")
                return self._answer(job, None, OSError(errno.EIO, "a defect in voxofs: see its log"))
            return self._answer(job, result, None)
        return self._answer(job, None, _ended())  # it was called off

    def _answer(self, job: _Job, result: object, error: BaseException | None) -> None:
        self._jobs.discard(job)
        if not self._silent:
            job.deliver(result, error)


def _ended() -> OSError:
    return OSError(errno.ESHUTDOWN, "voxofs is ending, or this call was called off: try it again")


_lock = threading.Lock()
_cores: list[CoreThread] = []
_left_behind: list[CoreThread] = []
"""The parent's, in a child: kept from the collector."""


def core_for(config: Config) -> CoreThread:
    """This process's core for a configuration, begun now where there is none. Raises what beginning
    raises."""
    with _lock:
        _cores[:] = [each for each in _cores if each.alive]
        for each in _cores:
            if each.config == config:
                return each
        begun = CoreThread(config)
        _cores.append(begun)
        return begun


def end_all() -> None:
    """End every core of this process. What is used afterwards begins a new one."""
    with _lock:
        for each in _cores:
            each.end()
        _cores.clear()


def _at_exit() -> None:
    """Threads that a program waits for are done by now."""
    for each in _cores:
        each.end(silently=True)


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    _left_behind.extend(_cores)
    _cores.clear()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
