"""What must appear nowhere: tokens, passwords, signatures of links."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from harness.fronts import Front

_SIGNATURES = re.compile(r"X-Amz-Signature|(?<![A-Za-z])Signature=(?!\*)", re.IGNORECASE)


def found_in(text: str, secrets: Iterable[str]) -> list[str]:
    """The secrets, whole or in good part, and the signatures in a text, with what is around them."""
    found = [match.start() for match in _SIGNATURES.finditer(text)]
    for secret in secrets:
        pieces = {secret, secret[: len(secret) // 2], secret[len(secret) // 2 :]}
        found += [text.find(piece) for piece in pieces if piece in text]
    return [text[max(0, at - 60) : at + 60] for at in found]


async def every_xattr(front: Front, paths: Iterable[str]) -> str:
    """All extended attributes of some paths; where they cannot be had, what was said instead."""
    said = []
    for path in paths:
        try:
            said += [f"{name}={value}" for name, value in (await front.xattrs(path)).items()]
        except OSError as error:
            said.append(str(error))
    return "\n".join(said)


def process_texts(pid: int) -> str:
    """The command lines of a process and of its threads."""
    return "\n".join(
        (Path("/proc") / str(pid) / "task" / task / name).read_bytes().decode(errors="replace")
        for task in os.listdir(f"/proc/{pid}/task")
        for name in ("cmdline", "comm")
    )
