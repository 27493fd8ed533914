"""The mounts that are compared: voxofs, voxofs as it was, and peers over the simulator's plain HTTP folders.

A peer's options are its defaults, and each is mounted at the root, as a person would mount it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from urllib.request import urlopen

from processes import cpu_s, end, peak_rss_bytes, rss_bytes, start, unmount, wait_until_mounted
from programs import ROOT, needed
from worlds import Service

from voxofs.store.key import make_key_file

OURS = ("voxofs", "before")
"""Both are voxofs: of this tree, and of the one that it is compared with."""
_SINCE = {
    "bench": "2024-03-01",
    "big": "2024-03-05",
    "flood": "2024-03-05",
    "million": "2024-01-01",
    "month": "2024-03-01",
}
_MONTH = "2024/03"
_BEGUN_S = 0.5
"""What any of them does at its start is over then: voxofs asks whether its token is taken and widens the
kernel's limits, in a fifth of that."""
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


@contextmanager
def mounted(
    system: str,
    tenants: Sequence[str],
    service: Service,
    base: Path,
    *,
    source: Path = ROOT,
    kept: Path | None = None,
) -> Iterator[Mounted]:
    """A fresh mount, its caches empty; nothing of it is left afterwards. `tenants`: those that are shown.
    `source`: whose voxofs. `kept`: a folder in which its cache outlives it (for voxofs: the disk tier)."""
    home = Path(mkdtemp(prefix=f"{system}-", dir=base))
    path = home / "mnt"
    path.mkdir()
    log = home / "log"
    log.touch()
    environment = {"PYTHONPATH": str(source)} | service.environment
    process = start(_command(system, tenants, service, home, path, kept), log, **environment)
    try:
        wait_until_mounted(path, process, log, patience_s=_MOUNT_PATIENCE_S)
        path.stat()
        time.sleep(_BEGUN_S)
        month = path / tenants[0] / _MONTH
        yield Mounted(system, path, month, process, rss_bytes(process.pid))
    finally:
        unmount(path)
        end(process)
        shutil.rmtree(home, ignore_errors=True)


def compute_index(tenant: str, service: Service) -> None:
    """Have the pages above the month made once: a file server would have them, and the peers do not pay for
    the simulator's arithmetic."""
    page = f"{service.sim.storage_url}/plain/"
    for part in (tenant, *_MONTH.split("/"), ""):
        with urlopen(page, context=service.trust()) as answer:
            answer.read()
        page += f"{part}/"


def _command(
    system: str, tenants: Sequence[str], service: Service, home: Path, path: Path, kept: Path | None
) -> list[str | Path]:
    if system in OURS:
        config = configuration(tenants, service, home, kept)
        return [sys.executable, "-m", "voxofs", "mount", "--config", config, "--foreground", path]
    url = f"{service.sim.storage_url}/plain/"
    cache = (kept or home) / "cache"
    cache.mkdir(exist_ok=True)
    if system.startswith("rclone"):
        full: list[str | Path] = ["--vfs-cache-mode", "full"] if system == "rclone-full" else []
        return [*rclone("mount", service, home), path, "--read-only", "--cache-dir", cache, *full]
    cached: list[str | Path] = ["--cache", "--cache-location", cache] if system == "httpdirfs-cache" else []
    trusted: list[str | Path] = [] if service.authority is None else ["--cacert", service.authority]
    return [needed("httpdirfs"), "-f", *trusted, *cached, url, path]


def rclone(command: str, service: Service, home: Path, folder: str = "") -> list[str | Path]:
    """rclone's command line up to the folder below the index; its configuration is in `home`, and empty."""
    (home / "rclone.conf").touch()
    trusted: list[str | Path] = [] if service.authority is None else ["--ca-cert", service.authority]
    url = f"{service.sim.storage_url}/plain/"
    options: list[str | Path] = ["--http-url", url, "--config", home / "rclone.conf", *trusted]
    return [needed("rclone"), command, *options, f":http:{folder}"]


def configuration(tenants: Sequence[str], service: Service, home: Path, kept: Path | None = None) -> Path:
    """Everything at its default but where the service is, which tenants are shown, and what is kept where."""
    token = home / "token"
    token.touch(mode=0o600)
    token.write_text(service.sim.token)
    lines = ["[api]", f'base_url = "{service.sim.api_url}"', f'token_file = "{token}"']
    for tenant in tenants:
        lines += [f"[tenants.{tenant}]", f"id = {service.sim.tenants[tenant]}", f"since = {_SINCE[tenant]}"]
    if kept is not None:
        key = kept / "disk.key"
        if not key.exists():
            make_key_file(key)
        lines += ["[disk]", f'path = "{kept / "tier"}"', f'key_file = "{key}"', 'size = "40 GiB"']
    config = home / "voxofs.toml"
    config.write_text("\n".join(lines) + "\n")
    return config
