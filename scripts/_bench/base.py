"""Another commit beside this tree: a git worktree in a folder of its own, gone afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from processes import Failed, run
from programs import ROOT


def _git(*words: str | Path) -> str:
    return run(["git", "-C", ROOT, *words]).decode().strip()


def commit(name: str) -> str:
    """The short name of a commit. Raises `Failed` where there is none."""
    try:
        return _git("rev-parse", "--short", "--verify", "--quiet", f"{name}^{{commit}}")
    except Failed:
        raise Failed(f"{name} is no commit here; 'git log --oneline' has them") from None


def this() -> str:
    """What is measured: the present commit, and whether there is more than it."""
    return commit("HEAD") + ("+" if _changed() else "")


def _changed() -> bool:
    return bool(_git("status", "--porcelain", "--untracked-files=no"))


def usual() -> str:
    """What a change is compared with where nothing is named: HEAD where something is not committed yet, else
    where the branch has left what is published, else the commit before."""
    if _changed():
        return "HEAD"
    try:
        left = _git("merge-base", "HEAD", "@{upstream}")
    except Failed:  # the branch has no upstream
        return "HEAD~1"
    return left if left != _git("rev-parse", "HEAD") else "HEAD~1"


@contextmanager
def worktree(name: str, folder: Path) -> Iterator[Path]:
    """That commit's tree in a folder below `folder`. Raises `Failed` where there is no such commit."""
    tree = folder / f"base-{commit(name)}"
    _git("worktree", "add", "--detach", "--force", tree, name)
    try:
        if not (tree / "voxofs/__init__.py").exists():
            raise Failed(f"{name} has no voxofs")
        yield tree
    finally:
        _git("worktree", "remove", "--force", tree)
