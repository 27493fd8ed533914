"""What README and the pages of docs say is so: tables are the code's, examples load, sentences have tests.

The sentences of docs/semantics.md and their tests are in `test_semantics`.
"""

from __future__ import annotations

import argparse
import errno
import inspect
import os
import re
import runpy
import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import msgspec
import pytest
from harness.fronts import CoreFront, cat
from harness.rig import open_rig
from harness.vendors import vendor
from harness.world import HOUR, NAMES

import voxofs
from voxofs import errors
from voxofs.cli import main as cli
from voxofs.cli import mount_words
from voxofs.config import layers, sections
from voxofs.config import settings as config
from voxofs.model import PERSONAL_FIELDS
from voxofs.mount import adapter as fuse
from voxofs.mount import callers
from voxofs.observe import metrics
from voxofs.simulator.tenants import WORLDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = {path: path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
README = PAGES[ROOT / "README.md"]
CONFIGURATION, CONTRIBUTING, DESIGN, INSTALL, OPERATIONS, PERFORMANCE, SEMANTICS, TROUBLESHOOTING = (
    PAGES[ROOT / f"docs/{name}.md"]
    for name in (
        "configuration",
        "contributing",
        "design",
        "install",
        "operations",
        "performance",
        "semantics",
        "troubleshooting",
    )
)
README_AT_MOST_BYTES = 12_288
"""A newcomer reads it to the end; the READMEs of the projects that this one learnt from have 3 to 8 KB."""

# --- how the pages are read


def section(page: str, title: str) -> str:
    """The text below a heading of the second level."""
    return page.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def table(text: str, *columns: str) -> list[list[str]]:
    """The rows of the tables that have these columns; there must be some."""
    head = f"| {' | '.join(columns)} |"
    lines = text.splitlines()
    found: list[list[str]] = []
    for begin in (number for number, line in enumerate(lines) if line == head):
        end = next((n for n in range(begin, len(lines)) if not lines[n].startswith("|")), len(lines))
        found += [[cell.strip() for cell in line[1:-1].split("|")] for line in lines[begin + 2 : end]]
    assert found
    assert all(len(row) == len(columns) for row in found)
    return found


def fences(language: str, text: str) -> list[str]:
    """The code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def code(text: str) -> list[str]:
    """What stands between backticks, code blocks left out."""
    return re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))


# --- tables that are the code's


SETTING = ("key", "type", "default", "unit", "values", "meaning", "environment", "`-o`")
"""The columns of the settings."""

TYPES = {
    "base_url": "URL",
    "_proxy": "proxy",
    "choice": "choice",
    "duration": "duration",
    "flag": "flag",
    "group": "group",
    "listen_address": "address",
    "mode": "mode",
    "personal_fields": "list",
    "hosts": "list",
    "seconds": "number",
    "size": "size",
    "text": "text",
    "timezone": "time zone",
    "user": "user",
    "whole": "whole number",
    "<lambda>": "token",
}
"""Converter → what the page calls the kind of value."""


BENCHMARK = (
    "work", "system", "seconds", "least-most", "voxofs ÷ this", "requests", "fetched/needed MiB", "peak",
    "CPU s", "sim CPU", "peak RSS",
)  # fmt: skip
"""The columns of the benchmark's first table."""


def settings() -> dict[str, list[str]]:
    """The rows of the page that has every setting, by key."""
    rows = table(section(CONFIGURATION, "Every setting"), *SETTING)
    assert len({row[0] for row in rows}) == len(rows)
    return {row[0].strip("`"): row[1:] for row in rows}


def test_the_configuration_reference_is_the_configuration() -> None:
    shown = settings()
    names = [f"{section}.{key}" for section, keys in config.SECTIONS.items() for key in keys]
    assert list(shown) == [*names, "tenants.NAME.id", "tenants.NAME.since"]
    defaults = config.Config(tenants={})
    for name in names:
        kind, default, unit, values, meaning, _, _ = shown[name]
        group, key = config.ALIASES.get((*name.split("."),), (*name.split("."),))
        rule = config.SECTIONS[group][key]
        expected = getattr(getattr(defaults, group), rule.attribute or key)
        if default:
            said = tomllib.loads(f"value = {default.strip('`')}")["value"]
            assert rule.convert(said) == expected, name
        else:
            assert expected is None, name
        if values:
            low, high = values.split(" to ")
            assert rule.convert(low) < rule.convert(high), name
            for beyond in (_beyond(low, 0.5), _beyond(high, 2)):
                if beyond != low:
                    with pytest.raises(ValueError, match="must be"):
                        rule.convert(beyond)
        converter = rule.convert.__qualname__.removesuffix(".<locals>.convert").rpartition(".")[2]
        assert kind == ("path" if rule.is_path else TYPES[converter]), name
        assert unit == ("s" if key.endswith("_s") else "bytes" if kind == "size" else ""), name
        assert meaning, name


def test_every_type_of_a_setting_is_explained() -> None:
    shown = table(CONFIGURATION, "type", "in TOML", "in the environment and in `-o`")
    assert {kind for row in shown for kind in row[0].split(", ")} == {row[0] for row in settings().values()}


def test_every_variable_and_mount_word_of_a_setting_sets_it() -> None:
    names = {section: tuple(keys) for section, keys in config.SECTIONS.items()}
    for key, row in settings().items():
        place = tuple(key.replace("NAME", "office").split("."))
        problems: list[str] = []
        for variable in code(row[5]):
            environ = {variable.replace("NAME", "OFFICE"): "1"}
            assert set(layers.environment_layer(environ, names, ["office"], problems)) == {place}, variable
        assert code(row[5])
        if row[6] == "refused":
            with pytest.raises(errors.ConfigError, match="everybody on this machine"):
                config.load(None, environ={}, overrides={key: "1"})
        else:
            [word] = code(row[6])
            assert set(layers.words_layer({word.replace("NAME", "office"): "1"}, names, problems)) == {place}
        assert not problems


def _beyond(limit: str, factor: float) -> str:
    """Half a lower limit, twice an upper one, in the same unit; below 0 is what is negative."""
    figure, _, unit = limit.partition(" ")
    number = float(figure) * factor or -1
    return f"{number:g} {unit}".strip() if unit or number % 1 else str(int(number))


def test_every_key_of_a_tenant_is_there() -> None:
    fields = {field.name for field in msgspec.structs.fields(sections.TenantSection)}
    assert {f"tenants.NAME.{field}" for field in fields} <= set(settings())


def test_the_example_loads_and_every_name_in_it_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [example] = [block for page in PAGES.values() for block in fences("toml", page)]
    asked: list[Path] = []

    def read(path: Path, environ: object) -> str:
        asked.append(path)
        return "token"

    monkeypatch.setattr(config, "read_token_file", read)  # an absolute path that a test may not create
    file = tmp_path / "voxofs.toml"
    file.write_text(example)
    loaded = config.load(file, environ={}, overrides={}, today=date(2026, 1, 1))
    assert asked == [Path("/etc/voxofs/token")]
    assert loaded.tenants == {"demo": sections.TenantSection(id=37, since=date(2021, 1, 1))}
    for key, text in {"base_url": "base_url", "timezone": "timezone"}.items():
        assert re.search(rf"^{text} = .*# default$", example, re.MULTILINE)
        assert getattr(loaded.api, key) == getattr(sections.ApiSection(), key)


def test_the_account_of_the_readme_is_made_as_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its one line, with the folder moved below a new one and the simulator for the vendor; and its questions
    are those that are asked."""
    text = section(README, "Mount an account")
    [line] = [line for block in fences("sh", text) for line in block.splitlines() if "voxofs setup" in line]
    monkeypatch.chdir(tmp_path)
    config, calls = tmp_path / "etc/voxofs.toml", tmp_path / "calls"
    with vendor(WORLDS["demo"]) as sold:
        token = tmp_path / "token.txt"
        token.write_text(sold.sim.token)
        token.chmod(0o600)
        words = line.replace("/srv/calls", str(calls)).split()[1:]
        more = ["--base-url", sold.sim.api_url, "--config", str(config)]
        assert cli.main([*words, *more]) == 0, capsys.readouterr()
    loaded = config_of(config)
    assert loaded.tenants == {"demo": sections.TenantSection(id=37, since=date(2021, 1, 1))}
    assert loaded.api.token_file == config.with_name("token")
    assert calls.is_dir()
    asked = (ROOT / "voxofs/cli/setup_talk.py").read_text()
    shown = fences("console", text)[0]
    questions = re.findall(r"^([A-Z][a-z].*?)(?: \[.*\])?:(?: \S+)?$", shown, re.MULTILINE)
    assert len(questions) > 5
    assert [question for question in questions if question not in asked] == []


def config_of(path: Path) -> config.Config:
    """A configuration file as it is read, with nothing laid over it."""
    return config.load(path, environ={}, overrides={}, today=date(2026, 1, 1))


def test_mount_words_are_what_is_taken() -> None:
    said = section(CONFIGURATION, "Mount options").split("`-o` takes", 1)[1]
    ignored = said.split("accepted and ignored:", 1)[1].split("`x-…`", 1)[0]
    words = code(ignored)
    assert len(words) > 8
    assert mount_words.own([(word, "") for word in words], from_mount=False) == {}
    with pytest.raises(ValueError, match="rw"):
        mount_words.own([("rw", "")], from_mount=False)
    for option in re.findall(r"-o ([a-z_]+[a-z_0-9=.,/]*)", "\n".join(PAGES.values())):
        for word in mount_words.own(mount_words.split([option]), from_mount=False):
            assert word in ("config", "remount") or config.knows_word(word), option
    [line] = [block for page in PAGES.values() for block in fences("fstab", page)]
    source, _, kind, options, *_ = line.split()
    assert (source, kind) == ("/etc/voxofs/voxofs.toml", "voxofs")
    assert mount_words.own(mount_words.split([options]), from_mount=True) == {"allow_other": ""}


def test_the_errno_table_is_errors_py() -> None:
    shown = table(TROUBLESHOOTING, "errno", "the program says", "when", "error class")
    unseen = (errors.VoxofsError, errors.ConfigError, errors.MountFailed)  # by programs on a mount
    kinds = {
        name: kind
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.VoxofsError) and kind not in unseen
    }
    told = {row[3].strip("`"): row[0] for row in shown if row[3]}
    assert told == {name: errno.errorcode[kind.errno] for name, kind in kinds.items()}
    for name, said, _, _ in shown:
        assert os.strerror(getattr(errno, name)) == said
    assert {row[0] for row in shown if not row[3]} == {"EROFS", "ENOTCONN"}
    assert "EROFS" in inspect.getsource(fuse)


def parts(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of its commands."""
    return {
        name: part
        for each in parser._actions
        if isinstance(each.choices, dict)
        for name, part in each.choices.items()
    }


def commands() -> dict[str, argparse.ArgumentParser]:
    """The parsers of all commands, "cache show" among them; of those that have some, theirs instead."""
    return {
        " ".join((name, *([part] if part else []))): parser
        for name, command in parts(cli.parser()).items()
        for part, parser in (parts(command) or {"": command}).items()
    }


def command_of(words: list[str]) -> str:
    """Which of the commands that is."""
    return " ".join(words[:2]) if " ".join(words[:2]) in commands() else words[0]


def flags(parser: argparse.ArgumentParser) -> set[str]:
    return {flag for action in parser._actions for flag in action.option_strings} - {"-h", "--help"}


def test_the_command_line_reference_is_the_command_line() -> None:
    shown = table(OPERATIONS, "command", "options", "what it does")
    assert {command_of(row[0].strip("`").split()[1:]): set(code(row[1])) for row in shown} == {
        name: flags(parser) for name, parser in commands().items()
    }
    for row in shown:
        words = row[0].strip("`").split()[1:]
        [positional] = [
            action for action in commands()[command_of(words)]._actions if not action.option_strings
        ]
        shape = {"?": "[{}]", "+": "{}"}.get(str(positional.nargs), "{}")
        assert words[-1] == shape.format(str(positional.metavar).partition(" ")[0])


def test_the_exit_codes_are_those_of_the_command_line() -> None:
    shown = table(OPERATIONS, "exit code", "meaning")
    assert [int(row[0]) for row in shown] == list(errors.Exit)


def invocations() -> Iterator[list[str]]:
    """Every command line of voxofs on the pages, in code blocks and between backticks."""
    everything = "\n".join(PAGES.values())
    lines = [line for block in fences("(?:ba)?(?:sh|console)", everything) for line in block.splitlines()]
    for text in [line.removeprefix("$ ") for line in lines] + code(everything):
        match = re.match(r"(?:\.venv/bin/)?voxofs ((?:[a-z]+|--?[a-z]+)\b.*)", text.split("#")[0].strip())
        if match and not text.startswith(("voxofs on", "voxofs 0.")):
            yield match[1].split()


def test_every_command_and_flag_on_the_pages_exists() -> None:
    seen = list(invocations())
    assert len(seen) > 8
    for first, *words in seen:
        if first == "--version":
            continue
        command = command_of([first, *words])
        assert command in commands(), command
        given = {word.split("=")[0] for word in words if word.startswith("-")}
        assert given <= flags(commands()[command]), (command, words)


# --- places


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", PAGES[page])
    assert links
    for link in links:
        if link.startswith(("http://", "https://")):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            assert anchor in map(slug, headings), link


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_files_that_are_named_exist(page: Path) -> None:
    text = PAGES[page]
    named = set(re.findall(r"(?<![\w/.])(?:scripts|systemd|tests|docs|voxofs)/[\w@./-]*\w/?", text))
    named |= set(re.findall(r"(?<![\w/.])requirements[\w-]*\.lock", text))
    assert named or page.name != "README.md"
    named |= set(re.findall(r"(?<![\w/.])(?:LICENSE|pyproject\.toml)\b", text))
    assert [name for name in named if not (ROOT / name).exists()] == []
    for name in named:
        if name.startswith("scripts/"):
            assert os.access(ROOT / name, os.X_OK), name


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_no_path_of_a_developers_machine(page: Path) -> None:
    assert re.findall(r"/(?:root|work|home/(?!me\b)\w+|Users)/\S*", PAGES[page]) == []


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    assert len(README.encode()) <= README_AT_MOST_BYTES
    linked = set(re.findall(r"\]\((docs/\w+\.md)\)", section(README, "Where to read on")))
    assert linked == {f"docs/{page.name}" for page in PAGES if page.parent.name == "docs"}


def test_the_benchmarks_place_is_there_once() -> None:
    begin, end = "<!-- bench:begin -->", "<!-- bench:end -->"
    assert "".join(PAGES.values()).count(begin) == "".join(PAGES.values()).count(end) == 1
    assert (
        PERFORMANCE.index("## The figures")
        < PERFORMANCE.index(begin)
        < PERFORMANCE.index(end)
        < PERFORMANCE.index("## Measure it yourself")
    )


def test_the_chart_and_the_readmes_lines_are_those_of_the_table() -> None:
    chart = runpy.run_path(str(ROOT / "scripts/_bench/chart.py"))
    figures = chart["figures"](PERFORMANCE)
    assert (ROOT / "docs/benchmark.svg").read_text() == chart["svg"](figures)
    assert chart["with_lines"](README, chart["lines"](figures)) == README
    measured = {(work, system): seconds for work, system, seconds, *_ in table(PERFORMANCE, *BENCHMARK)}
    for row, work in zip(table(README, "seconds", *chart["SYSTEMS"]), chart["chosen"](figures), strict=True):
        assert abs(float(row[1]) - float(measured[work, "voxofs"])) < 0.01


def test_the_changelog_has_this_version() -> None:
    headings = re.findall(r"^## (.+)$", PAGES[ROOT / "docs/changelog.md"], re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert headings[1].split()[0] == voxofs.__version__


def test_what_the_scripts_install_is_what_is_said() -> None:
    demo, test = [
        row[2]
        for row in table(CONTRIBUTING, "command", "what it does", "what it installs, and says so first")
    ]
    prepare = (ROOT / "scripts/_prepare.sh").read_text()
    [packages] = re.findall(r"^mount_packages=\((.*)\)$", prepare, re.MULTILINE)
    mount: list[str] = packages.split()

    def installed(script: str) -> list[str]:
        lines = re.findall(r"^(?:need|want)_debian ([^#\n]*)", (ROOT / script).read_text(), re.MULTILINE)
        words = [word for line in lines for word in line.split()]
        assert words[0] == '"${mount_packages[@]}"'
        return [*mount, *words[1:]]

    assert code(demo)[0].split() == installed("scripts/demo")
    assert set(code(demo)[0].split()) | set(code(test)[0].split()) == set(installed("scripts/test"))
    [line] = re.findall(r"^apt-get install (.*)$", INSTALL, re.MULTILINE)
    assert set(mount) - set(line.split()) == {"ca-certificates"}


def test_the_design_has_every_room_and_every_module() -> None:
    package = ROOT / "voxofs"
    rooms = {path.parent.name: set[str]() for path in package.glob("*/__init__.py")} | {"ground": set()}
    for path in package.glob("*/*.py"):
        if path.parent.name != "simulator":  # its own `__init__` has them
            rooms[path.parent.name].add(path.stem)
    rooms = {room: modules - {"__init__"} for room, modules in rooms.items()}
    rooms["ground"] = {path.stem for path in package.glob("*.py")} - {"__init__", "__main__"}
    shown = table(section(DESIGN, "Rooms"), "room", "modules", "what it is for")
    assert {row[0].strip("`"): set(code(row[1])) for row in shown} == rooms
    assert all(len(code(row[1])) == len(set(code(row[1]))) for row in shown)
    assert all(row[2] for row in shown)
    assert len(shown) == len(rooms)


def test_remedies_against_crawlers_are_those_that_the_log_names() -> None:
    text = " ".join(section(OPERATIONS, "Indexers").split())
    for remedy in callers._REMEDIES.values():
        if "updatedb" in remedy:
            assert "add `fuse.voxofs` to `PRUNEFS` in `/etc/updatedb.conf`" in text
        else:
            assert remedy in text


def test_personal_fields_are_named() -> None:
    meaning = settings()["privacy.show"][4]
    assert tuple(code(meaning)) == PERSONAL_FIELDS


async def test_metrics_and_status_are_named_completely(tmp_path: Path) -> None:
    sections = {"disk": {"path": tmp_path / "cache"}, "audit": {"file": tmp_path / "audit"}}
    async with open_rig(sections=sections) as rig:
        await cat(CoreFront(rig.sim, rig.core.fs), f"{HOUR}/{NAMES[0]}")
        await rig.idle()
        rig.core.status.add("kernel", lambda: {"inodes": 1, "handles": 0})
        facts = rig.core.status.facts()
    text = section(OPERATIONS, "Metrics")
    exposed = re.findall(r"^# TYPE (\w+) ", metrics.exposition(facts), re.MULTILINE)
    assert set(re.findall(r"`(voxofs_\w+)`", text)) == set(exposed)
    status = section(OPERATIONS, "Status").split("is JSON:", 1)[1].split("`voxofs stats", 1)[0]
    assert set(code(status)) - {"healthy", "last_error"} == set(facts)
    assert {"healthy", "last_error"} <= set(facts["tenants"]["office"])
