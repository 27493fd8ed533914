"""The mount table, who holds a mount, and taking one away: against the real /proc and real processes."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxofs.daemon import mount_table as mounts
from voxofs.daemon.mount_table import MountEntry, parse_mountinfo
from voxofs.errors import MountFailed

LINE = r"36 35 0:45 / /srv/my\040calls\011x\134y ro,nosuid - fuse.voxofs voxofs\040demo ro,user_id=0"


def test_a_line_with_escapes_and_without_optional_fields() -> None:
    assert parse_mountinfo(LINE) == [
        MountEntry(36, "0:45", "/srv/my calls\tx\\y", "ro,nosuid", "fuse.voxofs", "voxofs demo")
    ]


def test_optional_fields_are_stepped_over() -> None:
    line = "36 35 98:0 /root /mnt rw,noatime master:1 shared:7 unbindable - ext3 /dev/root rw,errors=continue"
    assert parse_mountinfo(line) == [MountEntry(36, "98:0", "/mnt", "rw,noatime", "ext3", "/dev/root")]


def test_the_kernels_own_table_is_read() -> None:
    assert {"/proc"} <= {entry.mountpoint for entry in mounts.entries() if entry.fs_type == "proc"}


@given(st.text(alphabet="0123 -/\\\n:a", max_size=200))
def test_no_table_is_an_error(text: str) -> None:
    assert all(isinstance(entry.mount_id, int) for entry in parse_mountinfo(text))


@given(st.binary(max_size=40).filter(lambda path: b"\0" not in path))
def test_every_path_survives_the_kernels_escapes(below: bytes) -> None:
    path = b"/" + below  # a relative one, "-", would be the mark that ends the optional fields
    escaped = b"".join(b"\\%03o" % byte if byte in b" \t\n\\#" else bytes([byte]) for byte in path)
    line = b"36 35 0:45 / " + escaped + b" ro - fuse.voxofs voxofs ro"
    assert os.fsencode(parse_mountinfo(os.fsdecode(line))[0].mountpoint) == path


def test_the_topmost_mount_counts() -> None:
    below, above = (MountEntry(i, f"0:{i}", "/mnt", "", f"fs{i}", "") for i in (1, 2))
    elsewhere = MountEntry(3, "0:3", "/mnt/sub", "", "x", "")
    assert mounts.entry_at("/mnt", [below, above, elsewhere]) == above
    assert mounts.entry_at("/other", [below, above]) is None


# --- holders: real processes

_HOLD = """
import ctypes, os, sys
how, path = sys.argv[1:]
if how == "cwd":
    os.chdir(os.path.dirname(path))
elif how == "open":
    file = open(path)
elif how == "map":
    libc = ctypes.CDLL(None)  # Python's own mmap keeps the file open as well
    libc.mmap.restype = ctypes.c_void_p
    with open(path) as file:
        libc.mmap(None, ctypes.c_size_t(1), 1, 2, file.fileno(), ctypes.c_long(0))
print("holding", flush=True)
sys.stdin.read()
"""


@contextmanager
def holding(how: str, path: Path) -> Iterator[int]:
    """A process that holds the file in one way; yields its pid."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, how, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/"
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"holding\n"
        yield process.pid
        process.stdin.close()
        process.wait()


@pytest.mark.parametrize(
    ("how", "expected"), [("cwd", "working directory {folder}"), ("open", "open file {folder}/call.mp3")]
)
def test_holders_are_named_with_what_they_hold(tmp_path: Path, how: str, expected: str) -> None:
    folder = tmp_path / "mnt"
    folder.mkdir()
    (folder / "call.mp3").write_bytes(b"x")
    neighbour = tmp_path / "mnt2"  # its name begins alike
    neighbour.mkdir()
    (neighbour / "call.mp3").write_bytes(b"x")
    with holding(how, folder / "call.mp3") as pid, holding("open", neighbour / "call.mp3"):
        found = mounts.holders(str(folder))
        assert [holder.pid for holder in found] == [pid]
        assert found[0].how == expected.format(folder=folder)
        assert found[0].name.startswith("python")
        message = mounts.busy_message(str(folder))
    assert f"(pid {pid}, " in message
    assert mounts.holders(str(folder)) == []
    assert "not by a process that this user can see" in mounts.busy_message(str(folder))


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    """A real mount to hold and to take away (needs the right to mount)."""
    folder = tmp_path / "a mount"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "voxofs-test", str(folder)], check=True)
    yield folder
    if mounts.entry_at(str(folder)) is not None:
        mounts.unmount(str(folder), lazy=True)


@pytest.mark.mounts
def test_a_mapped_file_is_found_by_the_device_of_its_mount(tmpfs: Path) -> None:
    (tmpfs / "call.mp3").write_bytes(b"x" * mmap.PAGESIZE)
    with holding("map", tmpfs / "call.mp3") as pid:
        assert [(holder.pid, holder.how) for holder in mounts.holders(str(tmpfs))] == [
            (pid, f"mapped file {tmpfs}/call.mp3")
        ]


@pytest.mark.mounts
def test_a_busy_mount_stays_and_a_lazy_unmount_takes_it(tmpfs: Path) -> None:
    (tmpfs / "call.mp3").write_bytes(b"x")
    entry = mounts.entry_at(str(tmpfs))
    assert entry is not None
    with holding("open", tmpfs / "call.mp3"):
        with pytest.raises(mounts.MountBusy):
            mounts.unmount(str(tmpfs))
        assert mounts.entry_at(str(tmpfs)) == entry
        assert not mounts.wait_until_gone(entry.mount_id, timeout_s=0)
        mounts.unmount(str(tmpfs), lazy=True)
    assert mounts.wait_until_gone(entry.mount_id, timeout_s=0)


def test_unmounting_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(MountFailed, match="nothing is mounted there"):
        mounts.unmount(str(tmp_path))


def test_a_live_folder_is_not_dead(tmp_path: Path) -> None:
    assert not mounts.is_dead(str(tmp_path))
    assert not mounts.is_dead(str(tmp_path / "none"))
