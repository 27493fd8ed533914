"""The mounts that are compared: voxofs, and peers over the simulator's plain HTTP folders.

A peer's options are its defaults, and each is mounted at the root, as a person would mount it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from urllib.request import urlopen

from processes import cpu_s, end, peak_rss_bytes, rss_bytes, start, unmount, wait_until_mounted

from voxofs.simulator import SimulatorProcess

ROOT = Path(__file__).resolve().parents[2]
SYSTEMS = {
    "voxofs": None,
    "rclone": "rclone",
    "rclone-full": "rclone",
    "httpdirfs": "httpdirfs",
    "httpdirfs-cache": "httpdirfs",
}
"""What can be mounted, and which Debian package brings it."""
_SINCE = {"bench": "2024-03-01", "big": "2024-03-05", "flood": "2024-03-05", "million": "2024-01-01"}
_MONTH = "2024/03"
_MOUNT_PATIENCE_S = 30.0


@dataclass(frozen=True)
class Mounted:
    """A live mount and the daemon behind it."""

    system: str
    path: Path
    month: Path
    """Where the folder of March 2024 is: the days are below it."""
    process: subprocess.Popen[bytes]
    idle_rss_bytes: int
    """Resident memory when the mount had just answered for the first time."""

    @property
    def pid(self) -> int:
        """The daemon's."""
        return self.process.pid

    def cpu_s(self) -> float:
        """CPU time that the daemon has used so far."""
        return cpu_s(self.pid)

    def rss_bytes(self) -> int:
        """Resident memory of the daemon now."""
        return rss_bytes(self.pid)

    def peak_rss_bytes(self) -> int:
        """Largest resident memory of the daemon so far."""
        return peak_rss_bytes(self.pid)


def available(wanted: list[str]) -> tuple[list[str], list[str]]:
    """Of these systems, the ones that are installed, and the packages of those that are not."""
    found, missing = [], set()
    for system in wanted:
        package = SYSTEMS.get(system, system)
        if package is None or shutil.which(package):
            found.append(system)
        else:
            missing.add(package)
    return found, sorted(missing)


@contextmanager
def mounted(system: str, tenant: str, sim: SimulatorProcess, base: Path) -> Iterator[Mounted]:
    """A fresh mount, its caches empty; nothing of it is left afterwards. `tenant`: the one that is shown."""
    home = Path(mkdtemp(prefix=f"{system}-", dir=base))
    path = home / "mnt"
    path.mkdir()
    log = home / "log"
    log.touch()
    _compute_index(tenant, sim)
    process = start(_command(system, tenant, sim, home, path), log, PYTHONPATH=str(ROOT))
    try:
        wait_until_mounted(path, process, log, patience_s=_MOUNT_PATIENCE_S)
        path.stat()
        month = path / tenant / _MONTH
        yield Mounted(system, path, month, process, rss_bytes(process.pid))
    finally:
        unmount(path)
        end(process)
        shutil.rmtree(home, ignore_errors=True)


def _compute_index(tenant: str, sim: SimulatorProcess) -> None:
    """Have the pages above the month made once: a file server would have them, and the peers do not pay for
    the simulator's arithmetic."""
    page = f"{sim.storage_url}/plain/"
    for part in (tenant, *_MONTH.split("/"), ""):
        with urlopen(page) as answer:
            answer.read()
        page += f"{part}/"


def _command(system: str, tenant: str, sim: SimulatorProcess, home: Path, path: Path) -> list[str | Path]:
    url = f"{sim.storage_url}/plain/"
    if system == "voxofs":
        config = _config(tenant, sim, home)
        return [sys.executable, "-m", "voxofs", "mount", "--config", config, "--foreground", path]
    cache = home / "cache"
    cache.mkdir()
    if system.startswith("rclone"):
        (home / "rclone.conf").touch()
        full = ["--vfs-cache-mode", "full"] if system == "rclone-full" else []
        return [
            "rclone", "mount", ":http:", path, "--http-url", url, "--read-only",
            "--config", home / "rclone.conf", "--cache-dir", cache, *full,
        ]  # fmt: skip
    kept = ["--cache", "--cache-location", cache] if system == "httpdirfs-cache" else []
    return ["httpdirfs", "-f", *kept, url, path]


def _config(tenant: str, sim: SimulatorProcess, home: Path) -> Path:
    """Everything at its default but where the service is and which tenant is shown."""
    token = home / "token"
    token.touch(mode=0o600)
    token.write_text(sim.token)
    lines = ["[api]", f'base_url = "{sim.api_url}"', f'token_file = "{token}"']
    lines += [f"[tenants.{tenant}]", f"id = {sim.tenants[tenant]}", f"since = {_SINCE[tenant]}"]
    config = home / "voxofs.toml"
    config.write_text("\n".join(lines) + "\n")
    return config
