"""Configuration files of a test's own, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest

from voxofs.config.settings import Config, load
from voxofs.errors import ConfigError

TODAY = date(2024, 3, 1)
TENANT = "[tenants.demo]\nid = 37\nsince = 2021-01-01\n"
TOKEN = "tok-4b1d-secret"


class SettingsFolder:
    """A folder in which files are written and read as configurations, on the first of March 2024."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, text: str, mode: int = 0o600, name: str = "voxofs.toml") -> Path:
        """A file with this text."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def load(self, text: str, environ: Mapping[str, str] | None = None, **words: str) -> Config:
        """The text as the configuration file, with a token from the environment unless told otherwise."""
        variables = {"VOXOFS_TOKEN": TOKEN} if environ is None else environ
        return load(self.write(text), environ=variables, overrides=words, today=TODAY)

    def problems(self, text: str, environ: Mapping[str, str] | None = None, **words: str) -> list[str]:
        """All that is wrong with it."""
        with pytest.raises(ConfigError) as caught:
            self.load(text, environ, **words)
        return list(caught.value.problems)

    def problem(self, text: str, environ: Mapping[str, str] | None = None, **words: str) -> str:
        """The one thing that is wrong with it."""
        problems = self.problems(text, environ, **words)
        assert len(problems) == 1, problems
        return problems[0]
