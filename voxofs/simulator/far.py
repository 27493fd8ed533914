"""A relay as a child process: how a simulator gets a round trip in front of its ports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_PROGRAM = Path(__file__).with_name("relay.py")


class Far:
    """A running relay. Raises OSError where it cannot be started or a public port is taken."""

    def __init__(self, round_trip_s: float, host: str, pairs: list[tuple[int, int]]) -> None:
        command = [sys.executable, "-I", str(_PROGRAM), f"--round-trip-s={round_trip_s}", f"--host={host}"]
        command += [f"--pair={upstream}:{public}" for upstream, public in pairs]
        # It ends with us even if we are killed: its standard input closes.
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            self.close()
            raise OSError("the relay did not start; its stderr has the reason")
        self.ports: list[int] = json.loads(line)
        """The public ports, in the order of the pairs."""
        self.pid = self._child.pid

    def close(self) -> None:
        """End the relay and wait for it; its connections end."""
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                pipe.close()
        self._child.kill()
        self._child.wait()
