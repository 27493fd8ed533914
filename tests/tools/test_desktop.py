"""A file manager on an X server without a screen: what its window shows, and what that costs.

The same hour lies in a local folder, open in a second window: both must show the same, dot for dot.
"""

from __future__ import annotations

import os
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random

import pytest
from harness.mounts import mounted
from harness.rig import PATIENCE_S
from harness.vendors import vendor
from harness.world import HOUR, OFFICE, sized_hour, tenant

pytestmark = pytest.mark.mounts

SIZES = [Random(number).randrange(140_000, 240_000) for number in range(200)]
HEAD_BYTES = 65_536 + 1_024
"""A block, and the answer's headers."""
WIDTH, HEIGHT = 1_000, 700
SETTINGS = f"""[ui]
view_mode=list
columns=name:300;desc;size;mtime;
sort=name;ascending;
win_width={WIDTH}
win_height={HEIGHT}
"""
LIST, COUNT = (160, 125, WIDTH, HEIGHT - 40), (0, HEIGHT - 20, 120, HEIGHT)
"""What is looked at, from left and top to right and bottom: the list with its scroll bar, from the second row
on (the first may have the focus), and in the line below it how many items there are. The path, above, and the
free space, below, are different in the two windows."""
INK = range(10_000, 100_000)
"""So many dots are dark once there are rows, 30,000 with Debian's fonts; an empty list has next to none, and
a screen without a window has 480,000."""
DARK = 128


class Window:
    """PCManFM on one folder, on a screen of its own that can be looked at."""

    def __init__(self, screen: Path) -> None:
        self._screen = screen

    def dots(self) -> list[bytes]:
        """The lines of what is looked at (X11's XWDFile.h: a header of 32-bit words, colours of 12 bytes,
        then four bytes a dot)."""
        image = self._screen.read_bytes()
        words = struct.unpack(">25I", image[:100])
        begin, line = words[0] + words[19] * 12, words[12]
        return [
            image[begin + y * line + left * 4 : begin + y * line + right * 4]
            for left, top, right, bottom in (LIST, COUNT)
            for y in range(top, bottom)
        ]


def ink(lines: list[bytes]) -> int:
    """How many dots are dark: the text."""
    return sum(line[::4].translate(_IS_DARK).count(1) for line in lines)


_IS_DARK = bytes(value < DARK for value in range(256))


@contextmanager
def window(folder: Path, home: Path) -> Iterator[Window]:
    """The window and its X server; both are gone afterwards."""
    settings = home / "config/pcmanfm/default/pcmanfm.conf"
    settings.parent.mkdir(parents=True)
    settings.write_text(SETTINGS)
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8", "GIO_USE_VFS": "local"}
    environ |= {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CONFIG", "CACHE", "DATA")}
    environ["XDG_RUNTIME_DIR"] = str(home)
    with ExitStack() as started, (home / "log").open("wb") as log:

        def start(*command: str, keep: tuple[int, ...] = ()) -> None:
            process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, pass_fds=keep)
            started.callback(process.wait)
            started.callback(process.kill)

        told, tells = os.pipe()
        start(
            "Xvfb", "-displayfd", str(tells), "-screen", "0", f"{WIDTH}x{HEIGHT}x24", "-fbdir", str(home),
            "-nolisten", "tcp", keep=(tells,),
        )  # fmt: skip
        os.close(tells)
        with open(told) as display:
            environ["DISPLAY"] = f":{display.readline().strip()}"
        start("pcmanfm", str(folder))
        yield Window(home / "Xvfb_screen0")


def test_an_hour_of_two_hundred_looks_as_a_local_folder_does_and_is_not_read(tmp_path: Path) -> None:
    calls = sized_hour(SIZES)
    local = tmp_path / "10"
    local.mkdir()
    for (unique_id, _), data in calls.items():
        path = local / f"{unique_id}.mp3"
        path.write_bytes(data or b"")
        path.chmod(0o440)
        started_s = int(unique_id.split("-")[2].split(".")[0])
        os.utime(path, (started_s, started_s))
    homes = [tmp_path / "one", tmp_path / "other"]
    with (
        vendor([tenant(calls)]) as sold,
        mounted(sold.sim.api_url, {"office": OFFICE}, token=sold.sim.token) as daemon,
        window(local, homes[0]) as expected,
    ):
        sold.reset()
        with window(Path(daemon.path(HOUR)), homes[1]) as shown:
            gives_up_s = time.monotonic() + PATIENCE_S
            while (dots := shown.dots()) != expected.dots() or ink(dots) not in INK:
                assert time.monotonic() < gives_up_s, "the two windows show different things"
                time.sleep(0.05)
            while (counts := sold.counts()).get("link", 0) < len(SIZES):
                assert time.monotonic() < gives_up_s, counts
            fetched = sold.do(lambda: sold.sim.log.stats()["bytes"]["audio"])
    assert counts == {"reports": 1, "link": len(SIZES), "audio": len(SIZES)}
    assert fetched <= len(SIZES) * HEAD_BYTES < sum(SIZES) / 2
