"""`voxofs export --verify`: what is in a destination, read back against its manifest, and mended on
request."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from voxofs.daemon.terminal import say
from voxofs.errors import Exit, VoxofsError

from . import offline
from .progress import watching

if TYPE_CHECKING:
    from voxofs.export.manifest import Manifest, Row


def verify(options: argparse.Namespace, paths: Sequence[str], root: Path) -> int:
    """Read back all, or what the paths mean. Neither a configuration nor a network is needed for that
    alone."""
    from voxofs.export.manifest import NAME, Manifest, read

    if not (root / NAME).is_file():
        raise VoxofsError(f"{root}: has no {NAME}, so nothing was exported there")
    if not options.repair:
        rows = _only(options, paths, read(root / NAME))
        different = _compared(root, rows, quiet=options.quiet)
        return Exit.MISSING if different else Exit.OK
    manifest = Manifest(root, offline.load(options).privacy.show)
    manifest.open()
    try:
        rows = _only(options, paths, manifest.rows)
        different = _compared(root, rows, quiet=options.quiet)
        return _repaired(options, root, manifest, different)
    finally:
        manifest.close()


def _only(options: argparse.Namespace, paths: Sequence[str], rows: Mapping[str, Row]) -> Mapping[str, Row]:
    """The rows of what the paths mean; all without paths."""
    if not paths:
        return rows
    from voxofs.export.selection import holds

    selection, _, _ = offline.meant(offline.load(options), paths, None)
    return {path: row for path, row in rows.items() if holds(selection, path)}


def _compared(root: Path, rows: Mapping[str, Row], *, quiet: bool) -> dict[str, str]:
    """What differs, and said so."""
    import trio

    from voxofs.export.disk import Disk
    from voxofs.export.fields import printable
    from voxofs.export.verify import differences, strangers

    with watching(quiet=quiet) as watcher:
        watcher.found(len(rows))
        watcher.listed()

        def looked_at(number_bytes: int) -> None:
            watcher.received(number_bytes)
            watcher.done()

        different = trio.run(differences, Disk(root), rows, looked_at)
    for path, difference in different.items():
        say(f"{printable(path)}: {difference}")
    if not quiet:
        from voxofs.export.manifest import NAME, read

        for path in strangers(root, read(root / NAME)):
            say(f"{printable(path)}: is not in the manifest; it was left alone")
        say(f"{len(rows):,} recordings read back, {len(different):,} differ")
    return different


def _repaired(
    options: argparse.Namespace, root: Path, manifest: Manifest, different: Mapping[str, str]
) -> int:
    """Fetch again what differs; give files that differ in time only their time."""
    from voxofs.export.disk import failed
    from voxofs.export.run import Order
    from voxofs.export.verify import OTHER_TIME, mend_time

    from .export_fetch import fetch, jobs_of, summary

    again = []
    for path, difference in different.items():
        if difference != OTHER_TIME:
            again.append(path)
            continue
        try:
            mend_time(root / path, manifest.rows[path])
        except OSError as error:
            raise failed(root, error) from None
    if not again:
        return Exit.OK
    config = offline.load(options)
    selection, _, calendar = offline.meant(config, again, None)
    manifest.distrusted.update(again)
    outcome = fetch(
        config,
        calendar,
        root,
        manifest,
        Order(selection, None, jobs_of(options, config)),
        quiet=options.quiet,
    )
    if not options.quiet:
        say(summary(outcome, root))
    return Exit.MISSING if outcome.missing else Exit.OK
