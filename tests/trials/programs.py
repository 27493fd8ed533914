"""Programs on a mount: real processes that wait, read, get killed; none is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

import trio

T = TypeVar("T")
_ENDS_S = 40.0
"""A program on a mount that hangs cannot be killed before its deadline, where nobody sees the signal."""

MANY = """
import sys, threading
threading.stack_size(128 * 1024)
def work(path):
    try:
        {work}
    except OSError as error:
        print(error.errno, flush=True)
paths = [line for line in sys.stdin.read().split("\\n") if line]
threads = [threading.Thread(target=work, args=(path,), daemon=True) for path in paths]
for thread in threads:
    thread.start()
print("begun", flush=True)
for thread in threads:
    thread.join()
"""
"""A thread for each path; its errnos are printed."""


@asynccontextmanager
async def program(
    *command: str, said: str = "", environ: Mapping[str, str] | None = None
) -> AsyncIterator[subprocess.Popen[bytes]]:
    """A process with `said` as its standard input; killed afterwards, and waited for."""
    process = subprocess.Popen(  # noqa: ASYNC220 (begins at once)
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(environ or {})},
    )
    try:
        assert process.stdin is not None
        process.stdin.write(said.encode())
        process.stdin.close()
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await in_thread(lambda: process.wait(_ENDS_S))
        assert process.stdout is not None
        process.stdout.close()


def python(code: str) -> tuple[str, str, str]:
    """A command that runs this code."""
    return sys.executable, "-c", code


async def in_thread(work: Callable[[], T]) -> T:
    """Work in a thread that no other work can keep from beginning."""
    return await trio.to_thread.run_sync(work, limiter=trio.CapacityLimiter(1))


async def timed(work: Callable[[], T]) -> tuple[float, T]:
    """How long this takes in a thread, in seconds, and what it returns."""
    began_s = time.monotonic()
    result = await in_thread(work)
    return time.monotonic() - began_s, result
