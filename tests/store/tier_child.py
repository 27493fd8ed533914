"""A process that writes into a tier until it is killed: `python tier_child.py DIRECTORY SIZE FIRST`.

Prints a line for each recording that was settled.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import trio
from tier_kit import bring, edition, held, opened


async def main(path: Path, size: int, first: int) -> None:
    async with opened(path, size_bytes=size) as tier:
        for number in itertools.count(first):
            each = edition(number, 150_000 + number % 7 * 300_000)
            await bring(tier, each, read=bool(number % 2))
            print(number, flush=True)
            if number % 5 == 0:
                await held(tier, each)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
