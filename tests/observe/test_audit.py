"""The audit's thread: files that are moved, disks that are full or hang, and texts that are hostile."""

from __future__ import annotations

import errno
import json
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from harness import disks

from voxofs.clock import Clock
from voxofs.config.sections import AuditSection
from voxofs.errors import AuditFailed
from voxofs.model import Caller
from voxofs.observe import audit as audits
from voxofs.observe.audit import Audit, Opened, audit_of
from voxofs.observe.audit_target import FileTarget, JournalTarget

PATH = "/office/2024/03/05/10/x.mp3"


def opened(path: str = PATH, program: str = "cp") -> Opened:
    return Opened(1_709_654_451.25, path, Caller(0, 0, 7, program), 1_000, "whole")


def until(condition: Callable[[], object]) -> None:
    """Wait for what the thread does."""
    gives_up_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < gives_up_s
        time.sleep(0.005)


@contextmanager
def auditing(path: Path, *, required: bool = False) -> Iterator[Audit]:
    audit = audit_of(AuditSection(file=path, required=required), Clock())
    assert audit is not None
    audit.begin()
    try:
        yield audit
    finally:
        audit.close()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_says_who_opened_what(tmp_path: Path) -> None:
    with auditing(tmp_path / "audit.log") as audit:
        audit.note(opened())
    assert lines(tmp_path / "audit.log") == [
        {
            "time": "2024-03-05T16:00:51.250+00:00",
            "tenant": "office",
            "path": PATH,
            "uid": 0,
            "user": "root",
            "pid": 7,
            "program": "cp",
            "bytes": 1_000,
            "read": "whole",
        }
    ]
    assert stat.S_IMODE((tmp_path / "audit.log").stat().st_mode) == 0o600


def test_nothing_of_a_stranger_s_is_more_than_text(tmp_path: Path) -> None:
    evil = "\x1b[2J\n\x9b31m\u202e\udcff"
    with auditing(tmp_path / "audit.log") as audit:
        audit.note(opened(f"/office/{evil}", program=evil))
    text = (tmp_path / "audit.log").read_bytes()
    assert text.count(b"\n") == 1
    assert all(32 <= byte < 127 for byte in text[:-1])
    assert json.loads(text)["program"] == evil


def test_a_file_that_logrotate_moved_is_left(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    with auditing(path) as audit:
        audit.note(opened("/office/1"))
        until(lambda: audit.facts()["written"] == 1)
        path.rename(tmp_path / "audit.log.1")
        audit.note(opened("/office/2"))
        until(lambda: audit.facts()["written"] == 2)
        path.rename(tmp_path / "audit.log.2")
        path.touch(mode=0o640)  # logrotate's `create`
        audit.look_again()
        audit.note(opened("/office/3"))
    assert [
        each["path"]
        for name in ("audit.log.1", "audit.log.2", "audit.log")
        for each in lines(tmp_path / name)
    ] == [
        "/office/1",
        "/office/2",
        "/office/3",
    ]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    with disks.small_disk(tmp_path / "disk", 262_144) as disk:
        yield disk


@pytest.mark.mounts
def test_a_full_disk_is_told_once_and_loses_nothing(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = small_disk / "audit.log"
    with auditing(path) as audit:
        ballast = disks.fill(small_disk, leave=4096)
        for number in range(60):  # more than a page of them
            audit.note(opened(f"/office/{number}"))
        until(lambda: audit.facts()["state"] == "failing")
        audit.check()  # nobody is refused: it is not required
        assert audit.facts()["reason"] == "No space left on device"
        assert audit.facts()["written"] < 60
        ballast.unlink()
        until(lambda: audit.facts()["waiting"] == 0)
        assert audit.facts()["state"] == "working"
    assert [each["path"] for each in lines(path)] == [f"/office/{number}" for number in range(60)]
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


@pytest.mark.mounts
def test_what_must_be_audited_is_refused_before_a_line_is_lost(small_disk: Path) -> None:
    with auditing(small_disk / "audit.log", required=True) as audit:
        audit.check()
        ballast = disks.fill(small_disk, leave=8192)
        until(lambda: audit.facts()["state"] == "failing")
        with pytest.raises(AuditFailed, match="takes no line \\(No space left on device\\)") as refused:
            audit.check()
        assert refused.value.errno == errno.ENOSPC
        audit.note(opened())  # of what was open before: there is room kept for it
        until(lambda: audit.facts()["waiting"] in (0, 1))
        ballast.unlink()
        until(lambda: audit.facts()["state"] == "working")
        audit.check()
    assert len(lines(small_disk / "audit.log")) == 1


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with auditing(tmp_path / "none/audit.log", required=True) as audit:
        with pytest.raises(AuditFailed, match="No such file or directory") as refused:
            audit.check()
        assert refused.value.errno == errno.EIO
        (tmp_path / "none").mkdir()
        until(lambda: audit.facts()["state"] == "working")


class Hanging:
    """A target whose disk hangs."""

    def __init__(self) -> None:
        self.begun, self.goes_on = threading.Event(), threading.Event()

    def write(self, line: bytes) -> None:
        self.begun.set()
        self.goes_on.wait()

    def reopen(self) -> None: ...

    def check(self) -> None: ...

    def close(self) -> None: ...


def test_a_disk_that_hangs_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audits, "_MOST_WAITING", 50)
    now_s = [1_000.0]
    target = Hanging()
    audit = Audit(target, Clock(lambda: now_s[0]), required=True, where="there")
    audit.begin()
    for number in range(100):
        audit.note(opened(f"/office/{number}"))
    audit.check()
    assert target.begun.wait(20)
    until(lambda: audit.facts()["waiting"] + audit.facts()["lost"] == 100)
    assert audit.facts()["waiting"] <= 50
    now_s[0] += 6
    with pytest.raises(AuditFailed, match="it does not answer"):
        audit.check()
    target.goes_on.set()
    audit.close()
    assert audit.facts()["waiting"] == 0
    assert audit.facts()["lost"] > 0


def test_the_journal_s_own_protocol(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "socket"))
        journal.settimeout(10)
        audit = Audit(JournalTarget(tmp_path / "socket"), Clock(), required=False, where="the journal")
        audit.note(opened())
        fields = journal.recv(4096).decode()
        audit.close()
    assert fields.startswith("SYSLOG_IDENTIFIER=voxofs-audit\nPRIORITY=6\nMESSAGE={")
    assert json.loads(fields.partition("MESSAGE=")[2])["path"] == PATH


def test_a_torn_line_goes_whole_into_a_new_file(tmp_path: Path) -> None:
    target = FileTarget(tmp_path / "audit.log")
    target.check()
    target._written = 3  # the disk took so much of it
    (tmp_path / "audit.log").rename(tmp_path / "old")
    target.write(b"a line\n")
    assert (tmp_path / "audit.log").read_bytes() == b"a line\n"
    target.close()


def test_no_audit_unless_it_is_asked_for() -> None:
    assert audit_of(AuditSection(), Clock()) is None
