"""Inode numbers and lookup counts, under any order of what the kernel may say."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from voxofs.central import CentralTime
from voxofs.core.tree import Names
from voxofs.model import Version
from voxofs.mount.inodes import ROOT, Inode, Inodes

CENTRAL = CentralTime()
HOUR: Names = ("demo", "2024", "03", "05", "10")
NAMES = st.text("abcdefgh", min_size=1, max_size=3)
PATHS = st.lists(NAMES, min_size=1, max_size=5).map(tuple) | NAMES.map(lambda name: (*HOUR, name))
VERSIONS = st.none() | st.integers(1, 3).map(lambda n: Version(n, f'"{n}"', None))


@given(st.lists(PATHS, min_size=1, max_size=20, unique=True))
@settings(max_examples=100)
def test_numbers_depend_on_the_path_alone(paths: list[Names]) -> None:
    """They are the same after a remount, whatever is looked up first."""
    one, other = Inodes(CENTRAL), Inodes(CENTRAL)
    first = {path: one.find(path, None, 5).number for path in paths}
    second = {path: other.find(path, None, 5).number for path in reversed(paths)}
    assert first == second
    assert len(set(first.values())) == len(paths)
    assert all(ROOT < number < 2**63 for number in first.values())


@given(
    st.lists(st.tuples(NAMES, st.integers(0, 3_599)), min_size=2, max_size=30, unique_by=lambda each: each[0])
)
def test_within_an_hour_numbers_follow_the_starts(calls: list[tuple[str, int]]) -> None:
    inodes = Inodes(CENTRAL)
    begin_s = 1_709_654_400  # ten o'clock in Chicago
    numbered = [(inodes.find((*HOUR, name), None, begin_s + at).number, at) for name, at in calls]
    assert [at for _, at in sorted(numbered)] == sorted(at for _, at in calls)


def test_two_paths_with_one_number_get_neighbouring_ones() -> None:
    inodes = Inodes(CENTRAL)
    first = inodes.find((*HOUR, "a.mp3"), None, 0)
    squatter = Inode(first.number, ("elsewhere",), None)
    inodes.looked_up(squatter)
    assert inodes.find((*HOUR, "a.mp3"), None, 0).number == first.number + 1


def test_the_root_is_there_for_ever() -> None:
    inodes = Inodes(CENTRAL)
    inodes.forget(ROOT, 10**9)
    assert inodes[ROOT].path == ()
    assert inodes.find((), None, 0) is inodes[ROOT]


def test_forgetting_what_is_not_known_harms_nothing() -> None:
    inodes = Inodes(CENTRAL)
    inodes.forget(4_711, 1)
    assert len(inodes) == 1


def test_a_replaced_recording_becomes_another_inode_and_the_old_one_stays_for_its_readers() -> None:
    inodes = Inodes(CENTRAL)
    path = (*HOUR, "a.mp3")
    old = inodes.find(path, Version(1, '"1"', None), 0)
    inodes.looked_up(old)
    new = inodes.find(path, Version(2, '"2"', None), 0)
    assert new.number != old.number
    inodes.looked_up(new)
    assert inodes.superseded(old)
    assert not inodes.superseded(new)
    assert inodes[old.number].version == Version(1, '"1"', None)
    assert inodes.find(path, Version(2, '"2"', None), 0) is new
    inodes.forget(old.number, 1)
    assert inodes.at(path) is new
    inodes.forget(new.number, 1)
    assert (inodes.at(path), len(inodes)) == (None, 1)


class Kernel(RuleBasedStateMachine):
    """A kernel that looks names up and forgets them, and counts as the protocol says."""

    def __init__(self) -> None:
        super().__init__()
        self.inodes = Inodes(CENTRAL)
        self.counts: dict[int, int] = {}

    @rule(path=PATHS, version=VERSIONS, told=st.booleans())
    def look_up(self, path: Names, version: Version | None, told: bool) -> None:
        inode = self.inodes.find(path, version, len(path))
        assert inode.path == path
        assert version is None or inode.version == version
        if told:  # readdir's reply may have had no room for it
            self.inodes.looked_up(inode)
            self.counts[inode.number] = self.counts.get(inode.number, 0) + 1

    @precondition(lambda self: self.counts)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.counts)))
        times = data.draw(st.integers(1, self.counts[number]))
        self.inodes.forget(number, times)
        self.counts[number] -= times
        if not self.counts[number]:
            del self.counts[number]

    @invariant()
    def every_inode_is_one_that_the_kernel_knows(self) -> None:
        assert {inode.number for inode in self.inodes} == {ROOT, *self.counts}
        for inode in self.inodes:
            assert inode.number == ROOT or inode.lookups == self.counts[inode.number]
        present = {inode.path for inode in self.inodes}
        for path in present:
            at = self.inodes.at(path)
            assert at is None or at in set(self.inodes)


TestKernel = Kernel.TestCase
TestKernel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
