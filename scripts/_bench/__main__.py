"""The benchmark: works of people who wait, on voxofs and on other mounts of the same recordings.

The simulator runs in a process of its own and answers its API after 80 ms and its storage after 30 ms. Each
work is done cold (a fresh mount) and, where that says something, again on the same mount (warm); every byte
and every size is compared with what the simulator holds. The figures are medians.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import time
from datetime import datetime
from pathlib import Path
from tempfile import mkdtemp

sys.path.insert(1, str(Path(__file__).resolve().parents[2]))

import lookinside
import report
from harness import API_DELAY_S, STORAGE_DELAY_S, Bench, say
from mounts import SYSTEMS, available
from processes import Failed
from truth import SEED, WrongBytes
from works import WORKS

from voxofs.simulator import start_process

_PEERS = [*(system for system in SYSTEMS if system != "voxofs"), "curl"]
_QUIET_SHARE = 0.05
_TOOLS = {"fusermount3": "fuse3", "ffprobe": "ffmpeg"}
_NEEDED_BY = {"ffprobe": ("ffprobe", "ffprobe-all")}


def main() -> int:
    """Exit codes: 0 done, 1 usage or something needed is missing, 2 a work failed or brought wrong bytes."""
    options = _options()
    works, peers = options.works, _installed_peers(options)
    if peers is None:
        return 1
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupted)
    base = Path(mkdtemp(prefix="voxofs-bench-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    begun_s = time.monotonic()
    try:
        with start_process(
            world="bench", seed=SEED, api_delay_s=API_DELAY_S, storage_delay_s=STORAGE_DELAY_S
        ) as sim:
            bench = Bench(sim, base, options.runs, peers)
            if options.log:
                print(lookinside.timeline(bench))
            if options.profile:
                print(lookinside.profile(bench, options.profile, options.profile_to))
            if not (options.log or options.profile) or options.works_given:
                _measure(bench, works, options, begun_s)
    except (Failed, WrongBytes) as error:
        say(f"bench: {error}")
        return 2
    except KeyboardInterrupt:
        say("bench: interrupted; everything is unmounted")
        return 2
    finally:
        shutil.rmtree(base, ignore_errors=True)
    return 0


def _measure(bench: Bench, works: list[str], options: argparse.Namespace, begun_s: float) -> None:
    for name in works:
        say(f"{name}: {' '.join((WORKS[name].__doc__ or '').split())}")
        WORKS[name](bench)
    print(f"scripts/bench {' '.join(sys.argv[1:])}".rstrip())
    print(
        f"{datetime.now():%Y-%m-%d %H:%M}, {platform.platform()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}; API {API_DELAY_S * 1000:.0f} ms, storage "
        f"{STORAGE_DELAY_S * 1000:.0f} ms; medians of {bench.runs} (httpdirfs, flood and million: once)"
    )
    print()
    print(report.table(bench.results))
    print()
    print(report.verdicts(bench.results))
    print(f"\ntook {time.monotonic() - begun_s:.0f} s; every byte and size was as the simulator has it")
    share = bench.results.others_share()
    busy = " (too much: run it again on a quiet machine)" if share > _QUIET_SHARE else ""
    print(f"other programs used {100 * share:.0f} % of the machine meanwhile{busy}")
    if options.json:
        options.json.write_text(json.dumps(bench.results.as_json(), indent=1) + "\n")


def _installed_peers(options: argparse.Namespace) -> list[str] | None:
    """The peers that can take part; None where something that voxofs itself is measured with is missing."""
    peers, missing = available(options.peers)
    lacking = [
        package
        for tool, package in _TOOLS.items()
        if not shutil.which(tool) and set(_NEEDED_BY.get(tool, options.works)) & set(options.works)
    ]
    for package in missing:
        say(f"bench: {package} is not installed and left out")
    if missing or lacking:
        say(f"bench: to install: apt-get install {' '.join([*lacking, *missing])}")
    return None if lacking else peers


def _interrupted(*_: object) -> None:
    """Once: a second Ctrl-C must not interrupt the unmounting."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3, help="how often each work is done (default: 3)")
    parser.add_argument("--works", type=_list_of(WORKS), metavar="A,B,…", help=f"some of: {', '.join(WORKS)}")
    parser.add_argument(
        "--peers",
        type=_list_of(_PEERS),
        default=_PEERS,
        metavar="A,B,…",
        help=f"some of: {', '.join(_PEERS)}; 'none' for voxofs alone",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run there")
    parser.add_argument("--log", action="store_true", help="print the request log of a cold cp -r")
    parser.add_argument(
        "--profile", type=int, metavar="SECONDS", help="py-spy on the daemon and the simulator during cp -r"
    )
    parser.add_argument(
        "--profile-to", type=Path, default=Path(), metavar="FOLDER", help="where its files go (default: here)"
    )
    options = parser.parse_args()
    options.works_given = options.works is not None
    options.works = options.works or list(WORKS)
    if options.runs < 1:
        parser.error("--runs must be at least 1")
    return options


def _list_of(known: object):
    names = list(known)  # type: ignore[call-overload]

    def parse(text: str) -> list[str]:
        wanted = [] if text == "none" else text.split(",")
        unknown = [name for name in wanted if name not in names]
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not one of {', '.join(names)}")
        return wanted

    return parse


if __name__ == "__main__":
    sys.exit(main())
