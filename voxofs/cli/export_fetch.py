"""What `voxofs export` does with and without --verify: fetch, with progress on stderr."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from . import offline
from .progress import watching
from .status_text import size

if TYPE_CHECKING:
    from voxofs.config.settings import Config
    from voxofs.core.build import Core
    from voxofs.core.tree import Calendar
    from voxofs.export.manifest import Manifest
    from voxofs.export.run import Order, Tally


def jobs_of(options: argparse.Namespace, config: Config) -> int:
    """Recordings at once: half of them ask for a link while the others receive."""
    return options.jobs or config.api.connections + config.storage.connections


def fetch(
    config: Config, calendar: Calendar, root: Path, manifest: Manifest, order: Order, *, quiet: bool
) -> Tally:
    """One run with a core of its own and progress on stderr. Raises VoxofsError."""
    from voxofs.export.disk import Disk
    from voxofs.export.run import Export

    async def work(core: Core) -> Tally:
        return await Export(core, calendar, Disk(root), manifest, order, watcher).run()

    with watching(quiet=quiet) as watcher:
        return offline.with_core(config, work)


def summary(outcome: Tally, root: Path) -> str:
    """One line."""
    words = [f"{outcome.fetched:,} recordings ({size(outcome.fetched_bytes)}) exported to {root}"]
    if outcome.present:
        words.append(f"{outcome.present:,} were there already")
    if outcome.missing:
        words.append(f"{len(outcome.missing):,} cannot be had")
    return ", ".join(words)
