"""Programs that are started here and always ended here, and what /proc says about them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PATIENCE_S = 10.0
_CPUCLOCK_SCHED = 2
"""Which of a process's clocks (linux/posix-timers.h): what the scheduler gave it."""


class Failed(Exception):
    """A program of the benchmark did not do what it was started for."""


def start(command: Sequence[str | Path], log: Path, **environment: str) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own (a Ctrl-C is for the benchmark, which then ends it), in the
    folder of its log: `python -m` looks into the present folder first, and must not find another voxofs."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=log.parent,
            env=os.environ | {"LC_ALL": "C"} | environment,
        )


def end(process: subprocess.Popen[bytes], *, patience_s: float = _PATIENCE_S) -> None:
    """Wait for a program that has been asked to end; kill its session if it does not."""
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        kill_session(process)


def kill_session(process: subprocess.Popen[bytes]) -> None:
    """End a program and everything it started that stayed in its session."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    input: bytes = b"",  # noqa: A002
    environment: Mapping[str, str] | None = None,
) -> bytes:
    """Run a program to its end and return what it printed. Raises `Failed` unless it exits with 0."""
    with subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        start_new_session=True,
        env=os.environ | {"LC_ALL": "C"} | dict(environment or {}),
    ) as process:
        try:
            output, complaint = process.communicate(input)
        except BaseException:
            kill_session(process)
            raise
    if process.returncode:
        said = (complaint or output).decode(errors="replace").strip()[-400:]
        raise Failed(f"{' '.join(map(str, command))[:120]}: exit code {process.returncode}: {said}")
    return output


def wait_until_mounted(path: Path, process: subprocess.Popen[bytes], log: Path, *, patience_s: float) -> None:
    """Return once something is mounted at `path`. Raises `Failed` with the end of the log."""
    until_s = time.monotonic() + patience_s
    while not os.path.ismount(path):
        if process.poll() is not None or time.monotonic() > until_s:
            said = log.read_text(errors="replace").strip()[-600:]
            raise Failed(f"{process.args!r} did not mount (exit code {process.returncode}): {said}")
        time.sleep(0.01)


def unmount(path: Path) -> None:
    """Unmount, lazily where something still holds it. Does nothing where nothing is mounted."""
    for option in ("-u", "-uz"):
        if not os.path.ismount(path):
            return
        subprocess.run(["fusermount3", option, str(path)], stderr=subprocess.DEVNULL, check=False)


def cpu_s(pid: int) -> float:
    """User and system time of a process so far, in seconds, threads that have ended included: its CPU clock
    (clock_getcpuclockid(3)), which counts nanoseconds where /proc/PID/stat has ticks of 10 ms."""
    try:
        return time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)
    except OSError:
        raise Failed(f"process {pid} has ended") from None


def busy_s() -> float:
    """CPU time that all programs and the kernel have used so far (proc_stat(5): idle and iowait left out)."""
    fields = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / _TICKS_PER_S


def own_s() -> float:
    """CPU time of this process and of the programs that it has waited for."""
    return sum(usage.ru_utime + usage.ru_stime for usage in map(getrusage, (RUSAGE_SELF, RUSAGE_CHILDREN)))


def rss_bytes(pid: int) -> int:
    """Resident memory now."""
    return _status_bytes(pid, "VmRSS")


def peak_rss_bytes(pid: int) -> int:
    """The largest resident memory since the process started."""
    return _status_bytes(pid, "VmHWM")


def _status_bytes(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise Failed(f"process {pid} has no {name}: it has ended")
