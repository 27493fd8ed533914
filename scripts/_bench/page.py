"""docs/performance.md between its marks, from the results of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lines import Line
from report import Rows, compact, cpu, table, verdicts
from runs import Results
from worlds import World

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/performance.md"
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


def figures(head: Sequence[str], results: Results, worlds: Sequence[World], lines: Sequence[Line]) -> str:
    """What stands between the marks: how it was measured, a table for each world, CPU, the lines."""
    parts = ["\n".join(head)]
    every = table(results)
    for world in worlds:
        parts += [f"### {_title(world)}", compact(_of(every, world, worlds))]
    parts += ["### CPU of the daemon", compact(cpu(results))]
    parts += ["### The lines", compact(verdicts(results, lines))]
    return "\n\n".join(parts) + "\n"


def _title(world: World) -> str:
    title = world.title or "near"
    return f"{title[:1].upper()}{title[1:]}: {world.told()}"


def _of(rows: Rows, world: World, worlds: Sequence[World]) -> Rows:
    others = tuple(other.prefix for other in worlds if other.prefix and other != world)
    return [
        rows[0],
        *(
            row
            for row in rows[1:]
            if row[0].startswith(world.prefix) and not (others and row[0].startswith(others))
        ),
    ]


def with_figures(page: str, text: str) -> str:
    """The page with this between its marks."""
    before, rest = page.split(BEGIN, 1)
    return f"{before}{BEGIN}\n{text}{END}{rest.split(END, 1)[1]}"
