"""The numbers: one set of facts in the status file, in `voxofs stats` and in Prometheus's text format."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from harness.fronts import MountFront, cat, mount_front, settle
from harness.mounts import ROOT
from harness.rig import Rig, open_rig
from harness.world import HOUR, NAMES

from voxofs.cli import stats
from voxofs.observe.metrics import exposition
from voxofs.simulator.faults import Fault

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_SAMPLE = re.compile(
    r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"\})? (\S+)'
)

Samples = dict[tuple[str, str], float]


def parsed(text: str) -> Samples:
    """The samples, by metric and label; strict about what Prometheus is strict about (text format 0.0.4)."""
    assert text.endswith("\n")
    kinds: dict[str, str] = {}
    helped: set[str] = set()
    samples: Samples = {}
    current = ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            current, _, said = line.removeprefix("# HELP ").partition(" ")
            assert _NAME.fullmatch(current)
            assert said
            assert current not in helped, f"{current} comes twice"
            helped.add(current)
        elif line.startswith("# TYPE "):
            name, kind = line.removeprefix("# TYPE ").split(" ")
            assert name == current
            assert kind in ("counter", "gauge")
            kinds[name] = kind
        else:
            match = _SAMPLE.fullmatch(line)
            assert match, line
            name, _, label, value = match.groups()
            assert name == current, f"{line} belongs to another metric"
            assert (kinds[name] == "counter") == name.endswith("_total"), name
            key = name, re.sub(r"\\(.)", lambda escape: {"n": "\n"}.get(escape[1], escape[1]), label or "")
            assert key not in samples, f"{key} comes twice"
            samples[key] = float(value)
    assert helped == set(kinds)
    return samples


def facts_of(rig: Rig) -> dict[str, Any]:
    """The status of a core without a mount."""
    rig.core.status.add("kernel", lambda: {"inodes": 12, "handles": 3})
    return rig.core.status.facts()


async def test_the_disk_tier_is_counted_where_there_is_one(tmp_path: Path, rig: Rig) -> None:
    assert not any("disk" in name for name, _ in parsed(exposition(facts_of(rig))))
    async with open_rig(sections={"disk": {"path": tmp_path / "cache", "keep_free_bytes": 0}}) as kept:
        for name in NAMES:
            handle = await kept.core.fs.open((*HOUR.strip("/").split("/"), name))
            await handle.read(0, 100)
            handle.close()
        await kept.idle()
        assert kept.core.disk is not None
        await kept.core.disk.settle()
        samples = parsed(exposition(facts_of(kept)))
        assert samples["voxofs_disk_working", ""] == 1
        assert samples["voxofs_disk_bytes", ""] >= len(NAMES) * 4096
        assert samples["voxofs_disk_limit_bytes", ""] == 20 * 2**30
        assert samples["voxofs_disk_events_total", "written"] >= len(NAMES)


async def test_the_exposition_is_valid_and_counts_what_has_happened(rig: Rig) -> None:
    before = parsed(exposition(facts_of(rig)))
    listing = await rig.core.fs.listing(tuple(HOUR.strip("/").split("/")))
    handle = await rig.core.fs.open((*HOUR.strip("/").split("/"), listing.entry(0)[0]))
    await handle.read(0, 100)
    handle.close()
    await rig.idle()
    after = parsed(exposition(facts_of(rig)))
    assert before.keys() <= after.keys() | {("voxofs_requests_total", "")}
    assert after["voxofs_requests_total", "reports"] == 1
    assert after["voxofs_requests_total", "links"] == 1
    assert after["voxofs_requests_total", "ranges"] == 1
    assert after["voxofs_bytes_total", "storage"] == 1_000
    assert after["voxofs_inodes", ""] == 12
    assert after["voxofs_handles", ""] == 3
    assert after["voxofs_fetches", ""] == 0
    assert after["voxofs_catalog_windows", ""] == 1
    assert after["voxofs_tenant_healthy", "office"] == 1
    assert {origin for name, origin in after if name == "voxofs_requests_now"} == {"api", "storage"}


async def test_a_tenant_in_trouble_is_told_and_told_to_be_well_again(rig: Rig) -> None:
    rig.sim.add_fault(Fault("status", {"route": "reports"}, status=403))
    path = tuple(HOUR.strip("/").split("/"))
    with pytest.raises(Exception, match="403"):
        await rig.core.fs.listing(path)
    assert parsed(exposition(facts_of(rig)))["voxofs_tenant_healthy", "office"] == 0
    assert facts_of(rig)["tenants"]["office"]["last_error"]["status"] == 403
    await rig.core.fs.listing(path)
    assert parsed(exposition(facts_of(rig)))["voxofs_tenant_healthy", "office"] == 1
    assert facts_of(rig)["tenants"]["office"]["last_error"] is None


def test_labels_are_escaped() -> None:
    facts = {
        "uptime_s": 1.5,
        "fetches": 0,
        "kernel": {"inodes": 1, "handles": 0},
        "requests": {},
        "bytes": {},
        "in_flight": {},
        "cache": {"bytes": 0, "limit_bytes": 1, "hits": 0, "ahead": 0, "misses": 0},
        "catalog": {"records": 0, "windows": 0},
        "tenants": {'a"b\\c\nd é': {"healthy": True}},
    }
    assert parsed(exposition(facts))["voxofs_tenant_healthy", 'a"b\\c\nd é'] == 1


@pytest.mark.mounts
async def test_a_mount_serves_metrics_and_says_the_same_everywhere() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    async with mount_front(sections={"metrics": {"listen": address}}) as front:
        assert isinstance(front, MountFront)
        for name in NAMES[:3]:
            await cat(front, f"{HOUR}/{name}")
        await settle(front)
        status = json.loads(
            await trio.to_thread.run_sync(Path(front.daemon.path("/.voxofs/status")).read_text)
        )
        kind, text = await trio.to_thread.run_sync(partial(_get, f"http://{address}/metrics"))
        printed = await trio.to_thread.run_sync(partial(_stats, front.daemon.path("")))
        as_json = json.loads(await trio.to_thread.run_sync(partial(_stats, front.daemon.path(""), "--json")))
        with pytest.raises(urllib.error.HTTPError, match="404") as absent:
            await trio.to_thread.run_sync(partial(_get, f"http://{address}/"))
        absent.value.close()
        assert kind.startswith("text/plain; version=0.0.4")
        samples = parsed(text)
        for name, number in status["requests"].items():
            assert samples["voxofs_requests_total", name] == number == as_json["requests"][name]
            assert f"{number:,} {name}" in printed
        for origin, number in status["bytes"].items():
            assert samples["voxofs_bytes_total", origin] == number
        for origin, gate in status["in_flight"].items():
            assert samples["voxofs_requests_limit", origin] == gate["limit"]
            assert (gate["now"], gate["waiting"]) == (0, 0)
        assert samples["voxofs_cache_bytes", ""] == status["cache"]["bytes"] == as_json["cache"]["bytes"]
        assert status["version"] == as_json["version"]
        assert f"voxofs {status['version']}" in printed
        assert "tenant     office ok" in printed


@pytest.mark.mounts
async def test_metrics_that_cannot_be_served_cost_a_line_and_not_the_mount() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with mount_front(sections={"metrics": {"listen": address}}) as front:
            assert isinstance(front, MountFront)
            assert await front.listdir(HOUR) == NAMES
            with trio.fail_after(20):
                said = f"metrics cannot be served on {address}"
                while said not in front.daemon.said():  # noqa: ASYNC110 (another process says it)
                    await trio.sleep(0.02)


def test_stats_prints_what_the_status_says() -> None:
    report = stats.report({"version": "1", "uptime_s": 3_700, "requests": {"links": 12_345}, "in_flight": {}})
    assert report.startswith("voxofs 1, up 1 h 1 min")
    assert "12,345 links" in report


def _get(url: str) -> tuple[str, str]:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.headers["content-type"], answer.read().decode()


def _stats(mountpoint: str, *options: str) -> str:
    command = [sys.executable, "-m", "voxofs", "stats", *options, mountpoint]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
