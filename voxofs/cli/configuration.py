"""The options by which a command finds and overrides the configuration: --config, -o, --log-…"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from . import mount_words
from .parser import Parser, UsageError

if TYPE_CHECKING:
    from voxofs.config.settings import Config

_FLAGS = {"log.level": "log_level", "log.format": "log_format", "log.file": "log_file"}
"""Settings that have a flag of their own, and the name under which argparse keeps its value."""


def add_options(parser: Parser) -> None:
    """The options themselves; `overrides` and `load` read them."""
    parser.add_argument("--config", "-c", metavar="FILE", type=Path, help="the configuration file")
    add_words(parser, help_text="mount options, see below")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"))
    parser.add_argument("--log-format", choices=("text", "json"))
    parser.add_argument("--log-file", metavar="FILE")


def add_words(parser: Parser, help_text: str | None = None) -> None:
    """-o alone, as mount(8) says it."""
    parser.add_argument(
        "-o", dest="options", metavar="OPT[,OPT=VAL…]", action="append", default=[], help=help_text
    )


def overrides(options: argparse.Namespace, *, from_mount: bool) -> dict[str, str]:
    """Mount words and flags as one table, flags over words. `from_mount`: mount(8) called us.

    Raises UsageError.
    """
    try:
        words = mount_words.own(mount_words.split(options.options), from_mount=from_mount)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return words | {key: value for key, name in _FLAGS.items() if (value := getattr(options, name, None))}


def load(path: Path | None, words: Mapping[str, str]) -> Config:
    """The configuration; the word config=FILE stands for --config. A token of the environment is in it, and
    in the environment no more. Raises ConfigError."""
    from voxofs.config import settings
    from voxofs.config.secrets import withdraw_tokens

    rest = dict(words)
    named = rest.pop("config", None)
    try:
        return settings.load(path or (Path(named) if named else None), environ=os.environ, overrides=rest)
    finally:
        withdraw_tokens()


def without_unknown(words: Mapping[str, str]) -> dict[str, str]:
    """What `mount -s` means: words nobody knows are ignored."""
    from voxofs.config import settings

    return {word: value for word, value in words.items() if word == "config" or settings.knows_word(word)}
