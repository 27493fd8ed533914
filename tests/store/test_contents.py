"""What `voxofs cache show` and `purge` tell and delete."""

from __future__ import annotations

from pathlib import Path

import pytest
from tier_kit import KEY, NOW_S, Turned, audio_bytes, bring, edition, held, opened, records

from voxofs.errors import VoxofsError
from voxofs.store.contents import Held, Purged, purge, show


async def _fill(path: Path) -> None:
    clock = Turned()
    async with opened(path, clock.clock) as tier:
        await bring(tier, edition(1, 100_000), edition(2, 100_000, tenant="bcme"))
        clock.turn(1000)
        await bring(tier, edition(3, 3_000_000))
        tier.keep_window("bcme", 7, records(3), clock.wall)
        await tier.settle()


async def test_with_the_key_everything_is_told(tmp_path: Path) -> None:
    await _fill(tmp_path)
    every, acme, bcme = show(tmp_path, KEY)
    assert every == Held(None, 3, audio_bytes(tmp_path), int(NOW_S), 3, 1)
    assert (acme.tenant, acme.recordings, acme.versions, acme.windows) == ("acme", 2, 2, 0)
    assert (bcme.tenant, bcme.recordings, bcme.versions, bcme.windows) == ("bcme", 1, 1, 1)
    assert acme.bytes + bcme.bytes == every.bytes


async def test_without_the_key_only_numbers(tmp_path: Path) -> None:
    await _fill(tmp_path)
    assert show(tmp_path, None) == show(tmp_path, KEY)[:1]
    with pytest.raises(VoxofsError, match="another key"):
        show(tmp_path, b"k" * 32)
    with pytest.raises(VoxofsError, match="another key"):
        purge(tmp_path, b"k" * 32)
    assert show(tmp_path, KEY)[0].recordings == 3


async def test_one_tenant_goes_and_the_other_stays(tmp_path: Path) -> None:
    await _fill(tmp_path)
    assert purge(tmp_path, KEY, tenant="acme").pieces == 4
    assert [each.tenant for each in show(tmp_path, KEY)] == [None, "bcme"]
    async with opened(tmp_path) as tier:
        assert await held(tier, edition(1, 100_000)) == 0
        assert await held(tier, edition(2, 100_000, tenant="bcme")) == 2
        assert await tier.window("bcme", 7) is not None
    with pytest.raises(VoxofsError, match="holds nothing of acme"):
        purge(tmp_path, KEY, tenant="acme")
    with pytest.raises(VoxofsError, match="names of tenants are sealed"):
        purge(tmp_path, None, tenant="bcme")


async def test_what_is_older_goes(tmp_path: Path) -> None:
    await _fill(tmp_path)
    purged = purge(tmp_path, None, before_s=NOW_S + 500)
    assert (purged.pieces, purged.rows) == (2, 2)
    assert purge(tmp_path, None, before_s=NOW_S + 500) == Purged(0, 0, 0)
    assert show(tmp_path, KEY)[0].oldest_s == NOW_S + 1000
    assert purge(tmp_path, KEY, tenant="acme", before_s=NOW_S + 2000).pieces == 3
    assert show(tmp_path, KEY)[0].bytes == audio_bytes(tmp_path) == 0


def test_where_there_is_no_tier_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(VoxofsError, match="no disk tier there"):
        show(tmp_path / "nowhere", None)
    with pytest.raises(VoxofsError, match="no disk tier there"):
        purge(tmp_path, None)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_index_is_said_to_be_broken(tmp_path: Path) -> None:
    (tmp_path / "index.db").write_bytes(b"junk" * 10_000)
    (tmp_path / "change").touch()
    with pytest.raises(VoxofsError, match="begun anew"):
        show(tmp_path, None)
