"""A simulator as a child process, steered over its control port.

For benchmarks and the demo, where it must not share the daemon's event loop. The child ends with its
parent even if that is killed: it holds the read end of a pipe whose other end only the parent has, and
leaves when that closes. (PR_SET_PDEATHSIG would fire when the *thread* that started it ends.)
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_PATIENCE_S = 30.0
"""For an answer of the controls, which work at once: longer than the busiest machine holds them up."""


class SimulatorProcess:
    """A running child; a context manager that ends it."""

    def __init__(self, child: subprocess.Popen[str], ready: dict[str, Any]) -> None:
        self._child = child
        self.pid = child.pid
        self.api_url: str = ready["api_url"]
        self.storage_url: str = ready["storage_url"]
        self.control_url: str = ready["control_url"]
        self.relay_pid: int | None = ready["relay_pid"]
        """The relay's process where there is a round trip: its work is not the simulator's."""
        self.token: str = ready["token"]
        self.email: str = ready["email"]
        self.password: str = ready["password"]
        self.tenants: dict[str, int] = ready["tenants"]
        """Tenant ids by code."""

    def __repr__(self) -> str:
        return f"<SimulatorProcess {self.pid} {self.api_url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child and wait for it."""
        if self._child.stdin is not None:
            self._child.stdin.close()
        self._child.kill()
        self._child.wait()
        if self._child.stdout is not None:
            self._child.stdout.close()

    def stats(self) -> dict[str, Any]:
        """Sums since the last reset: requests, bytes, statuses by route; in flight by origin."""
        answer: dict[str, Any] = self._call("stats")
        return answer

    def log(self, route: str | None = None, after: int = 0) -> list[dict[str, Any]]:
        """Entries of the request log, oldest first."""
        entries: list[dict[str, Any]] = self._call(
            f"log?after={after}" + (f"&route={route}" if route else "")
        )
        return entries

    def reset_log(self) -> None:
        """Forget the requests so far."""
        self._call("reset", {})

    def settings(self, **values: Any) -> None:
        """Change settings, e.g. `storage_delay_s=0.03`, `refuse_api=True`."""
        self._call("settings", values)

    def add_faults(self, *faults: dict[str, Any]) -> None:
        """Put rules in force: the fields of `Fault`, as dicts."""
        self._call("faults", list(faults))

    def clear_faults(self) -> None:
        """No more faults."""
        self._call("faults", [])

    def rotate_token(self) -> str:
        """A fresh token; older ones answer 401."""
        self.token = self._call("rotate-token", {})["token"]
        return self.token

    def replace_audio(self, tenant: int, unique_id: str, data: bytes | None = None) -> None:
        """Replace a recording's object by `data`, or by another recording of the same call."""
        body: dict[str, Any] = {"tenant": tenant, "unique_id": unique_id}
        if data is not None:
            body["base64"] = base64.b64encode(data).decode()
        self._call("replace", body)

    def remove_audio(self, tenant: int, unique_id: str) -> None:
        """Delete a recording's object."""
        self._call("replace", {"tenant": tenant, "unique_id": unique_id, "remove": True})

    def _call(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.control_url}/{path}", data=data)
        with urllib.request.urlopen(request, timeout=_PATIENCE_S) as answer:
            return json.load(answer)


def start_process(**options: Any) -> SimulatorProcess:
    """Start `python -m voxofs.simulator`; returns once it is ready. Raises RuntimeError with its complaint.

    Options are those of the command line, with underscores: `world="bench"`, `api_delay_s=0.08`.
    """
    command = [sys.executable, "-m", "voxofs.simulator", "--exit-with-stdin"]
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            command.append(flag)
        elif value is not False and value is not None:
            command.append(f"{flag}={value}")
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH")) if part)
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a Ctrl-C is for the parent, which still needs us while it unmounts
        env=os.environ | {"PYTHONPATH": path},
    )
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        raise RuntimeError(
            f"the simulator did not start: exit code {child.wait()}; its stderr has the reason"
        )
    return SimulatorProcess(child, json.loads(line))
