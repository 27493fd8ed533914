"""Workers that take one step after another, what they have seen, and the watchdog over them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from .population import Population
from .tools import STEPS, Refused, Step, Wrong, drop_pages

_KEPT_WRONGS = 50


@dataclass
class Tally:
    """What all workers have seen together."""

    steps: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    """By errno."""
    refused_steps: Counter[str] = field(default_factory=Counter)
    """By operation."""
    last_refused_s: float | None = None
    """When the last of the refused steps began, by the monotonic clock."""
    wrongs: list[str] = field(default_factory=list)
    latencies_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def wrong(self, what: str) -> None:
        """A defect."""
        with self.lock:
            if len(self.wrongs) < _KEPT_WRONGS:
                self.wrongs.append(what)

    def add(self, name: str, took_s: float, refused: str | None, began_s: float) -> None:
        """A step that ended as it may."""
        with self.lock:
            self.steps[name] += 1
            self.latencies_s[name].append(took_s)
            if refused is not None:
                self.refused[refused] += 1
                self.refused_steps[name] += 1
                self.last_refused_s = max(began_s, self.last_refused_s or began_s)


class Worker:
    """One thread with its own chance."""

    def __init__(
        self,
        number: int,
        mountpoint: Path,
        population: Population,
        scratch: Path,
        tally: Tally,
        interval_s: float = 0.0,
    ) -> None:
        """`interval_s`: at least so long from one step's begin to the next one's."""
        self.number = number
        self.tally = tally
        """Where a step that begins now is written down."""
        self.doing: Callable[[Step], None] | None = None
        self.step = Step(mountpoint, population, scratch / str(number), Random(number))
        self.finished = 0
        self._interval_s = interval_s
        self._thread = threading.Thread(target=self._work, name=f"worker-{number}", daemon=True)
        self._stop = threading.Event()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Take no further step."""
        self._stop.set()

    def join(self, timeout_s: float) -> bool:
        """Whether the worker has ended."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        steps, weights = list(STEPS), list(STEPS.values())
        while not self._stop.is_set():
            [self.doing] = self.step.random.choices(steps, weights)
            name, refused, began_s, tally = self.doing.__name__, None, time.monotonic(), self.tally
            self.step.waited_s = 0.0
            try:
                self.doing(self.step)
            except Refused as error:
                refused = str(error)
            except Wrong as error:
                tally.wrong(f"{name}: {error}")
            except Exception as error:  # a worker that dies unseen would be a soak that tests less
                tally.wrong(f"{name}: {error!r}")
            tally.add(name, self.step.waited_s, refused, began_s)
            self.doing = None
            self.finished += 1
            drop_pages(self.step)
            if self._interval_s:
                self._stop.wait(began_s + self._interval_s - time.monotonic())

    def progress(self) -> tuple[object, ...]:
        """Something that changes whenever the worker, or the tool that it waits for, gets anywhere."""
        return self.finished, self.step.calls, self.step.child, *_switches(self.step.child)


def _switches(pid: int | None) -> list[str]:
    """How often a process's threads have slept: a system call that hangs sleeps once and does not return."""
    seen: list[str] = []
    if pid is not None:
        with contextlib.suppress(OSError):
            for status in Path(f"/proc/{pid}/task").glob("*/status"):
                seen += [line for line in status.read_text().splitlines() if "ctxt_switches" in line]
    return seen


class Watchdog:
    """Notices a worker that gets nowhere for longer than any deadline allows."""

    def __init__(self, workers: list[Worker], limit_s: float, tally: Tally) -> None:
        self._workers = workers
        self._limit_s = limit_s
        self._tally = tally
        self._last: dict[int, tuple[tuple[object, ...], float]] = {}
        self._reported: set[tuple[int, int]] = set()
        self.longest_s = 0.0
        """The longest that any worker stood still."""

    def look(self) -> None:
        """To be called about once a second."""
        now_s = time.monotonic()
        for worker in self._workers:
            progress = worker.progress()
            last, since_s = self._last.get(worker.number, (None, now_s))
            if progress != last:
                self._last[worker.number] = progress, now_s
                continue
            still_s = now_s - since_s
            self.longest_s = max(self.longest_s, still_s)
            key = (worker.number, worker.finished)
            if still_s > self._limit_s and worker.doing is not None and key not in self._reported:
                self._reported.add(key)
                name = worker.doing.__name__
                self._tally.wrong(
                    f"stalled: worker {worker.number} got nowhere in {name} for {still_s:.0f} s"
                )
