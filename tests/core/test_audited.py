"""Export and fsspec put on record what they read, as this very process."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from harness.file_systems import configured
from harness.vendors import Vendor
from harness.world import BYTES, HOUR, NAMES

from voxofs.cli.main import main
from voxofs.fsspec.cores import end_all
from voxofs.fsspec.filesystem import VoxoFileSystem


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_fsspec_and_export_are_on_record(sold: Vendor, tmp_path: Path) -> None:
    audit = tmp_path / "audit.log"
    with configured(sold.sim) as config:
        config.write_text(f'{config.read_text()}\n[audit]\nfile = "{audit}"\n')
        fs = VoxoFileSystem(config=config)
        fs.cat_file(f"{HOUR[1:]}/{NAMES[7]}")
        fs.cat_file(f"{HOUR[1:]}/{NAMES[7]}", start=5, end=10)
        with fs.open(f"{HOUR[1:]}/{NAMES[0]}"):
            pass
        end_all()
        VoxoFileSystem.clear_instance_cache()
        assert [(each["bytes"], each["read"]) for each in lines(audit)] == [
            (len(BYTES[NAMES[7]]), "whole"),
            (5, "part"),
            (0, "none"),
        ]
        audit.unlink()
        assert main(["export", "--quiet", "--config", str(config), HOUR[1:], str(tmp_path / "kept")]) == 0
    found = lines(audit)
    assert {each["path"]: (each["bytes"], each["read"]) for each in found} == {
        f"{HOUR}/{name}": (len(data), "whole") for name, data in BYTES.items()
    }
    assert {(each["pid"], each["uid"]) for each in found} == {(os.getpid(), os.getuid())}
