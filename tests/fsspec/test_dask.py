"""Dask over processes: a bag of recordings, and recordings cut into blocks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import dask.bag
import fsspec
import pytest
from dask.bytes import read_bytes
from distributed import Client, LocalCluster
from harness.mounts import ROOT
from harness.vendors import Vendor
from harness.world import HOUR, NAMES, truth

PATHS = [f"{HOUR[1:]}/{name}" for name in NAMES]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Two worker processes on this machine."""
    places = (ROOT, ROOT / "tests", Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, places)))
    with (
        LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=":0") as cluster,
        Client(cluster) as opened,
    ):
        yield opened


def length(path: str, config: str) -> tuple[str, int, int]:
    """On a worker."""
    return path, len(fsspec.filesystem("voxofs", config=config).cat_file(path)), os.getpid()


@pytest.mark.filterwarnings("ignore")  # what Dask and its event loop say while they close is theirs
def test_bags_and_blocks_over_processes(client: Client, config: Path, sold: Vendor) -> None:
    bag = dask.bag.from_sequence(PATHS, npartitions=6).map(length, config=str(config))
    found = bag.compute()
    assert [each[:2] for each in found] == [(path, len(truth(path))) for path in PATHS]
    assert os.getpid() not in {each[2] for each in found}

    sample, blocks = read_bytes(f"voxofs://{HOUR}/*.mp3", blocksize=100_000, sample=1_000, config=str(config))
    assert sample == truth(PATHS[0])[:1_000]
    whole = [b"".join(each) for each in dask.compute(*[list(each) for each in blocks])]
    assert whole == [truth(path) for path in PATHS]
    with pytest.raises(FileNotFoundError):
        dask.bag.from_sequence(["office/2024/03/05/14/gone.mp3"]).map(length, config=str(config)).compute()
