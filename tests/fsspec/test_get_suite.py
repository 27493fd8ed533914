"""fsspec's own suite for `get`, on this front end.

Its trees are `source/subdir/nesteddir/…`, which no calendar has. So a stand-in for the core holds them: what
is tested is the front end, and fsspec's rules for what is copied where.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from hashlib import md5
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fsspec.tests.abstract import AbstractFixtures, AbstractGetTests

from voxofs.core.handles import StatusHandle
from voxofs.core.listings import Attributes, Folders
from voxofs.core.tree import Names, NoSuchName
from voxofs.fsspec import cores
from voxofs.fsspec.filesystem import VoxoFileSystem

BULK = ("file1", "file2", "subdir/subfile1", "subdir/subfile2", "subdir/nesteddir/nestedfile")
GLOB = (
    "file1", "file2",
    *(f"subdir{n}/{name}" for n in (0, 1) for name in ("subfile1", "subfile2", "nesteddir/nestedfile")),
)  # fmt: skip
PREFIX = ("subdir.txt", "subdir/subfile.txt")
HASHED = {f"{md5(str(i).encode()).hexdigest()}.txt": str(i).encode() for i in range(10)}


class AnyTree:
    """What the front end asks of a `FileSystem`, for files by their paths."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = {tuple(path.split("/")): data for path, data in files.items()}

    async def entry(self, path: Names) -> Attributes:
        if path in self._files:
            return Attributes(False, len(self._files[path]), 0, 0.0)
        if any(each[: len(path)] == path for each in self._files):
            return Attributes(True, 0, 0, 0.0)
        raise NoSuchName(path)

    lookup = measure = entry

    async def listing(self, path: Names, *, alone: bool = False) -> Folders:
        await self.entry(path)
        depth = len(path)
        names = sorted({each[depth] for each in self._files if each[:depth] == path})
        return Folders([(name, await self.entry((*path, name))) for name in names])

    async def open(self, path: Names, _caller: Any, **_: Any) -> StatusHandle:
        await self.entry(path)
        return StatusHandle(self._files[path])


class TestGet(AbstractFixtures, AbstractGetTests):  # type: ignore[misc]
    """The suite. Its fixtures that write have trees that are there already."""

    @pytest.fixture
    def fs(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[VoxoFileSystem]:
        trees = {
            "bulk": dict.fromkeys(BULK, b""), "glob": dict.fromkeys(GLOB, b""),
            "prefix": dict.fromkeys(PREFIX, b""), "hashed": HASHED,
        }  # fmt: skip
        trees["src"] = {"file": b""}  # of the one test that makes its tree itself
        tree = {
            f"{'any/src' if at == 'src' else f'{at}/source'}/{name}": data
            for at, files in trees.items()
            for name, data in files.items()
        }

        @asynccontextmanager
        async def any_core(*_: object) -> AsyncIterator[Any]:
            yield SimpleNamespace(fs=AnyTree(tree))

        monkeypatch.setattr(cores, "open_core", any_core)
        token = tmp_path.with_suffix(".token")
        token.touch(0o600)
        token.write_text("a-token")
        fs = VoxoFileSystem(tenants={"demo": 37}, token_file=token, skip_instance_cache=True)
        for makes in ("mkdir", "touch"):
            monkeypatch.setattr(fs, makes, lambda path: None)
        yield fs
        cores.end_all()

    @pytest.fixture
    def fs_path(self) -> str:
        return "any"

    @pytest.fixture
    def fs_bulk_operations_scenario_0(self) -> str:
        return "bulk/source"

    @pytest.fixture
    def fs_glob_edge_cases_files(self) -> str:
        return "glob/source"

    @pytest.fixture
    def fs_dir_and_file_with_same_name_prefix(self) -> str:
        return "prefix/source"

    @pytest.fixture
    def fs_10_files_with_hashed_names(self) -> str:
        return "hashed/source"
