"""voxofs(1) and mount.voxofs(8), from the parsers themselves: what --help says, a manual page says.

argparse-manpage was tried: it drops the epilogs of the commands, which hold the examples, and fills the lines
of the main one into a paragraph. Here an epilog's headings ("examples:") become headings, and its lines stay.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from roff import Page, bold, escape, inline, italic

from voxofs import __version__
from voxofs.cli import main as cli
from voxofs.cli import mount
from voxofs.errors import Exit

FILES = {
    "/etc/voxofs/voxofs.toml": "the configuration for the machine; voxofs.toml.example has every setting",
    "~/.config/voxofs/voxofs.toml": "a user's own, which is read instead",
    "/etc/voxofs/token": "the token for the systemd unit",
}
_EXITS = {
    Exit.OK: "done",
    Exit.USAGE: "usage or configuration",
    Exit.SYSTEM: "system",
    Exit.MOUNT_FAILED: "the mount failed",
    Exit.MISSING: "done, but for recordings that could not be had",
}


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of a parser's commands, by name; none where it has no commands."""
    choices = [action.choices for action in parser._actions if isinstance(action.choices, dict)]
    return dict(choices[0]) if choices else {}


def below(parser: argparse.ArgumentParser, *words: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command below a parser, at any depth, each before its own: its words, and its parser."""
    for name, each in subcommands(parser).items():
        yield " ".join((*words, name)), each
        yield from below(each, *words, name)


def options(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """What a person can say to a parser, its commands left out; what help hides is hidden here."""
    for action in parser._actions:
        if action.help is not argparse.SUPPRESS and not isinstance(action.choices, dict):
            yield action


def command_page() -> str:
    """voxofs(1)."""
    parser = cli.parser()
    page = Page("voxofs", 1, __version__, "mount a phone system's call recordings as a drive")
    page.section("Synopsis")
    page.paragraph(_synopsis(parser))
    for _, each in below(parser):
        page.paragraph(_synopsis(each))
    _describe(page, parser)
    page.section("Options")
    _options(page, parser)
    page.section("Commands")
    told = set()
    for name, each in below(parser):
        page.subsection(name)
        page.paragraph(inline(f"{each.description}."))
        _options(page, each, but_help=True)
        if each.epilog not in told:  # a command's parts may share its examples: they stand once
            _epilog(page, each)
        told.add(each.epilog)
    _ending(page, "mount.voxofs(8), voxofs.toml(5), fusermount3(1), fuse(4)")
    return page.text()


def helper_page() -> str:
    """mount.voxofs(8)."""
    parser = mount.helper_parser()
    page = Page("mount.voxofs", 8, __version__, "mount call recordings with mount(8) and from fstab(5)")
    page.section("Synopsis")
    page.paragraph(
        f"{bold('mount -t voxofs')} [{bold('-o')} {italic('OPTIONS')}] {italic('SOURCE MOUNTPOINT')}"
    )
    page.paragraph(_synopsis(parser))
    _describe(page, parser)
    page.section("Options")
    _options(page, parser)
    page.paragraph(
        escape("Every setting is an option, too; voxofs.toml(5) has them, with the word that each has here.")
    )
    _ending(page, "voxofs(1), voxofs.toml(5), mount(8), fstab(5)")
    return page.text()


def _synopsis(parser: argparse.ArgumentParser) -> str:
    words = [bold(parser.prog)]
    for action in options(parser):
        if isinstance(action, argparse._HelpAction):
            continue
        shown = _value(action)
        if action.option_strings:
            words.append(f"[{bold(action.option_strings[0])}{' ' if shown else ''}{shown}]")
        else:
            words.append(f"[{shown}]" if action.nargs in ("?", "*") else shown)
    if subcommands(parser):
        words.append(f"{italic('COMMAND')} {escape('…')}")
    return " ".join(words)


def _value(action: argparse.Action) -> str:
    """What follows an option, or what a positional is called."""
    if action.nargs == 0:
        return ""
    if action.choices is not None:
        return "|".join(bold(str(choice)) for choice in action.choices)
    named = action.metavar or action.dest.upper()
    return italic(named if isinstance(named, str) else " ".join(named))


def _describe(page: Page, parser: argparse.ArgumentParser) -> None:
    page.section("Description")
    page.paragraph(inline(parser.description or ""))
    _epilog(page, parser)


def _options(page: Page, parser: argparse.ArgumentParser, *, but_help: bool = False) -> None:
    for action in options(parser):
        if but_help and isinstance(action, argparse._HelpAction):
            continue
        shown = _value(action)
        tag = ", ".join(f"{bold(flag)}{' ' if shown else ''}{shown}" for flag in action.option_strings)
        text = (action.help or "") % {"default": action.default, "prog": parser.prog}
        page.tagged(tag or shown, inline(text))


def _epilog(page: Page, parser: argparse.ArgumentParser) -> None:
    """Its paragraphs; one whose lines are indented below a heading is an example and stays as it is."""
    for block in (parser.epilog or "").strip("\n").split("\n\n"):
        lines = block.splitlines()
        if lines and lines[0].endswith(":") and len(lines) > 1 and lines[1].startswith("  "):
            page.paragraph(inline(lines[0][0].upper() + lines[0][1:]))
            page.kept("\n".join(line.removeprefix("  ") for line in lines[1:]))
        elif block.strip():
            page.paragraph(inline(block))


def _ending(page: Page, see_also: str) -> None:
    page.section("Exit status")
    for code in Exit:
        page.tagged(bold(str(int(code))), escape(_EXITS[code]))
    page.section("Files")
    for file, text in FILES.items():
        page.tagged(bold(file), escape(text))
    page.section("See also")
    page.paragraph(escape(see_also))
