"""Inode numbers and lookup counts: what the kernel refers to, and for how long.

A number is a hash of the path, so that it is the same after a remount (`rsync`, `find -inum` and NFS clients
care). Within an hour the numbers follow the calls' starts: `cp -r` and others sort what they read by inode,
and would otherwise walk a folder in an order that nobody can look ahead in. Two paths with the same number,
once in some billions, get neighbouring ones for as long as both are in use. An inode is remembered for as
long as the kernel's lookup count of it is above zero.

An inode is one version of a recording. The kernel keeps pages by inode, so a replaced recording becomes
another inode: whoever has the old one open keeps its size and its pages, and never sees a byte of the new.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from itertools import islice

from .storage import Version
from .tree import RECORDING_DEPTH, Path

ROOT = 1


class Inode:
    """What one number stands for. `version` is None for folders and while no size was asked for."""

    __slots__ = ("lookups", "number", "path", "version")

    def __init__(self, number: int, path: Path, version: Version | None) -> None:
        self.number = number
        self.path = path
        self.version = version
        self.lookups = 0

    def __repr__(self) -> str:
        return f"<Inode {self.number} /{'/'.join(self.path)} lookups={self.lookups}>"


class Inodes:
    """All inodes that the kernel knows.

    Invariants: every inode by number, but the root, has a lookup count above zero; every inode by path is
    also there by number, and what is there by number alone has been superseded.
    """

    def __init__(self) -> None:
        root = Inode(ROOT, (), None)
        root.lookups = 1
        self._by_number: dict[int, Inode] = {ROOT: root}
        self._by_path: dict[Path, Inode] = {(): root}

    def __len__(self) -> int:
        return len(self._by_number)

    def __iter__(self) -> Iterator[Inode]:
        return iter(self._by_number.values())

    def __getitem__(self, number: int) -> Inode:
        return self._by_number[number]

    def at(self, path: Path) -> Inode | None:
        """The present inode of a path, where the kernel knows one."""
        return self._by_path.get(path)

    def find(self, path: Path, version: Version | None, start_s: int) -> Inode:
        """The inode for this version of a path; a new one is not in the tables before it is looked up."""
        inode = self._by_path.get(path)
        if inode is None:
            return Inode(self._free_number(path, start_s), path, version)
        if version is None or inode.version == version:
            return inode
        if inode.version is None:
            inode.version = version
            return inode
        return Inode(self._free_number(path, start_s), path, version)

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

    def forget(self, number: int, times: int) -> None:
        """The kernel has dropped this many lookups of an inode."""
        inode = self._by_number.get(number)
        if inode is None or number == ROOT:
            return
        inode.lookups -= times
        if inode.lookups <= 0:
            del self._by_number[number]
            if self._by_path.get(inode.path) is inode:
                del self._by_path[inode.path]

    def _free_number(self, path: Path, start_s: int) -> int:
        if len(path) == RECORDING_DEPTH:
            number = _hash(path[:-1]) >> 34 << 34 | start_s % 3600 << 21 | _hash(path[-1:]) >> 42
        else:
            number = _hash(path)
        while number <= ROOT or number in self._by_number:
            number += 1
        return number


@lru_cache(maxsize=1024)
def _hash(path: Path) -> int:
    """63 bits that depend on nothing but the path."""
    digest = blake2b("/".join(path).encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
