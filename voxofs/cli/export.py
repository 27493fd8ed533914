"""`voxofs export`: recordings and a manifest into a folder, without a mount."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from voxofs.daemon.terminal import say
from voxofs.errors import Exit

from . import offline
from .parser import Commands, UsageError

if TYPE_CHECKING:
    from voxofs.config.settings import Config
    from voxofs.core.build import Core
    from voxofs.export.run import Order

_HELP = f"""
examples:
  voxofs export demo/2021/08 ~/archive
  voxofs export demo/2021-08-01..2021-08-14 acme/2021/08 ~/archive --where 'duration > 600'
  voxofs export demo/2021/08 ~/archive --dry-run
  voxofs export ~/archive --verify --repair
{offline.PATHS}
DEST gets the same tree and times as a mount, and manifest.csv. The same command again, after whatever end,
goes on where it has stopped, and fetches nothing twice.

exit codes: 0 all is there, 1 usage or configuration, 2 system (the disk is full, the service refuses),
3 some cannot be had, or differ: they are named
"""
_MOST_JOBS = 256
"""As many connections as the configuration allows."""
_JOBS = "recordings at once (default: the connections to the API and to the storage together)"


def add_to(commands: Commands) -> None:
    parser = commands.add("export", run, summary="keep recordings in a folder", epilog=_HELP)
    parser.usage = "voxofs export [OPTIONS] PATH… DEST"
    offline.add_options(parser)
    parser.add_argument("--jobs", "-j", metavar="N", type=int, help=_JOBS)
    parser.add_argument("--dry-run", "-n", action="store_true", help="only say what would be exported")
    parser.add_argument("--verify", action="store_true", help="read what is in DEST back, name what differs")
    parser.add_argument("--repair", action="store_true", help="with --verify: fetch again what differs")
    parser.add_argument("--quiet", "-q", action="store_true", help="say nothing but what cannot be had")
    parser.add_argument("paths", metavar="PATH… DEST", nargs="+", help="what, and the folder to keep it in")


def run(options: argparse.Namespace) -> int:
    """Export, or verify. Raises VoxofsError."""
    *paths, destination = options.paths
    if options.jobs is not None and not 1 <= options.jobs <= _MOST_JOBS:
        raise UsageError(f"--jobs must be from 1 to {_MOST_JOBS}")
    if options.repair and not options.verify:
        raise UsageError("--repair mends what --verify finds: give both")
    if options.verify and (options.where is not None or options.dry_run):
        raise UsageError("--verify reads what is in DEST: it takes neither --where nor --dry-run")
    if not paths and not options.verify:
        raise UsageError(
            f"only one word is given, {destination}: what to export comes first, then the folder for it"
        )
    root = Path(destination)
    if options.verify:
        from .export_verify import verify

        return verify(options, paths, root)
    from .export_fetch import fetch, jobs_of, summary

    config = offline.load(options)
    selection, where, calendar = offline.meant(config, paths, options.where)
    from voxofs.export.run import Order

    order = Order(selection, where, jobs_of(options, config))
    if options.dry_run:
        return _dry_run(config, order, quiet=options.quiet)
    from voxofs.export.manifest import Manifest

    manifest = Manifest(root, config.privacy.show)
    manifest.open()
    try:
        outcome = fetch(config, calendar, root, manifest, order, quiet=options.quiet)
    finally:
        manifest.close()
    if not options.quiet:
        say(summary(outcome, root))
    return Exit.MISSING if outcome.missing else Exit.OK


def _dry_run(config: Config, order: Order, *, quiet: bool) -> int:
    """The paths, on stdout; nobody is asked for audio."""
    from voxofs.export.fields import path_of, printable
    from voxofs.export.walk import hours

    missing: list[str] = []

    def miss(path: str, reason: str) -> None:
        missing.append(path)
        say(f"{printable(path)}: {printable(reason)}")

    async def work(core: Core) -> int:
        number = 0
        async for places in hours(core, order.selection, order.where, miss):
            number += len(places)
            if not quiet:
                print("\n".join(printable(path_of(place)) for place in places))
        return number

    number = offline.with_core(config, work)
    sys.stdout.flush()
    say(f"{number:,} recordings would be exported")
    return Exit.MISSING if missing else Exit.OK
