"""Engines that read recordings by fsspec. Run by `scripts/engines`, which has them in a venv of its own.

They are imported by the tests that use them: an engine that is missing fails its test alone. Only Ray's is
skipped then, for not every Python has a Ray.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.file_systems import configured
from harness.mounts import ROOT
from harness.vendors import Vendor, vendor
from harness.world import HOUR, NAMES, tenant, truth

from voxofs.fsspec.cores import end_all
from voxofs.fsspec.filesystem import VoxoFileSystem

PATHS = [f"{HOUR[1:]}/{name}" for name in NAMES]
TOTAL = sum(len(truth(path)) for path in PATHS)
pytestmark = pytest.mark.filterwarnings("ignore")  # what engines say of each other is theirs


def test_pandas_reads_a_file(config: Path) -> None:
    """A table in a recording's place: pandas reads no MP3, and fsspec does not know the difference."""
    import pandas

    table = b"call,seconds\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(50_000))
    parquet = io.BytesIO()
    pandas.DataFrame({"n": range(1_000)}).to_parquet(parquet)
    calls: Any = {
        ("table", "2024-03-05 10:00:00"): table,
        ("parquet", "2024-03-05 10:00:01"): parquet.getvalue(),
    }
    with vendor([tenant(calls)]) as sold, configured(sold.sim) as path:
        options = {"config": str(path)}
        frame = pandas.read_csv(f"voxofs://{HOUR[1:]}/table.mp3", storage_options=options)
        assert (len(frame), int(frame.seconds.iloc[-1])) == (50_000, 49_999**2)
        frame = pandas.read_parquet(f"voxofs://{HOUR[1:]}/parquet.mp3", storage_options=options)
        assert list(frame.n) == list(range(1_000))
        end_all()


def test_pyarrow_lists_and_reads(fs: VoxoFileSystem) -> None:
    import pyarrow.fs as arrow

    wrapped = arrow.PyFileSystem(arrow.FSSpecHandler(fs))
    found = wrapped.get_file_info(arrow.FileSelector("office/2024/03/05", recursive=True))
    assert [each.path for each in found if each.type == arrow.FileType.File][:12] == PATHS
    [info] = wrapped.get_file_info([PATHS[3]])
    assert (info.size, info.mtime.timestamp()) == (len(truth(PATHS[3])), fs.modified(PATHS[3]).timestamp())
    with wrapped.open_input_file(PATHS[3]) as file:
        assert file.read_at(100, 70_000) == truth(PATHS[3])[70_000:70_100]
    with wrapped.open_input_stream(PATHS[4]) as file:
        assert file.read() == truth(PATHS[4])
    assert wrapped.get_file_info("office/2024/13").type == arrow.FileType.NotFound


def test_duckdb_reads_blobs(fs: VoxoFileSystem) -> None:
    import duckdb

    with duckdb.connect() as connection:
        connection.register_filesystem(fs)
        rows = connection.execute(
            "select filename, size, content, last_modified "
            f"from read_blob('voxofs://{HOUR[1:]}/*.mp3') order by 1"
        ).fetchall()
    assert [row[2] for row in rows] == [truth(path) for path in PATHS]
    assert [row[1] for row in rows] == [len(truth(path)) for path in PATHS]
    assert [row[0].removeprefix("voxofs://") for row in rows] == PATHS


def test_ray_data_reads_files(fs: VoxoFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    data = pytest.importorskip("ray.data")
    _workers_find_us(monkeypatch)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        rows = data.read_binary_files(PATHS, filesystem=fs, include_paths=True).take_all()
    finally:
        ray.shutdown()
    assert {row["path"]: row["bytes"] for row in rows} == {path: truth(path) for path in PATHS}


@pytest.fixture
def spark(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Spark with two Python workers."""
    from pyspark import sql

    _workers_find_us(monkeypatch)
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    session = sql.SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    yield session
    session.stop()


def test_spark_reads_in_its_python_workers(spark: Any, config: Path, sold: Vendor) -> None:
    at = str(config)

    def lengths(paths: Iterator[str]) -> Iterator[tuple[str, int, int]]:
        import fsspec

        fs = fsspec.filesystem("voxofs", config=at)
        for path in paths:
            yield path, len(fs.cat_file(path)), os.getpid()

    found = spark.sparkContext.parallelize(PATHS, 4).mapPartitions(lengths).collect()
    assert {path: size for path, size, _ in found} == {path: len(truth(path)) for path in PATHS}
    assert os.getpid() not in {pid for _, _, pid in found}
    assert sum(size for _, size, _ in found) == TOTAL


def _workers_find_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))
