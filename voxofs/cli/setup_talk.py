"""The conversation of `voxofs setup`: what is asked, in which order, and what is done with the answers.

Every question has an option that answers it, and whoever says all of them is asked nothing. Credentials are
tried as soon as they are there; writing comes last, so that whoever leaves before has changed nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
import unicodedata
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path

from voxofs.clock import Clock
from voxofs.config import values
from voxofs.config.proxies import proxies
from voxofs.config.secrets import Secret, read_secret_file, read_token_file, withdraw_tokens
from voxofs.config.secrets import token as token_of
from voxofs.config.sections import ApiSection
from voxofs.config.settings import converter
from voxofs.daemon.preflight import Host, mountpoint_problem
from voxofs.errors import AccessDenied, ConfigError, Exit
from voxofs.source.account import SecondFactor

from . import configuration
from .check import check
from .parser import UsageError
from .setup_account import Credential, Known, Service, Tried, look_up, try_credential
from .setup_asking import Questions, tell
from .setup_files import Places, Planned, Wanted, WantedDisk, places, plan, write
from .setup_words import ways_to_mount

_TRIES = 3
"""Of credentials at a terminal: accounts get locked; as login(1) has it."""
_MOST_INPUT_BYTES = 65_536
"""Of a token on standard input, as of a token's file (`config.secrets`)."""
_MACHINES_AUTHORITIES = Path("/etc/ssl/certs")
"""Debian's, Fedora's, Arch's and openSUSE's."""
_SIZE = "20 GiB"  # as `[disk] size` is by default


def set_up(options: argparse.Namespace, environ: Mapping[str, str], *, is_root: bool, at_hand: bool) -> int:
    """The whole of it; returns the exit code of `check`. Raises VoxofsError and EOFError, with nothing
    written; `at_hand`: there is somebody to ask."""
    at, asker = places(options.config, environ, is_root=is_root), Questions(at_hand=at_hand)
    if at_hand:
        tell("Enter takes what stands in [brackets]. Nothing is written before the last question.")
        tell()
    wanted = _wanted(options, environ, at, asker)
    planned = plan(at, wanted)
    if not _agreed(at, planned, wanted, asker, replace=options.replace):
        tell("Nothing was written.")
        return Exit.OK
    write(at, wanted, planned)
    tell()
    code = check(lambda: configuration.load(at.config, {}), str(wanted.mountpoint))
    tell()
    if code is not Exit.OK:
        tell("It is written, but what is marked ✗ has to be mended before a mount shows anything.")
    signs_in = wanted.credential.email is not None
    for line in ways_to_mount(at, wanted.mountpoint, signs_in=signs_in, is_root=is_root):
        tell(line)
    return code


def _wanted(options: argparse.Namespace, environ: Mapping[str, str], at: Places, asker: Questions) -> Wanted:
    said = [_said_tenant(word) for word in options.tenant]
    base_url = asker.text(
        "Base URL",
        ApiSection().base_url,
        converter("api", "base_url"),
        "--base-url",
        options.base_url or ApiSection().base_url,
    )
    service = _service(base_url, environ)
    tried = _credential(options, environ, service, asker)
    tenants = _tenants(said, service, tried, asker)
    last_year = date(_today().year - 1, 1, 1).isoformat()
    return Wanted(
        service=service,
        credential=tried.credential,
        tenants=tenants,
        mountpoint=asker.text(
            "Folder to mount on",
            str(at.mountpoint),
            lambda text: _folder(text, at),
            "MOUNTPOINT",
            options.mountpoint,
        ),
        since=asker.text("First day shown", last_year, values.first_day(_today()), "--since", options.since),
        disk=_disk(options, at, asker),
    )


def _service(base_url: str, environ: Mapping[str, str]) -> Service:
    """With the environment's proxy and authorities, which are written down: a service of systemd's does not
    see this shell's environment. Raises ConfigError."""
    problems: list[str] = []
    ways = proxies(environ, None, "", problems)
    if problems:
        raise ConfigError(problems)
    variable = environ.get("SSL_CERT_FILE")
    ca_file = Path(os.path.abspath(variable)) if variable else None
    if ca_file is not None and ca_file.is_relative_to(_MACHINES_AUTHORITIES):
        ca_file = None  # believed anyway
    return Service(base_url, ways, ca_file)


def _today() -> date:
    """In UTC, which is never behind the day in America."""
    return datetime.fromtimestamp(Clock().wall_s(), UTC).date()


def _credential(
    options: argparse.Namespace, environ: Mapping[str, str], service: Service, asker: Questions
) -> Tried:
    """One that works: what options or the environment gave, else what is typed."""
    given = _given(options, environ)
    for _ in range(_TRIES if given is None and asker.at_hand else 1):
        credential = given or _typed(options.email, asker)
        try:
            tried = try_credential(service, credential)
            tell(f"✓ {service.base_url} takes the {'token' if credential.email is None else 'password'}")
            return tried
        except SecondFactor:
            refusal = (
                f"{service.base_url} demands a second factor of this account. A mount signs in alone and "
                "can type no code: use an access token, which the phone system's administrator can issue"
            )
        except AccessDenied as error:
            refusal = f"{service.base_url} refuses the token ({error.status})"
            if credential.email is not None:
                refusal = f"{service.base_url} refuses the e-mail address or the password"
        if given is not None or not asker.at_hand:
            break
        tell(f"✗ {refusal}")
    raise AccessDenied(f"{refusal}; nothing was written")


def _given(options: argparse.Namespace, environ: Mapping[str, str]) -> Credential | None:
    """What options or the environment name, read; None: nothing. Raises UsageError, ConfigError."""
    if options.token_file is not None and (options.email or options.password_file):
        raise UsageError("--token-file and --email are two kinds of credential: keep one")
    if options.password_file is not None and options.email is None:
        raise UsageError("--password-file needs --email beside it")
    if options.token_file == Path("-"):
        return Credential(_secret_of_input())
    if options.token_file is not None:
        return Credential(Secret(read_token_file(options.token_file)))
    if options.password_file is not None:
        return Credential(Secret(read_secret_file(options.password_file)), options.email)
    if options.email is None and (value := environ.get("VOXOFS_TOKEN") or environ.get("VOXOFS_API_TOKEN")):
        withdraw_tokens()
        return Credential(_token("$VOXOFS_TOKEN", value))
    return None


def _secret_of_input() -> Secret:
    return _token("--token-file -", os.read(sys.stdin.fileno(), _MOST_INPUT_BYTES).decode("utf-8", "replace"))


def _token(origin: str, text: str) -> Secret:
    try:
        return Secret(token_of(text))
    except ValueError as error:
        raise UsageError(f"{origin}: {error}") from None


def _typed(email: str | None, asker: Questions) -> Credential:
    """A credential from the terminal. Raises UsageError where there is none."""
    if not asker.at_hand:
        raise UsageError(
            "there is nobody to ask for a credential: say --token-file FILE (- is standard input), or "
            "--email with --password-file, or set $VOXOFS_TOKEN"
        )
    while email is None:
        typed = asker.hidden("Access token (not shown; Enter alone: e-mail and password instead)")
        if not typed.reveal().strip():
            break
        try:
            return Credential(Secret(token_of(typed.reveal())))
        except ValueError as error:
            tell(f"  {error}")
    email = asker.text("E-mail address", "", converter("api", "email"), "--email", email)
    return Credential(asker.hidden("Password (not shown)"), email)


def _said_tenant(word: str) -> tuple[str | None, int]:
    """[NAME=]ID as --tenant takes it. Raises UsageError."""
    name, named, number = word.rpartition("=")
    try:
        if named and (problem := values.folder_name_problem(name)):
            raise ValueError(f"the name of a tenant is its folder's, and {problem}")
        return name if named else None, _number(number)
    except ValueError as error:
        raise UsageError(f"--tenant {word}: {error}") from None


def _number(text: str) -> int:
    return values.whole(1, 2**53)(text)


def _tenants(
    said: list[tuple[str | None, int]], service: Service, tried: Tried, asker: Questions
) -> dict[str, int]:
    """Folder names and numbers: those that were said, else of all there are those that are chosen. Each has
    been looked up. Raises VoxofsError."""
    numbers = tuple(number for _, number in said) or tried.tenants
    while True:
        if not numbers:
            if asker.at_hand:
                tell("The service does not tell which tenants this account may see.")
            numbers = asker.text("Numbers of the tenants", "", _numbers, "--tenant", None)
        known, refused = look_up(service, tried.token, numbers)
        if refused and (said or not (known or asker.at_hand)):
            raise AccessDenied("; ".join(refused.values()))
        for reason in refused.values():
            tell(f"✗ {reason}")
        if known:
            break
        numbers = ()
    if not said and asker.at_hand:
        known = _chosen(known, asker)
    names = {number: name for name, number in said if name is not None}
    return _named(known, names)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(_number(word) for word in text.replace(",", " ").split()))


def _chosen(known: list[Known], asker: Questions) -> list[Known]:
    """Those of the tenants that are wanted."""
    tell("Tenants:" if len(known) > 1 else "Tenant:")
    width = max(len(each.code) for each in known)
    for each in known:
        tell(f"  {each.id:>8}  {each.code:<{width}}  {each.name}")
    if len(known) == 1:
        return known
    by_number = {each.id: each for each in known}

    def choice(text: str) -> list[Known]:
        if text.strip().lower() == "all":
            return known
        wanted = _numbers(text)
        if not wanted or not by_number.keys() >= set(wanted):
            raise ValueError('must be some of those numbers with spaces between, or "all"')
        return [by_number[number] for number in wanted]

    return asker.text("Which to mount, by number", "all", choice, "--tenant", None)


def _named(known: list[Known], names: Mapping[int, str]) -> dict[str, int]:
    """A folder's name for each: what was said, else the name that the storage's keys begin with."""
    found: dict[str, int] = {}
    taken: set[str] = set()
    for each in known:
        name = names.get(each.id) or each.code
        if values.folder_name_problem(name):
            name = f"tenant-{each.id}"
        if (folded := unicodedata.normalize("NFKC", name).casefold()) in taken:
            name = folded = f"{name}-{each.id}"
        taken.add(folded)
        found[name] = each.id
    return found


def _folder(text: str, at: Places) -> Path:
    """A folder that can be mounted on, or made. Raises ValueError with what is against it."""
    path = Path(os.path.abspath(Path(values.text(text)).expanduser()))
    if path.exists() and not os.path.ismount(path):
        problem = mountpoint_problem(path, Host(), [at.config, at.secret("token")])
        if problem is not None:
            raise ValueError(str(problem))
    return path


def _disk(options: argparse.Namespace, at: Places, asker: Questions) -> WantedDisk | None:
    if options.disk is None:
        if options.disk_size is not None and options.no_disk:
            raise UsageError("--disk-size and --no-disk are a contradiction: keep one")
        question = "Keep on this disk, sealed, what was read, so that it is there after a restart? yes or no"
        if options.no_disk or not (options.disk_size or asker.yes(question, default=False)):
            return None

    def path(text: str) -> Path:
        return Path(os.path.abspath(Path(values.text(text)).expanduser()))

    def size(text: str) -> str:
        converter("disk", "size")(text)
        return text

    return WantedDisk(
        asker.text("  Folder for it", str(at.cache), path, "--disk", options.disk),
        asker.text("  At most", _SIZE, size, "--disk-size", options.disk_size),
    )


def _agreed(at: Places, planned: list[Planned], wanted: Wanted, asker: Questions, *, replace: bool) -> bool:
    """Whether the files may be written. Raises ConfigError where something is in the way and nobody is there
    to ask."""
    in_the_way = [each for each in planned if each.is_there and not each.is_done]
    if in_the_way and not replace and not asker.at_hand:
        raise ConfigError(
            [
                f"{each.path}: is there already and would be replaced; say --replace if it may be"
                for each in in_the_way
            ]
        )
    tell()
    for each in planned:
        state = "is so already" if each.is_done else "REPLACES what is there" if each.is_there else "new"
        tell(f"  {each.path}: {each.what}, mode {each.mode:04o}, {state}")
    if wanted.disk is not None:
        key = at.secret("disk.key")
        tell(
            f"  {key}: the disk tier's key, mode 0600, {'stays as it is' if os.path.lexists(key) else 'new'}"
        )
    for folder in (wanted.mountpoint, *([wanted.disk.path] if wanted.disk else [])):
        if not os.path.lexists(folder):
            tell(f"  {folder}: a folder, new")
    if all(each.is_done for each in planned):
        return True
    return asker.yes("Write that? yes or no", default=replace or not in_the_way)
