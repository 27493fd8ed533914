"""The command line as scripts see it: the real `python -m voxofs`, without this machine's environment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from .mounts import ROOT

TENANTS = "[tenants.demo]\nid = 37\nsince = 2021-01-01\n[tenants.acme]\nid = 432\nsince = 2021-01-01\n"
TOKEN = "tok-4b1d-secret"
Run = Callable[..., subprocess.CompletedProcess[str]]


def command_in(folder: Path) -> Run:
    """Runs voxofs with words and variables, at home in the folder. Never shows a traceback nor the token."""
    return partial(_run, folder)


def _run(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [sys.executable, "-m", "voxofs", *arguments],
        capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL, cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT), **environ},
    )  # fmt: skip
    assert "Traceback" not in result.stdout + result.stderr
    assert TOKEN not in result.stdout + result.stderr
    return result


def configuration_in(folder: Path) -> Path:
    """A sound configuration file with two tenants."""
    path = folder / "voxofs.toml"
    path.write_text(f'[api]\ntoken = "{TOKEN}"\n{TENANTS}')
    path.chmod(0o600)
    return path
