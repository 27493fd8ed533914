"""Entries without attributes: the place that is written to, its proof, and what the kernel makes of them."""

from __future__ import annotations

import ctypes
import json
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyfuse3
import pytest
from harness.fronts import MountFront, mount_front
from harness.world import HOUR, SIZES, sized_hour, tenant
from trials.programs import in_thread

from voxofs.core.listings import Attributes
from voxofs.mount import entries
from voxofs.mount.entries import Appearance, BareEntry, inode_place
from voxofs.mount.inodes import Inode

NO_PLACE = "import voxofs.mount.entries as entries\nentries.inode_place = lambda: None"


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    inode_place.cache_clear()
    yield
    inode_place.cache_clear()


def test_the_inode_number_is_written_and_nothing_else() -> None:
    place = inode_place()
    assert place is not None, "on the machines that this is tested on, the proof holds"
    bare = BareEntry(place)
    for number in (2, 2**62 + 1, 3):
        entry = bare.numbered(number)
        assert ctypes.c_uint64.from_address(id(entry) + place).value == number
        assert (entry.st_ino, entry.generation, entry.st_mode, entry.st_nlink) == (0, 0, stat.S_IFREG, 1)
    assert pyfuse3.EntryAttributes().st_ino == 0


class Padded:
    """An `EntryAttributes` of another making: pure Python, its numbers are not in the object itself."""

    st_ino = generation = 0


@pytest.mark.parametrize("implementation", ["pypy", "graalpy"])
def test_where_an_id_is_no_address_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, implementation: str
) -> None:
    monkeypatch.setattr(sys.implementation, "name", implementation)
    monkeypatch.setattr(entries, "_word", _never)
    assert inode_place() is None


def test_where_the_numbers_are_not_found_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyfuse3, "EntryAttributes", Padded)
    monkeypatch.setattr(entries, "_word", _never)
    assert inode_place() is None


@pytest.mark.parametrize("seen", [0, 1, 3])
def test_numbers_that_stand_there_more_or_less_than_twice_are_no_proof(
    monkeypatch: pytest.MonkeyPatch, seen: int
) -> None:
    """As they would if pyfuse3 kept a copy, or one number only."""
    node, generation, *_ = entries._MARKS
    monkeypatch.setattr(entries, "_words", lambda entry: [1, *[node] * seen, generation, 0, 0])
    monkeypatch.setattr(entries, "_word", _never)
    assert inode_place() is None


def test_a_place_that_the_property_reads_is_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of both is the node number: were it written, the kernel would be told of an inode."""
    true = entries._word
    offset = inode_place()
    assert offset is not None
    inode_place.cache_clear()
    monkeypatch.setattr(entries, "_word", lambda entry, place: true(entry, place - 24))
    assert inode_place() is None


def _never(*_: Any) -> None:
    raise AssertionError("written without a proof")


def test_attributes_are_as_they_are_told() -> None:
    look = Appearance(5, 6, 0o440, 0o550)
    entry = look.entry(Inode(77, ("a",), None), Attributes(False, 1_025, 9, 4.0))
    assert (entry.st_ino, entry.st_uid, entry.st_gid, entry.st_mode) == (77, 5, 6, stat.S_IFREG | 0o440)
    assert (entry.st_size, entry.st_blocks, entry.st_mtime_ns) == (1_025, 3, 9_000_000_000)
    assert look.entry(Inode(2, ("a",), None), Attributes(False, None, 9, 0.0)).st_size == entries.UNKNOWN_SIZE
    assert look.entry(Inode(2, ("a",), None), Attributes(True, 0, 9, 0.0)).st_mode == stat.S_IFDIR | 0o550


# Through the kernel.


def kernel(front: MountFront) -> dict[str, int]:
    status: dict[str, dict[str, int]] = json.loads(Path(front.daemon.path("/.voxofs/status")).read_text())
    return status["kernel"]


def listed(folder: str) -> dict[str, tuple[int, bool]]:
    """Inode number and whether it is a regular file, as the listing alone tells it."""
    with os.scandir(folder) as found:
        return {each.name: (each.inode(), each.is_file(follow_symlinks=False)) for each in found}


async def walk(prelude: str) -> int:
    """List an hour, look at its files, list it again; returns how many inodes the listing alone has cost."""
    async with mount_front([tenant(sized_hour(list(SIZES)))], prelude=prelude) as front:
        assert isinstance(front, MountFront)
        folder = front.daemon.path(HOUR)
        await in_thread(lambda: os.listdir(os.path.dirname(folder)))
        before = await in_thread(lambda: kernel(front))
        names = await in_thread(lambda: listed(folder))
        after = await in_thread(lambda: kernel(front))
        assert sorted(names) == sorted(f"{name[0]}.mp3" for name in sized_hour(list(SIZES)))
        assert all(regular for _, regular in names.values())
        told = await in_thread(lambda: {name: os.stat(f"{folder}/{name}") for name in names})
        assert [told[name].st_size for name in sorted(names)] == list(SIZES)
        assert {name: each.st_ino for name, each in told.items()} == {
            name: n for name, (n, _) in names.items()
        }
        looked_at = await in_thread(lambda: kernel(front))
        assert looked_at["inodes"] >= after["inodes"] + len(SIZES)
        assert await in_thread(lambda: listed(folder)) == names
        return after["inodes"] - before["inodes"] + after["forgotten"] - before["forgotten"]


async def test_a_listing_costs_the_kernel_no_inode() -> None:
    assert await walk("") == 0


async def test_without_the_place_a_listing_is_the_same_and_costs_its_inodes() -> None:
    assert await walk(NO_PLACE) == len(SIZES)
