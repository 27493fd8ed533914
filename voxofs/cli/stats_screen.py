"""`voxofs stats --watch` at a terminal: one screen with what the mount is doing, each second.

Rates are differences of the mount's counters by its own uptime, so that a sample that comes late is no peak.
Whatever is missing from a status or has an unexpected form is left out, as in `stats`; texts of others are
shown as text, never as rich's markup.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Mapping

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .status_text import duration, gate_troubles, number, one_line, size, table_of, troubles

_KEPT = 60
"""Samples of the past that are drawn: a minute."""
_BARS = "▁▂▃▄▅▆▇█"
_BAR_CELLS = 16
"""Of the bars for caches and requests in flight. A rule of thumb: bar, numbers and rates fit into 80."""
_MOST_TENANTS = 12
_MOST_TROUBLES = 6
"""Lines. A rule of thumb: all of it fits into a terminal of 40 lines, those in trouble first."""

Status = Mapping[str, object]


class Screen:
    """The last minute of one mount, as rich draws it."""

    def __init__(self, mountpoint: str) -> None:
        self._mountpoint = mountpoint
        self._status: Status = {}
        self._rates: deque[dict[str, float]] = deque(maxlen=_KEPT)

    def add(self, status: Status) -> None:
        """The mount's state, a moment later than the last one."""
        before, self._status = self._status, status
        passed_s = (number(status.get("uptime_s")) or 0.0) - (number(before.get("uptime_s")) or 0.0)
        if not before or passed_s <= 0 or before.get("pid") != status.get("pid"):
            self._rates.clear()
            return
        now, then = _counters(status), _counters(before)
        self._rates.append({name: max(0.0, now[name] - then.get(name, 0.0)) / passed_s for name in now})

    def __rich__(self) -> RenderableType:
        parts: list[RenderableType] = [self._tenants(), self._traffic(), self._held()]
        if lines := troubles(self._status):
            text = Text("\n".join(lines[:_MOST_TROUBLES]), style="yellow", overflow="ellipsis", no_wrap=True)
            parts.append(_panel("last troubles", text, "yellow"))
        return Group(self._headline(), *parts)

    def _headline(self) -> RenderableType:
        line = Table.grid(expand=True)
        line.add_column()
        line.add_column(justify="right")
        up_s = number(self._status.get("uptime_s"))
        left = Text.assemble((" voxofs ", "bold reverse"), f"  {one_line(self._mountpoint)}")
        up = "" if up_s is None else f"up {duration(up_s)}  "
        line.add_row(left, Text(f"{up}version {one_line(self._status.get('version', '?'))} ", style="dim"))
        return line

    def _tenants(self) -> RenderableType:
        tenants = {name: table_of(each) for name, each in table_of(self._status.get("tenants")).items()}
        shown = sorted(tenants, key=lambda name: bool(tenants[name].get("healthy", True)))[:_MOST_TENANTS]
        rows = Table.grid(padding=(0, 2), expand=True)
        rows.add_column(no_wrap=True)
        rows.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        for name in shown:
            healthy = bool(tenants[name].get("healthy", True))
            mark = Text("● ok", style="green") if healthy else Text("● failing", style="bold red")
            error = tenants[name].get("last_error")
            why = Text(one_line(table_of(error).get("message", error)) if error else "", style="red")
            rows.add_row(Text.assemble(mark, "  ", (one_line(name), "bold")), why)
        if len(tenants) > len(shown):
            rows.add_row(Text(f"… and {len(tenants) - len(shown):,} more", style="dim"), "")
        return _panel("tenants", rows, "blue")

    def _traffic(self) -> RenderableType:
        rows = Table(box=None, pad_edge=False, expand=True, header_style="dim")
        rows.add_column("", no_wrap=True, style="bold")
        rows.add_column("in flight", no_wrap=True)
        rows.add_column("a second", justify="right", no_wrap=True)
        rows.add_column("bytes", justify="right", no_wrap=True)
        rows.add_column("lately", no_wrap=True)
        rows.add_column("", no_wrap=True, overflow="ellipsis", ratio=1)
        for origin, gate in table_of(self._status.get("in_flight")).items():
            facts = table_of(gate)
            now, limit = number(facts.get("now")) or 0.0, number(facts.get("limit")) or 0.0
            waiting = number(facts.get("waiting"))
            notes = [f"{waiting:.0f} waiting"] if waiting else []
            notes += gate_troubles(facts)
            kinds = ("ranges",) if origin == "storage" else ("reports", "links", "tenants", "sign_ins")
            history = [sum(sample.get(kind, 0.0) for kind in kinds) for sample in self._rates]
            received = self._rates[-1].get(f"{origin} bytes", 0.0) if self._rates else 0.0
            rows.add_row(
                one_line(origin),
                _bar(now, limit, f"{now:.0f} of {limit:.0f}", "cyan"),
                f"{history[-1] if history else 0.0:,.0f}",
                f"{size(received)}/s",
                Text(_sparkline(history), style="cyan"),
                Text(", ".join(notes), style="yellow"),
            )
        counts = table_of(self._status.get("requests"))
        words = [f"{count:,.0f} {one_line(name)}" for name, each in counts.items() if (count := number(each))]
        total = Text(f"sent so far: {', '.join(words) or 'nothing'}", style="dim")
        return _panel("traffic", Group(rows, total), "cyan")

    def _held(self) -> RenderableType:
        """What is held in memory and on a disk, and the audit."""
        rows = Table.grid(padding=(0, 2), expand=True)
        rows.add_column(style="bold", no_wrap=True)
        rows.add_column(no_wrap=True)
        rows.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        cache = table_of(self._status.get("cache"))
        used, limit = number(cache.get("bytes")), number(cache.get("limit_bytes"))
        if used is not None and limit is not None:
            rows.add_row(
                "memory", _bar(used, limit, f"{size(used)} of {size(limit)}", "green"), self._blocks()
            )
        disk = table_of(self._status.get("disk"))
        used, limit = number(disk.get("bytes")), number(disk.get("limit_bytes"))
        if used is not None and limit is not None:
            bar = _bar(used, limit, f"{size(used)} of {size(limit)}", "green")
            rows.add_row("disk", bar, _state(disk))
        if audit := table_of(self._status.get("audit")):
            written = number(audit.get("written")) or 0.0
            rows.add_row("audit", f"{written:,.0f} lines", _state(audit))
        return _panel("cache", rows, "green")

    def _blocks(self) -> Text:
        """What readers found, of the last minute where there is one."""
        sums = {
            name: sum(sample.get(f"{name} blocks", 0.0) for sample in self._rates)
            for name in ("hits", "ahead", "misses")
        }
        total = sum(sums.values())
        if not total:
            return Text(
                "nothing read for a minute" if len(self._rates) == _KEPT else "nothing read", style="dim"
            )
        hits, ahead, misses = (100 * value / total for value in sums.values())
        return Text.assemble(
            (f"{hits:.0f} % hits", "green"),
            "  ",
            (f"{ahead:.0f} % fetched ahead", "cyan"),
            "  ",
            (f"{misses:.0f} % waited for", "yellow"),
        )


def watch(
    mountpoint: str,
    sample: Callable[[], Status],
    pause: Callable[[float], None],
    interval_s: float,
    console: Console | None = None,
) -> None:
    """Draw until interrupted. Raises what `sample` raises, with the terminal as it was."""
    screen = Screen(mountpoint)
    console = console or Console(file=sys.stdout)
    live = Live(screen, console=console, screen=True, auto_refresh=False, transient=True)
    try:  # not a `with`: who interrupts the first drawing is to have the terminal back, too
        live.start(refresh=True)
        while True:
            screen.add(sample())
            live.refresh()
            pause(interval_s)
    finally:
        live.stop()


def _counters(status: Status) -> dict[str, float]:
    """Everything that only grows, by the name of its rate."""
    found = {name: number(count) for name, count in table_of(status.get("requests")).items()}
    found |= {f"{name} bytes": number(count) for name, count in table_of(status.get("bytes")).items()}
    cache = table_of(status.get("cache"))
    found |= {f"{name} blocks": number(cache.get(name)) for name in ("hits", "ahead", "misses")}
    return {name: count for name, count in found.items() if count is not None}


def _state(facts: Mapping[str, object]) -> Text:
    reason = facts.get("reason")
    if reason:
        return Text(f"{one_line(facts.get('state', 'unknown'))}: {one_line(reason)}", style="bold red")
    return Text(one_line(facts.get("state", "unknown")), style="green")


def _bar(value: float, limit: float, words: str, colour: str) -> RenderableType:
    row = Table.grid(padding=(0, 1))
    row.add_row(
        ProgressBar(total=limit or 1.0, completed=value, width=_BAR_CELLS, complete_style=colour), words
    )
    return row


def _sparkline(values: list[float]) -> str:
    """The newest half of a minute at the right, as tall as its largest."""
    shown = values[-_KEPT // 2 :]
    most = max(shown, default=0.0)
    if not most:
        return "▁" * len(shown)
    return "".join(_BARS[min(len(_BARS) - 1, int(value / most * len(_BARS)))] for value in shown)


def _panel(title: str, content: RenderableType, colour: str) -> Panel:
    return Panel(content, title=title, title_align="left", border_style=colour, box=box.ROUNDED)
