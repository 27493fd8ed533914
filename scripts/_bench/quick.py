"""Two commits in turn, in a minute: this tree and another, so that a slow-down is seen before it lands.

A B A B …: what else happens on the machine hits both. A turn is a fresh mount and four works on it, each
cold: `find` over a full month, `ls -l` of an hour, `cp -r` of the next hour, the first 64 MiB of a
long recording. As many turns as a minute holds. The verdict is `verdict`'s.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from itertools import count
from pathlib import Path

import base
import report
import verdict
from mounts import OURS, Mounted
from processes import run
from runs import Bench, Check, Plan, Results, say
from truth import HOUR_PATH, Truth, same
from worlds import WORLDS, running

_ROUNDS_S = 48.0
"""What is left of a minute after the simulator's start, the truth and one turn that warms up."""
_LEAST_ROUNDS = 3
"""A median of two is their mean: noise would be in it."""
_NEXT_HOUR_PATH = Path("05/11")
_LONG_MIB = 64


def compare(name: str, folder: Path) -> int:
    """Print the ratios. Exit codes: 0 no slower, 1 slower. Raises `Failed`."""
    began_s = time.monotonic()
    results = Results()
    say(f"quick: commit {base.this()} against {base.commit(name)} ({name})")
    with base.worktree(name, folder) as before, running(WORLDS["near"], folder) as service:
        plan = Plan(1, 1, ("before",), before)
        turn = _Turn(Bench(service, folder, plan, Truth(), results))
        for system in OURS:  # compiles the modules, and the simulator computes its months
            turn.take(system, keep=False)
        rounds_s = time.monotonic()
        for number in count(1):
            for system in OURS:
                turn.take(system)
            a_round_s = (time.monotonic() - rounds_s) / number
            if number >= _LEAST_ROUNDS and time.monotonic() + a_round_s > rounds_s + _ROUNDS_S:
                break
    comparisons = compared(results)
    print(report.aligned(verdict.rows(comparisons)))
    slower = [comparison for comparison in comparisons if comparison.slower]
    took_s = time.monotonic() - began_s
    busy = f"other programs used {100 * results.others_share():.0f} % of the machine"
    print(f"\n{number} rounds, {took_s:.0f} s; {busy}")
    said = ", ".join(f"{comparison.work} ({comparison.quantity})" for comparison in slower)
    print(f"slower than {name}: {said}" if slower else f"no slower than {name}")
    return 1 if slower else 0


def compared(results: Results) -> list[verdict.Comparison]:
    """The daemon's CPU and the wall clock of every work that both did."""
    found = []
    for work in dict.fromkeys(work for work, _ in results.runs):
        new, old = (results.runs[work, system] for system in OURS)
        found += [
            verdict.Comparison(
                work, "CPU", verdict.CPU, [run.cpu_s for run in new], [run.cpu_s for run in old]
            ),
            verdict.Comparison(
                work, "wall", verdict.WALL, [run.seconds for run in new], [run.seconds for run in old]
            ),
        ]
    return found


class _Turn:
    """A mount and what is done on it."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._month = len(bench.truth.tree("month", date(2024, 3, 1), 31))
        sizes = bench.truth.tree("bench", date(2024, 3, 5), 1)
        self._next_hour = {
            Path(path).name: size for path, size in sizes.items() if f"/{_NEXT_HOUR_PATH}/" in path
        }

    def take(self, system: str, *, keep: bool = True) -> None:
        """Once through the works."""
        works: dict[str, Callable[[Mounted], Check]] = {
            "find full month": self._find,
            "ls -l": self._ls,
            "cp -r": self._copy,
            "64 MiB": self._long,
        }
        with self._bench.mount(system, "bench", "month", "big") as mount:
            for name, action in works.items():
                self._bench.measure(name, system, partial(action, mount), daemon=mount, keep=keep)

    def _find(self, mount: Mounted) -> Check:
        output = run(["find", mount.path / "month/2024/03", "-name", "*.mp3"])
        return lambda: same(len(output.splitlines()), self._month, "find over a month")

    def _ls(self, mount: Mounted) -> Check:
        output = run(["ls", "-l", mount.month / HOUR_PATH])
        return lambda: self._bench.truth.check_ls(output)

    def _copy(self, mount: Mounted) -> Check:
        target = self._bench.fresh_folder()
        run(["cp", "-r", mount.month / _NEXT_HOUR_PATH, target])

        def check() -> None:
            found = {path.name: path.stat().st_size for path in target.iterdir()}
            shutil.rmtree(target)
            same(found, self._next_hour, "a copy of the next hour")

        return check

    def _long(self, mount: Mounted) -> Check:
        file = mount.path / "big/2024/03" / HOUR_PATH / self._bench.truth.big
        run(["dd", f"if={file}", "of=/dev/null", "bs=1M", f"count={_LONG_MIB}", "status=none"])
        return lambda: None
