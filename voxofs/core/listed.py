"""Who has listed which folder just now.

A process that has listed a folder and then looks at its first entry is going through it: `ls -l`, `cp -r`,
`find`, `du`, a file manager. One that names its files without having listed them may want one, or two, or
all. Front ends that know no processes list as nobody, and nobody is going through anything.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from voxofs.clock import Clock
from voxofs.model import Caller

_JUST_NOW_S = 5.0
"""A program looks at the first entry within milliseconds; a large listing has to be sorted first. A rule of
thumb."""
_REMEMBERED = 256
"""Listings: more than are begun within that time, by programs that list a whole tree first. A rule of
thumb."""


class Listed:
    """The listings of the last few seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at_s: OrderedDict[tuple[int, Hashable], float] = OrderedDict()

    def note(self, caller: Caller, folder: Hashable) -> None:
        """This process lists this folder."""
        if not caller.pid or caller.crawls:
            return
        self._at_s[caller.pid, folder] = self._clock.monotonic_s()
        self._at_s.move_to_end((caller.pid, folder))
        if len(self._at_s) > _REMEMBERED:
            self._at_s.popitem(last=False)

    def by(self, caller: Caller, folder: Hashable) -> bool:
        """Whether this process has listed this folder just now."""
        return self._recent(self._at_s.get((caller.pid, folder)))

    def take(self, caller: Caller, folder: Hashable) -> bool:
        """The same, for the first who asks: what is looked at first tells what the listing was for."""
        return self._recent(self._at_s.pop((caller.pid, folder), None))

    def _recent(self, at_s: float | None) -> bool:
        return at_s is not None and self._clock.monotonic_s() - at_s < _JUST_NOW_S
