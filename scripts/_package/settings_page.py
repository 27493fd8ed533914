"""voxofs.toml(5) and the example in /etc/voxofs, from docs/configuration.md.

The page's table of settings is held to the code by tests/docs, so its texts are the one place where a setting
is explained; here it is only set in another form. A key of `settings.NAMES` without a row ends the build.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token
from roff import Page, bold, escape, inline, italic

from voxofs import __version__
from voxofs.config.settings import NAMES

SETTINGS = "Every setting"
_PAGE = Path(__file__).resolve().parents[2] / "docs/configuration.md"
_WIDTH = 100
"""Of the example's lines: they are read in a terminal, at most as wide as the pages of docs/ are written."""
_EXAMPLE_HEAD = """\
# Every setting of voxofs with its default: copy what you need to /etc/voxofs/voxofs.toml (or, for yourself
# alone, to ~/.config/voxofs/voxofs.toml). voxofs.toml(5) says the same at length. Needed are a credential and
# one tenant.
"""


class Row(NamedTuple):
    """A setting as the page's table has it; "" where it says nothing."""

    key: str
    type: str
    default: str
    unit: str
    values: str
    meaning: str
    environment: str
    word: str


def rows(page: str) -> list[Row]:
    """All settings of the page. Raises ValueError where it lacks one."""
    tokens = _tokens(page)
    found = [Row(*cells) for table in _tables(tokens) for cells in table if len(cells) == len(Row._fields)]
    found = [row._replace(key=row.key.strip("`")) for row in found if "." in row.key]
    keys = {row.key for row in found}
    if missing := {f"{section}.{key}" for section, names in NAMES.items() for key in names} - keys:
        raise ValueError(f"{_PAGE}: no row for {', '.join(sorted(missing))}; add it to “{SETTINGS}”")
    return found


def settings_page() -> str:
    """voxofs.toml(5)."""
    text = _PAGE.read_text()
    rows(text)
    page = Page("voxofs.toml", 5, __version__, "configuration of voxofs")
    page.section("Description")
    tokens = iter(_tokens(text))
    for token in tokens:
        if token.type == "heading_open":
            title = next(tokens).content
            if token.tag == "h2":
                page.section(title)
            elif token.tag == "h3":
                page.subsection(title)
        elif token.type in ("bullet_list_open", "ordered_list_open"):
            _list(page, token, tokens)
        elif token.type == "table_open":
            _table(page, list(_until("table_close", tokens)))
        elif token.type == "fence":
            page.kept(token.content)
        elif token.type == "inline":
            page.paragraph(inline(_plain(token)))
    page.section("Files")
    page.tagged(bold("/etc/voxofs/voxofs.toml.example"), escape("every setting, to copy from"))
    page.section("See also")
    page.paragraph(escape("voxofs(1), mount.voxofs(8)"))
    return page.text()


def example() -> str:
    """The commented voxofs.toml: sound as it stands, and with any setting's `#` taken away."""
    lines = [_EXAMPLE_HEAD]
    section = ""
    for row in rows(_PAGE.read_text()):
        header, _, key = row.key.rpartition(".")
        header = header.replace("NAME", "demo")
        if header != section:
            section = header
            lines.append(f"\n#[{header}]" if header.startswith("tenants.") else f"\n[{header}]")
        facts = ", ".join(filter(None, (row.type, row.values and f"{row.values}{_unit(row)}")))
        said = f"{row.meaning.replace('`', '')} ({facts})"
        lines += textwrap.wrap(said, _WIDTH, initial_indent="# ", subsequent_indent="# ")
        lines.append(f"#{key} = {row.default.strip('`') or _SAMPLES.get(row.key) or _BY_TYPE[row.type]}")
    return "\n".join(lines) + "\n"


def _unit(row: Row) -> str:
    return f" {row.unit}" if row.unit == "s" else ""


_SAMPLES = {
    "api.token": '"…"',
    "api.token_file": '"/etc/voxofs/token"',
    "api.email": '"me@example.com"',
    "api.password_file": '"/etc/voxofs/password"',
    "api.ca_file": '"/etc/voxofs/ca.pem"',
    "log.file": '"/var/log/voxofs.log"',
    "metrics.listen": '"127.0.0.1:9847"',
    "tenants.NAME.id": "37",
}
"""What a key without a default might be set to."""
_BY_TYPE = {
    "text": '""', "token": '""', "path": '"/path"', "URL": '"https://example.com"', "user": '"root"',
    "group": '"audio"', "whole number": "1", "number": "1", "size": '"1 GiB"', "flag": "false",
    "choice": '""', "address": '"127.0.0.1:9847"', "list": "[]", "date": "2021-01-01", "mode": "0o640",
    "time zone": '"America/Chicago"', "proxy": '"http://proxy.example.com:3128"',
}  # fmt: skip
"""The same for keys that nobody has thought of a sample for."""


def _tokens(page: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page)


def _plain(token: Token) -> str:
    """An inline token's text: links by their words, code still between backticks."""
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", token.content).replace("**", "")


def _until(end: str, tokens: Iterator[Token]) -> Iterator[Token]:
    for token in tokens:
        if token.type == end:
            return
        yield token


def _list(page: Page, begin: Token, tokens: Iterator[Token]) -> None:
    items = [token for token in _until(begin.type.replace("open", "close"), tokens) if token.type == "inline"]
    for number, token in enumerate(items, 1):
        page.item(r"\(bu" if begin.type.startswith("bullet") else f"{number}.", inline(_plain(token)))


def _cells(tokens: Sequence[Token]) -> list[list[str]]:
    """The rows of a table, its head the first."""
    table: list[list[str]] = []
    for token in tokens:
        if token.type == "tr_open":
            table.append([])
        elif token.type == "inline":
            table[-1].append(_plain(token))
    return table


def _tables(tokens: Sequence[Token]) -> Iterator[list[list[str]]]:
    remaining = iter(tokens)
    for token in remaining:
        if token.type == "table_open":
            yield _cells(list(_until("table_close", remaining)))


def _table(page: Page, tokens: Sequence[Token]) -> None:
    """A row becomes a tagged paragraph: terminals are too narrow for tables as wide as these."""
    head, *body = _cells(tokens)
    for cells in body:
        if len(cells) == len(Row._fields) and "." in cells[0]:
            _setting(page, Row(*cells))
        elif len(head) == 2:
            page.tagged(inline(cells[0]), inline(cells[1]))
        else:
            said = "; ".join(
                f"{name}: {cell}" for name, cell in zip(head[1:], cells[1:], strict=True) if cell
            )
            page.tagged(inline(cells[0]), inline(said))


def _setting(page: Page, row: Row) -> None:
    unit = _unit(row)
    facts = [
        italic(row.type) + (escape(f" in {row.unit}") if row.unit else ""),
        escape("default ") + (inline(row.default) if row.default else escape("not set")),
        escape(f"{row.values}{unit}") if row.values else "",
    ]
    ways = escape("environment ") + inline(row.environment) + escape("; -o ") + inline(row.word)
    page.tagged(bold(row.key.strip("`")), inline(row.meaning), ", ".join(filter(None, facts)), ways)
