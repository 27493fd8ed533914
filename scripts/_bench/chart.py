#!/usr/bin/env python3
"""The chart and the README's lines, made from the tables of docs/performance.md.

`scripts/bench --write` runs it; run it by hand after a table has changed in another way: it writes
docs/benchmark.svg, and README.md between its two marks. Each
work has a scale of its own, whose end is its slowest system, because seconds of one work say nothing beside
those of another. It writes SVG as text, so that it needs nothing but Python and a diff shows what changed.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLE, CHART, README = ROOT / "docs/performance.md", ROOT / "docs/benchmark.svg", ROOT / "README.md"
BEGIN, END = "<!-- bench:lines:begin -->", "<!-- bench:lines:end -->"

WORKS = {
    "ls -l cold": "`ls -l` of an hour, 200 recordings",
    "cp -r cold": "`cp -r` of it",
    "cp -r warm": "`cp -r` again",
    "first 64 KiB cold": "first 64 KiB of one recording",
    "256 MiB, 30 ms": "one recording of 256 MiB",
    "far, TLS: ls -l cold": "`ls -l`, 40 ms away, over TLS",
    "far, TLS: cp -r cold": "`cp -r`, 40 ms away, over TLS",
}
"""Work in the tables → its name in README and chart: three that voxofs was made for, two that it was not, and
two as they are at a live service. What was not measured is left out."""

SYSTEMS = {
    "voxofs": ("voxofs",),
    "rclone": ("rclone",),
    "rclone, full cache": ("rclone-full",),
    "httpdirfs": ("httpdirfs", "httpdirfs-cache"),
}
"""Column → the systems of the table that it may stand for, the first that was measured."""

# Pixels: a page of GitHub is about 880 wide, and a bar with its label in 12 points takes 18.
_WIDTH, _LEFT, _RIGHT, _BAR, _HEAD, _GAP = 760, 150, 70, 18, 24, 10
# Legible on a white page and on a black one: of middle lightness. WCAG 2.2 asks for a contrast of 3 for bars
# (1.4.11) and 4.5 for text (1.4.3), which no colour has on both of GitHub's pages: 4.3 on each is the most.
OURS, THEIRS, INK = "#1f6feb", "#8a949f", "#727a84"


def figures(text: str) -> dict[tuple[str, str], float]:
    """Median seconds by work and system, from the page's text."""
    begin, end = text.index("<!-- bench:begin -->"), text.index("<!-- bench:end -->")
    found, within = {}, False
    for line in text[begin:end].splitlines():
        row = [cell.strip() for cell in line.split("|")[1:-1]]
        if row[:3] == ["work", "system", "seconds"]:
            within = True
        elif not row:
            within = False
        elif within and row[0].strip("-"):
            found[row[0], row[1]] = float(row[2])
    return found


def chosen(seconds: dict[tuple[str, str], float]) -> dict[str, dict[str, float]]:
    """For each work that is shown, the seconds of each column that has some."""
    return {
        work: {
            column: next(seconds[work, name] for name in names if (work, name) in seconds)
            for column, names in SYSTEMS.items()
            if any((work, name) in seconds for name in names)
        }
        for work in WORKS
        if (work, "voxofs") in seconds
    }


def _shown(seconds: float) -> str:
    return f"{seconds:.2f}" if seconds < 10 else f"{seconds:.1f}"


def lines(seconds: dict[tuple[str, str], float]) -> str:
    """The README's table."""
    rows = [["seconds", *SYSTEMS], ["---", *("---:" for _ in SYSTEMS)]]
    for work, values in chosen(seconds).items():
        rows.append([WORKS[work], *(_shown(values[name]) if name in values else "" for name in SYSTEMS)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def svg(seconds: dict[tuple[str, str], float]) -> str:
    """The chart: a group of bars for each work."""
    parts, y = [], 0
    for work, values in chosen(seconds).items():
        parts.append(_text(0, y + 16, WORKS[work].replace("`", ""), weight="bold"))
        y += _HEAD
        for system, value in values.items():
            long = max(1.0, (_WIDTH - _LEFT - _RIGHT) * value / max(values.values()))
            colour = OURS if system == "voxofs" else THEIRS
            parts.append(_text(_LEFT - 8, y + 12, system, anchor="end"))
            parts.append(
                f'<rect x="{_LEFT}" y="{y + 2}" width="{long:.1f}" height="{_BAR - 5}" fill="{colour}"/>'
            )
            parts.append(_text(_LEFT + long + 6, y + 12, f"{_shown(value)} s"))
            y += _BAR
        y += _GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" width="{_WIDTH}" height="{y}" '
        f'font-family="sans-serif" font-size="12" fill="{INK}" role="img">\n'
        "<title>Seconds by work and system; shorter is better; each work has a scale of its own</title>\n"
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _text(x: float, y: float, words: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.0f}" text-anchor="{anchor}" font-weight="{weight}">{escape(words)}</text>'
    )


def with_lines(readme: str, table: str) -> str:
    """The README with this table between its marks."""
    before, rest = readme.split(BEGIN, 1)
    return f"{before}{BEGIN}\n{table}{END}{rest.split(END, 1)[1]}"


def main() -> None:
    """Write both files."""
    seconds = figures(TABLE.read_text())
    CHART.write_text(svg(seconds))
    README.write_text(with_lines(README.read_text(), lines(seconds)))


if __name__ == "__main__":
    main()
