"""What a thief of the disk finds: nothing."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tier_kit import KEY, Turned, bring, edition, held, opened, records

from voxofs.model import BLOCK_BYTES

MP3_FRAMES = b"\xff\xfb\x90\x64" + bytes(413)
"""A frame of MPEG-1 Layer III, 128 kbit/s, 44.1 kHz."""


async def test_nothing_of_what_is_kept_can_be_found(tmp_path: Path) -> None:
    one = edition(1, 10 * BLOCK_BYTES, tenant="acmecorporation")
    block = (MP3_FRAMES * 200)[:BLOCK_BYTES]
    base = tmp_path / "disk"
    async with opened(base) as tier:
        for index in range(one.blocks):
            tier.offer(one, index, block)
        tier.keep_version(one.recording, one.version)
        tier.keep_window("acmecorporation", 4711, records(300), 1.0)
        await tier.settle()
        shutil.copytree(base, tmp_path / "alive")  # with the write-ahead log
        assert (await tier.read(one, 0, 10)) == [block] * 10
    words = [
        b"acmecorporation",
        b"atl-ast2",
        b"1628901419",
        b"16289014",
        b"2021-08-13",
        b"Bob Miller",
        b"inbound",
    ]
    words += [b'"one"', b"13 Aug 2021", MP3_FRAMES[:4] + bytes(8), KEY, KEY[:8], b"ID3"]
    files = [each for root in (base, tmp_path / "alive") for each in root.rglob("*") if each.is_file()]
    assert len(files) >= 7
    for each in files:
        found = each.read_bytes()
        for word in words:
            assert word not in found, (each, word)
    names = {
        part
        for root in (base, tmp_path / "alive")
        for each in root.rglob("*")
        for part in each.relative_to(root).parts
    }
    known = {"audio", "users", "change", "index.db", "index.db-wal", "index.db-shm"}
    assert all(re.fullmatch(r"[0-9a-f]{16}|[0-9a-f]{4}", name) for name in names - known)


async def test_equal_audio_is_not_equal_on_the_disk(tmp_path: Path) -> None:
    """Nobody learns that two callers heard the same announcement."""
    async with opened(tmp_path) as tier:
        for number in (1, 2):
            one = edition(number, BLOCK_BYTES)
            tier.offer(one, 0, bytes(BLOCK_BYTES))
        await tier.settle()
    pieces = [each.read_bytes() for each in (tmp_path / "audio").rglob("0*") if each.is_file()]
    assert len(pieces) == 2
    parts = [piece[at : at + 32] for piece in pieces for at in range(28, len(piece) - 32, 32)]
    assert len(set(parts)) == len(parts) > 4000


async def test_pieces_that_were_swapped_are_not_there(tmp_path: Path) -> None:
    editions = [edition(1, 100_000), edition(2, 100_000), edition(1, 100_000, etag='"two"')]
    async with opened(tmp_path) as tier:
        await bring(tier, *editions)
        files = sorted(each for each in (tmp_path / "audio").rglob("*") if each.is_file())
        contents = [each.read_bytes() for each in files]
        for path, content in zip(files, contents[1:] + contents[:1], strict=True):
            path.write_bytes(content)
        assert [await held(tier, each) for each in editions] == [0, 0, 0]


async def test_a_piece_cannot_be_made_younger(tmp_path: Path) -> None:
    """A piece of long ago, put back in the place of the same recording's newer one, does not open."""
    clock, one = Turned(), edition(1, 1000)
    async with opened(tmp_path, clock.clock, max_age_s=500) as tier:
        await bring(tier, one)
        (path,) = (each for each in (tmp_path / "audio").rglob("*") if each.is_file())
        old = path.read_bytes()
        clock.turn(600)
        await bring(tier, one)
        (path,) = (each for each in (tmp_path / "audio").rglob("*") if each.is_file())
        path.write_bytes(old)
        assert await held(tier, one) == 0
