"""What speaks against a mount, each with its remedy, on machines made for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from voxofs.daemon import mount_table as mounts
from voxofs.daemon import preflight
from voxofs.daemon.preflight import Host
from voxofs.errors import MountFailed


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
            "mtab": folder / "mountinfo",
            "search_path": str(folder / "bin"),
            "is_root": False,
        }
        return Host(**{**ours, **facts})  # type: ignore[arg-type]

    return host


def failure(mountpoint: Path, host: Host, *, allow_other: bool = False) -> str:
    with pytest.raises(MountFailed) as caught:
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
