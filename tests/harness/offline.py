"""The commands that need no mount, as real processes beside a simulator in this one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from voxofs.simulator.server import Simulator
from voxofs.simulator.world import FixedTenant, TenantSpec

from .mounts import ROOT, toml
from .world import office

Sections = Mapping[str, Mapping[str, Any]]


class Shell:
    """A folder with a configuration, and commands that are run in it."""

    def __init__(self, folder: Path, sim: Simulator, sections: Sections) -> None:
        self.folder = folder
        self.sim = sim
        self._environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT)}
        self._environ |= {"VOXOFS_TOKEN": sim.token, "COLUMNS": "70"}
        tenants = {each.code: each.id for each in sim.world.tenants.values()}
        (folder / "voxofs.toml").write_text(toml(sim.api_url, tenants, sections))

    def command(self, *words: str) -> list[str]:
        """The command line."""
        return [sys.executable, "-m", "voxofs", words[0], "--config", "voxofs.toml", *words[1:]]

    async def run(self, *words: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
        """Run a command to its end. It never shows a traceback nor the token."""
        result = await trio.run_process(
            self.command(*words),
            capture_stdout=True, capture_stderr=True, check=False,
            cwd=self.folder, env=self._environ | environ,
        )  # fmt: skip
        for text in (result.stdout, result.stderr):
            assert b"Traceback" not in text, text.decode()
            assert self.sim.token.encode() not in text
        return result

    async def start(self, *words: str) -> trio.Process:
        """Start a command and leave it running."""
        return await trio.lowlevel.open_process(
            self.command(*words), cwd=self.folder, env=self._environ, stderr=subprocess.DEVNULL
        )

    async def on_a_terminal(self, *words: str) -> str:
        """What a command shows on a terminal of 70 columns, stdout and stderr together."""
        leader, follower = os.openpty()
        try:
            process = await trio.lowlevel.open_process(
                self.command(*words), cwd=self.folder, env=self._environ | {"TERM": "xterm"},
                stdin=follower, stdout=follower, stderr=follower,
            )  # fmt: skip
        finally:
            os.close(follower)
        shown = b""
        try:
            while True:
                try:
                    shown += await trio.to_thread.run_sync(os.read, leader, 65_536)
                except OSError:  # EIO: the last one at the other end has closed it
                    break
        finally:
            os.close(leader)
        await process.wait()
        return shown.decode()


@asynccontextmanager
async def open_shell(
    folder: Path,
    tenants: Sequence[TenantSpec | FixedTenant] | None = None,
    *,
    sections: Sections | None = None,
    **simulator: Any,
) -> AsyncIterator[Shell]:
    """A simulator, by default of the office, and a shell beside it."""
    async with Simulator([office()] if tenants is None else tenants, **simulator) as sim:
        yield Shell(folder, sim, sections or {})
