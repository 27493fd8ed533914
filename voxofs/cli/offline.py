"""What the commands that need no mount have in common: which calls are meant, and a core for as long as they
run."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from . import configuration
from .parser import Parser

if TYPE_CHECKING:
    from voxofs.config.settings import Config
    from voxofs.core.build import Core
    from voxofs.core.tree import Calendar
    from voxofs.export.selection import Days
    from voxofs.export.where import Condition

T = TypeVar("T")

PATHS = """
PATH is as in the tree, or a range with both its ends in it:
  demo   demo/2021/08   demo/2021/08/13/19   demo/2021/08/13/19/x.mp3   demo/2021-08-01..2021-08-14

--where takes a condition on the fields of a call: == != < <= > >= in, not in, and, or, not, parentheses,
numbers, texts in quotes, none for what is missing. The fields are tenant, uniqueId, start (the wall clock),
instant (UTC), id, direction, disposition, duration (in seconds), percentJitter, packetLoss, qos,
prevUniqueId, and the personal ones that [privacy] show lists: callerIdNumber, callerIdName, dialedNum,
whoAnswered.
"""


def add_options(parser: Parser) -> None:
    """Configuration, and --where."""
    configuration.add_options(parser)
    parser.add_argument("--where", metavar="CONDITION", help="only calls for which this holds, see below")
    parser.intermixed = True


def load(options: argparse.Namespace) -> Config:
    """The configuration. Raises ConfigError."""
    if not hasattr(options, "loaded"):  # once: a token is taken out of the environment when it has been read
        words = configuration.overrides(options, from_mount=False)
        options.loaded = configuration.load(options.config, words)
    loaded: Config = options.loaded
    return loaded


def meant(
    config: Config, paths: Sequence[str], where: str | None
) -> tuple[list[Days], Condition | None, Calendar]:
    """Which calls are meant, read before anybody is asked for anything. Raises PathError, WhereError."""
    from voxofs.central import CentralTime
    from voxofs.clock import Clock
    from voxofs.export.selection import calendar_of, selected
    from voxofs.export.where import condition

    holds = None
    if where is not None:
        holds = condition(where, CentralTime(config.api.timezone), config.privacy.show)
    calendar = calendar_of(config, Clock())
    return selected(paths, calendar), holds, calendar


def with_core(config: Config, work: Callable[[Core], Awaitable[T]]) -> T:
    """Do work with a core, which ends with it. Raises what the work raises, by itself and not in a group;
    KeyboardInterrupt for SIGINT and SIGTERM, when everything has ended as it should."""
    import trio

    from voxofs.clock import Clock
    from voxofs.core.build import open_core
    from voxofs.observe import logs

    async def main() -> tuple[T | None, BaseException | None]:
        logs.set_up(config.log, background=False, environ=os.environ)
        result: T | None = None
        failure: BaseException | None = None
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with open_core(config, Clock()) as core, trio.open_nursery() as nursery:
                nursery.start_soon(interrupt, signals, nursery.cancel_scope)
                try:
                    result = await work(core)
                except Exception as error:
                    failure = error
                nursery.cancel_scope.cancel()
        if interrupted:
            failure = KeyboardInterrupt()
        return result, failure

    async def interrupt(signals: object, scope: trio.CancelScope) -> None:
        async for _ in signals:  # type: ignore[attr-defined]
            interrupted.append(True)
            scope.cancel()

    interrupted: list[bool] = []
    result, failure = trio.run(main)
    if failure is not None:
        raise failure
    return result  # type: ignore[return-value]
