"""The mount table, who holds a mount, and taking one away: against the real /proc and real processes."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxofs import mounts, preflight
from voxofs.mounts import MountEntry, MountFailure, parse_mountinfo
from voxofs.preflight import Host

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


@given(st.binary(min_size=1, max_size=40).filter(lambda path: b"\0" not in path))
def test_every_path_survives_the_kernels_escapes(path: bytes) -> None:
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
    """A real mount to hold and to take away (needs the right to mount, as the FUSE tests do)."""
    folder = tmp_path / "a mount"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "voxofs-test", str(folder)], check=True)
    yield folder
    if mounts.entry_at(str(folder)) is not None:
        mounts.unmount(str(folder), lazy=True)


def test_a_mapped_file_is_found_by_the_device_of_its_mount(tmpfs: Path) -> None:
    (tmpfs / "call.mp3").write_bytes(b"x" * mmap.PAGESIZE)
    with holding("map", tmpfs / "call.mp3") as pid:
        assert [(holder.pid, holder.how) for holder in mounts.holders(str(tmpfs))] == [
            (pid, f"mapped file {tmpfs}/call.mp3")
        ]


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
    with pytest.raises(MountFailure, match="nothing is mounted there"):
        mounts.unmount(str(tmp_path))


def test_a_live_folder_is_not_dead(tmp_path: Path) -> None:
    assert not mounts.is_dead(str(tmp_path))
    assert not mounts.is_dead(str(tmp_path / "none"))


# --- preflight


@pytest.fixture
def host(tmp_path: Path) -> Callable[..., Host]:
    """A machine on which everything is well, but for what is said."""

    def host(**facts: object) -> Host:
        folder = tmp_path / "machine"
        folder.mkdir(exist_ok=True)
        (folder / "mountinfo").touch()
        (folder / "bin").mkdir(exist_ok=True)
        (folder / "bin/fusermount3").write_text("#!/bin/sh\n")
        (folder / "bin/fusermount3").chmod(0o4755)
        ours: dict[str, object] = {
            "fuse_device": Path("/dev/null"),
            "fuse_conf": folder / "fuse.conf",
            "updatedb_conf": folder / "updatedb.conf",
            "mountinfo": folder / "mountinfo",
            "search_path": str(folder / "bin"),
            "is_root": False,
        }
        return Host(**{**ours, **facts})  # type: ignore[arg-type]

    return host


def failure(mountpoint: Path, host: Host, *, allow_other: bool = False) -> str:
    with pytest.raises(MountFailure) as caught:
        preflight.prepare(mountpoint, allow_other=allow_other, host=host)
    return str(caught.value)


def test_nothing_speaks_against_an_empty_folder(tmp_path: Path, host: Callable[..., Host]) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert preflight.prepare(empty, allow_other=False, host=host()) == (str(empty), [])


def test_a_folder_that_is_not_empty_is_noted(tmp_path: Path, host: Callable[..., Host]) -> None:
    _path, notes = preflight.prepare(tmp_path, allow_other=False, host=host())
    assert len(notes) == 1
    assert "is not empty" in notes[0]


def test_each_obstacle_says_what_to_do(tmp_path: Path, host: Callable[..., Host]) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "modprobe fuse" in failure(empty, host(fuse_device=tmp_path / "none"))
    assert "install the package fuse3" in failure(empty, host(search_path="/nowhere"))
    assert "user_allow_other" in failure(empty, host(), allow_other=True)
    assert "mkdir -p" in failure(tmp_path / "none", host())
    (tmp_path / "file").touch()
    assert "is not a folder" in failure(tmp_path / "file", host())


def test_a_helper_that_is_not_setuid_cannot_mount(tmp_path: Path, host: Callable[..., Host]) -> None:
    machine = host()
    (tmp_path / "machine/bin/fusermount3").chmod(0o755)
    assert "chmod u+s" in failure(tmp_path / "machine/bin", machine)
    assert preflight.helper_problem(host(is_root=True)) is None


def test_every_obstacle_at_once(tmp_path: Path, host: Callable[..., Host]) -> None:
    machine = host(fuse_device=tmp_path / "none", search_path="/nowhere")
    assert len(failure(tmp_path / "none", machine, allow_other=True).splitlines()) == 4


@pytest.mark.parametrize(
    ("conf", "allowed"),
    [
        ("user_allow_other\n", True),
        ("  user_allow_other  \n", True),
        ("#user_allow_other\n", False),
        ("", False),
    ],
)
def test_allow_other_in_fuse_conf(
    tmp_path: Path, host: Callable[..., Host], conf: str, allowed: bool
) -> None:
    machine = host()
    machine.fuse_conf.write_text(conf)
    assert (preflight.allow_other_problem(machine, wanted=True) is None) is allowed
    assert preflight.allow_other_problem(host(is_root=True), wanted=True) is None


def test_a_live_mount_of_ours_is_refused_by_name(tmp_path: Path, host: Callable[..., Host]) -> None:
    machine = host()
    machine.mountinfo.write_text(f"9 1 0:9 / {tmp_path} ro - fuse.voxofs demo ro\n")
    assert f"{tmp_path}: voxofs is already mounted here (demo)" in failure(tmp_path, machine)


def _dead(monkeypatch: pytest.MonkeyPatch, host: Host, mountpoint: Path, fs_type: str) -> list[str]:
    """Let the table show a dead mount until it is unmounted; returns the list of unmounts."""
    host.mountinfo.write_text(f"9 1 0:9 / {mountpoint} ro - {fs_type} demo ro\n")
    unmounted: list[str] = []

    def unmount(path: str, *, lazy: bool) -> None:
        assert lazy
        unmounted.append(path)
        host.mountinfo.write_text("")

    monkeypatch.setattr(mounts, "unmount", unmount)
    monkeypatch.setattr(mounts, "is_dead", lambda path: path == str(mountpoint) and not unmounted)
    return unmounted


def test_a_dead_mount_of_ours_is_healed(
    tmp_path: Path, host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, empty = host(), tmp_path / "empty"
    empty.mkdir()
    unmounted = _dead(monkeypatch, machine, empty, "fuse.voxofs")
    path, notes = preflight.prepare(empty, allow_other=False, host=machine)
    assert unmounted == [path] == [str(empty)]
    assert "removed the dead mount" in notes[0]


def test_a_dead_mount_of_others_is_left_alone(
    tmp_path: Path, host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = host()
    unmounted = _dead(monkeypatch, machine, tmp_path, "fuse.sshfs")
    assert "a dead mount of fuse.sshfs is in the way" in failure(tmp_path, machine)
    assert unmounted == []


def test_nothing_is_healed_while_something_else_is_wrong(
    tmp_path: Path, host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = host(fuse_device=tmp_path / "none")
    unmounted = _dead(monkeypatch, machine, tmp_path, "fuse.voxofs")
    assert "modprobe" in failure(tmp_path, machine)
    assert unmounted == []


def test_the_folder_of_an_automount_is_not_opened(
    tmp_path: Path, host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Opening it, or asking it for statfs, would wait for the mount that we are about to make.
    machine = host()
    machine.mountinfo.write_text(f"9 1 0:9 / {tmp_path} rw - autofs systemd-1 rw,direct\n")

    def forbidden(path: object) -> None:
        raise AssertionError(f"{path} was opened")

    for name in ("listdir", "scandir", "statvfs"):
        monkeypatch.setattr(os, name, forbidden)
    assert preflight.prepare(tmp_path, allow_other=False, host=machine) == (str(tmp_path), [])
