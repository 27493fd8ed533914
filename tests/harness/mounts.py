"""The daemon as a child process on a real mount; taken down whatever happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .systemd import Manager

ROOT = Path(__file__).resolve().parents[2]
READY_S = 30.0
ENDS_S = 10.0


@dataclass
class Daemon:
    """A running mount."""

    directory: Path
    process: subprocess.Popen[bytes]
    log: Path

    def path(self, path: str) -> str:
        """Where a path of the tree is."""
        return f"{self.directory}{path}"

    def said(self) -> str:
        """The log so far."""
        return self.log.read_text()


def toml(base_url: str, tenants: Mapping[str, int], sections: Mapping[str, Mapping[str, Any]]) -> str:
    """A configuration file. JSON's numbers, strings and lists are TOML's."""
    lines = []
    for section in {"api": None} | dict.fromkeys(sections):
        values = ({"base_url": base_url} if section == "api" else {}) | dict(sections.get(section, {}))
        lines += [
            f"[{section}]",
            *(f"{key} = {json.dumps(value, default=str)}" for key, value in values.items()),
        ]
    for name, number in tenants.items():
        lines += [f"[tenants.{name}]", f"id = {number}", "since = 2023-01-01"]
    return "\n".join(lines) + "\n"


@contextmanager
def mounted(
    base_url: str,
    tenants: Mapping[str, int],
    *,
    token: str | None,
    sections: Mapping[str, Mapping[str, Any]] | None = None,
    options: Sequence[str] = (),
    prelude: str = "",
) -> Iterator[Daemon]:
    """`voxofs mount --foreground`, ready. The kernel's mount and the process are gone afterwards. `prelude`:
    Python that the daemon runs first."""
    with tempfile.TemporaryDirectory(prefix="voxofs-test-") as place:
        directory, config, log = Path(place, "calls"), Path(place, "voxofs.toml"), Path(place, "log")
        directory.mkdir()
        config.write_text(toml(base_url, tenants, sections or {}))
        environ = {key: value for key, value in os.environ.items() if not key.startswith("VOXOFS_")}
        environ["PYTHONPATH"] = str(ROOT)
        if token is not None:
            environ["VOXOFS_TOKEN"] = token
        voxofs = ["-m", "voxofs"]
        if prelude:
            voxofs = ["-c", f"{prelude}\nimport runpy\nrunpy.run_module('voxofs', run_name='__main__')"]
        command = [sys.executable, *voxofs, "mount", "--foreground", "--config", str(config)]
        with Manager(str(Path(place, "notify"))) as manager, log.open("wb") as stderr:
            process = subprocess.Popen(
                [*command, *options, str(directory)], env=environ | manager.environ, stderr=stderr
            )
            try:
                wait_until_ready(process, manager, log)
            except BaseException:
                _take_down(process, directory)
                raise
        try:
            yield Daemon(directory, process, log)
        finally:
            _take_down(process, directory)


def wait_until_ready(process: subprocess.Popen[bytes], manager: Manager, log: Path) -> None:
    """A mount is there before its daemon is ready: the kernel's limits come in between, and a signal until
    then means that it is not wanted any more."""
    gives_up_s = time.monotonic() + READY_S
    while not any(word.startswith("READY=1") for word in manager.heard()):
        assert process.poll() is None, f"the daemon ended with {process.returncode}: {log.read_text()}"
        assert time.monotonic() < gives_up_s, f"no mount: {log.read_text()}"
        time.sleep(0.01)


def _take_down(process: subprocess.Popen[bytes], directory: Path) -> None:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(["fusermount3", "-u", str(directory)], check=False, **quiet)  # type: ignore[call-overload]
    try:
        process.wait(ENDS_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if os.path.ismount(directory):
        subprocess.run(["fusermount3", "-u", "-z", str(directory)], check=False, **quiet)  # type: ignore[call-overload]
