"""What happens inside a cold `cp -r`: the request log as a timeline, and a profile by py-spy."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from processes import Failed, end, run, start
from runs import Bench
from truth import HOUR_PATH

_STEP_S = 0.05
_SAMPLES_A_S = 100
_TOP = 25


def timeline(bench: Bench) -> str:
    """Every request of a cold `cp -r`, and how many were in flight in every twentieth of a second."""
    with bench.mount("voxofs") as mount:
        bench.sim.reset_log()
        begun_s = time.monotonic()
        target = bench.fresh_folder()
        run(["cp", "-r", mount.month / HOUR_PATH, target])
        seconds = time.monotonic() - begun_s
        bench.drained()
        entries = bench.sim.log()
        bench.truth.check_copy(target)
    lines = [
        f"cold cp -r of {len(bench.truth.names)} recordings: {seconds:.3f} s, {len(entries)} requests",
        "",
    ]
    lines += _histogram(entries, begun_s, seconds)
    lines += ["", "   start      end  in flight  request"]
    for entry in entries:
        what = f"{entry['route']:<8}{entry['unique_id'] or ''} {entry['range'] or ''}"
        lines.append(
            f"{entry['t_start'] - begun_s:8.3f} {entry['t_end'] - begun_s:8.3f}  {entry['in_flight']:>9}  "
            f"{what} -> {entry['status']}, {entry['bytes_sent']} bytes"
        )
    return "\n".join(lines)


def _histogram(entries: list[dict[str, Any]], begun_s: float, seconds: float) -> Iterator[str]:
    yield "  time   API  storage   in flight (a: API, s: storage)"
    moment_s = 0.0
    while moment_s < seconds:
        flying = Counter(
            entry["origin"]
            for entry in entries
            if entry["t_start"] - begun_s <= moment_s < entry["t_end"] - begun_s
        )
        api, storage = flying["api"], flying["storage"]
        yield f"{moment_s:6.2f}  {api:4}     {storage:4}   {'a' * api}{'s' * storage}"
        moment_s += _STEP_S


def profile(bench: Bench, duration_s: int, folder: Path) -> str:
    """py-spy on daemon and simulator while hours are copied, each for the first time; the raw samples (which
    flame graphs are made from) go to files."""
    spy = Path(sys.executable).with_name("py-spy")
    if not spy.exists():
        raise Failed(f"{spy} is missing: .venv/bin/pip install py-spy")
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    with bench.mount("voxofs", "flood") as mount:
        files = {name: folder / f"profile-{name}.txt" for name in ("voxofs", "simulator")}
        pids = {"voxofs": mount.pid, "simulator": bench.sim.pid}
        spies = {
            name: start(
                [spy, "record", "--nonblocking", "-d", str(duration_s), "-r", str(_SAMPLES_A_S), "-f", "raw",
                 "-o", file, "-p", str(pids[name])],
                folder / f"py-spy-{name}.log",
            )
            for name, file in files.items()
        }  # fmt: skip
        until_s = time.monotonic() + duration_s
        copied = 0
        try:
            for hour in _hours(mount.month):
                if time.monotonic() >= until_s:
                    break
                target = bench.fresh_folder()
                run(["cp", "-r", hour, target])
                copied += sum(1 for _ in target.iterdir())
                run(["rm", "-r", target])
        finally:
            for spy_process in spies.values():
                end(spy_process, patience_s=duration_s + 10.0)
        lines.append(f"{copied} recordings copied while profiling")
        for name, file in files.items():
            lines += ["", f"{name}: {file}", *_top(file)]
    return "\n".join(lines)


def _hours(month: Path) -> Iterator[Path]:
    """Hours of a thousand recordings each that were not read yet: one busy hour would be copied too soon."""
    for hour in range(24):
        yield month / f"05/{hour:02}"


def _top(file: Path) -> Iterator[str]:
    """Where the samples are: by function itself, and by function with what it calls."""
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    total = 0
    for line in file.read_text().splitlines():
        stack, _, number = line.rpartition(" ")
        frames = [_short(frame) for frame in stack.split(";")]
        total += int(number)
        own[frames[-1]] += int(number)
        for frame in set(frames):
            within[frame] += int(number)
    yield f"{total} samples at {_SAMPLES_A_S} a second ({total / _SAMPLES_A_S:.1f} s of CPU)"
    yield f"{'itself':>46}     {'with what it calls':>52}"
    for (name, times), (caller, calls) in zip(own.most_common(_TOP), within.most_common(_TOP), strict=False):
        yield f"{100 * times / total:5.1f} %  {name:<52}{100 * calls / total:5.1f} %  {caller}"


def _short(frame: str) -> str:
    name, _, place = frame.partition(" (")
    place = "/".join(place.rstrip(")").rsplit(":", 1)[0].split("/")[-2:])
    return f"{name} {place}"[:50]
