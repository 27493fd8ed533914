"""What a program may say of itself to fsspec, and what never gets into a pickle, a repr or an error."""

from __future__ import annotations

import os
import pickle
import pickletools
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import fsspec
import pytest
from harness.file_systems import configured
from harness.vendors import Vendor
from harness.world import HOUR, NAMES

from voxofs.fsspec.cores import end_all
from voxofs.fsspec.filesystem import VoxoFileSystem
from voxofs.fsspec.options import configuration
from voxofs.simulator.faults import Fault
from voxofs.store.key import make_key_file

SECRET = "eyJhbGciOiJIUzI1NiJ9.c2VjcmV0LXNlY3JldA.Hunter2-Klavier"


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """A token in a file that only its owner reads."""
    path = tmp_path / "token"
    path.touch(0o600)
    path.write_text(SECRET)
    return path


@pytest.fixture
def settings(sold: Vendor, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Settings instead of a file."""
    token = tmp_path / "sold-token"
    token.touch(0o600)
    token.write_text(sold.sim.token)
    yield {
        "base_url": sold.sim.api_url,
        "token_file": str(token),
        "tenants": {"office": {"id": 9, "since": "2023-01-01"}},
        "timezone": "America/Chicago",
        "memory": "64 MiB",
    }
    end_all()
    VoxoFileSystem.clear_instance_cache()


def test_settings_alone_are_a_file_system(settings: dict[str, Any]) -> None:
    fs = fsspec.filesystem("voxofs", **settings)
    assert fs.ls(HOUR, detail=False) == [f"{HOUR[1:]}/{name}" for name in NAMES]
    with fsspec.open(f"voxofs://{HOUR}/{NAMES[0]}", **settings) as file:
        assert len(file.read()) == 1_000


def test_settings_lie_over_a_file(sold: Vendor) -> None:
    with configured(sold.sim) as config:
        found = configuration(config, {"memory": "32 MiB", "connections": 8}, prefetch=False, environ={})
    assert found.cache.memory_bytes == 32 * 2**20
    assert (found.api.connections, found.storage.connections) == (8, 8)
    assert found.source == config


def test_a_tenant_may_be_a_number_and_shows_ten_years(token_file: Path) -> None:
    given = {"tenants": {"demo": 37, "acme": {"id": 4, "since": "2022-05-01"}}, "token_file": token_file}
    found = configuration(None, given, prefetch=True, environ={})
    assert found.tenants["demo"].id == 37
    assert date.today().year - found.tenants["demo"].since.year in (9, 10)
    assert found.tenants["acme"].since == date(2022, 5, 1)
    again = configuration(None, given | {"since": "2021-01-01"}, prefetch=True, environ={})
    assert [each.since.year for each in again.tenants.values()] == [2021, 2022]
    assert (found.mount.prefetch, found.source) == (True, Path(os.devnull))


@pytest.mark.parametrize("name", ["token", "password", "api_token", "key", "secret", "bearer", "credentials"])
def test_a_secret_is_refused_and_not_repeated(name: str, token_file: Path) -> None:
    with pytest.raises(ValueError, match="token_file=PATH") as caught:
        fsspec.filesystem("voxofs", tenants={"demo": 37}, token_file=str(token_file), **{name: SECRET})
    assert SECRET not in str(caught.value)


def test_a_token_in_place_of_its_file_is_not_repeated_either() -> None:
    with pytest.raises(ValueError, match="this looks like the token itself") as caught:
        fsspec.filesystem("voxofs", tenants={"demo": 37}, token_file=SECRET)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("folder", ["", "/etc/voxofs/"])
def test_a_key_in_place_of_its_file_is_not_repeated_either(
    folder: str, token_file: Path, tmp_path: Path
) -> None:
    make_key_file(tmp_path / "key")
    key = (tmp_path / "key").read_text().strip()
    with pytest.raises(ValueError, match="this looks like the key itself") as caught:
        fsspec.filesystem(
            "voxofs",
            tenants={"demo": 37},
            token_file=str(token_file),
            disk=str(tmp_path),
            key_file=folder + key,
        )
    assert key not in str(caught.value)


def test_problems_are_told_together_in_the_words_of_options(token_file: Path) -> None:
    with pytest.raises(ValueError, match="memory") as caught:
        fsspec.filesystem(
            "voxofs", tenants={"demo": "x"}, memory="lots", timezone="Mars", token_file=str(token_file)
        )
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert not any("-o " in line or os.devnull in line for line in lines)
    for odd, said in (({"tenant": 3}, "unknown option"), ({"tenants": [37]}, "a mapping")):
        with pytest.raises(ValueError, match=said):
            fsspec.filesystem("voxofs", **odd)
    with pytest.raises(ValueError, match="no tenant is configured"):
        fsspec.filesystem("voxofs", token_file=str(token_file))
    with pytest.raises(ValueError, match="does not exist"):
        fsspec.filesystem("voxofs", config="/nowhere/voxofs.toml")


def test_the_disk_is_a_folder_that_all_processes_may_share(token_file: Path, tmp_path: Path) -> None:
    given = {"tenants": {"demo": 37}, "token_file": token_file, "disk": tmp_path / "tier", "memory": None}
    assert configuration(None, given, prefetch=False, environ={}).disk.path == tmp_path / "tier"


def test_the_environment_may_hold_the_token(sold: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXOFS_TOKEN", sold.sim.token)
    fs = VoxoFileSystem(
        base_url=sold.sim.api_url, tenants={"office": 9}, since="2023-01-01", skip_instance_cache=True
    )
    try:
        assert fs.exists(HOUR)
        shown = [pickle.dumps(fs), repr(fs).encode(), fs.to_json().encode(), repr(vars(fs)).encode()]
        assert not any(sold.sim.token.encode() in each for each in shown)
    finally:
        end_all()


def test_no_secret_is_in_a_pickle_a_repr_or_an_error(
    sold: Vendor, settings: dict[str, Any], no_waits: None
) -> None:
    fs = fsspec.filesystem("voxofs", **settings)
    path = f"{HOUR}/{NAMES[5]}"
    texts: list[str] = [repr(fs), str(fs), repr(vars(fs)), fs.to_json(), repr(fs.storage_options)]
    with fs.open(path) as file:
        for thing in (fs, file, fsspec.open(f"voxofs://{path}", **settings)):
            data = pickle.dumps(thing)
            texts += [repr(argument) for _, argument, _ in pickletools.genops(data)]
            texts.append(repr(thing))
    secrets = [sold.sim.token, "Signature", "AWSAccessKeyId"]
    faults = (("expired", "audio"), ("status", "link"), ("status", "audio"), ("reset_before", "link"))
    for number, (kind, route) in enumerate(faults):
        sold.sim.add_fault(Fault(kind, {"route": route}, times=None, status=400, body="json"))  # type: ignore[arg-type]
        with pytest.raises(OSError, match=r".") as caught:
            fs.cat_file(f"{HOUR}/{NAMES[number]}")
        texts += [str(caught.value), repr(pickle.dumps(caught.value)), repr(caught.value.__cause__)]
        sold.sim.faults.clear()
    for text in texts:
        assert not [secret for secret in secrets if secret in text], text
