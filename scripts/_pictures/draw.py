#!/usr/bin/env python3
"""Draws docs/stats.svg and docs/export.svg: `voxofs stats --watch` and `voxofs export`, as they look at work.

    .venv/bin/python scripts/_pictures/draw.py

A simulated phone system is mounted and worked on for some seconds, and then a month of it is exported; what
the terminal shows meanwhile is recorded by rich. The pictures name no font of the network.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.progress import Progress

from voxofs.cli import progress
from voxofs.cli.main import main
from voxofs.cli.stats_screen import Screen
from voxofs.daemon import mount_table
from voxofs.simulator.process import SimulatorProcess, start_process

_ROOT = Path(__file__).resolve().parents[2]
_WIDTH = 104
"""Characters: what a page shows without making it smaller."""
_SAMPLES, _EVERY_S = 14, 0.4
_PICTURED_AT = 260
"""Recordings, of 458."""
_FONT_FACES = re.compile(r"@font-face \{\{.*?\}\}\s*", re.DOTALL)
_SVG = _FONT_FACES.sub("", CONSOLE_SVG_FORMAT).replace("Fira Code, monospace", "monospace")


def stats(folder: Path, to: Path) -> None:
    """A cold copy of a day, an unknown tenant beside it, and the screen after some seconds of it."""
    screen, work = Screen("/srv/calls"), folder / "calls"
    copies = [
        subprocess.Popen(["cp", "-r", str(work / "demo/2024/03" / day), str(folder / f"copy-{day}")])
        for day in ("04", "05", "06", "07", "08", "11", "12", "13", "14", "15", "18", "19")
    ]
    subprocess.run(["ls", str(work / "branch/2024/03/05")], capture_output=True, check=False)
    for _ in range(_SAMPLES):
        screen.add(json.loads((work / ".voxofs/status").read_text()))
        time.sleep(_EVERY_S)
    for copy in copies:
        copy.terminate()
        copy.wait()
    console = recorder()
    console.print(screen)
    save(console, to, "voxofs stats --watch /srv/calls")


def export(folder: Path, to: Path) -> None:
    """The bar of an export in its middle, and its last line."""
    console, said = recorder(), io.StringIO()

    @contextmanager
    def pictured(*, quiet: bool) -> Iterator[progress.Bar]:
        with progress.rich_progress() as drawn:
            yield _Pictured(drawn, console)

    words = "demo/2024-03-04..2024-03-08"
    console.print(f"$ voxofs export {words} archive", highlight=False)
    with contextlib.redirect_stderr(said), mock.patch("voxofs.cli.export_fetch.watching", pictured):
        code = main(["export", "--config", str(folder / "voxofs.toml"), words, str(folder / "archive")])
    assert code == 0, said.getvalue()
    line = said.getvalue().strip().splitlines()[-1].replace(str(folder) + "/", "")
    console.print(line, highlight=False)
    save(console, to, "voxofs export")


class _Pictured(progress.Bar):
    """The bar as it was when so many recordings were there."""

    def __init__(self, drawn: Progress, console: Console) -> None:
        super().__init__(drawn)
        self._drawn, self._console, self._count = drawn, console, 0

    def done(self) -> None:
        super().done()
        self._count += 1
        if self._count == _PICTURED_AT:
            self._console.print(self._drawn.get_renderable())


@contextmanager
def mounted(folder: Path, sim: SimulatorProcess) -> Iterator[None]:
    """The simulator's office, and an office that is refused."""
    (folder / "calls").mkdir()
    (folder / "token").write_text(sim.token)
    (folder / "token").chmod(0o600)
    (folder / "voxofs.toml").write_text(
        f'[api]\nbase_url = "{sim.api_url}"\ntoken_file = "token"\n[log]\nfile = "log"\n'
        f'[audit]\nfile = "audit.log"\n'
        "[tenants.demo]\nid = 37\nsince = 2021-01-01\n[tenants.branch]\nid = 38\nsince = 2021-01-01\n"
    )
    command = [sys.executable, "-m", "voxofs", "mount", "--config", str(folder / "voxofs.toml")]
    subprocess.run([*command, str(folder / "calls")], check=True)
    try:
        yield
    finally:
        mount_table.unmount(str(folder / "calls"), lazy=True)


def recorder() -> Console:
    """A terminal that nobody looks at."""
    nowhere = io.StringIO()
    return Console(record=True, width=_WIDTH, force_terminal=True, color_system="truecolor", file=nowhere)


def save(console: Console, to: Path, title: str) -> None:
    """The recorded terminal as a picture."""
    to.write_text(console.export_svg(title=title, code_format=_SVG, unique_id="voxofs") + "\n")
    print(f"{to.relative_to(_ROOT)}")


if __name__ == "__main__":
    with (
        tempfile.TemporaryDirectory(prefix="voxofs-pictures-") as place,
        start_process(world="demo", api_delay_s=0.08, storage_delay_s=0.03) as simulator,
    ):
        with mounted(Path(place), simulator):
            stats(Path(place), _ROOT / "docs/stats.svg")
        export(Path(place), _ROOT / "docs/export.svg")
