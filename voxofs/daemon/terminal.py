"""Words to whoever started us, on stderr: what ends a command, and what is said before there is a log."""

from __future__ import annotations

import sys

from voxofs.config.legible import lines


def say(message: str) -> None:
    """Print the message to stderr, each line marked as ours and none with anything that a terminal obeys;
    nothing for an empty one."""
    for line in lines(message) if message else ():
        print(f"voxofs: {line}", file=sys.stderr)
