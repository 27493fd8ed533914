"""`voxofs calls`: the records behind the files, with their paths. Reports are asked for, audio never is.

A table for people, CSV and JSON lines for programs, bare paths for xargs. Lines come as the reports do. A
record's field may hold anything: what a terminal might obey is written as an escape, in every format.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from voxofs.daemon.terminal import say
from voxofs.errors import Exit

from . import offline
from .parser import Commands, UsageError

if TYPE_CHECKING:
    from voxofs.catalog.window import Place
    from voxofs.config.settings import Config
    from voxofs.core.build import Core
    from voxofs.export.selection import Days
    from voxofs.export.where import Condition

_HELP = f"""
examples:
  voxofs calls demo/2021/08/13
  voxofs calls demo/2021-08-09..2021-08-15 --where 'duration > 600 and direction == "IN"'
  voxofs calls demo/2021/08 --format csv > august.csv
  voxofs calls demo/2021/08/13 --format json | jq -s 'map(.duration) | add'
  cd ~/calls && voxofs calls demo/2021/08/13 --where 'duration < 5' --print0 | xargs -0 ls -l
{offline.PATHS}"""

_TABLE = ("start", "direction", "disposition", "duration")
"""What a table shows beside the personal fields that are shown, and the path."""
_ROWS_TOGETHER = 500
"""Rows that are laid out together, so that a table of a year begins at once. A rule of thumb: ten screens."""
_CONTROL = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What json.dumps leaves as it is and a terminal obeys: C1 controls (ECMA-48), direction and line marks."""

Writer = Callable[[list["Place"]], None]


def add_to(commands: Commands) -> None:
    parser = commands.add("calls", run, summary="list calls and their paths", epilog=_HELP)
    offline.add_options(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--format", choices=("table", "csv", "json"), help="table by default; json: a line a call"
    )
    form.add_argument("--paths", action="store_true", help="paths only, a line each")
    form.add_argument(
        "--print0", "-0", action="store_true", help="paths only, set apart by NUL, for xargs -0"
    )
    parser.add_argument("paths_meant", metavar="PATH…", nargs="+", help="which calls")


def run(options: argparse.Namespace) -> int:
    """List the calls. Raises VoxofsError."""
    config = offline.load(options)
    selection, where, _ = offline.meant(config, options.paths_meant, options.where)
    if options.print0 and sys.stdout.isatty():
        raise UsageError("--print0 is for programs: give --paths, or a pipe to xargs -0")
    write, finish = _writer(options, config.privacy.show)
    missing = _list(config, selection, where, write)
    finish()
    return Exit.MISSING if missing else Exit.OK


def _list(config: Config, selection: Sequence[Days], where: Condition | None, write: Writer) -> list[str]:
    """Write every call that is meant; returns what cannot be had, having said so."""
    from voxofs.export.fields import printable
    from voxofs.export.walk import hours

    missing: list[str] = []

    def miss(path: str, reason: str) -> None:
        missing.append(path)
        say(f"{printable(path)}: {printable(reason)}")

    async def work(core: Core) -> None:
        async for places in hours(core, selection, where, miss):
            write(places)

    offline.with_core(config, work)
    return missing


def _writer(options: argparse.Namespace, show: Sequence[str]) -> tuple[Writer, Callable[[], None]]:
    """How calls are written, and what is to be done after the last one."""
    from voxofs.export.fields import path_of, printable, shown_fields

    fields = shown_fields(show)
    if options.print0:
        return lambda places: _out("".join(f"{path_of(each)}\0" for each in places)), lambda: None
    if options.paths:
        as_shown = printable if sys.stdout.isatty() else str
        return lambda places: _out("".join(f"{as_shown(path_of(each))}\n" for each in places)), lambda: None
    if options.format == "json":
        return lambda places: _out("".join(_json(each, fields) for each in places)), lambda: None
    if options.format == "csv":
        return _csv(fields), lambda: None
    table = _Table([*_TABLE, *(name for name in fields if name in show)])
    return table.add, table.finish


def _out(text: str) -> None:
    sys.stdout.write(text)


def _json(place: Place, fields: Sequence[str]) -> str:
    """One object on one line; a field that is missing is left out."""
    from voxofs.export.fields import path_of, raw

    values = {"path": path_of(place)} | {
        name: value for name in fields if (value := raw(place, name)) is not None
    }
    text = json.dumps(values, ensure_ascii=False)
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"


def _csv(fields: Sequence[str]) -> Writer:
    from voxofs.export.fields import path_of, printable, text_of

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["path", *fields])

    def write(places: list[Place]) -> None:
        for place in places:
            writer.writerow([printable(path_of(place)), *(text_of(place, name) for name in fields)])

    return write


class _Table:
    """A table, some hundred rows at a time: as wide as a terminal, or as its longest cell where there is
    none."""

    def __init__(self, fields: Sequence[str]) -> None:
        self._fields = fields
        self._rows: list[list[str]] = []
        self._widths = [len(name) for name in fields]
        self._is_first = True

    def add(self, places: list[Place]) -> None:
        """The next rows."""
        from voxofs.export.fields import path_of, printable, text_of

        for place in places:
            cells = [text_of(place, name) for name in self._fields]
            self._rows.append([*cells, printable(path_of(place))])
        if len(self._rows) >= _ROWS_TOGETHER:
            self.finish()

    def finish(self) -> None:
        """Print what is there."""
        if self._rows:
            (self._print_rich if sys.stdout.isatty() else self._print_plain)()
        self._rows.clear()
        self._is_first = False

    def _print_plain(self) -> None:
        from rich.cells import cell_len

        rows = [[*self._fields, "path"], *self._rows] if self._is_first else self._rows
        columns = list(zip(*rows, strict=True))[:-1]
        self._widths = [
            max(width, *map(cell_len, cells)) for width, cells in zip(self._widths, columns, strict=True)
        ]
        for row in rows:
            cells = [
                " " * (width - cell_len(cell)) + cell
                if name == "duration"
                else cell + " " * (width - cell_len(cell))
                for name, width, cell in zip(self._fields, self._widths, row[:-1], strict=True)
            ]
            _out("  ".join([*cells, row[-1]]) + "\n")

    def _print_rich(self) -> None:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, show_header=self._is_first, header_style="bold")
        for name, width in zip(self._fields, self._widths, strict=True):
            table.add_column(name, justify="right" if name == "duration" else "left", min_width=width)
        table.add_column("path", overflow="fold")
        for row in self._rows:
            table.add_row(*(Text(cell) for cell in row))
        Console(highlight=False, soft_wrap=False).print(table)
