"""The command line of the benchmark."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from programs import SYSTEMS
from runs import say
from works import UNASKED, WORKS
from worlds import WORLDS

_PEERS = [system for system in SYSTEMS if system != "before"]
_NEED_ROOT = ("restart", "restart-day", "full-tier")


class Options(argparse.Namespace):
    """What was asked for."""

    runs: int
    peer_runs: int
    works: list[str]
    works_given: bool
    worlds: list[str]
    peers: list[str]
    base: str | None
    write: bool
    quick: str | None
    """None: not quick; empty: against the usual commit."""
    json: Path | None
    log: bool
    profile: int | None
    profile_to: Path


def options(description: str) -> Options:
    """Parse it; exits with 2 and a line of help where it makes no sense."""
    parser = _parser(description)
    wanted = parser.parse_args(namespace=Options())
    wanted.works_given = wanted.works is not None
    if not wanted.works_given:
        wanted.works = [name for name in WORKS if name not in UNASKED]
        if os.geteuid() and wanted.quick is None:
            say(f"bench: without {', '.join(_NEED_ROOT)}: they drop the kernel's caches, which needs root")
            wanted.works = [name for name in wanted.works if name not in _NEED_ROOT]
    if wanted.runs < 1 or wanted.peer_runs < 1:
        parser.error("--runs and --peer-runs must be at least 1")
    if wanted.write and (wanted.works_given or "near" not in wanted.worlds):
        parser.error("--write takes all works and the world near: the page and the chart are made of them")
    wanted.json = wanted.json and wanted.json.absolute()
    wanted.profile_to = wanted.profile_to.absolute()
    return wanted


def _parser(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--quick", nargs="?", const="", metavar="BASE",
        help="compare this tree with a commit, in a minute (default: HEAD"
        " where something is changed, else where the branch left its upstream, else HEAD~1)")  # fmt: skip
    add("--runs", type=int, default=3, help="how often each work is done (default: 3)")
    add("--peer-runs", type=int, default=2, help="how often by others' programs, at most (default: 2)")
    add("--works", type=_list_of(WORKS), metavar="A,B,…", help=f"some of: {', '.join(WORKS)}")
    add("--worlds", type=_list_of(WORLDS), default=["near"], metavar="A,B,…",
        help=f"some of: {', '.join(WORLDS)} (default: near)")  # fmt: skip
    add("--peers", type=_list_of(_PEERS), default=_PEERS, metavar="A,B,…",
        help=f"some of: {', '.join(_PEERS)}; 'none' for voxofs alone")  # fmt: skip
    add("--base", metavar="COMMIT", help="measure voxofs of this commit, too: `before` in the tables")
    add("--write", action="store_true", help="write docs/performance.md, the chart and README's lines")
    add("--json", type=Path, metavar="FILE", help="write every run there")
    add("--log", action="store_true", help="print the request log of a cold cp -r")
    add("--profile", type=int, metavar="SECONDS", help="py-spy on daemon and simulator during cp -r")
    add(
        "--profile-to", type=Path, default=Path(), metavar="FOLDER", help="where its files go (default: here)"
    )
    return parser


def _list_of(known: Iterable[str]) -> Callable[[str], list[str]]:
    names = list(known)

    def parse(text: str) -> list[str]:
        wanted = [] if text == "none" else text.split(",")
        unknown = [name for name in wanted if name not in names]
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not one of {', '.join(names)}")
        return wanted

    return parse
