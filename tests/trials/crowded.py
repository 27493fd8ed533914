"""Sixty-four processes at an API that answers 429 above twenty requests at once: what each gets.

    python -m trials.crowded [--processes 64] [--callers 2] [--seconds 40]    in tests/, with voxofs installed

Each process has an fsspec file system of its own, and its callers ask for reports over and over. The
simulator is a process, too. They all begin at once; what is measured begins when they have had `WARM_S` to
find their shares. The exit code is 1 where less than 80 % of what the API can serve was served, where a
process got less than a quarter of the median, or where a request failed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import threading
import time
from datetime import date, timedelta
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from voxofs.fsspec.filesystem import VoxoFileSystem
from voxofs.simulator.process import start_process

MOST = 20
"""Requests at once that the API bears."""
SERVES_S = 0.4
"""What a report takes: 50 a second in all, so that 64 processes on two cores are not what holds it up."""
FIRST = date(2000, 1, 1)
"""Old enough for a report every two days of as many as anybody gets in the time; there are no calls."""
LEAST_SHARE = 0.8
WARM_S = 10.0
"""Twenty-five round trips; the limits come down from 32 to a third in as many."""


def ask(options: dict[str, Any], place: tuple[int, int, float], results: Any, begin: Any) -> None:
    """One process: reports that nobody else asks for and that it has not asked for, as fast as they come."""
    number, callers, seconds = place
    fs = VoxoFileSystem(**options)
    [tenant] = options["tenants"]
    results.put(None)
    begin.wait()
    from_s = time.monotonic() + WARM_S
    until_s = from_s + seconds
    done, failed = [0] * callers, [0] * callers

    def call(caller: int) -> None:
        for step in count(caller, callers):
            if time.monotonic() >= until_s:
                return
            day = FIRST + timedelta(days=4 * step)  # a report is for two days
            try:
                fs.ls(f"{tenant}/{day:%Y/%m/%d}")
                done[caller] += from_s <= time.monotonic() < until_s
            except OSError as error:
                failed[caller] += 1
                print(f"process {number}: {error}", file=sys.stderr)

    threads = [threading.Thread(target=call, args=(caller,)) for caller in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put((sum(done), sum(failed)))


def main() -> int:
    """Print what was served, and to whom."""
    parser = argparse.ArgumentParser(prog="trials.crowded")
    parser.add_argument("--processes", type=int, default=64)
    parser.add_argument("--callers", type=int, default=2, help="threads in each process")
    parser.add_argument("--seconds", type=float, default=40.0)
    given = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with (
        start_process(world="demo", api_delay_s=SERVES_S) as sim,
        tempfile.TemporaryDirectory(prefix="voxofs-test-") as folder,
    ):
        token = Path(folder, "token")
        token.touch(0o600)
        token.write_text(sim.token)
        code, tenant = next(iter(sim.tenants.items()))
        options = {
            "base_url": sim.api_url,
            "token_file": str(token),
            "tenants": {code: {"id": tenant, "since": FIRST.isoformat()}},
            "deadline_s": 60,
        }
        sim.add_faults(
            {"kind": "crowded", "match": {"origin": "api"}, "most": MOST, "status": 429, "times": None}
        )
        results, begin = context.Queue(), context.Event()
        children = [
            context.Process(
                target=ask, args=(options, (number, given.callers, given.seconds), results, begin)
            )
            for number in range(given.processes)
        ]
        for child in children:
            child.start()
        for _ in children:
            results.get(timeout=300)
        begin.set()
        told = [results.get(timeout=WARM_S + given.seconds + 120) for _ in children]
        for child in children:
            child.join()
        statuses = sim.stats()["statuses"]
    served, failed = sorted(each[0] for each in told), sum(each[1] for each in told)
    share = sum(served) / (MOST / SERVES_S * given.seconds)
    print(f"{given.processes} processes with {given.callers} callers each, {given.seconds:.0f} s")
    print(f"served: {sum(served)}, {share:.0%} of what the API can; {failed} failed; answers: {statuses}")
    print(f"by process: least {served[0]}, median {median(served):g}, most {served[-1]}; {served}")
    return int(share < LEAST_SHARE or served[0] < median(served) / 4 or failed > 0)


if __name__ == "__main__":
    sys.exit(main())
