"""`voxofs check`: everything a mount needs, looked at one by one, with what to do about what is wrong.

A finding is good, a warning or broken. Only broken ones change the exit code: 1 for the configuration, else
2. The machine is seen through `preflight.Host` and the service through `Prober`, so that tests can show
broken ones. Nothing here changes anything; the mount that is tried is taken away at once.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from enum import Enum
from typing import NamedTuple, Protocol, TextIO

from . import mounts, preflight
from .config import Config
from .errors import AccessDenied, ConfigError, NotFound, VoxofsError
from .preflight import Host

_MOST_OFFSET_S = 300.0
OK, USAGE, SYSTEM = 0, 1, 2


class Prober(Protocol):
    """What the check asks of the service. Errors are VoxofsErrors whose message is for people."""

    async def sign_in(self) -> None:
        """Make sure that there is a token."""

    async def tenant(self, tenant_id: int) -> str:
        """The tenant's name, as the service has it."""
        raise NotImplementedError

    async def server_clock_offset_s(self) -> float | None:
        """How far the server's clock is ahead of this machine's; None when it does not tell."""
        raise NotImplementedError


MakeProber = Callable[[Config], AbstractAsyncContextManager[Prober]]
"""Makes a prober with connections of its own, which end with the block."""


class Grade(Enum):
    """How a finding is marked."""

    GOOD = "✓"
    WARNING = "!"
    BROKEN = "✗"


class Finding(NamedTuple):
    """One line, and what to do about it."""

    grade: Grade
    message: str
    remedy: str = ""


def good(message: str) -> Finding:
    return Finding(Grade.GOOD, message)


def broken(message: str, remedy: str = "") -> Finding:
    return Finding(Grade.BROKEN, message, remedy)


def warning(message: str, remedy: str = "") -> Finding:
    return Finding(Grade.WARNING, message, remedy)


def machine(host: Host, *, allow_other: bool) -> Iterator[Finding]:
    """FUSE itself, and what else on this machine would trouble a mount."""
    device = preflight.device_problem(host)
    yield good(f"{host.fuse_device} can be opened") if device is None else _from_problem(device)
    helper = _fusermount(host)
    yield helper
    if device is None and helper.grade is Grade.GOOD:
        yield _trial_mount()
    if preflight.allow_other_problem(host, wanted=allow_other) is not None:
        yield broken(
            f"allow_other is set, but {host.fuse_conf} does not allow it to users",
            f"add the line user_allow_other to {host.fuse_conf} as root, or leave allow_other out",
        )
    elif not host.is_root and not preflight.user_allow_other(host):
        yield warning(
            f"{host.fuse_conf} has no user_allow_other, so only you will see your mounts",
            f"to let others in, add the line user_allow_other to {host.fuse_conf} as root",
        )
    else:
        yield good("allow_other may be used")
    yield from _updatedb(host)
    yield from _dead_mounts(host)


def _from_problem(problem: str) -> Finding:
    """A problem of `preflight` is "what; remedy"."""
    message, _, remedy = problem.partition("; ")
    return broken(message, remedy)


def _fusermount(host: Host) -> Finding:
    if (problem := preflight.helper_problem(host)) is not None:
        return _from_problem(problem)
    helper = shutil.which("fusermount3", path=host.search_path)
    if helper is None:
        return warning(
            "fusermount3 is missing; root mounts without it, other users cannot", "install the package fuse3"
        )
    try:
        answer = subprocess.run(
            [helper, "--version"], capture_output=True, text=True, errors="replace", timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return broken(f"{helper} does not run", "install the package fuse3 again")
    version = re.search(r"version:?\s*(\S+)", answer.stdout)
    return good(f"{helper} works (version {version[1] if version else 'unknown'})")


def _trial_mount() -> Finding:
    """Mount nothing on a new folder by way of fusermount3, as libfuse would, and take it away again."""
    folder = tempfile.mkdtemp(prefix="voxofs-check-")
    ours, theirs = socket.socketpair()
    try:
        with ours, theirs:
            answer = subprocess.run(
                ["fusermount3", "-o", "ro,nodev,nosuid,noexec,fsname=voxofs-check", "--", folder],
                capture_output=True, text=True, errors="replace", timeout=10, check=False,
                pass_fds=[theirs.fileno()], env={**os.environ, "_FUSE_COMMFD": str(theirs.fileno())},
            )  # fmt: skip
            if answer.returncode == 0:
                _message, descriptors, _flags, _address = socket.recv_fds(ours, 1, 1)
                for descriptor in descriptors:
                    os.close(descriptor)  # first: nobody can then wait for an answer of this mount
                mounts.unmount(folder, lazy=True)
    except (OSError, subprocess.TimeoutExpired, mounts.MountFailure) as error:
        return broken(f"a mount was tried and failed: {error}", "look at what dmesg says about fuse")
    finally:
        os.rmdir(folder)
    if answer.returncode != 0:
        return broken(
            f"a mount was tried and refused: {answer.stderr.strip()}",
            "in a container, allow it with --device /dev/fuse --cap-add SYS_ADMIN "
            "(and --security-opt apparmor=unconfined where AppArmor forbids mount)",
        )
    return good("a mount can be made")


def _updatedb(host: Host) -> Iterator[Finding]:
    """Whether updatedb (locate) would walk through every recording there ever was."""
    try:
        text = host.updatedb_conf.read_text(errors="replace")
    except OSError:
        return  # no updatedb here
    match = re.search(r"""^\s*PRUNEFS\s*=\s*["']?([^"'\n]*)""", text, re.MULTILINE)
    pruned = match[1].split() if match else []
    if mounts.FS_TYPE.casefold() in (name.casefold() for name in pruned):
        yield good(f"updatedb leaves mounts of voxofs alone ({host.updatedb_conf})")
    else:
        yield warning(
            f"updatedb would crawl the mount: PRUNEFS in {host.updatedb_conf} lacks {mounts.FS_TYPE}",
            f'put this line there: PRUNEFS="{" ".join([*pruned, mounts.FS_TYPE])}"',
        )


def _dead_mounts(host: Host) -> Iterator[Finding]:
    dead = preflight.dead_mounts(host)
    for mountpoint in dead:
        yield warning(
            f"{mountpoint}: a dead mount was left behind by a voxofs that ended unexpectedly",
            f"the next mount there heals it; or remove it with: voxofs umount {shlex.quote(mountpoint)}",
        )
    if not dead:
        yield good("no dead mount is left behind")


def folder(mountpoint: str, host: Host) -> Finding:
    """Whether something can be mounted at the folder."""
    path = mounts.real_path(mountpoint)
    if (problem := preflight.mountpoint_problem(path, host)) is not None:
        finding = _from_problem(problem.removeprefix(f"{path}: "))
        return finding._replace(message=f"{path}: {finding.message}")
    return good(f"{path} can be mounted on")


async def service(config: Config, prober: Prober) -> list[Finding]:
    """Credentials, each tenant, and the clocks. A failed sign-in makes the rest pointless."""
    found = []
    try:
        await prober.sign_in()
    except VoxofsError as error:
        return [broken(f"signing in at {config.api.base_url} failed: {error}", _remedy(error))]
    found.append(
        good("a token is at hand" if config.api.email is None else f"signed in at {config.api.base_url}")
    )
    for name, tenant in config.tenants.items():
        try:
            theirs = await prober.tenant(tenant.id)
        except VoxofsError as error:
            found.append(broken(f"tenant {name} ({tenant.id}): {error}", _remedy(error)))
        else:
            found.append(good(f"tenant {name} ({tenant.id}) is reachable: {theirs}"))
    try:
        offset_s = await prober.server_clock_offset_s()
    except VoxofsError as error:
        return [*found, warning(f"the server's clock could not be asked: {error}")]
    return [*found, *_clock(offset_s)]


def _remedy(error: VoxofsError) -> str:
    if isinstance(error, AccessDenied):
        return "check the credentials, and ask the service's administrator whether they may see this"
    if isinstance(error, NotFound):
        return "check the tenant's id and base_url in the configuration"
    return "check base_url and the network; a mount works as soon as the service answers"


def _clock(offset_s: float | None) -> Iterator[Finding]:
    if offset_s is None:
        return
    if abs(offset_s) > _MOST_OFFSET_S:
        side = "behind" if offset_s > 0 else "ahead of"
        yield broken(
            f"this machine's clock is {abs(offset_s) / 60:.0f} minutes {side} the server's",
            "set it with: timedatectl set-ntp true",
        )
    else:
        yield good("this machine's clock agrees with the server's")


def show(findings: Iterable[Finding], out: TextIO) -> bool:
    """Print the findings as they come; True when one of them is broken."""
    any_broken = False
    for finding in findings:
        any_broken |= finding.grade is Grade.BROKEN
        print(f"{finding.grade.value} {finding.message}", file=out)
        if finding.remedy:
            print(f"  → {finding.remedy}", file=out, flush=True)
    return any_broken


def run(
    load: Callable[[], Config],
    mountpoint: str | None,
    *,
    host: Host | None = None,
    prober: MakeProber | None = None,
    out: TextIO | None = None,
) -> int:
    """Check and print everything; returns the exit code. `load` raises ConfigError as `config.load` does."""
    host, stream = host or Host(), out or _standard_output()
    config: Config | None = None
    try:
        config = load()
    except ConfigError as error:
        show([broken(problem) for problem in error.problems], stream)
    else:
        show([good(f"configuration {config.source or 'of the environment'} is sound")], stream)
    any_broken = show(machine(host, allow_other=config is not None and config.mount.allow_other), stream)
    if mountpoint is not None:
        any_broken |= show([folder(mountpoint, host)], stream)
    if config is None:
        return USAGE
    any_broken |= show(_ask_service(config, prober), stream)
    return SYSTEM if any_broken else OK


def _ask_service(config: Config, make: MakeProber | None) -> list[Finding]:
    import trio

    async def ask() -> list[Finding]:
        async with (make or _default_prober())(config) as prober:
            return await service(config, prober)

    return trio.run(ask)


def _default_prober() -> MakeProber:
    from . import app

    return app.prober


def _standard_output() -> TextIO:
    """stdout, where the marks of a terminal that knows only ASCII do not end in an error."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    return sys.stdout
