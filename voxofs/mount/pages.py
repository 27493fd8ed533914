"""Pages that the kernel will ask for again.

Where readahead is answered with an error, its pages stay in the kernel without their bytes. Whoever needs one
has it read in the foreground (`fuse_read_folio`), through whichever handle: such a read takes none of the
kernel's background requests, and its errno reaches the program. So it must not be refused.

For the user that second try is one and the same read, which has waited long enough: it is answered with the
error that the first one got. So are the reads of others that stood behind it: a page is locked while it is
read, and each of them would have it read anew, one deadline after another. Whoever opens the file after that
error has waited for nothing yet, and is not told it.
"""

from __future__ import annotations

from collections import deque

import trio

from voxofs.errors import VoxofsError

PAGE_BYTES = 4_096
"""The smallest page. A read of one alone may be a foreground one in any case (a page fault after
MADV_RANDOM)."""
_MOST_PAGES = 65_536
"""256 MiB of readahead that failed in one inode; beyond that every page of it counts as such a one. A rule of
thumb."""
_SAME_READ_S = 1.0
"""The kernel asks again within milliseconds, but on a busy machine it may be read late; a program that tries
again on purpose, through the file that it has open, waits longer. A rule of thumb."""
_SAME_READS = 8
"""The kernel's readahead is in two or three pieces, and several processes may share a handle. A rule of
thumb."""


class AskedAgain:
    """By inode, the pages of which a read has failed and none succeeded since, and the last errors."""

    def __init__(self) -> None:
        self._pages: dict[int, set[int]] = {}
        self._errors: dict[int, deque[tuple[VoxofsError, range, float]]] = {}

    def told(self, inode: int, offset: int, opened_s: float) -> VoxofsError | None:
        """The error that a read of these bytes was answered with a moment ago, when a file that was opened at
        `opened_s` may have been waiting for them."""
        now_s = trio.current_time()
        for error, pages, told_s in self._errors.get(inode, ()):
            if offset // PAGE_BYTES in pages and opened_s < told_s and now_s < told_s + _SAME_READ_S:
                return error
        return None

    def tell(self, inode: int, offset: int, size: int, error: VoxofsError) -> None:
        """A read is answered with an error that has cost its deadline, or its tries."""
        errors = self._errors.setdefault(inode, deque(maxlen=_SAME_READS))
        errors.append((error, _range(offset, size), trio.current_time()))

    def expected(self, inode: int, offset: int) -> bool:
        """Whether a read that begins there is the kernel's second try."""
        pages = self._pages.get(inode)
        return pages is not None and (len(pages) >= _MOST_PAGES or offset // PAGE_BYTES in pages)

    def failed(self, inode: int, offset: int, size: int) -> None:
        """A read has been answered with an error."""
        pages = self._pages.setdefault(inode, set())
        if len(pages) < _MOST_PAGES:
            pages.update(_range(offset, size))

    def succeeded(self, inode: int, offset: int, size: int) -> None:
        """A read has been answered with bytes."""
        pages = self._pages.get(inode)
        if pages is not None and len(pages) < _MOST_PAGES:
            pages.difference_update(_range(offset, size))
            if not pages:
                del self._pages[inode]

    def forget(self, inode: int) -> None:
        """The kernel has dropped the inode, and its pages with it."""
        self._pages.pop(inode, None)
        self._errors.pop(inode, None)


def _range(offset: int, size: int) -> range:
    return range(offset // PAGE_BYTES, -(-(offset + size) // PAGE_BYTES))
