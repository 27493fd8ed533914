"""Programs that read tags and durations: how much of a recording they make the mount fetch."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from processes import run
from programs import ROOT, program
from runs import Bench, Check
from truth import HOUR_PATH, same

_MANY = 64
_AT_ONCE = 8


def ffprobe(bench: Bench) -> None:
    """64 × ffprobe, 8 at a time, on every system and, once, on a local copy."""
    names = bench.truth.names[:_MANY]
    expected = _probe(bench.local, names)
    bench.measure("64 ffprobe cold", "local", partial(_probe_check, bench.local, names, expected))
    for _, system in bench.turns("voxofs", "before", "rclone"):
        with bench.mount(system) as mount:
            bench.measure(
                "64 ffprobe cold",
                system,
                partial(_probe_check, mount.month / HOUR_PATH, names, expected),
                daemon=mount,
                entries=_MANY,
            )


def _probe(folder: Path, names: list[str], at_once: int = _AT_ONCE) -> list[str]:
    """What ffprobe says about each file; a shell user's line."""
    command = ["xargs", "-0", "-n1", f"-P{at_once}", "ffprobe", "-v", "error", "-of", "csv=p=0"]
    fields = ["-show_entries", "format=filename,duration,size,bit_rate:format_tags"]
    output = run([*command, *fields], cwd=folder, input="\0".join(names).encode())
    return sorted(output.decode().splitlines())


def _probe_check(folder: Path, names: list[str], expected: list[str], at_once: int = _AT_ONCE) -> Check:
    found = _probe(folder, names, at_once)
    return lambda: same(found, expected, "what ffprobe says")


def ffprobe_all(bench: Bench) -> None:
    """ffprobe of every recording of the hour, one after another: how much is fetched."""
    names = bench.truth.names
    expected = _probe(bench.local, names)
    for _ in range(bench.runs):
        with bench.mount("voxofs") as mount:
            bench.measure(
                "200 ffprobe cold",
                "voxofs",
                partial(_probe_check, mount.month / HOUR_PATH, names, expected, 1),
                daemon=mount,
                entries=len(names),
            )


_MUTAGEN = """import sys, mutagen
for name in sys.argv[1:]:
    file = mutagen.File(name)
    print(name, file.info.length, file.info.bitrate, sorted(map(str, file.tags.values())))
"""
_READERS = {
    "exiftool": ["-q", "-j", "-ID3:all", "-MPEG:all"],
    "mediainfo": ["--Inform=General;%CompleteName% %Duration% %OverallBitRate% %Title% %Performer%\\n"],
    "mutagen": ["-c", _MUTAGEN],
    "file": [],
}
"""Tag readers, and what makes them say nothing but what the bytes are."""


def tags(bench: Bench) -> None:
    """exiftool, mediainfo, mutagen and file, each over all 200 recordings, once: it is bytes that count."""
    names = bench.truth.names
    for tool, words in _READERS.items():
        path = _reader(tool)
        if path is None:
            continue
        command = [path, *words, *names]
        expected = run(command, cwd=bench.local)
        with bench.mount("voxofs") as mount:
            action = partial(_read, tool, command, mount.month / HOUR_PATH, expected)
            bench.measure(f"{tool} × 200", "voxofs", action, daemon=mount, entries=len(names))


def _read(tool: str, command: list[str], folder: Path, expected: bytes) -> Check:
    found = run(command, cwd=folder)
    return lambda: same(found, expected, f"what {tool} says")


def _reader(tool: str) -> str | None:
    """Its path; mutagen is a library, for the Python beside rclone or for ours."""
    if tool != "mutagen":
        return program(tool)
    for python in (str(ROOT / ".venv-bench/bin/python"), sys.executable):
        if Path(python).exists():
            found = run(
                [python, "-c", "import importlib.util as u; print(u.find_spec('mutagen') is not None)"]
            )
            if found.strip() == b"True":
                return python
    return None
