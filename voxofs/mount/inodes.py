"""Inodes and lookup counts: what the kernel refers to, and for how long.

How a path is numbered is in `numbers`. Two paths with the same number get neighbouring ones for as long as
both are in use. An inode is remembered for as long as the kernel's lookup count of it is above zero.

An inode is one version of a recording. The kernel keeps pages by inode, so a replaced recording becomes
another inode: whoever has the old one open keeps its size and its pages, and never sees a byte of the new.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice

from voxofs.central import CentralTime
from voxofs.core.tree import RECORDING_DEPTH, Names
from voxofs.model import Version

from .numbers import Numbers, generation

_VERSIONS_KEPT = 65_536
"""10 MB, for recordings whose size was told; the oldest leave first. A rule of thumb."""
ROOT = 1
"""The root's number (FUSE_ROOT_ID in linux/fuse.h)."""


class Inode:
    """What one number stands for. `version` is None for folders and until a size has been told."""

    __slots__ = ("generation", "lookups", "number", "path", "version")

    def __init__(self, number: int, path: Names, version: Version | None, generation: int = 0) -> None:
        self.number = number
        self.path = path
        self.version = version
        self.generation = generation
        """What tells it apart from what had this number before. It stays as it is: the kernel takes an inode
        of another generation for another file (`fuse_stale_inode` in fs/fuse/fuse_i.h)."""
        self.lookups = 0

    def __repr__(self) -> str:
        return f"<Inode {self.number} /{'/'.join(self.path)} lookups={self.lookups}>"


class Inodes:
    """All inodes that the kernel knows.

    Invariants: every inode by number, but the root, has a lookup count above zero; every inode by path is
    also there by number, and what is there by number alone has been superseded.
    """

    def __init__(self, central: CentralTime) -> None:
        self.numbers = Numbers(central)
        root = Inode(ROOT, (), None, 0)
        root.lookups = 1
        self._by_number: dict[int, Inode] = {ROOT: root}
        self._by_path: dict[Names, Inode] = {(): root}
        self._first: OrderedDict[int, int] = OrderedDict()
        """By number, a hash of the first version that was told of it: handles of that one name no version."""

    def __len__(self) -> int:
        return len(self._by_number)

    def __iter__(self) -> Iterator[Inode]:
        return iter(self._by_number.values())

    def __getitem__(self, number: int) -> Inode:
        return self._by_number[number]

    def get(self, number: int) -> Inode | None:
        """The inode with a number, where the kernel knows one."""
        return self._by_number.get(number)

    def at(self, path: Names) -> Inode | None:
        """The present inode of a path, where the kernel knows one."""
        return self._by_path.get(path)

    def find(self, path: Names, version: Version | None, start_s: int) -> Inode:
        """The inode for this version of a path; a new one is not in the tables before it is looked up."""
        inode = self._by_path.get(path)
        if inode is None:
            return self._new(path, version, start_s)
        if version is None or inode.version == version:
            return inode
        if inode.version is None:
            self.tell(inode, version)
            return inode
        return self._new(path, version, start_s)

    def _new(self, path: Names, version: Version | None, start_s: int) -> Inode:
        number = self._free_number(path, start_s)
        if version is None:
            return Inode(number, path, None, generation(path, None))
        is_first = self._is_first(number, version)
        return Inode(number, path, version, generation(path, None if is_first else version))

    def tell(self, inode: Inode, version: Version | None) -> None:
        """The kernel is told the size of a recording that it knew by name alone."""
        if version is not None:
            self._is_first(inode.number, version)
        inode.version = version

    def has_had_a_version(self, path: Names, start_s: int) -> bool:
        """Whether a version of this recording has been told before: then a name is not enough, for its
        generation tells which one it is now."""
        return self._free_number(path, start_s) in self._first

    def _is_first(self, number: int, version: Version) -> bool:
        first = self._first.setdefault(number, hash(version))
        if len(self._first) > _VERSIONS_KEPT:
            self._first.popitem(last=False)
        return first == hash(version)

    def looked_up(self, inode: Inode) -> None:
        """The kernel has been told of an inode: its lookup count rises by one."""
        inode.lookups += 1
        self._by_number[inode.number] = inode
        self._by_path[inode.path] = inode

    def oldest_recordings(self, most: int) -> list[Inode]:
        """Recordings that the kernel has known for longest, `most` of them at the most."""
        recordings = (inode for inode in self._by_number.values() if len(inode.path) == RECORDING_DEPTH)
        return list(islice(recordings, most))

    def superseded(self, inode: Inode) -> bool:
        """Whether its path has become another inode."""
        return self._by_path.get(inode.path) is not inode

    def forget(self, number: int, times: int) -> bool:
        """The kernel has dropped this many lookups of an inode; whether it knows it no more."""
        inode = self._by_number.get(number)
        if inode is None or number == ROOT:
            return False
        inode.lookups -= times
        if inode.lookups > 0:
            return False
        del self._by_number[number]
        if self._by_path.get(inode.path) is inode:
            del self._by_path[inode.path]
        return True

    def number_shown(self, path: Names, number: int) -> int:
        """The number of a path in a listing, which stands for no look-up: the one by which the kernel knows
        it, else the one that it has by itself, or the next that is free."""
        inode = self._by_path.get(path)
        return self._next_free(number) if inode is None else inode.number

    def _free_number(self, path: Names, start_s: int) -> int:
        return self._next_free(self.numbers.number(path, start_s))

    def _next_free(self, number: int) -> int:
        while number <= ROOT or number in self._by_number:
            number += 1
        return number
