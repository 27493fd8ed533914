"""Entries as the kernel gets them: attributes, and names without any.

To a listing, an entry whose node number is 0 means: a name, its type and its inode number, "the userspace
filesystem did not want to return attributes/handle for this entry" (`fuse_direntplus_link` in
fs/fuse/readdir.c). The kernel makes no inode for it, sends no FORGET, and asks LOOKUP when somebody needs
more.

pyfuse3 3.5 keeps both numbers, `fuse_entry_param.ino` and `.attr.st_ino`, but sets them by one property. So
the inode number is written into its object, at a place that is looked for and proved at start: CPython's
`id` is the object's address, the struct lies inside it, and numbers that occur nowhere else tell where. Where
the proof fails in any point, there is no such place (`inode_place` is None), and nothing is written.
"""

from __future__ import annotations

import ctypes
import stat
import sys
from dataclasses import dataclass
from functools import lru_cache

import pyfuse3

from voxofs.core.listings import KNOWN_TTL_S, Attributes

from .inodes import Inode
from .pages import PAGE_BYTES

UNKNOWN_SIZE = -1
"""No size: the kernel drops the attributes (`fuse_invalid_attr` in fs/fuse/dir.c)."""
_MARKS = (0x5EA1_C0DE_7B3D_91F7, 0x2D96_E4F1_083C_A7B5, 0x61F3_8A5E_C497_0D2B, 0x37C8_1B6D_F2A4_5E93)
"""Numbers that nothing else in an object is, address or counter: 63 bits, drawn once."""
_WORD = ctypes.sizeof(ctypes.c_uint64)


@dataclass(frozen=True)
class Appearance:
    """Owner and modes that every file and folder shows."""

    uid: int
    gid: int
    file_mode: int
    dir_mode: int

    def entry(self, inode: Inode, attributes: Attributes) -> pyfuse3.EntryAttributes:
        """An entry with its attributes."""
        entry = pyfuse3.EntryAttributes()
        entry.st_ino, entry.generation = inode.number, inode.generation
        entry.st_uid, entry.st_gid = self.uid, self.gid
        if attributes.is_folder:
            entry.st_mode = stat.S_IFDIR | self.dir_mode
            entry.st_size = 0
        else:
            entry.st_mode = stat.S_IFREG | self.file_mode
            entry.st_size = UNKNOWN_SIZE if attributes.size is None else attributes.size
            entry.st_blocks = -(-(attributes.size or 0) // 512)
        entry.st_nlink = 1
        entry.st_blksize = PAGE_BYTES  # Python and stdio read as much at once, and the kernel twice of it
        entry.st_mtime_ns = entry.st_ctime_ns = entry.st_atime_ns = attributes.mtime_s * 1_000_000_000
        entry.entry_timeout = entry.attr_timeout = attributes.ttl_s
        return entry

    def named(self, inode: Inode, attributes: Attributes) -> pyfuse3.EntryAttributes:
        """An entry that is good as a name, and as nothing else yet: its size is not known. Its attributes are
        too old at once, so the kernel asks GETATTR before it uses any of them (`fuse_update_get_attr` and
        `fuse_perm_getattr` in fs/fuse/dir.c, `fuse_cache_read_iter` in fs/fuse/file.c)."""
        entry = self.entry(inode, attributes)
        entry.st_size = 0  # not UNKNOWN_SIZE, which no look-up may answer (`fuse_lookup_name`)
        entry.entry_timeout, entry.attr_timeout = KNOWN_TTL_S, 0.0
        return entry


class BareEntry:
    """A regular file of which the kernel is told name, type and inode number, and nothing else.

    One object for all of them: `readdir_reply` copies what it is given.
    """

    def __init__(self, place: int) -> None:
        self._entry = pyfuse3.EntryAttributes()  # its node number is 0
        self._entry.st_mode = stat.S_IFREG
        self._entry.st_size = UNKNOWN_SIZE
        self._number = _word(self._entry, place)

    def numbered(self, number: int) -> pyfuse3.EntryAttributes:
        """The entry with this inode number; good until the next one is asked for."""
        self._number.value = number
        return self._entry


@lru_cache(maxsize=1)
def inode_place() -> int | None:
    """Where in an `EntryAttributes` the inode number alone can be written, in bytes from the object's
    beginning; None where that is not certain."""
    if sys.implementation.name != "cpython":
        return None
    entry = pyfuse3.EntryAttributes()
    node, generation, other, inode = _MARKS
    entry.st_ino, entry.generation = node, generation
    before = _words(entry)
    places = [at for at, word in enumerate(before) if word == node]
    if len(places) != 2 or before.count(generation) != 1 or before[places[0] + 1] != generation:
        return None  # `ino` and `generation` stand side by side at the head of fuse_entry_param
    entry.st_ino = other
    if not _differ_only(before, _words(entry), dict.fromkeys(places, other)):
        return None
    place = places[1] * _WORD
    number = _word(entry, place)
    number.value = inode
    moved = _differ_only(before, _words(entry), {places[0]: other, places[1]: inode})
    if not moved or entry.st_ino != other or entry.generation != generation:
        return None
    return place if _is_bare(place) else None


def _is_bare(place: int) -> bool:
    """Whether a second object, made anew, has a node number of 0 and another inode number there."""
    entry = pyfuse3.EntryAttributes()
    before = _words(entry)
    number = _word(entry, place)
    if number.value != 0 or entry.st_ino != 0:
        return False
    number.value = _MARKS[0]
    return entry.st_ino == 0 and _differ_only(before, _words(entry), {place // _WORD: _MARKS[0]})


def _words(entry: pyfuse3.EntryAttributes) -> list[int]:
    """The object's own memory, and not a byte beyond it."""
    size = type(entry).__basicsize__ // _WORD * _WORD
    return list(memoryview(ctypes.string_at(id(entry), size)).cast("Q"))


def _word(entry: pyfuse3.EntryAttributes, place: int) -> ctypes.c_uint64:
    """A word of the object, as long as the object lives."""
    return ctypes.c_uint64.from_address(id(entry) + place)


def _differ_only(before: list[int], after: list[int], expected: dict[int, int]) -> bool:
    """Whether exactly these words have become these numbers. The first one may: it counts references."""
    return len(before) == len(after) and all(
        now == expected.get(at, was) for at, (was, now) in enumerate(zip(before, after, strict=True)) if at
    )
