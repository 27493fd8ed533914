"""The program of docs/dask.md, run as it stands there, with a worker killed in the middle."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import date
from pathlib import Path

from harness.file_systems import configured
from harness.mounts import ROOT
from harness.vendors import vendor

from voxofs.fsspec.cores import end_all
from voxofs.fsspec.filesystem import VoxoFileSystem
from voxofs.simulator.tenants import Steady
from voxofs.simulator.world import TenantSpec

PAGE = (ROOT / "docs/dask.md").read_text()
PATIENCE_S = 180.0
DAY = TenantSpec(37, "demo", "A day", Steady(date(2024, 3, 5), date(2024, 3, 6), 5))


def program(config: Path) -> str:
    """The page's first block of Python, with this configuration in the place of its own."""
    [first, *_] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert first.count("/etc/voxofs/voxofs.toml") == 1
    return str(first).replace("/etc/voxofs/voxofs.toml", str(config))


def workers(parent: int) -> set[int]:
    """The worker processes of a running program: its children that multiprocessing spawned."""
    found = set()
    for task in Path(f"/proc/{parent}/task").iterdir():
        try:
            children = (task / "children").read_text().split()
        except OSError:  # that thread has ended
            continue
        for child in children:
            try:
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.add(int(child))
            except OSError:
                continue
    return found


def measured(output: Path) -> list[str]:
    """The paths that have a line by now."""
    lines = output.read_text().splitlines() if output.exists() else []
    return [json.loads(line)["path"] for line in lines]


def test_a_day_is_measured_once_though_a_worker_is_killed(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    with vendor([DAY]) as sold, configured(sold.sim) as config:
        script = tmp_path / "loudness.py"
        script.write_text(program(config))
        fs = VoxoFileSystem(config=config, skip_instance_cache=True)
        paths = fs.find("demo/2024/03/05")
        sizes = fs.du("demo/2024/03/05", total=False)
        assert len(paths) > 100
        end_all()
        log = tmp_path / "log"
        command = [sys.executable, str(script), "demo/2024/03/05", str(output)]
        environ = os.environ | {"PYTHONPATH": str(ROOT)}
        with (
            log.open("wb") as said,
            subprocess.Popen(command, env=environ, stdout=said, stderr=said) as running,
        ):
            try:
                gives_up_s = time.monotonic() + PATIENCE_S
                while len(measured(output)) < 15:
                    assert running.poll() is None, log.read_text()
                    assert time.monotonic() < gives_up_s, log.read_text()
                    time.sleep(0.05)
                before = workers(running.pid)
                assert len(before) == 3
                os.kill(min(before), signal.SIGKILL)
                while not workers(running.pid) - before:
                    assert running.poll() is None, f"it ended without another worker: {log.read_text()}"
                    assert time.monotonic() < gives_up_s, log.read_text()
                    time.sleep(0.05)
                assert running.wait(PATIENCE_S) == 0, log.read_text()
            finally:
                if running.poll() is None:
                    running.kill()
        assert Counter(measured(output)) == Counter(paths)
        results = [json.loads(line) for line in output.read_text().splitlines()]
        assert {each["path"]: each["bytes"] for each in results} == sizes
        assert all(-60 < each["mean_db"] < 0 <= each["silence_s"] for each in results)
        assert f"{len(paths)} measured, 0 were there" in log.read_text()

        _cut_the_last_line(output)
        done = subprocess.run(
            command, env=environ, capture_output=True, text=True, timeout=PATIENCE_S, check=True
        )
        assert f"1 measured, {len(paths) - 1} were there" in done.stdout
        assert Counter(measured(output)) == Counter(paths)


def _cut_the_last_line(output: Path) -> None:
    """As a power cut leaves it."""
    output.write_text(output.read_text()[:-10])
