"""What the Debian package is given besides the program, and the scripts that make it: nothing is left out.

The package itself is built and tried in a bare Debian by scripts/_package/prove.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import voxofs
from voxofs.cli import main as cli
from voxofs.cli import mount
from voxofs.config import settings
from voxofs.errors import Exit

ROOT = Path(__file__).resolve().parents[2]
MAKER = ROOT / "scripts/_package"
DEBIAN = MAKER / "debian"
SCRIPTS = (
    *(path for path in (ROOT / "scripts").iterdir() if path.is_file() and path.suffix != ".py"),
    MAKER / "prove",
    MAKER / "in_a_bare_debian",
    *(DEBIAN / f"voxofs.{script}" for script in ("postinst", "prerm", "postrm")),
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that is generated, as it would be installed."""
    made = tmp_path_factory.mktemp("tree")
    environ = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    subprocess.run([sys.executable, str(MAKER / "documents.py"), str(made)], check=True, env=environ)
    return made


def plain(page: Path) -> str:
    """A manual page as its words: macros and fonts gone, escapes read."""
    text = re.sub(r"\\f[BIR]", "", page.read_text())
    text = re.sub(r"\\\[u([0-9A-F]{4,})\]", lambda match: chr(int(match[1], 16)), text)
    for escape, character in {
        r"\-": "-",
        r"\(aq": "'",
        r"\(ti": "~",
        r"\(ha": "^",
        r"\(ga": "`",
        r"\e": "\\",
    }.items():
        text = text.replace(escape, character)
    return text.replace(r"\&", "")


def commands(parser: argparse.ArgumentParser | None = None) -> dict[str, argparse.ArgumentParser]:
    """Every command by its words, the commands of commands too, in the order of the help."""
    found: dict[str, argparse.ArgumentParser] = {}
    for action in (parser or cli.parser())._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, each in action.choices.items():
                found[name] = each
                found |= {f"{name} {words}": below for words, below in commands(each).items()}
    return found


def first_words() -> list[str]:
    return [words for words in commands() if " " not in words]


def said(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """What a person can give a parser, and is told of."""
    return [
        action
        for action in parser._actions
        if action.help is not argparse.SUPPRESS
        and not isinstance(action, argparse._HelpAction | argparse._SubParsersAction)
    ]


def assert_explains(page: str, parser: argparse.ArgumentParser) -> None:
    for action in said(parser):
        for flag in action.option_strings:
            assert re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", page), flag
        if action.help:
            assert " ".join(action.help.split()) in " ".join(page.split()), action.dest


def assert_has_examples(page: str, parser: argparse.ArgumentParser) -> None:
    for line in (parser.epilog or "").splitlines():
        if line.startswith("  "):
            assert line.removeprefix("  ") in page, "examples stay as they are"


def test_the_commands_page_is_the_help(tree: Path) -> None:
    page = plain(tree / "usr/share/man/man1/voxofs.1")
    for parser in (cli.parser(), *commands().values()):
        assert_explains(page, parser)
    assert_has_examples(page, cli.parser())
    parts = dict(re.findall(r'^\.SS "([\w ]+)"\n(.*?)(?=^\.S[SH] )', page, re.MULTILINE | re.DOTALL))
    assert list(parts) == list(commands())
    for name, parser in commands().items():
        assert_explains(parts[name], parser)
        family = [text for words, text in parts.items() if words.split()[0] == name.split()[0]]
        assert_has_examples("".join(family), parser)
        assert f"\n{parser.prog} " in page, "its synopsis"
    assert re.findall(r"^\.TP\n(\d+)$", page, re.MULTILINE) == [str(int(code)) for code in Exit]
    assert f"voxofs {voxofs.__version__}" in page.splitlines()[0]


def test_the_helpers_page_is_the_help(tree: Path) -> None:
    page = plain(tree / "usr/share/man/man8/mount.voxofs.8")
    assert_explains(page, mount.helper_parser())
    assert_has_examples(page, mount.helper_parser())
    assert "mount -t voxofs" in page


def test_the_settings_page_has_every_setting(tree: Path) -> None:
    page = plain(tree / "usr/share/man/man5/voxofs.toml.5")
    keys = [f"{section}.{key}" for section, names in settings.NAMES.items() for key in names]
    tags = re.findall(r"^\.TP\n([a-z_]+\.[\w.]+)\n\.?(.+)$", page, re.MULTILINE)
    assert [key for key, _ in tags] == [*keys, "tenants.NAME.id", "tenants.NAME.since"]
    assert all(text.strip() for _, text in tags)
    assert "VOXOFS_CACHE_MEMORY" in page
    assert '.SH "FILES WITH SECRETS"' in page
    assert "](" not in page, "links are their words"


def test_the_pages_are_roff_without_faults(tree: Path) -> None:
    for page in tree.glob("usr/share/man/*/*"):
        text = page.read_text()
        assert text.isascii(), "so that any roff can read it"
        for line in text.splitlines():
            assert re.match(r"\.(TH|SH|SS|PP|TP|IP|RS|RE|nf|fi)( |$)|[^.']|$", line), line
    if shutil.which("groff"):
        for page in tree.glob("usr/share/man/*/*"):
            done = subprocess.run(
                ["groff", "-man", "-Tutf8", "-ww", page], capture_output=True, text=True, check=True
            )
            assert done.stderr == "", page


def test_the_example_is_sound_and_has_every_setting(tree: Path) -> None:
    text = (tree / "etc/voxofs/voxofs.toml.example").read_text()
    assert not any(tomllib.loads(text).values()), "as it stands, it sets nothing"
    loaded = tomllib.loads(re.sub(r"^#(?=[\[a-z])", "", text, flags=re.MULTILINE))
    assert {name: tuple(loaded[name]) for name in settings.NAMES} == settings.NAMES
    assert set(loaded["tenants"]["demo"]) == {"id", "since"}


def test_completion_has_every_command_and_option(tree: Path) -> None:
    bash = (tree / "usr/share/bash-completion/completions/voxofs").read_text()
    zsh = (tree / "usr/share/zsh/vendor-completions/_voxofs").read_text()
    [named] = re.findall(r"^_shtab_voxofs_subparsers=\((.*)\)$", bash, re.MULTILINE)
    assert named.replace("'", "").split() == first_words()
    assert zsh.startswith("#compdef voxofs\n")
    for name, parser in commands().items():
        variable = f"_shtab_voxofs_{name.replace(' ', '_')}_option_strings"
        [flags] = re.findall(rf"^{variable}=\((.*)\)$", bash, re.MULTILINE)
        assert re.search(rf"^ +{name.split()[-1]}:\S", zsh, re.MULTILINE)
        for action in said(parser):
            assert set(action.option_strings) <= set(flags.replace("'", "").split())
            for flag in action.option_strings:
                assert flag in zsh


def complete(script: Path, *words: str) -> list[str]:
    """What bash offers for the last of the words."""
    program = (
        f"source {script}; COMP_WORDS=(voxofs {' '.join(map(repr, words))}); COMP_CWORD={len(words)}; "
        '_shtab_voxofs voxofs; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_bash_completes(tree: Path) -> None:
    script = tree / "usr/share/bash-completion/completions/voxofs"
    assert set(first_words()) <= set(complete(script, ""))
    assert complete(script, "st") == ["stats"]
    assert complete(script, "stats", "--w") == ["--watch"]
    assert complete(script, "mount", "--log-level", "w") == ["warning"]
    assert {"key", "show", "purge"} <= set(complete(script, "cache", ""))


FILES = [["cache", "key"], ["cache", "show", "--key-file"], ["cache", "purge", "-c"], ["calls", "--config"]]
FOLDERS = [["mount"], ["cache", "show"], ["cache", "purge"], ["export", "demo/2024"], ["setup", "--disk"]]


@pytest.mark.parametrize("words", [*FILES, *FOLDERS], ids=" ".join)
def test_bash_completes_files_and_folders(tree: Path, tmp_path: Path, words: list[str]) -> None:
    script = tree / "usr/share/bash-completion/completions/voxofs"
    (tmp_path / "afolder").mkdir()
    (tmp_path / "afile").touch()
    expected = {"afolder", "afile"} if words in FILES else {"afolder"}
    assert {Path(found).name for found in complete(script, *words, f"{tmp_path}/a")} == expected


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_clean(script: Path) -> None:
    done = subprocess.run(["shellcheck", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == ""


# --- the scripts that the package's installation runs


UPDATEDB = 'PRUNE_BIND_MOUNTS="yes"\nPRUNEPATHS="/tmp"\nPRUNEFS="NFS afs fuse.sshfs"\n'


def maintain(script: str, tmp_path: Path, *words: str) -> None:
    """Run one of the package's scripts with every path of the system moved below a folder."""
    text = (DEBIAN / f"voxofs.{script}").read_text()
    for path in ("/etc/", "/var/", "/proc/", "/run/", "/usr/lib/voxofs"):
        text = text.replace(path, f"{tmp_path}{path}")
    subprocess.run(["sh", "-c", text, script, *words], check=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine of files alone: commands that would touch the real one do nothing."""
    for folder in ("etc/voxofs", "var/cache/voxofs", "proc/self"):
        (tmp_path / folder).mkdir(parents=True)
    for command in ("py3compile", "py3clean", "systemctl"):
        (tmp_path / command).write_text("#!/bin/sh\n")
        (tmp_path / command).chmod(0o755)
    (tmp_path / "proc/self/mounts").write_text("proc /proc proc rw 0 0\n")
    (tmp_path / "etc/updatedb.conf").write_text(UPDATEDB)
    return tmp_path


def test_updatedb_is_told_once_and_untold(machine: Path) -> None:
    file = machine / "etc/updatedb.conf"
    for _ in range(2):
        maintain("postinst", machine, "configure", "")
        assert 'PRUNEFS="fuse.voxofs NFS afs fuse.sshfs"\n' in file.read_text()
    maintain("prerm", machine, "upgrade", "0.2")
    assert "fuse.voxofs" in file.read_text()
    maintain("prerm", machine, "remove")
    assert file.read_text() == UPDATEDB
    file.unlink()
    maintain("postinst", machine, "triggered", "/etc/updatedb.conf")
    maintain("prerm", machine, "remove")
    assert not file.exists()


def test_removal_unmounts_and_purging_takes_secrets_along(machine: Path) -> None:
    calls = machine / "said"
    (machine / "voxofs").write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {calls}\n')
    (machine / "voxofs").chmod(0o755)
    (machine / "proc/self/mounts").write_text(
        "voxofs /srv/two\\040words fuse.voxofs ro 0 0\n/dev/sda1 / ext4 rw 0 0\n"
    )
    (machine / "etc/voxofs/token").write_text("secret")
    (machine / "var/cache/voxofs/block").write_text("sound")
    wanted = machine / "etc/systemd/system/multi-user.target.wants"
    wanted.mkdir(parents=True)
    (wanted / "voxofs@srv-calls.service").symlink_to("/usr/lib/systemd/system/voxofs@.service")
    (wanted / "cron.service").symlink_to("/usr/lib/systemd/system/cron.service")
    maintain("prerm", machine, "upgrade", "0.2")
    assert not calls.exists(), "what is mounted goes on"
    maintain("prerm", machine, "remove")
    assert calls.read_text() == "umount /srv/two words\n"
    maintain("postrm", machine, "remove")
    assert not (machine / "var/cache/voxofs").exists()
    assert (machine / "etc/voxofs/token").exists(), "until it is purged"
    maintain("postrm", machine, "purge")
    assert not (machine / "etc/voxofs").exists()
    assert [link.name for link in wanted.iterdir()] == ["cron.service"]


def test_the_tools_of_the_package_are_those_of_the_tests() -> None:
    """One version each: what the tests look at is what the package has."""

    def versions(lock: Path) -> set[str]:
        return set(re.findall(r"^[\w-]+==\S+", lock.read_text(), re.MULTILINE))

    assert versions(MAKER / "requirements.lock") <= versions(ROOT / "requirements-test.lock")
