"""Paths of numbers that are known no more.

An NFS server names a file by its number (exportfs, Documentation/filesystems/nfs/exporting.rst): the kernel
asks for "." in a number that it has forgotten, and told us to forget, perhaps before this process began. The
number leads to an hour (`numbers`), and the hour's listing to the recording. That costs the hour's report at
the most.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from voxofs.core.listings import Listing
from voxofs.core.tree import Names, NoSuchName
from voxofs.errors import VoxofsError

from .numbers import Numbers


async def path_of(
    number: int, numbers: Numbers, listing: Callable[[Names], Awaitable[Listing]]
) -> Names | None:
    """The path that has this number; None if there is none. Raises what `listing` raises, but only if no
    other tenant has it."""
    root = await listing(())
    tenants = [root.entry(index)[0] for index in range(len(root))]
    for folder in numbers.folders(number, tenants):
        return folder
    failed: VoxofsError | None = None
    for hour in numbers.hours(number, tenants):
        try:
            recordings = await listing(hour)
        except NoSuchName:
            continue
        except VoxofsError as error:
            failed = error
            continue
        for index in range(len(recordings)):
            name, attributes = recordings.entry(index)
            if numbers.number((*hour, name), attributes.mtime_s) == number:
                return (*hour, name)
    if failed is not None:
        raise failed
    return None
