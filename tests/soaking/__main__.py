"""`scripts/soak [--trouble] MINUTES [--json FILE] [--workers N]`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from .campaign import soak
from .neighbours import Plan, soak_neighbours
from .neighbours_report import neighbours_facts, neighbours_text
from .report import facts, text


def main() -> int:
    """Run the soak; 0 where every promise was kept."""
    parser = argparse.ArgumentParser(
        prog="soak", description="Real tools on a mount while everything goes wrong."
    )
    parser.add_argument("minutes", type=float, metavar="MINUTES")
    parser.add_argument(
        "--trouble",
        action="store_true",
        help="two tenants, one of them in trouble that changes; the other is held to what it needs without",
    )
    parser.add_argument("--workers", type=int, default=32, help="tools at work at once (default 32)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--disk", action="store_true", help="with the disk tier on, small enough to evict")
    parser.add_argument(
        "--transport",
        choices=["direct", "stock"],
        default="direct",
        help="voxofs's own transport, or httpx's (default direct)",
    )
    options = parser.parse_args()
    ok, told, found = _run(options)
    print(told)
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0 if ok else 1


def _run(options: argparse.Namespace) -> tuple[bool, str, dict[str, Any]]:
    def say(line: str) -> None:
        print(line, flush=True)

    if options.trouble:
        two = soak_neighbours(Plan(options.minutes, options.workers), say, transport=options.transport)
        return two.ok, neighbours_text(two), neighbours_facts(two)
    one = soak(options.minutes, options.workers, say, disk=options.disk, transport=options.transport)
    return one.ok, text(one), facts(one)


if __name__ == "__main__":
    sys.exit(main())
