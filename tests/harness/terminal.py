"""A person at a terminal: a program on a pseudo-terminal, its controlling one, and what is typed there."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

PATIENCE_S = 60.0


def talk(
    command: Sequence[str], dialogue: Sequence[tuple[str, str]], environ: Mapping[str, str], cwd: Path
) -> tuple[int, str]:
    """Run the command; each time that it has said the first text of a pair, type the second and Enter.

    To a hidden question only its own prompt may be waited for: what is typed before it is dropped (getpass).
    Returns the exit code and all that the terminal showed. What was expected and not said fails the test.
    """
    ours, theirs = pty.openpty()
    gives_up_s = time.monotonic() + PATIENCE_S
    shown, seen = b"", 0
    waiting = [(said.encode(), typed.encode() + b"\n") for said, typed in dialogue]
    # setsid(1) makes the terminal the controlling one; Python code between fork and exec could hang in a
    # process that has threads.
    with subprocess.Popen(
        ["setsid", "--ctty", *command], stdin=theirs, stdout=theirs, stderr=theirs, env=environ, cwd=cwd
    ) as program:
        os.close(theirs)
        try:
            while select.select([ours], [], [], max(0.0, gives_up_s - time.monotonic()))[0]:
                try:
                    piece = os.read(ours, 65_536)
                except OSError:  # EIO: nobody has the other side any more (pty(7))
                    break
                if not piece:
                    break
                shown += piece
                while waiting and (at := shown.find(waiting[0][0], seen)) >= 0:
                    said, typed = waiting.pop(0)
                    seen = at + len(said)
                    os.write(ours, typed)
            else:
                program.kill()
        finally:
            os.close(ours)
        code = program.wait()
    text = shown.decode().replace("\r\n", "\n")
    assert not waiting, f"it never said {waiting[0][0].decode()!r}:\n{text}"
    return code, text
