"""Writes what the package is given besides the program: `python scripts/_package/documents.py TREE`.

TREE is the root of what will be installed: manual pages, completion and the commented configuration go where
Debian has them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from commands import command_page, helper_page
from completion import SHELLS, completion
from settings_page import example, settings_page


def documents() -> dict[str, str]:
    """Every file, by its path below the root."""
    return {
        "usr/share/man/man1/voxofs.1": command_page(),
        "usr/share/man/man5/voxofs.toml.5": settings_page(),
        "usr/share/man/man8/mount.voxofs.8": helper_page(),
        "etc/voxofs/voxofs.toml.example": example(),
        **{path: completion(shell) for shell, path in SHELLS.items()},
    }


def main(tree: Path) -> None:
    for path, text in documents().items():
        file = tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
