"""How far a long work has come: a bar for people at a terminal, a line now and then where there is none.

Everything goes to stderr. What is printed there by others meanwhile, messages and the log, stands above the
bar.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from voxofs.daemon.terminal import say
from voxofs.export.fields import printable

from .status_text import duration, size

if TYPE_CHECKING:
    from rich.progress import Progress

_LINE_EVERY_S = 10.0
"""Without a terminal: often enough for somebody who follows a log. A rule of thumb."""


class Silent:
    """Tells of failures only."""

    def found(self, number: int) -> None:
        """See `Watcher`."""

    def listed(self) -> None:
        """See `Watcher`."""

    def received(self, number_bytes: int) -> None:
        """See `Watcher`."""

    def done(self) -> None:
        """See `Watcher`."""

    def failed(self, path: str, reason: str) -> None:
        """See `Watcher`."""
        say(f"{printable(path)}: {printable(reason)}")


class Lines(Silent):
    """A line every ten seconds."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._began_s = self._said_s = now_s()
        self._found = self._done = self._bytes = 0
        self._all_found = False

    def found(self, number: int) -> None:
        self._found += number

    def listed(self) -> None:
        self._all_found = True

    def received(self, number_bytes: int) -> None:
        self._bytes += number_bytes
        self._say_now_and_then()

    def done(self) -> None:
        self._done += 1
        self._say_now_and_then()

    def _say_now_and_then(self) -> None:
        now_s = self._now_s()
        if now_s - self._said_s < _LINE_EVERY_S:
            return
        self._said_s = now_s
        passed_s = now_s - self._began_s
        total = f"{self._found:,}" + ("" if self._all_found else " or more")
        left = ""
        if self._all_found and self._done:
            left = f", {duration(passed_s / self._done * (self._found - self._done))} left"
        say(
            f"{self._done:,} of {total} recordings, {size(self._bytes)}, "
            f"{size(self._bytes / passed_s)}/s{left}"
        )


@contextmanager
def watching(*, quiet: bool) -> Iterator[Silent]:
    """The watcher that suits whoever looks on."""
    if quiet:
        yield Silent()
    elif sys.stderr.isatty():
        with rich_progress() as progress:
            yield Bar(progress)
    else:
        yield Lines()


class Bar(Silent):
    """Recordings, bytes, rate, and the time left once all are listed."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None, received="", rate="", found="…")
        self._began_s = time.monotonic()
        self._found = self._bytes = 0

    def found(self, number: int) -> None:
        self._found += number
        self._progress.update(self._task, found=f"{self._found:,}")

    def listed(self) -> None:
        self._progress.update(self._task, total=self._found)

    def received(self, number_bytes: int) -> None:
        self._bytes += number_bytes
        passed_s = max(time.monotonic() - self._began_s, 0.001)
        rate = f"{size(self._bytes / passed_s)}/s"
        self._progress.update(self._task, received=size(self._bytes), rate=rate)

    def done(self) -> None:
        self._progress.advance(self._task)


def rich_progress() -> Progress:
    """The bar's columns, on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        BarColumn(bar_width=None),
        TextColumn("{task.completed:,.0f} of {task.fields[found]} recordings"),
        TextColumn("{task.fields[received]}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True, highlight=False),
        transient=True,
        expand=True,
    )
