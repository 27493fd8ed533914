"""The house, held: one list of rooms, and imports go down it. `docs/design.md` says what each room is for."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import voxofs

ROOT = Path(voxofs.__file__).parent
LINES_AT_MOST = 400

ROOMS = (
    "__main__",
    "cli",
    "daemon",
    "mount",
    "fsspec",
    "export",
    "core",
    "catalog",
    "audio",
    "store",
    "source",
    "traffic",
    "observe",
    "config",
    "model",
    "central",
    "clock",
    "errors",
    "__init__",
    "simulator",
)
"""From the top down: a file imports from its own room and from those below it."""

HOMES = {
    "cachetools": {"catalog"},
    "cryptography": {"store"},
    "dateutil": {"central", "config", "core", "simulator"},
    "fsspec": {"fsspec"},
    "h11": {"observe"},
    "httptools": {"traffic"},
    "httpx": {"traffic"},
    "hypercorn": {"simulator"},
    "msgspec": {"config", "fsspec", "model", "source", "store", "simulator"},
    "pyfuse3": {"mount"},
    "rich": {"cli"},
    "stamina": {"core", "traffic"},
    "starlette": {"simulator"},
    "trio": None,
}
"""Each third-party package and the rooms that may import it; None: any."""

CLOCK_READERS = {"clock", "simulator"}
"""Who may ask for the time; everybody else is given a `Clock`."""


def module_of(path: Path) -> str:
    """`voxofs.core.fs` for a file; a package goes by its own name."""
    parts = ("voxofs", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


FILES = {module_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def room_of(module: str) -> str:
    """The room a module stands in: the first name below `voxofs`."""
    return module.split(".")[1] if "." in module else "__init__"


def imports(module: str, files: Mapping[str, Path] = FILES) -> Iterator[str]:
    """Every module that a file names in an import, wherever it stands in the file."""
    path = files[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - max(node.level - 1, 0)]
            base = ".".join([*(above if node.level else []), *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield inner if inner in files else base


def own(module: str) -> set[str]:
    """The modules of voxofs that a file imports."""
    found = {name for name in imports(module) if name.split(".")[0] == "voxofs"}
    return {"voxofs.__init__" if name == "voxofs" else name for name in found}


def foreign(module: str) -> set[str]:
    """The third-party packages that a file imports."""
    tops = {name.split(".")[0] for name in imports(module)}
    return tops - set(sys.stdlib_module_names) - {"voxofs"}


def test_every_file_has_a_room() -> None:
    assert {room_of(module) for module in FILES} == set(ROOMS)


@pytest.mark.parametrize("module", FILES)
def test_imports_go_down(module: str) -> None:
    for other in own(module):
        above, below = ROOMS.index(room_of(module)), ROOMS.index(room_of(other))
        assert above <= below, f"{module} imports {other}, which lies above it"


def test_no_import_comes_back() -> None:
    """Not even under TYPE_CHECKING, and not inside a room."""
    try:
        list(TopologicalSorter({module: own(module) - {module} for module in FILES}).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' → '.join(error.args[1])}")


@pytest.mark.parametrize("module", FILES)
def test_foreign_packages_have_their_rooms(module: str) -> None:
    for package in foreign(module):
        rooms = HOMES[package]
        assert rooms is None or room_of(module) in rooms, f"{module} imports {package}"


def test_homes_are_lived_in() -> None:
    """A table that names a home which is none hides the next one."""
    for package, rooms in HOMES.items():
        lived_in = {room_of(module) for module in FILES if package in foreign(module)}
        assert lived_in == (rooms or lived_in), package


@pytest.mark.parametrize("module", [module for module in FILES if room_of(module) == "simulator"])
def test_the_simulator_knows_nothing_of_the_rest(module: str) -> None:
    assert {room_of(other) for other in own(module)} <= {"simulator"}


def test_the_demo_alone_uses_the_simulator() -> None:
    users = {module for module in FILES for other in own(module) if room_of(other) == "simulator"}
    assert {module for module in users if room_of(module) != "simulator"} == {"voxofs.cli.demo"}


@pytest.mark.parametrize("module", FILES)
def test_files_explain_themselves_and_are_small(module: str) -> None:
    text = FILES[module].read_text()
    assert ast.get_docstring(ast.parse(text)), "no docstring"
    assert len(text.splitlines()) <= LINES_AT_MOST
    assert module.rpartition(".")[2] not in ("utils", "util", "helpers", "misc", "common")


@pytest.mark.parametrize("module", [module for module, path in FILES.items() if path.name == "__init__.py"])
def test_a_room_imports_nothing(module: str) -> None:
    """The daemon forks before trio is loaded."""
    assert set(imports(module)) <= {"__future__"}


def test_no_public_name_means_two_things() -> None:
    """Rooms speak one language: a class has a name of its own in the whole house, the simulator apart."""
    homes: dict[str, list[str]] = {}
    for module, path in FILES.items():
        if room_of(module) != "simulator":
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    homes.setdefault(node.name, []).append(module)
    assert {name: modules for name, modules in homes.items() if len(modules) > 1} == {}


def is_number(node: ast.expr) -> bool:
    """Whether an expression is made of numbers alone."""
    allowed = ast.BinOp | ast.UnaryOp | ast.Constant | ast.operator | ast.unaryop
    return all(isinstance(each, allowed) for each in ast.walk(node)) and not any(
        isinstance(each, ast.Constant) and type(each.value) not in (int, float) for each in ast.walk(node)
    )


UNITS = {"MIB", "GIB", "_GIB", "_DAY_S"}


@pytest.mark.parametrize("module", [module for module in FILES if room_of(module) != "simulator"])
def test_numbers_have_their_reasons_beside_them(module: str) -> None:
    """A docstring below the constant, or below the group that it stands in, or a comment on its line."""
    text = FILES[module].read_text()
    lines, body = text.splitlines(), ast.parse(text).body
    for index, node in enumerate(body):
        if not isinstance(node, ast.Assign) or not is_number(node.value):
            continue
        name = node.targets[0].id if isinstance(node.targets[0], ast.Name) else ""
        rest = body[index + 1 :]
        after = next((each for each in rest if not isinstance(each, ast.Assign | ast.AnnAssign)), None)
        told = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        said = "#" in lines[node.lineno - 1] or lines[node.lineno - 2].lstrip().startswith("#")
        assert told or said or name in UNITS, f"{module}: {name} gives no reason"


def test_clocks_are_read_in_one_module() -> None:
    readers = set()
    for module, path in FILES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                called = f"{node.value.id}.{node.attr}"
                if called in {"time.time", "time.monotonic", "time.clock_gettime", "datetime.now"}:
                    readers.add(room_of(module))
    assert readers - {"cli", "daemon", "observe"} == CLOCK_READERS, readers


def test_these_tests_would_see_a_breach() -> None:
    """The parser understands every form of import that the package uses."""
    assert {"voxofs.audio.blocks", "voxofs.source.storage", "voxofs.clock"} <= own("voxofs.audio.library")
    assert "httpx" in foreign("voxofs.traffic.http")
    assert "pyfuse3" in foreign("voxofs.mount.adapter")
    assert "voxofs.simulator.process" in own("voxofs.cli.demo")
