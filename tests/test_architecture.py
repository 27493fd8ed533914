"""The picture of the package, held: imports go strictly downward, and each foreign package has its home."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import voxofs

ROOT = Path(voxofs.__file__).parent
MODULES = {path.stem: path for path in sorted(ROOT.glob("*.py"))}
SIMULATOR = {path.stem: path for path in sorted((ROOT / "simulator").glob("*.py"))}
LINES_AT_MOST = 400

LAYERS = (
    ("__main__",),
    ("cli",),
    ("cli_help", "mount_words", "demo", "check", "stats"),
    ("service",),
    ("supervisor",),
    ("app",),
    ("status",),
    ("fuse",),
    ("callers", "inodes", "metrics"),
    ("core",),
    ("fs",),
    ("tree",),
    ("ahead", "reader"),
    ("library",),
    ("recording",),
    ("catalog",),
    ("cache",),
    ("api", "storage"),
    ("credentials",),
    ("retry",),
    ("http",),
    ("flight",),
    ("gate",),
    ("health",),
    ("logs", "notify"),
    ("preflight",),
    ("mounts",),
    ("config",),
    ("config_layers",),
    ("config_values",),
    ("secret",),
    ("record",),
    ("central",),
    ("clock", "errors"),
    ("__init__",),
)
"""From the top down: a module imports from lower layers, and not from its own."""

ALSO_WITHIN = {("demo", "cli_help"), ("check", "demo")}
"""Imports within one layer that the picture allows."""

HOMES = {
    "httpx": {"http"},
    "httpcore": {"http"},
    "pyfuse3": {"app", "fuse"},
    "msgspec": {"config", "record"},
    "cachetools": {"cache", "catalog"},
    "dateutil": {"central", "config_values", "tree"},
    "stamina": {"retry"},
    "starlette": {"metrics", "simulator"},
    "hypercorn": {"metrics", "simulator"},
    "trio": None,
}
"""Each third-party package and the modules that may import it; None: any."""

SIMULATORS_USERS = {"demo"}
ABOVE_THE_CORE = frozenset(name for layer in LAYERS[: LAYERS.index(("core",))] for name in layer)


def imports(path: Path) -> set[str]:
    """What a file imports: `voxofs.x` for the package's own, the top name for everything else."""
    package = ["voxofs", "simulator"] if path.parent.name == "simulator" else ["voxofs"]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            if module in ("voxofs", "voxofs.simulator"):
                names = MODULES if module == "voxofs" else SIMULATOR
                found |= {
                    f"{module}.{each.name}" if each.name in names or each.name == "simulator" else module
                    for each in node.names
                }
            else:
                found.add(module)
    return found


def own(path: Path) -> set[str]:
    """The modules of `voxofs` that a file imports, without the package's name."""
    return {
        name.split(".")[1] if "." in name else "__init__"
        for name in imports(path)
        if name.split(".")[0] == "voxofs"
    }


def foreign(path: Path) -> set[str]:
    """Third-party packages that a file imports."""
    tops = {name.split(".")[0] for name in imports(path)}
    return tops - set(sys.stdlib_module_names) - {"voxofs"}


def layer_of(name: str) -> int:
    return next(number for number, layer in enumerate(LAYERS) if name in layer)


def test_every_module_has_its_layer() -> None:
    placed = [name for layer in LAYERS for name in layer]
    assert len(placed) == len(set(placed))
    assert set(MODULES) <= set(placed), "a new module must be given its place in LAYERS"


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_strictly_downward(name: str) -> None:
    for other in own(MODULES[name]) - {"simulator"}:
        if (name, other) not in ALSO_WITHIN:
            assert layer_of(other) > layer_of(name), f"{name} imports {other}, which is not below it"


@pytest.mark.parametrize("name", MODULES)
def test_foreign_packages_have_their_homes(name: str) -> None:
    for package in foreign(MODULES[name]):
        homes = HOMES[package]
        assert homes is None or name in homes, f"{name} imports {package}, whose home is {homes}"


def test_homes_are_lived_in() -> None:
    """A table that names a home which is none hides the next one."""
    for package, homes in HOMES.items():
        for home in homes or ():
            paths = SIMULATOR.values() if home == "simulator" else [MODULES[home]]
            assert any(package in foreign(path) for path in paths), f"{home} does not import {package}"


@pytest.mark.parametrize("name", sorted(set(MODULES) - ABOVE_THE_CORE))
def test_nothing_below_the_adapter_has_heard_of_fuse(name: str) -> None:
    reached, queue = {name}, [name]
    while queue:
        path = MODULES[queue.pop()]
        assert "pyfuse3" not in foreign(path)
        queue += sorted(own(path) - reached - {"simulator"})
        reached |= own(path)
    assert not reached & ABOVE_THE_CORE


@pytest.mark.parametrize("name", SIMULATOR)
def test_the_simulator_knows_nothing_of_the_rest(name: str) -> None:
    assert own(SIMULATOR[name]) <= {"simulator"}
    assert foreign(SIMULATOR[name]) <= {"trio", "msgspec", "starlette", "hypercorn", "h11", "dateutil"}


def test_the_simulator_is_used_by_the_demo_alone() -> None:
    assert {name for name, path in MODULES.items() if "simulator" in own(path)} == SIMULATORS_USERS


@pytest.mark.parametrize("path", [*MODULES.values(), *SIMULATOR.values()], ids=lambda path: path.stem)
def test_modules_explain_themselves_and_are_small(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "no docstring"
    assert len(text.splitlines()) <= LINES_AT_MOST
    assert path.stem not in ("utils", "util", "helpers", "misc", "common")


def test_clocks_are_read_in_one_module() -> None:
    """Everything else is given a Clock."""
    readers = set()
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                called = f"{node.value.id}.{node.attr}"
                if called in {
                    "time.time",
                    "time.monotonic",
                    "time.clock_gettime",
                    "datetime.now",
                    "date.today",
                }:
                    readers.add(name)
    assert readers <= {"clock", "mounts", "logs", "stats", "demo", "notify", "supervisor"}, readers
    assert "clock" in readers


def test_these_tests_would_see_a_breach() -> None:
    """The parser understands every form of import that the package uses."""
    assert {"api", "cache", "catalog", "clock"} <= own(MODULES["library"])
    assert "httpx" in foreign(MODULES["http"])
    assert "pyfuse3" in foreign(MODULES["fuse"])
    assert own(MODULES["demo"]) & {"simulator"}
