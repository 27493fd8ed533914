"""The benchmark: works of people who wait, on voxofs and on other mounts of the same recordings.

The simulator runs in a process of its own. Near, it answers its API after 80 ms and its storage after
30 ms; far-tls, it is 40 ms away and speaks TLS. Each work is done cold (a fresh mount) and, where that says
something, again on the same mount (warm); every byte and every size is compared with what the simulator
holds. The figures are medians.

--quick takes a minute and compares two commits alone: this tree and BASE do a few works in turn, and it ends
with 1 where this one is slower.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import sys
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from tempfile import mkdtemp

sys.path.insert(1, str(Path(__file__).resolve().parents[2]))

import base
import chart
import lookinside
import page
import quick
import report
import restart_lines
import speed_lines
from options import Options, options
from processes import Failed
from programs import PACKAGES, present, program, versions
from runs import Bench, Plan, Results, say
from truth import Truth, WrongBytes
from works import FAR, WORKS
from worlds import WORLDS, running

_LINES = (*speed_lines.LINES, *restart_lines.LINES)
_QUIET_SHARE = 0.05
"""Of the machine's CPU time; more of it for other programs moves medians by more than their spread."""
_NEEDED = {"fusermount3": None, "ffprobe": ("ffprobe", "ffprobe-all")}
"""What voxofs itself is measured with, and the works that take it (None: all)."""


def main() -> int:
    """Exit codes: 0 done; 1 something needed is missing, or --quick found it slower; 2 usage, a work that
    failed, or wrong bytes."""
    wanted = options(__doc__ or "")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    folder = Path(mkdtemp(prefix="voxofs-bench-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    os.chdir(folder)  # `python -m` looks into the present folder first, and another voxofs may lie there
    try:
        if wanted.quick is not None:
            return quick.compare(wanted.quick or base.usual(), folder)
        return _measured(wanted, folder)
    except (Failed, WrongBytes) as error:
        say(f"bench: {error}")
        return 2
    except KeyboardInterrupt:
        say("bench: interrupted; everything is unmounted")
        return 2
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measured(wanted: Options, folder: Path) -> int:
    peers, missing = present(wanted.peers)
    lacking = [
        PACKAGES.get(tool, tool)
        for tool, works in _NEEDED.items()
        if not program(tool) and (works is None or set(works) & set(wanted.works))
    ]
    for name in missing:
        say(f"bench: {name} is not installed and left out")
    if lacking:
        say(f"bench: to install: apt-get install {' '.join(lacking)}")
        return 1
    begun_s = time.monotonic()
    results = Results()
    failed: list[str] = []
    with ExitStack() as stack:
        before = None
        if wanted.base is not None:
            before = stack.enter_context(base.worktree(wanted.base, folder))
            peers = ["before", *peers]
        plan = Plan(wanted.runs, min(wanted.runs, wanted.peer_runs), tuple(peers), before)
        truth = Truth()
        for name in wanted.worlds:
            with running(WORLDS[name], folder) as service:
                bench = Bench(service, folder, plan, truth, results)
                if wanted.log:
                    print(lookinside.timeline(bench))
                if wanted.profile:
                    print(lookinside.profile(bench, wanted.profile, wanted.profile_to))
                if wanted.works_given or not (wanted.log or wanted.profile):
                    failed += _works(bench, name, wanted)
    if results.runs:
        _tell(results, wanted, begun_s)
    for complaint in failed:
        say(f"bench: {complaint}")
    return 2 if failed else 0


def _works(bench: Bench, world: str, wanted: Options) -> list[str]:
    """Do them, and return what failed: one program that would not work must not cost what was measured."""
    failed = []
    say(f"{world}: {bench.world.told()}")
    for name in wanted.works if wanted.works_given or world == "near" else FAR:
        begun_s = time.monotonic()
        say(f"{name}: {' '.join((WORKS[name].__doc__ or '').split())}")
        try:
            WORKS[name](bench)
        except (Failed, OSError) as error:  # OSError: what a mount answered to a read of ours
            failed.append(f"{name}, {world}: {error}")
            say(f"  failed: {error}")
            bench.delays()
        say(f"  {'':<22} {'(all of it)':<16} {time.monotonic() - begun_s:8.3f} s")
    return failed


def _tell(results: Results, wanted: Options, begun_s: float) -> None:
    worlds = [WORLDS[name] for name in wanted.worlds]
    head = _head(results, wanted)
    print("\n".join(head), end="\n\n")
    for rows in (report.table(results), report.cpu(results), report.verdicts(results, _LINES)):
        print(report.aligned(rows), end="\n\n")
    print(f"took {time.monotonic() - begun_s:.0f} s; every byte and size was as the simulator has it")
    if results.others_share() > _QUIET_SHARE:
        print("other programs were too busy: run it again on a quiet machine")
    if wanted.json:
        wanted.json.write_text(json.dumps(results.as_json(), indent=1) + "\n")
    if wanted.write:
        text = page.figures(head, results, worlds, _LINES)
        page.PAGE.write_text(page.with_figures(page.PAGE.read_text(), text))
        chart.main()
        print(f"written: {page.PAGE}, {chart.CHART}, {chart.README}")


def _head(results: Results, wanted: Options) -> list[str]:
    """How it was measured, in sentences: the top of the page's figures."""
    release = ".".join(platform.release().split(".")[:2])
    machine = f"{os.cpu_count()} cores, Linux {release}, Python {platform.python_version()}"
    words = [Path(word).name if os.path.isabs(word) else word for word in sys.argv[1:]]
    command = f"scripts/bench {' '.join(words)}".rstrip()
    peer_runs = min(wanted.runs, wanted.peer_runs)
    busy = f"other programs used {100 * results.others_share():.0f} % of the machine meanwhile"
    lines = [
        f"`{command}` on {datetime.now():%Y-%m-%d}, commit {base.this()}; "
        + ", ".join(filter(None, [machine, versions()]))
        + ".",
        f"Medians of {wanted.runs} runs, of others' programs {peer_runs}; httpdirfs, the tag readers, 24,000",
        f"calls and the million once. Every byte and size was compared; {busy}.",
    ]
    if wanted.base is not None:
        lines.append(f"`before` is voxofs at commit {base.commit(wanted.base)}, in turn with this one.")
    return lines


def _interrupted(*_: object) -> None:
    """Once: a second Ctrl-C must not interrupt the unmounting."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
