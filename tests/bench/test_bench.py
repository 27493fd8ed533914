"""The benchmark's pure parts: what its tables, its page, its chart and its lines say of given runs.

What it measures is proved as it measures: every byte and size is compared with the simulator's.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts/_bench"))

import chart
import page
import report
import restart_lines
import speed_lines
from lines import at_most
from programs import SYSTEMS, present
from runs import Plan, Results, Run
from worlds import WORLDS

MIB = 2**20
LINES = (*speed_lines.LINES, *restart_lines.LINES)


def ran(seconds: float, *, cpu_s: float = 0.0, rss_mib: int = 0, entries: int = 0, **requests: int) -> Run:
    """One run; with resident memory it had a daemon."""
    return Run(seconds, requests, cpu_s=cpu_s, peak_rss_bytes=rss_mib * MIB, entries=entries)


@pytest.fixture
def results() -> Results:
    """`ls -l`, near and far, on three systems."""
    found = Results()
    for seconds in (1.0, 0.5, 0.6):
        mine = ran(seconds, cpu_s=0.2, rss_mib=60, entries=200, reports=1, link=200, audio=200)
        found.add("ls -l cold", "voxofs", mine)
    found.add("ls -l cold", "before", ran(1.2, cpu_s=0.8, rss_mib=60, entries=200, link=200, audio=200))
    found.add(
        "ls -l cold", "rclone", ran(1.2, cpu_s=0.1, rss_mib=46, entries=200, plain=200, audio=2, index=6)
    )
    found.add("far, TLS: ls -l cold", "voxofs", ran(0.9, cpu_s=0.3, rss_mib=61, entries=200, link=200))
    found.add("cp -r warm", "tmpfs", ran(0.04))
    return found


def row(rows: report.Rows, *begin: str) -> dict[str, str]:
    """The one row that begins so, by column."""
    [found] = [row for row in rows if row[: len(begin)] == list(begin)]
    return dict(zip(rows[0], found, strict=True))


def test_a_row_has_the_median_and_the_extremes(results: Results) -> None:
    mine = row(report.table(results), "ls -l cold", "voxofs")
    assert (mine["seconds"], mine["least-most"], mine["voxofs ÷ this"]) == ("0.600", "0.500-1.000", "")
    assert (mine["requests"], mine["CPU s"], mine["peak RSS"]) == ("1 rep 200 link 200 get", "0.20", "60 MiB")
    theirs = row(report.table(results), "ls -l cold", "rclone")
    assert (theirs["voxofs ÷ this"], theirs["requests"]) == ("0.50", "202 get 6 idx")


def test_what_has_no_daemon_has_no_cpu(results: Results) -> None:
    local = row(report.table(results), "cp -r warm", "tmpfs")
    assert (local["CPU s"], local["peak RSS"], local["voxofs ÷ this"]) == ("", "", "")


def test_cpu_is_told_by_request_and_by_recording(results: Results) -> None:
    rows = report.cpu(results)
    mine = row(rows, "ls -l cold", "voxofs")
    assert (mine["ms a request"], mine["µs a recording"]) == ("0.50", "1000")
    assert not [found for found in rows if found[1] in ("rclone", "tmpfs")]


def test_a_few_requests_for_many_recordings_have_no_price() -> None:
    results = Results()
    results.add("find full month", "voxofs", ran(0.3, cpu_s=0.5, rss_mib=60, entries=18_575, reports=16))
    found = row(report.cpu(results), "find full month", "voxofs")
    assert (found["ms a request"], found["µs a recording"]) == ("", "27")


def test_lines_are_held_to_their_bounds(results: Results) -> None:
    rows = report.verdicts(results, LINES)
    assert {found[0] for found in rows[1:]} == {"cold ls -l", "cold ls -l: CPU"}  # the others: not measured
    wall = next(found for found in rows if found[0] == "cold ls -l")
    assert wall[1:] == ["0.50 ×", "0.65 × rclone", "yes", "0.45 ×", "NO"]
    cpu = next(found for found in rows if found[0] == "cold ls -l: CPU")
    assert cpu[1:] == ["0.25 ×", "0.55 × before", "yes", "0.3 ×", "yes"]


def test_a_line_without_an_aim_leaves_it_open(results: Results) -> None:
    rows = report.verdicts(results, [at_most("ls", "ls -l cold", "rclone", 0.4, None)])
    assert rows[1][2:] == ["0.4 × rclone", "NO", "", ""]


def test_every_line_has_a_name_of_its_own_and_no_figure_without_runs() -> None:
    names = [line.work for line in LINES if not line.work.startswith("  ")]
    assert len(names) == len(set(names))
    assert report.verdicts(Results(), LINES) == [["line", "measured", "at the latest", "met", "aim", "met"]]


def test_the_page_has_a_table_for_each_world(results: Results) -> None:
    text = page.figures(["How."], results, [WORLDS["near"], WORLDS["far-tls"]], LINES)
    near, far = (
        text.index("### Near: API 80 ms, storage 30 ms"),
        text.index("### Far, TLS: round trip 40 ms"),
    )
    assert text.startswith("How.\n\n### Near")
    assert (
        near < text.index("| ls -l cold | rclone |") < far < text.index("| far, TLS: ls -l cold | voxofs |")
    )
    assert text.index("### CPU of the daemon") < text.index("### The lines")
    assert text.count("| far, TLS: ls -l cold | voxofs | 0.900 |") == 1


def test_the_page_keeps_what_is_around_the_marks(results: Results) -> None:
    old = f"above\n{page.BEGIN}\nold\n{page.END}\nbelow\n"
    text = page.figures(["How."], results, [WORLDS["near"]], LINES)
    new = page.with_figures(old, text)
    assert new == f"above\n{page.BEGIN}\n{text}{page.END}\nbelow\n"
    assert page.with_figures(new, text) == new


def test_the_chart_reads_every_world_of_the_page(results: Results) -> None:
    text = page.figures(["How."], results, [WORLDS["near"], WORLDS["far-tls"]], LINES)
    seconds = chart.figures(page.with_figures(f"{page.BEGIN}\n{page.END}", text))
    assert seconds["ls -l cold", "voxofs"] == 0.6
    assert seconds["far, TLS: ls -l cold", "voxofs"] == 0.9
    assert list(chart.chosen(seconds)) == ["ls -l cold", "far, TLS: ls -l cold"]
    assert chart.chosen(seconds)["ls -l cold"] == {"voxofs": 0.6, "rclone": 1.2}


def test_the_chart_is_drawn_to_scale_and_names_every_bar(results: Results) -> None:
    seconds = {("ls -l cold", "voxofs"): 0.5, ("ls -l cold", "rclone"): 2.0, ("cp -r cold", "voxofs"): 12.0}
    picture = ET.fromstring(chart.svg(seconds))
    space = "{http://www.w3.org/2000/svg}"
    mine, theirs, alone = [float(bar.attrib["width"]) for bar in picture.iter(f"{space}rect")]
    assert mine == pytest.approx(theirs / 4, abs=0.1)
    assert alone == theirs  # each work has a scale of its own
    words = [text.text for text in picture.iter(f"{space}text")]
    assert words == [
        "ls -l of an hour, 200 recordings", "voxofs", "0.50 s", "rclone", "2.00 s",
        "cp -r of it", "voxofs", "12.0 s",
    ]  # fmt: skip


@pytest.mark.parametrize("page_colour", ["#ffffff", "#0d1117"], ids=["light", "dark"])
@pytest.mark.parametrize(("colour", "least"), [(chart.OURS, 3.0), (chart.THEIRS, 3.0), (chart.INK, 4.3)])
def test_the_charts_colours_can_be_read(colour: str, least: float, page_colour: str) -> None:
    """GitHub's two pages; the contrast is WCAG's, 1.4.3 and 1.4.11."""
    dark, light = sorted((_luminance(colour), _luminance(page_colour)))
    assert (light + 0.05) / (dark + 0.05) >= least


def _luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_readme_has_the_charts_figures() -> None:
    table = chart.lines({("ls -l cold", "voxofs"): 0.523, ("ls -l cold", "httpdirfs"): 12.34})
    assert table.splitlines()[2] == "| `ls -l` of an hour, 200 recordings | 0.52 |  |  | 12.3 |"


def test_ours_are_measured_as_often_as_asked_and_others_less() -> None:
    plan = Plan(5, 2, ("before", "rclone", "httpdirfs"))
    assert [plan.times(name) for name in ("voxofs", "before", "rclone", "httpdirfs")] == [5, 5, 2, 1]


def test_who_is_not_installed_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    curl = tmp_path / "curl"
    curl.touch(mode=0o755)
    monkeypatch.setattr("programs._VENV", tmp_path / "none")
    found, missing = present(list(SYSTEMS))
    assert found == ["before", "curl"]
    assert missing == ["gocryptfs", "httpdirfs", "rclone"]
