"""`scripts/soak MINUTES [--json FILE] [--workers N]`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from .campaign import soak
from .report import facts, text


def main() -> int:
    """Run the soak; 0 where every promise was kept."""
    parser = argparse.ArgumentParser(
        prog="soak", description="Real tools on a mount while everything goes wrong."
    )
    parser.add_argument("minutes", type=float, metavar="MINUTES")
    parser.add_argument("--workers", type=int, default=32, help="tools at work at once (default 32)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    outcome = soak(options.minutes, options.workers, lambda line: print(line, flush=True))
    print(text(outcome))
    if options.json is not None:
        options.json.write_text(json.dumps(facts(outcome), indent=2) + "\n")
    return 0 if outcome.ok else 1


if __name__ == "__main__":
    sys.exit(main())
