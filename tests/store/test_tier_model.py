"""Whatever is done in whatever order: the tier holds what a dictionary would, or less, and nothing else."""

from __future__ import annotations

import tempfile
from pathlib import Path

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from tier_kit import Turned, audio_bytes, content, edition, opened

from voxofs.model import Edition

SIZE = 900_000
MAX_AGE_S = 1000
EDITIONS = [
    *(edition(1, 70_000), edition(1, 70_000, etag='"two"'), edition(2, 1), edition(3, 20 * 65_536)),
    *(edition(4, 200_000), edition(4, 200_000, tenant="bcme"), edition(5, 130_000, etag=None)),
]

_edition = st.sampled_from(EDITIONS)
_step = st.one_of(
    st.tuples(st.just("bring"), _edition, st.integers(0, 19), st.integers(1, 8), st.booleans()),
    st.tuples(st.just("read"), _edition, st.integers(0, 19), st.integers(1, 20), st.none()),
    st.tuples(st.just("forget"), _edition, st.none(), st.none(), st.none()),
    st.tuples(st.just("restart"), st.none(), st.none(), st.none(), st.none()),
    st.tuples(st.just("turn"), st.none(), st.sampled_from([1, 300, 700]), st.none(), st.none()),
)


class Model:
    """What has been brought, when; and which version was told last."""

    def __init__(self) -> None:
        self.blocks: dict[tuple[Edition, int], float] = {}
        self.versions: dict[object, object] = {}
        self.taken = 0

    def full(self) -> bool:
        """Whether something may have been evicted; the margin is the slack and the ends of pages."""
        return self.taken > SIZE * 0.8


async def _play(path: Path, steps: list[tuple[str, Edition, int, int, bool]]) -> None:
    clock, model = Turned(), Model()
    todo = list(steps)
    while todo:
        async with opened(path, clock.clock, size_bytes=SIZE, max_age_s=MAX_AGE_S) as tier:
            while todo:
                action, of, first, count, read = todo.pop(0)
                if action == "restart":
                    break
                if action == "turn":
                    clock.turn(first)
                elif action == "forget":
                    tier.forget(of)
                    await tier.settle()
                    model.blocks = {key: when for key, when in model.blocks.items() if key[0] != of}
                    model.versions.pop(of.recording, None)
                elif action == "bring":
                    for index in range(min(first, of.blocks - 1), min(first + count, of.blocks)):
                        tier.offer(of, index, content(of, index), read=read)
                        when = model.blocks.get((of, index), float("-inf"))
                        if clock.wall - when >= MAX_AGE_S:
                            model.blocks[of, index] = clock.wall
                        model.taken += len(content(of, index)) + 4096
                    tier.keep_version(of.recording, of.version)
                    model.versions[of.recording] = of.version
                    await tier.settle()
                else:
                    blocks = await tier.read(of, first, first + count)
                    for index, block in enumerate(blocks, first):
                        when = model.blocks.get((of, index), float("-inf"))
                        there = clock.wall - when < MAX_AGE_S
                        if block is not None:
                            assert there
                            assert block == content(of, index)
                        elif there:
                            assert model.full(), "lost, and there was room"
                assert audio_bytes(path) <= SIZE
            for each in EDITIONS:
                assert await tier.version(each.recording) == model.versions.get(each.recording)
            assert tier.counts["damaged"] == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(_step, max_size=25))
def test_the_tier_is_a_dictionary_that_forgets(steps: list[tuple[str, Edition, int, int, bool]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trio.run(_play, Path(folder) / "disk", steps)
