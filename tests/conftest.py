"""Fixtures: the three front ends, a core with clocks to turn, and waits that tests need not sit out."""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import hypothesis
import pytest
import stamina
from harness.file_systems import configured, fsspec_front
from harness.fronts import Front, core_front, mount_front
from harness.rig import Rig, open_rig
from harness.vendors import Vendor, vendor

from voxofs.fsspec.cores import end_all
from voxofs.fsspec.filesystem import VoxoFileSystem

# What runs in the background ignores these (POSIX, 2.11), and every program that a test starts would, too.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")


_WAITING = ("trouble/test_k", "trouble/test_soak", "tools/", "docs/", "export/", "fsspec/", "mount/")
"""Where most tests wait for deadlines and processes: they leave the processors to others."""


def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Modules that wait are spread evenly among those that compute, so that neither kind is alone at the end:
    workers (pytest-xdist) would wait together, or wait for a processor together."""
    modules: dict[Path, list[pytest.Item]] = {}
    for item in items:
        modules.setdefault(item.path, []).append(item)
    root = Path(__file__).parent
    shares: list[tuple[float, list[pytest.Item]]] = []
    for waits in (True, False):
        kind = [
            each for path, each in modules.items()
            if path.relative_to(root).as_posix().startswith(_WAITING) is waits
        ]  # fmt: skip
        total, before = sum(map(len, kind)), 0
        for each in kind:
            shares.append(((before + len(each) / 2) / total, each))
            before += len(each)
    items[:] = [item for _, each in sorted(shares, key=lambda share: share[0]) for item in each]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test said of names that are no UTF-8 goes from process to process (pytest-xdist) as UTF-8."""
    report = yield
    report.sections = [
        (title, text.encode("utf-8", "backslashreplace").decode()) for title, text in report.sections
    ]
    return report


EnterFront = Callable[..., AbstractAsyncContextManager[Front]]
_FRONTS: dict[str, EnterFront] = {"core": core_front, "fsspec": fsspec_front, "mount": mount_front}


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """A command that a test runs in this process sets up the log; the next test has it as it was."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)


_MARKS = {"mount": pytest.mark.mounts}


@pytest.fixture(params=[pytest.param(name, marks=_MARKS.get(name, ())) for name in _FRONTS])
def enter(request: pytest.FixtureRequest) -> EnterFront:
    """Opens a front end over a simulator: `async with enter(tenants, sections=…, …) as front`."""
    return _FRONTS[request.param]


@pytest.fixture
async def front(enter: EnterFront) -> AsyncIterator[Front]:
    """A front end over the office that `harness.world` describes."""
    async with enter() as opened:
        yield opened


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """The core over the office, with clocks to turn."""
    async with open_rig() as opened:
        yield opened


@pytest.fixture
def no_waits() -> Iterator[None]:
    """Tries follow each other at once; only in this process."""
    with stamina.set_testing(True, attempts=3):
        yield


@pytest.fixture
def sold() -> Iterator[Vendor]:
    """The office, at a vendor."""
    with vendor() as opened:
        yield opened


@pytest.fixture
def config(sold: Vendor) -> Iterator[Path]:
    """A configuration file for it. Afterwards no core is left."""
    with configured(sold.sim) as path:
        yield path
        end_all()
        VoxoFileSystem.clear_instance_cache()


@pytest.fixture
def fs(config: Path) -> VoxoFileSystem:
    """A file system, as a program has it."""
    return VoxoFileSystem(config=config)
