"""`voxofs calls`: its forms, what is shown of whom, and that no audio is asked for."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

from harness.offline import open_shell
from harness.world import HOUR, NAMES, OFFICE, call

from voxofs.model import PERSONAL_FIELDS
from voxofs.simulator.faults import Fault
from voxofs.simulator.world import FixedTenant

PATHS = [f"{HOUR[1:]}/{name}" for name in NAMES]
EVIL = "\x1b[2J\x9b31m\u202e[red]Eve[/red]\n\x00x"


async def test_a_table_when_piped(tmp_path: Path) -> None:
    async with open_shell(tmp_path) as shell:
        result = await shell.run("calls", HOUR)
        assert result.returncode == 0
        assert not result.stderr
        head, *rows = result.stdout.decode().splitlines()
        assert head.split() == ["start", "direction", "disposition", "duration", "path"]
        assert [row.split()[-1] for row in rows] == PATHS
        assert {row.index("office/") for row in rows} == {head.index("path")}
        assert all(row.isprintable() for row in rows)
        assert shell.sim.log.requests == {"reports": 1}


async def test_a_table_on_a_terminal_keeps_to_its_width(tmp_path: Path) -> None:
    async with open_shell(tmp_path) as shell:
        shown = await shell.on_a_terminal("calls", HOUR)
        lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
        assert all(len(line) <= 70 for line in lines)
        assert "".join("".join(lines).split()).count(".mp3") == len(PATHS)


async def test_csv_and_json_have_every_field_that_may_be_shown(tmp_path: Path) -> None:
    async with open_shell(tmp_path) as shell:
        rows = list(
            csv.DictReader(io.StringIO((await shell.run("calls", HOUR, "--format", "csv")).stdout.decode()))
        )
        text = (await shell.run("calls", HOUR, "--format=json")).stdout.decode()
        calls = [json.loads(line) for line in text.splitlines()]
        assert [row["path"] for row in rows] == [each["path"] for each in calls] == PATHS
        assert rows[0]["instant"] == calls[0]["instant"] == "2024-03-05T16:00:00Z"
        assert (rows[0]["duration"], calls[0]["duration"]) == ("18", 18)
        for each in (*rows, *calls):
            assert not set(each) & set(PERSONAL_FIELDS)
            assert {"tenant", "uniqueId", "start", "id", "direction", "disposition", "qos"} <= set(each)
        assert shell.sim.log.requests == {"reports": 2}


async def test_paths_for_xargs(tmp_path: Path) -> None:
    async with open_shell(tmp_path) as shell:
        assert (await shell.run("calls", HOUR, "--paths")).stdout.decode().splitlines() == PATHS
        assert (await shell.run("calls", HOUR, "--print0")).stdout.decode().split("\0") == [*PATHS, ""]
        assert "for programs" in await shell.on_a_terminal("calls", HOUR, "--print0")


async def test_personal_fields_where_they_are_listed(tmp_path: Path) -> None:
    async with open_shell(tmp_path, sections={"privacy": {"show": ["callerIdName"]}}) as shell:
        for form in ("table", "csv", "json"):
            text = (await shell.run("calls", HOUR, "--format", form)).stdout.decode()
            assert "MRJINGLES" in text
            assert "6016021302" not in text
        assert (
            await shell.run("calls", HOUR, "--where", 'callerIdName != "MRJINGLES"', "--paths")
        ).stdout == b""
    async with open_shell(tmp_path) as shell:
        for form in ("table", "csv", "json"):
            assert b"MRJINGLES" not in (await shell.run("calls", HOUR, "--format", form)).stdout
        result = await shell.run("calls", HOUR, "--where", 'callerIdName == "MRJINGLES"')
        assert result.returncode == 1
        assert b"VOXOFS_PRIVACY_SHOW=callerIdName" in result.stderr
        assert shell.sim.log.requests.get("reports", 0) == 3


async def test_where_and_what_is_wrong_with_it(tmp_path: Path) -> None:
    async with open_shell(tmp_path) as shell:
        where = 'start >= "2024-03-05 10:00:05" and start < "2024-03-05 10:00:08"'
        result = await shell.run("calls", "--where", where, "--paths", HOUR, "office/2024/03/05/12")
        assert result.stdout.decode().splitlines() == PATHS[5:8]
        result = await shell.run("calls", HOUR, "--where", "duration > '600'")
        assert result.returncode == 1
        assert result.stderr.decode().splitlines()[1:] == [
            "voxofs:   duration > '600'",
            "voxofs:              ^",
        ]
        result = await shell.run("calls", "offce/2024")
        assert (result.returncode, b'did you mean "office"?' in result.stderr) == (1, True)


async def test_nothing_of_a_record_reaches_the_terminal_raw(tmp_path: Path) -> None:
    record = call(
        "evil\u202e", "2024-03-05 10:00:00", callerIdName=EVIL, direction=EVIL, disposition="[b]x[/b]"
    )
    world = FixedTenant(OFFICE, "office", "Office", records=[record], audio={})
    async with open_shell(tmp_path, [world], sections={"privacy": {"show": ["callerIdName"]}}) as shell:
        for form in ("table", "csv", "json"):
            text = (await shell.run("calls", HOUR, "--format", form)).stdout.decode()
            assert text.replace("\n", "").isprintable()
            assert "[red]Eve[/red]" in text
            assert "[b]x[/b]" in text
        for words in (("--format", "table"), ("--format", "csv"), ("--format", "json"), ("--paths",)):
            shown = await shell.on_a_terminal("calls", HOUR, *words)
            assert re.sub(r"\x1b\[[0-9;]*m|[\r\n]", "", shown).isprintable()
            assert "\x1b[2J" not in shown
            assert "\x1b[31m" not in shown
        [found] = (json.loads((await shell.run("calls", HOUR, "--format", "json")).stdout.decode()),)
        assert found["callerIdName"] == EVIL


async def test_a_report_that_cannot_be_had_is_3_and_a_refusal_2(tmp_path: Path) -> None:
    async with open_shell(tmp_path) as shell:
        shell.sim.add_fault(Fault("garbage_json", {"route": "reports"}, nth=1, times=1))
        result = await shell.run("calls", "office/2024/03/05", "--paths")
        assert result.returncode == 3
        assert b"office/2024/03/05: the report is not JSON" in result.stderr
        shell.sim.forbidden.add(OFFICE)
        result = await shell.run("calls", "office/2024/03/05")
        assert result.returncode == 2
        assert b"ask the vendor for access" in result.stderr
