"""Programs on a mount, as a user runs them: what they said, how they ended, and how long they took."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import trio

_GIVES_UP_S = 60.0
"""No test of this suite lets a user wait for half as long."""


@dataclass(frozen=True)
class Ended:
    """A program that has ended."""

    code: int
    output: str
    errors: str
    took_s: float

    @property
    def lines(self) -> list[str]:
        """Its output by line."""
        return self.output.splitlines()


async def program(*command: str) -> Ended:
    """Run a program in the C locale and wait for its end."""
    begun_s = time.monotonic()
    with trio.fail_after(_GIVES_UP_S):
        done = await trio.run_process(
            command, capture_stdout=True, capture_stderr=True, check=False, env=_ENVIRONMENT
        )
    took_s = time.monotonic() - begun_s
    return Ended(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode(), took_s)


async def together(commands: Sequence[Sequence[str]]) -> list[Ended]:
    """Run programs at the same time; the results are in the order of the commands."""
    ended: dict[int, Ended] = {}

    async def run(number: int, command: Sequence[str]) -> None:
        ended[number] = await program(*command)

    async with trio.open_nursery() as nursery:
        for number, command in enumerate(commands):
            nursery.start_soon(run, number, command)
    return [ended[number] for number in range(len(commands))]


_ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/local/bin:/usr/bin:/bin"}

__all__ = ["Ended", "program", "together"]
