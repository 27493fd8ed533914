"""The words behind `-o`: which are voxofs's own, and which every mount command must put up with.

fstab, mount(8), systemd and autofs hand their own words to the helper. Those that ask for what the mount is
anyway, or that only the caller acts on, are accepted and dropped; `rw` is refused where a person said it,
because it promises what cannot be. mount(8) itself adds `rw` to every call of a helper (seen with
util-linux 2.38), so there it means nothing and is dropped, too.
"""

from __future__ import annotations

from collections.abc import Iterable

_AS_IT_IS = ("ro", "nodev", "nosuid", "noexec", "noatime", "nodiratime", "relatime", "norelatime", "lazytime")
_HARMLESS = (
    "defaults", "dev", "suid", "exec", "atime", "diratime", "strictatime", "nostrictatime", "nolazytime",
    "async", "sync", "dirsync", "nomand", "mand", "silent", "loud", "iversion", "noiversion",
)  # fmt: skip
_FOR_THE_CALLER = (
    "_netdev", "netdev", "nofail", "fail", "auto", "noauto", "user", "nouser", "users", "nousers", "owner",
    "noowner", "group", "nogroup", "uhelper", "helper", "bg", "fg", "intr", "nointr", "fsname", "subtype",
)  # fmt: skip
"""Words that only mount(8), systemd or autofs act on."""
_DROPPED = frozenset((*_AS_IT_IS, *_HARMLESS, *_FOR_THE_CALLER))
_DROPPED_PREFIXES = ("x-", "X-", "comment=")


def split(options: Iterable[str]) -> list[tuple[str, str]]:
    """The words of all `-o` options with their values ("" for none). A comma in a value is written \\,."""
    words = []
    for option in options:
        for part in _split_at_commas(option):
            word, _, value = part.partition("=")
            if word.strip():
                words.append((word.strip(), value))
    return words


def _split_at_commas(option: str) -> list[str]:
    parts, current = [], ""
    characters = iter(option)
    for character in characters:
        if character == ",":
            parts.append(current)
            current = ""
        elif character == "\\":
            following = next(characters, "")
            current += following if following in (",", "\\") else character + following
        else:
            current += character
    return [*parts, current]


def own(words: Iterable[tuple[str, str]], *, from_mount: bool) -> dict[str, str]:
    """The words that are for voxofs. `from_mount`: mount(8) called us. Raises ValueError for `rw`."""
    kept: dict[str, str] = {}
    for word, value in words:
        if word == "rw":
            if not from_mount:
                raise ValueError("-o rw: the mount is read-only, recordings cannot be changed; leave rw out")
        elif word not in _DROPPED and not f"{word}={value}".startswith(_DROPPED_PREFIXES):
            kept[word] = value
    return kept
