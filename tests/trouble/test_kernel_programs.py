"""Odd programs, odd locales, odd zones: what they see on a mount."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest
import trio
from harness.fronts import MountFront, mount_front
from harness.rig import PATIENCE_S, until
from harness.world import BYTES, CHICAGO, HOUR, NAMES, call, sized_hour, tenant
from trials.programs import in_thread, python

from voxofs.simulator.faults import Fault
from voxofs.simulator.world import FixedTenant


@pytest.mark.parametrize("name", [b"fourteen-bytes\xc3", b"\x1b[31mred\x07", b"\xff\xfe"])
async def test_any_program_name_works(name: bytes) -> None:
    """The kernel keeps 15 bytes of it (prctl(2), PR_SET_NAME), which may end inside a letter."""
    async with mount_front() as front:
        assert isinstance(front, MountFront)
        code = f"""
import ctypes, os
assert ctypes.CDLL(None).prctl(15, {name!r}, 0, 0, 0) == 0
root = {front.daemon.path("")!r}
print(sorted(os.listdir(root)), len(open(root + {f"{HOUR}/{NAMES[1]}"!r}, "rb").read()))
"""
        done = await in_thread(
            lambda: subprocess.run(python(code), capture_output=True, text=True, check=False)
        )
        assert done.stdout == f"['office'] {len(BYTES[NAMES[1]])}\n", done.stderr


async def test_a_crawlers_name_reaches_the_log_as_text() -> None:
    async with mount_front() as front:
        assert isinstance(front, MountFront)
        name = b"updatedb\x1b[31m"
        code = f"""
import ctypes, os
ctypes.CDLL(None).prctl(15, {name!r}, 0, 0, 0)
os.listdir({front.daemon.path(HOUR)!r})
"""
        await in_thread(lambda: subprocess.run(python(code), check=True))
        await until(lambda: "crawls the mount" in front.daemon.said())
        assert "\x1b" not in front.daemon.said()


async def test_who_reads_whole_is_a_crawler_no_more() -> None:
    sizes = [70_000] * 80
    calls = [sized_hour(sizes, hour=f"{hour:02}") for hour in range(10, 15)]
    merged = {key: data for each in calls for key, data in each.items()}
    sections = {"log": {"level": "info"}}
    async with mount_front([tenant(merged)], sections=sections) as front:
        assert isinstance(front, MountFront)
        day = front.daemon.path(HOUR.rsplit("/", 1)[0])
        code = f"""
import os
def names(hour):
    return [os.path.join({day!r}, hour, name) for name in sorted(os.listdir(os.path.join({day!r}, hour)))]
for hour in ("10", "11", "12", "13"):
    for path in names(hour):
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        os.pread(descriptor, 100, 0)
        os.close(descriptor)
for path in names("14"):
    open(path, "rb").read()
"""
        done = await in_thread(
            lambda: subprocess.run(python(code), capture_output=True, text=True, check=False)
        )
        assert done.returncode == 0, done.stderr
        assert "crawls the mount" in front.daemon.said()
        assert "it is served as everybody" in front.daemon.said()


@pytest.mark.parametrize(
    "locale", [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}], ids=["seven bits"]
)
async def test_names_are_utf8_whatever_the_locale(
    locale: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in locale.items():
        monkeypatch.setenv(key, value)
    async with mount_front() as front:
        folder = "/office/2024/03/05/12"
        assert await front.listdir(folder) == ["apple.mp3", "zebra.mp3", "Ärger.mp3"]
        assert (await front.stat(f"{folder}/Ärger.mp3")).size == 11
        assert (await front.xattrs(f"{folder}/Ärger.mp3"))["user.voxo.uniqueId"] == "Ärger"


async def test_attributes_of_security_modules_are_refused_once_and_not_file_by_file() -> None:
    """`ls -l` asks for one of them and an ACL. What is not there is asked of the next file again, what cannot
    be is not: ls.c remembers the device (gnulib, errno_unsupported). ACLs must not be refused so: nfs-ganesha
    6 takes that for a failure (tests/docs/test_shares_page.py, on Debian 13)."""
    asked = {
        "security.selinux": errno.ENOTSUP,
        "trusted.overlay.opaque": errno.ENOTSUP,
        "system.posix_acl_access": errno.ENODATA,
        "user.nothing": errno.ENODATA,
    }
    async with mount_front() as front:
        assert isinstance(front, MountFront)
        path = front.daemon.path("/office/2024/03/05/12/apple.mp3")
        for name, code in asked.items():
            with pytest.raises(OSError, match=os.strerror(code)) as refusal:
                await in_thread(partial(os.getxattr, path, name))
            assert refusal.value.errno == code, name


def today() -> tuple[str, list[object], FixedTenant]:
    """A folder that reaches the present, its records, and whose they are."""
    day = datetime.now(CHICAGO).date()
    records: list[object] = [call("first", f"{day:%Y-%m-%d} 00:00:01")]
    office = FixedTenant(9, "office", "Office", records, {"first": b"1", "second": b"2"})
    return f"/office/{day:%Y/%m/%d}/00", records, office


async def test_hangup_during_a_report_is_not_lost() -> None:
    folder, records, office = today()
    async with mount_front([office], sections={"cache": {"live_ttl_s": 3_600.0}}) as front:
        assert isinstance(front, MountFront)
        # The report takes two seconds, and is not too slow for anybody.
        records[0]["callerIdName"] = "x" * 4_000  # type: ignore[index]
        front.sim.add_fault(Fault("trickle", {"route": "reports"}, bytes_per_s=2_000))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(front.listdir, folder)
            await until(lambda: any(front.sim.log.in_flight.values()))
            await trio.sleep(0.5)  # the answer is made, and under way
            records.append(call("second", str(records[0]["start"])))  # type: ignore[index]
            front.daemon.process.send_signal(signal.SIGHUP)
        with trio.fail_after(PATIENCE_S):
            assert await front.listdir(folder) == ["first.mp3", "second.mp3"]


async def test_rewinding_a_folder_lists_it_anew() -> None:
    folder, records, office = today()
    async with mount_front([office], sections={"cache": {"live_ttl_s": 1.0}}) as front:
        assert isinstance(front, MountFront)
        code = f"""
import ctypes, sys
libc = ctypes.CDLL(None)
libc.opendir.restype = ctypes.c_void_p
libc.readdir.restype = ctypes.c_void_p
for function in (libc.readdir, libc.rewinddir):
    function.argtypes = [ctypes.c_void_p]
folder = libc.opendir({front.daemon.path(folder).encode()!r})
def count():
    number = 0
    while libc.readdir(folder):
        number += 1
    return number
print(count(), flush=True)
input()
libc.rewinddir(folder)
print(count(), flush=True)
"""
        process = subprocess.Popen(  # noqa: ASYNC220 (begins at once)
            python(code), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        first = await in_thread(process.stdout.readline)
        records.append(call("second", str(records[0]["start"])))  # type: ignore[index]
        await trio.sleep(1.5)  # the listing's time is over
        second, _ = await in_thread(lambda: process.communicate(b"\n"))
        assert (int(first), int(second)) == (1, 2)


async def test_appending_without_writing_is_reading() -> None:
    async with mount_front() as front:
        assert isinstance(front, MountFront)
        path = front.daemon.path(f"{HOUR}/{NAMES[1]}")
        descriptor = await in_thread(lambda: os.open(path, os.O_RDONLY | os.O_APPEND))
        try:
            assert await in_thread(lambda: os.pread(descriptor, 100, 0)) == BYTES[NAMES[1]][:100]
        finally:
            os.close(descriptor)


async def test_inodes_follow_the_starts_in_a_zone_of_half_hours() -> None:
    starts = [f"2024-03-05 10:{minute:02}:00" for minute in range(0, 60, 5)]
    calls: dict[tuple[str, str], bytes | None] = {
        (f"call-{number:02}", start): b"x" for number, start in enumerate(starts)
    }
    zone = {"api": {"timezone": "Asia/Kolkata"}}
    async with mount_front([tenant(calls)], sections=zone) as front:
        assert isinstance(front, MountFront)
        folder = Path(front.daemon.path(HOUR))
        found = await in_thread(lambda: sorted((each.stat().st_ino, each.name) for each in folder.iterdir()))
        assert [name for _, name in found] == [f"call-{number:02}.mp3" for number in range(len(starts))]


async def test_inodes_follow_the_starts_in_an_hour_that_occurs_twice() -> None:
    first, second = 1_699_165_800, 1_699_169_400  # 01:30 in Chicago on 2023-11-05, and an hour later
    epochs = [first - 1_500, first, first + 1_500, second - 1_500, second, second + 1_500]
    calls: dict[tuple[str, str], bytes | None] = {
        (f"atl-{epoch}.{number}", f"{datetime.fromtimestamp(epoch, CHICAGO):%Y-%m-%d %H:%M:%S}"): b"x"
        for number, epoch in enumerate(epochs)
    }
    async with mount_front([tenant(calls)]) as front:
        assert isinstance(front, MountFront)
        folder = Path(front.daemon.path("/office/2023/11/05/01"))
        found = await in_thread(lambda: sorted((each.stat().st_ino, each.name) for each in folder.iterdir()))
        assert [name for _, name in found] == sorted(name for _, name in found)
        assert len(found) == len(epochs)
