"""Real daemons on one mountpoint, one after another: started, loaded, killed, stopped."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from harness.mounts import ENDS_S, READY_S, ROOT, toml
from soaking.population import Population, Recording

from voxofs.daemon import mount_table as mounts
from voxofs.simulator.process import SimulatorProcess

GONE = frozenset({errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.ENOENT, errno.ENODEV})
"""What a program may see of a mount whose daemon has died, or that is no longer there."""


class Site:
    """A mountpoint, a configuration, and at most one daemon. Nothing is mounted there afterwards."""

    def __init__(self, place: Path, simulator: SimulatorProcess) -> None:
        self.mountpoint = place / "calls"
        self.mountpoint.mkdir()
        self._config = place / "voxofs.toml"
        self._log = place / "log"
        (place / "token").write_text(simulator.token)
        (place / "token").chmod(0o600)
        sections: dict[str, dict[str, Any]] = {
            "api": {"token_file": str(place / "token")},
            "mount": {"deadline_s": 10.0},
        }
        self._config.write_text(toml(simulator.api_url, simulator.tenants, sections))
        self._daemon: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """`voxofs mount --foreground`; returns when the mount answers, having healed what was there."""
        command = [sys.executable, "-m", "voxofs", "mount", "--foreground", "--config", str(self._config)]
        with self._log.open("ab") as log:
            daemon = self._daemon = subprocess.Popen(
                [*command, str(self.mountpoint)], env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=log
            )
        gives_up_s = time.monotonic() + READY_S
        while not self.answers():
            assert daemon.poll() is None, (
                f"the daemon ended with {daemon.returncode}: {self._log.read_text()}"
            )
            assert time.monotonic() < gives_up_s, f"no mount: {self._log.read_text()}"
            time.sleep(0.01)
        return daemon

    def answers(self) -> bool:
        """Whether there is a mount, and the present daemon answers for it."""
        if mounts.entry_at(str(self.mountpoint)) is None or mounts.is_dead(str(self.mountpoint)):
            return False
        try:
            status = json.loads((self.mountpoint / ".voxofs/status").read_text())
        except OSError:
            return False
        return self._daemon is not None and status["pid"] == self._daemon.pid

    def is_mounted(self) -> bool:
        """Whether anything, dead or alive, is mounted there."""
        return mounts.entry_at(str(self.mountpoint)) is not None

    def voxofs(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command."""
        return subprocess.run(
            [sys.executable, "-m", "voxofs", *arguments, str(self.mountpoint)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def said(self) -> str:
        """What all daemons have logged."""
        return self._log.read_text()

    def wait_until_said(self, text: str) -> None:
        """Until the daemon has logged this."""
        gives_up_s = time.monotonic() + READY_S
        while text not in self.said():
            assert time.monotonic() < gives_up_s, f"{text!r} was not said: {self.said()}"
            time.sleep(0.01)

    def close(self) -> None:
        """Leave nothing behind."""
        if self._daemon is not None and self._daemon.poll() is None:
            self._daemon.kill()
            self._daemon.wait(ENDS_S)
        while self.is_mounted():
            mounts.unmount(str(self.mountpoint), lazy=True)


class Load:
    """Threads that read recordings and compare every byte, until told to stop or the mount is gone.

    `allowed`: errnos that are right besides those of a mount that is gone.
    """

    def __init__(
        self,
        mountpoint: Path,
        population: Population,
        threads: int,
        seed: int,
        *,
        allowed: Sequence[int] = (),
    ) -> None:
        self._mountpoint = mountpoint
        self._allowed = {*GONE, *allowed}
        self._population = population
        self._stop = threading.Event()
        self._counted = threading.Condition()
        self.read = 0
        """Recordings read whole, and right."""
        self.wrong: list[str] = []
        self.errors: Counter[str] = Counter()
        self._threads = [
            threading.Thread(target=self._work, args=(Random(f"{seed}/{number}"),), daemon=True)
            for number in range(threads)
        ]

    @contextmanager
    def running(self) -> Iterator[Load]:
        """The load for the length of a block; all its threads have ended afterwards."""
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(ENDS_S + 20)
        assert not any(thread.is_alive() for thread in self._threads), "a reader hangs"

    def wait_for(self, number: int) -> None:
        """Until so many recordings have been read."""
        with self._counted:
            assert self._counted.wait_for(lambda: self.read >= number or self.wrong, timeout=60), (
                "no progress"
            )

    def _work(self, random: Random) -> None:
        while not self._stop.is_set():
            recording = random.choice(self._population.recordings)
            try:
                self._read(recording)
            except OSError as error:
                self.errors[errno.errorcode.get(error.errno or 0, "?")] += 1
                if error.errno not in self._allowed:
                    self._count(f"{recording.path}: {error}")
                return  # the mount is gone

    def _read(self, recording: Recording) -> None:
        data = Path(f"{self._mountpoint}{recording.path}").read_bytes()
        right = data == self._population.truth(recording)
        self._count(None if right else f"{recording.path}: {len(data)} wrong bytes")

    def _count(self, wrong: str | None) -> None:
        with self._counted:
            if wrong is None:
                self.read += 1
            else:
                self.wrong.append(wrong)
            self._counted.notify_all()
