"""Numbers lead back to their paths, and to nothing else."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxofs.central import CentralTime
from voxofs.core.listings import Attributes, Folders, Listing
from voxofs.core.tree import HOUR_DEPTH, Names, NoSuchName
from voxofs.errors import Unavailable
from voxofs.model import Version
from voxofs.mount.forgotten import path_of
from voxofs.mount.numbers import Numbers, generation

CENTRAL = CentralTime()
TENANTS = tuple(f"tenant-{number}" for number in range(40))
"""So many that some share their ten bits."""
HOURS = st.datetimes(datetime(2000, 1, 1), datetime(2119, 1, 1)).map(
    lambda moment: (f"{moment:%Y}", f"{moment:%m}", f"{moment:%d}", f"{moment:%H}")
)


def start_of(hour: Names, second: int) -> int:
    year, month, day, label = (int(name) for name in hour[1:])
    return int(CENTRAL.instant_s(datetime(year, month, day, label))) + second


@given(st.sampled_from((*TENANTS, ".voxofs")), HOURS, st.integers(1, HOUR_DEPTH))
@settings(max_examples=50, deadline=None)
def test_a_folders_number_leads_to_it_alone(tenant: str, hour: Names, depth: int) -> None:
    numbers, path = Numbers(CENTRAL), (tenant, *hour)[:depth]
    number = numbers.number(path, 0)
    assert list(numbers.folders(number, TENANTS)) == [path]
    assert list(numbers.hours(number, TENANTS)) == []


@given(st.sampled_from(TENANTS), HOURS, st.integers(0, 7_199), st.text(min_size=1))
@settings(max_examples=50, deadline=None)
def test_a_recordings_number_leads_to_its_hour(tenant: str, hour: Names, second: int, name: str) -> None:
    numbers, folder = Numbers(CENTRAL), (tenant, *hour)
    number = numbers.number((*folder, name), start_of(folder, second))
    found = list(numbers.hours(number, TENANTS))
    assert folder in found
    assert {each[1:] for each in found} == {hour}
    assert list(numbers.folders(number, TENANTS)) == []


def test_ten_years_of_forty_tenants_have_a_number_for_each_folder() -> None:
    numbers, seen, folders = Numbers(CENTRAL), set[int](), 0
    for tenant in TENANTS:
        for days in range(0, 3_650, 9):
            day = date(2016, 1, 1) + timedelta(days)
            path = (tenant, f"{day:%Y}", f"{day:%m}", f"{day:%d}", "13")
            seen |= {numbers.number(path[:depth], 0) for depth in (4, 5)}
            folders += 2
    assert len(seen) == folders


def test_the_status_has_a_number_too() -> None:
    numbers = Numbers(CENTRAL)
    path = (".voxofs", "status")
    assert list(numbers.folders(numbers.number(path, 0), TENANTS)) == [path]


def test_a_generation_tells_paths_and_versions_apart() -> None:
    path, other = ("demo", "2024", "03", "05", "10", "a.mp3"), ("demo", "2024", "03", "05", "10", "b.mp3")
    versions = (None, Version(1, '"1"', None), Version(2, '"1"', None), Version(1, '"2"', None))
    told = {generation(each, version) for each in (path, other) for version in versions}
    assert len(told) == 8
    assert all(0 <= each < 2**32 for each in told)
    assert generation((), None) == 0, "the kernel wants none for the root"


async def test_a_tenant_that_fails_hides_no_other_one() -> None:
    numbers = Numbers(CENTRAL)
    hour = ("2024", "03", "05", "10")
    one, other = next(
        (one, other)
        for one in TENANTS
        for other in TENANTS
        if one < other and numbers.number((one,), 0) >> 53 == numbers.number((other,), 0) >> 53
    )
    path = (other, *hour, "a.mp3")
    start_s = start_of(path[:-1], 90)
    recordings = Folders([(name, Attributes(False, None, start_s, 0.0)) for name in ("0.mp3", "a.mp3")])

    async def listing(folder: Names) -> Listing:
        if not folder:
            return Folders([(tenant, Attributes(True, 0, 0, 0.0)) for tenant in TENANTS])
        if folder[0] == one:
            raise Unavailable("out of reach")
        if folder[0] != other:
            raise NoSuchName(folder)
        return recordings

    number = numbers.number(path, start_s)
    assert await path_of(number, numbers, listing) == path
    with pytest.raises(Unavailable):
        await path_of(number ^ 1, numbers, listing)
    assert await path_of(number ^ 1 << 62, numbers, listing) is None
