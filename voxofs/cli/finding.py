"""What a check finds: good, a warning or broken, and what to do about the last two."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple, TextIO

from voxofs.config.legible import one_line
from voxofs.daemon.preflight import Problem


class Grade(Enum):
    """How a finding is marked."""

    GOOD = "✓"
    WARNING = "!"
    BROKEN = "✗"


class Finding(NamedTuple):
    """One line, and what to do about it."""

    grade: Grade
    message: str
    remedy: str = ""


def good(message: str) -> Finding:
    """Nothing to do."""
    return Finding(Grade.GOOD, message)


def warning(problem: Problem) -> Finding:
    """A mount works all the same."""
    return Finding(Grade.WARNING, problem.what, problem.remedy)


def broken(problem: Problem) -> Finding:
    """A mount would fail, or show nothing."""
    return Finding(Grade.BROKEN, problem.what, problem.remedy)


def show(findings: Iterable[Finding], out: TextIO) -> bool:
    """Print the findings as they come; True when one of them is broken."""
    any_broken = False
    for finding in findings:
        any_broken |= finding.grade is Grade.BROKEN
        print(f"{finding.grade.value} {one_line(finding.message)}", file=out)
        if finding.remedy:
            print(f"  → {one_line(finding.remedy)}", file=out, flush=True)
    return any_broken
