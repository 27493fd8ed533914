"""Words to systemd: what arrives at $NOTIFY_SOCKET, and for whom the watchdog is."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.systemd import Manager

from voxofs.daemon.systemd import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    path = f"@voxofs-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    with Manager(path) as made:
        yield made


def test_words_arrive_as_systemd_wants_them(manager: Manager) -> None:
    notifier = Notifier(manager.environ)
    before_us = _monotonic_us()
    notifier.ready("Serving /mnt: idle")
    notifier.reloading()
    notifier.stopping()
    ready, reloading, stopping = manager.heard()
    assert ready == "READY=1\nSTATUS=Serving /mnt: idle"
    word, stamp = reloading.split("\n")
    assert word == "RELOADING=1"
    assert before_us <= int(stamp.removeprefix("MONOTONIC_USEC=")) <= _monotonic_us()
    assert stopping.startswith("STOPPING=1\n")


def _monotonic_us() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_without_a_manager_nothing_happens(tmp_path: Path) -> None:
    silent = Notifier({})
    silent.ready("x")
    assert not silent.active
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("x")


def test_the_watchdog_is_meant_for_one_process() -> None:
    assert Notifier({"WATCHDOG_USEC": "30000000"}).watchdog_interval_s == 15
    assert Notifier({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}).watchdog_interval_s == 15
    assert Notifier({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}).watchdog_interval_s is None
    assert Notifier({"WATCHDOG_USEC": "soon"}).watchdog_interval_s is None
