"""What a worker does in one step: a real tool on the mount, its output compared with the truth.

A step ends in one of three ways: right; refused with an errno that the faults explain; or `Wrong`, which is
a defect: a byte, a name or a size that is not so, an errno that nothing explains, a failure shown as an end
of file.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import TypeVar

from .population import Population, Recording

T = TypeVar("T")

ALLOWED = frozenset({"EIO", "ETIMEDOUT", "EACCES"})
"""EACCES: a token that is rotated, and a link that arrives dead twice in a row."""
_TEXTS = {os.strerror(getattr(errno, name)): name for name in ALLOWED}
_OTHER_TEXTS = {
    os.strerror(number): name for number, name in errno.errorcode.items() if os.strerror(number) not in _TEXTS
}
_MMAP = """
import mmap, sys
with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
    sys.stdout.buffer.write(view[:])
"""
_SIGBUS = -7


class Wrong(Exception):
    """A defect of the mount."""


class Refused(Exception):
    """An errno that is allowed; its name is the message."""


class Step:
    """What a step may use. `child` is the tool at work, for the watchdog."""

    def __init__(self, mountpoint: Path, population: Population, scratch: Path, random: Random) -> None:
        self.mountpoint = mountpoint
        self.population = population
        self.scratch = scratch
        self.random = random
        self.child: int | None = None
        self.last: Recording | None = None
        self.calls = 0
        """System calls made by this process itself, for the watchdog."""
        self.longest_call_s = 0.0
        """The longest of them."""
        self.waited_s = 0.0
        """Spent in tools and system calls since a worker set it to 0: without the checker's own work."""

    def path(self, recording: Recording) -> str:
        """Where a recording is."""
        return f"{self.mountpoint}{recording.path}"

    def any_recording(self) -> Recording:
        """One of all, by chance."""
        self.last = self.random.choice(self.population.recordings)
        return self.last

    def any_hour(self) -> str:
        """A folder with recordings in it."""
        return self.random.choice(list(self.population.hours))

    def tool(self, *command: str) -> bytes:
        """A tool's output. Raises `Refused` and `Wrong` by what it says on stderr."""
        environ = {**os.environ, "LC_ALL": "C"}
        with (
            self._timed(),
            subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ
            ) as child,
        ):
            self.child = child.pid
            output, complaint = child.communicate()
            self.child = None
        if child.returncode == _SIGBUS:
            raise Refused("EIO")  # a page that cannot be had
        if child.returncode != 0 or complaint:
            raise _judged(command[0], child.returncode, complaint.decode(errors="replace"))
        return output

    def call(self, work: Callable[[], T]) -> T:
        """A system call of this process. Raises `Refused` and `Wrong` by its errno."""
        self.calls += 1
        before_s = self.waited_s
        try:
            with self._timed():
                return work()
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, str(error.errno))
            if name in ALLOWED:
                raise Refused(name) from None
            raise Wrong(f"errno {name} from a system call") from None
        finally:
            self.longest_call_s = max(self.longest_call_s, self.waited_s - before_s)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began_s = time.monotonic()
        try:
            yield
        finally:
            self.waited_s += time.monotonic() - began_s


def _judged(tool: str, code: int, complaint: str) -> Exception:
    found = {name for text, name in _TEXTS.items() if text in complaint}
    strange = {name for text, name in _OTHER_TEXTS.items() if text in complaint}
    if strange or not found:
        return Wrong(f"{tool} ended with {code}: {' '.join(complaint.split())[:300]}")
    return Refused(min(found))


def _equal(step: str, recording: Recording, got: bytes, expected: bytes) -> None:
    if got != expected:
        raise Wrong(
            f"{step} {recording.path}: {len(got)} bytes that differ from the {len(expected)} true ones"
        )


def ls(step: Step) -> None:
    folder = step.any_hour()
    lines = step.tool("ls", "-l", f"{step.mountpoint}{folder}").decode().splitlines()[1:]
    sizes = {line.split()[-1]: int(line.split()[4]) for line in lines}
    if sorted(sizes) != step.population.names(folder):
        raise Wrong(f"ls {folder}: {len(sizes)} names, not the true ones")
    recording = step.random.choice(step.population.hours[folder])
    if sizes[recording.name] != len(step.population.truth(recording)):
        raise Wrong(f"ls {recording.path}: size {sizes[recording.name]} is not the true one")


def find(step: Step) -> None:
    day = step.any_hour().rsplit("/", 1)[0]
    found = step.tool("find", f"{step.mountpoint}{day}", "-name", "*.mp3").decode().splitlines()
    expected = [
        f"{step.mountpoint}{recording.path}" for recording in step.population.recordings
        if recording.folder.startswith(f"{day}/")
    ]  # fmt: skip
    if sorted(found) != sorted(expected):
        raise Wrong(f"find {day}: {len(found)} names, {len(expected)} true ones")


def cat(step: Step) -> None:
    recording = step.any_recording()
    _equal("cat", recording, step.tool("cat", step.path(recording)), step.population.truth(recording))


def md5sum(step: Step) -> None:
    recording = step.any_recording()
    told = step.tool("md5sum", step.path(recording)).split()[0].decode()
    true = hashlib.md5(step.population.truth(recording), usedforsecurity=False).hexdigest()
    if told != true:
        raise Wrong(f"md5sum {recording.path}: {told}, not {true}")


def cp(step: Step) -> None:
    recording = step.any_recording()
    try:
        step.tool("cp", step.path(recording), str(step.scratch))
        _equal("cp", recording, step.scratch.read_bytes(), step.population.truth(recording))
    finally:
        step.scratch.unlink(missing_ok=True)


def dd(step: Step) -> None:
    recording = step.any_recording()
    truth = step.population.truth(recording)
    unit = step.random.choice((1_237, 4_097, 65_521, 99_991))
    skip = step.random.randrange(1 + len(truth) // unit)
    count = step.random.randint(1, 3)
    got = step.tool(
        "dd",
        f"if={step.path(recording)}",
        f"bs={unit}",
        f"skip={skip}",
        f"count={count}",
        "status=none",
        "iflag=fullblock",  # a read may stop short before an error; dd would take that for a block
    )
    _equal("dd", recording, got, truth[skip * unit : (skip + count) * unit])


def tail(step: Step) -> None:
    recording = step.any_recording()
    number = step.random.randint(1, 100_000)
    got = step.tool("tail", "-c", str(number), step.path(recording))
    _equal("tail", recording, got, step.population.truth(recording)[-number:])


def mmap(step: Step) -> None:
    recording = step.any_recording()
    got = step.tool(sys.executable, "-S", "-E", "-c", _MMAP, step.path(recording))
    _equal("mmap", recording, got, step.population.truth(recording))


def ffprobe(step: Step) -> None:
    recording = step.any_recording()
    show = ("-v", "error", "-show_entries", "format=format_name,size", "-of", "csv=p=0")
    told = step.tool("ffprobe", *show, step.path(recording)).decode().strip()
    if told != f"mp3,{len(step.population.truth(recording))}":
        raise Wrong(f"ffprobe {recording.path}: {told}")


def getfattr(step: Step) -> None:
    recording = step.any_recording()
    told = step.tool("getfattr", "--absolute-names", "-d", "-m", "-", step.path(recording)).decode()
    if f'user.voxo.start="{recording.start}"' not in told:
        raise Wrong(f"getfattr {recording.path}: {told[:200]}")


def pread(step: Step) -> None:
    """Random reads of one open file with pauses in no order, at the kernel's door."""
    recording = step.any_recording()
    truth = step.population.truth(recording)
    descriptor = step.call(lambda: os.open(step.path(recording), os.O_RDONLY))
    try:
        for _ in range(8):
            at = step.random.randrange(len(truth) + 1_000)
            size = step.random.choice((1, 4_096, 50_000, 200_000))
            expected = truth[at : at + size]
            got = step.call(lambda at=at, size=size: os.pread(descriptor, size, at))  # type: ignore[misc]
            while len(got) < len(expected):
                # The kernel gives what it has when a later page fails (read(2)); whoever reads on gets the
                # error, or the rest where the trouble is over, and never an end of file.
                _equal(f"pread at {at} of", recording, got, expected[: len(got)])
                place, rest = at + len(got), len(expected) - len(got)
                more = step.call(lambda at=place, size=rest: os.pread(descriptor, size, at))  # type: ignore[misc]
                if not more:
                    raise Wrong(f"pread at {place} of {recording.path}: an end of file that is none")
                got += more
            _equal(f"pread at {at} of", recording, got, expected)
    finally:
        os.close(descriptor)


def stat(step: Step) -> None:
    recording = step.any_recording()
    size = step.call(lambda: os.stat(step.path(recording))).st_size
    if size != len(step.population.truth(recording)):
        raise Wrong(f"stat {recording.path}: {size}")


def absent(step: Step) -> None:
    """A name that is not there is absent, or the listing cannot be had: nothing else."""
    path = f"{step.mountpoint}{step.any_hour()}/not-there-{step.random.randrange(100)}.mp3"
    try:
        step.call(lambda: os.stat(path))
    except Wrong as wrong:
        if "ENOENT" not in str(wrong):
            raise
    else:
        raise Wrong(f"{path} exists")


def status(step: Step) -> None:
    text = step.call(lambda: Path(step.mountpoint, ".voxofs/status").read_text())
    if re.search(r'"fetches": \d+', text) is None:
        raise Wrong("the status file has no fetches")


STEPS: dict[Callable[[Step], None], int] = {
    ls: 2, find: 1, cat: 4, md5sum: 3, cp: 4, dd: 4, tail: 3, mmap: 1, ffprobe: 2, getfattr: 2, pread: 10,
    stat: 4, absent: 1, status: 1,
}  # fmt: skip
"""Each with its weight."""


def drop_pages(step: Step) -> None:
    """Have the kernel forget what the last step read, half of the time: what it keeps hides the daemon."""
    recording, step.last = step.last, None
    if recording is None or step.random.random() < 0.5:
        return
    try:
        descriptor = os.open(step.path(recording), os.O_RDONLY)
    except OSError:
        return
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
