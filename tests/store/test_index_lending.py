"""An index that is replaced while it is read: nobody is lent a connection to the old one afterwards."""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
from tier_kit import KEY

from voxofs.store.index import Index
from voxofs.store.seal import Seal

AT_MOST_LINES = 40
"""More than either function has; whoever reaches it has stopped nowhere."""


class Beside:
    """Another thread that does its work while this one stands at one line; it is not waited for long, because
    it may be waiting for this one."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._thread = threading.Thread(target=work)

    def have_its_turn(self) -> None:
        self._thread.start()
        self._thread.join(0.3)

    def end(self) -> None:
        self._thread.join()


def stop_at(code: CodeType, line: int, then: Callable[[], object]) -> Callable[..., Any]:
    """A trace that calls `then` before the so many-th line of a function."""
    left = [line]

    def inside(_: FrameType, event: str, __: object) -> Callable[..., Any]:
        if event == "line":
            left[0] -= 1
            if left[0] == 0:
                then()
        return inside

    def calls(frame: FrameType, _: str, __: object) -> Callable[..., Any] | None:
        return inside if frame.f_code is code else None

    return calls


def traced(trace: Callable[..., Any], work: Callable[[], object]) -> None:
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)


def opened(path: Path, number: int) -> Index:
    index = Index(path, Seal(KEY), 1 << 30)
    renew(index, path, number)
    return index


def renew(index: Index, path: Path, number: int) -> None:
    """Close it, and open an empty one of that number in its place."""
    index.close()
    for each in path.parent.glob("index.db*"):
        each.unlink()
    path.touch()
    index.open()
    with index.change() as change:
        change.execute(f"PRAGMA user_version = {number}")


def number_of(index: Index) -> int:
    with index.reading() as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


@pytest.mark.parametrize("lent_before", [False, True])
def test_the_next_reading_is_of_the_new_index_whenever_it_came(tmp_path: Path, lent_before: bool) -> None:
    """It comes at each line of `reading` in turn."""
    code = Index.reading.__wrapped__.__code__  # type: ignore[attr-defined]
    for line in range(1, AT_MOST_LINES):
        path = tmp_path / str(line) / "index.db"
        path.parent.mkdir()
        index = opened(path, 1)
        if lent_before:
            number_of(index)
        keeper = Beside(lambda index=index, path=path: renew(index, path, 2))  # type: ignore[misc]
        came: list[bool] = []

        def then(keeper: Beside = keeper, came: list[bool] = came) -> None:
            came.append(True)
            keeper.have_its_turn()

        with suppress(sqlite3.Error):  # the file may go while this one is opened
            traced(stop_at(code, line, then), lambda index=index: number_of(index))  # type: ignore[misc]
        if not came:
            index.close()
            break
        keeper.end()
        assert number_of(index) == 2, f"line {line}"
        assert number_of(index) == 2
        index.close()
    assert 5 < line < AT_MOST_LINES - 1


def test_nobody_reads_with_a_connection_that_is_being_closed(tmp_path: Path) -> None:
    """A reader comes at each line of `close` in turn, and reads on when that is over."""
    for line in range(1, AT_MOST_LINES):
        path = tmp_path / str(line) / "index.db"
        path.parent.mkdir()
        index = opened(path, 1)
        number_of(index)
        came, closed = threading.Event(), threading.Event()
        found: list[object] = []

        def read(
            index: Index = index,
            came: threading.Event = came,
            closed: threading.Event = closed,
            found: list[object] = found,
        ) -> None:
            try:
                with index.reading() as db:
                    came.set()
                    closed.wait(20)
                    found.append(db.execute("PRAGMA user_version").fetchone()[0])
            except Exception as error:
                found.append(error)

        reader = threading.Thread(target=read)

        def then(reader: threading.Thread = reader, came: threading.Event = came) -> None:
            reader.start()
            came.wait(0.2)

        traced(stop_at(Index.close.__code__, line, then), index.close)
        closed.set()
        if reader.ident is None:
            break
        reader.join()
        assert found == [1], f"line {line}"
        index.close()
    assert 3 < line < AT_MOST_LINES - 1
