"""Files by number alone, as an NFS server names them, after kernel and daemon have forgotten them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness.fronts import raises
from harness.handles import FileHandle, forget_everything, handle_of, need_handles, opened
from harness.mounts import mounted
from harness.vendors import Vendor, vendor
from harness.world import BYTES, HOUR, LONG, NAMES, OFFICE, folder, noise

pytestmark = pytest.mark.mounts


def read_all(mount: Path, handle: FileHandle) -> bytes:
    with opened(mount, handle) as file:
        return os.pread(file, os.fstat(file).st_size + 1, 0)


@contextmanager
def office_mounted(office: Vendor) -> Iterator[Path]:
    """A mount of the office on which files can be opened by handle."""
    with mounted(office.sim.api_url, {"office": OFFICE}, token=office.sim.token) as daemon:
        need_handles(daemon.directory)
        yield daemon.directory
        assert "Traceback" not in daemon.said(), daemon.said()


@pytest.fixture(scope="module")
def office() -> Iterator[Vendor]:
    """One office for all tests here, and one mount of it."""
    with vendor() as opened:
        yield opened


@pytest.fixture(scope="module")
def mount(office: Vendor) -> Iterator[Path]:
    with office_mounted(office) as place:
        yield place


def test_forgotten_files_and_folders_are_found_by_their_handles(office: Vendor, mount: Path) -> None:
    hour = mount / HOUR[1:]
    files = {name: handle_of(hour / name) for name in NAMES[:2]}
    numbers = {name: (hour / name).stat().st_ino for name in files}
    folders = {place: handle_of(place) for place in (hour, *hour.parents[:4])}
    office.counts()
    forget_everything(mount)
    office.reset()
    for name in reversed(files):
        assert read_all(mount, files[name]) == BYTES[name]
        with opened(mount, files[name]) as file:
            assert os.fstat(file).st_ino == numbers[name]
    assert office.counts() == {}, "the report and the sizes are still known"
    for place, handle in folders.items():
        forget_everything(mount)
        with opened(mount, handle) as file:
            assert os.readlink(f"/proc/self/fd/{file}") == str(place), "its way up is known"
            assert sorted(os.listdir(file)) == sorted(os.listdir(place))


def test_a_handle_of_a_recording_that_was_replaced_is_stale(office: Vendor, mount: Path) -> None:
    path = mount / folder("2024-03-05 13")[1:] / "long.mp3"
    old = handle_of(path)
    assert path.stat().st_size == LONG
    office.counts()
    new = noise("new", LONG)
    office.do(lambda: office.sim.replace_audio(OFFICE, "long", new))
    forget_everything(mount)
    with opened(mount, old) as file, raises(errno.EIO):
        os.pread(file, 10, LONG - 10)
    forget_everything(mount)
    with raises(errno.ESTALE), opened(mount, old):
        pass
    assert path.stat().st_size == LONG
    assert read_all(mount, handle_of(path)) == new
    forget_everything(mount)
    with raises(errno.ESTALE), opened(mount, old):
        pass
    assert read_all(mount, handle_of(path)) == new


def test_handles_are_good_in_another_daemon_and_those_of_nothing_are_stale(
    office: Vendor, mount: Path
) -> None:
    file, hour = handle_of(mount / HOUR[1:] / NAMES[4]), handle_of(mount / HOUR[1:])
    with office_mounted(office) as again:
        assert read_all(again, file) == BYTES[NAMES[4]]
        with opened(again, hour) as listed:
            assert sorted(os.listdir(listed)) == sorted(NAMES)
        for byte in range(8):  # each of the number's; those after it are the generation's
            other = FileHandle.from_buffer_copy(file)
            other.f_handle[byte] ^= 1
            with raises(errno.ESTALE), opened(again, other):
                pass
