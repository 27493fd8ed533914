"""The kinds of values that a configuration holds, and how each is read.

One function a kind: it takes what TOML, an environment variable or a mount word gave, and returns the
value or raises ValueError with half a sentence ("must be …") that `config` puts behind the name of the
file and key. Environment and mount words are always text, so every kind reads its own text form.
None of them echoes what it was given unless the key is certain to hold no secret.
"""

from __future__ import annotations

import difflib
import grp
import ipaddress
import math
import pwd
import re
import unicodedata
from collections.abc import Callable, Iterable
from datetime import date, datetime
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from dateutil import tz

from voxofs.model import PERSONAL_FIELDS

MIB = 1024 * 1024
GIB = 1024 * MIB
# As many digits as a float holds exactly (15), so that int(float(figure)) is what was written.
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*([kmgt]?)(i?b?)", re.IGNORECASE | re.ASCII)
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*(s|min|h|hour|d|day|week)s?", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9.eE+-]{1,20}")
_ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_TRUE, _FALSE = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})
_MAX_NAME_BYTES = 255  # NAME_MAX of Linux
_MOST_SHOWN = 60  # characters of a wrong value; a rule of thumb: a message stays on a line or two
_NO_ID = 2**32 - 1  # (uid_t) -1 means "leave it as it is" to chown(2)
_MOST_HOST = 253  # characters of a name in the DNS (RFC 1035, 2.3.4, less the length octets)
_MOST_URL = 2_048  # of base_url; a rule of thumb
_HOST_PATTERN = re.compile(r"\*|(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9])?|[0-9a-f:.]*:[0-9a-f:.]*")
_MOST_PORT = 65_535  # 16 bits (RFC 9293, 3.1)
_ALIKE = 0.6  # difflib's own default, by which it calls two words close


def did_you_mean(word: str, known: Iterable[str], cutoff: float = _ALIKE) -> str:
    """', did you mean "x"?' where a known word is close, else ''. Case is forgiven."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=cutoff)
    return f', did you mean "{by_folded[close[0]]}"?' if close else ""


def shown(value: object) -> str:
    """A value as an error message shows it: short and on one line."""
    try:
        text = repr(str(value) if isinstance(value, date) else value)
    except ValueError:  # Python does not print integers of more than 4,300 digits
        return "a number that long"
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}…"


def text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text in quotes")
    if not value.strip():
        raise ValueError("must not be empty")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
        raise ValueError("must be one line without control characters")
    return value


def choice(*allowed: str) -> Callable[[object], str]:
    def convert(value: object) -> str:
        if not isinstance(value, str) or value.lower() not in allowed:
            names = ", ".join(f'"{word}"' for word in allowed)
            raise ValueError(f"must be one of {names}, not {shown(value)}")
        return value.lower()

    return convert


def flag(value: object) -> bool:
    """true or false; as a mount word and variable also yes/no, on/off, 1/0."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    raise ValueError(f"must be true or false, not {shown(value)}")


def whole(low: int, high: int) -> Callable[[object], int]:
    """An integer from low to high, both allowed."""

    def convert(value: object) -> int:
        number = _integer(value)
        if number is None or not low <= number <= high:
            raise ValueError(f"must be a whole number from {low} to {high}, not {shown(value)}")
        return number

    return convert


def seconds(low: float, high: float) -> Callable[[object], float]:
    """A duration in seconds, low to high, both allowed; nan and inf are not durations."""

    def convert(value: object) -> float:
        number = math.nan
        if isinstance(value, int | float | str) and not isinstance(value, bool):
            try:
                number = float(value)
            except (ValueError, OverflowError):
                number = math.nan
        if not low <= number <= high:
            raise ValueError(f"must be a number of seconds from {low:g} to {high:g}, not {shown(value)}")
        return number

    return convert


_UNITS_S = {"s": 1, "min": 60, "h": 3_600, "hour": 3_600, "day": 86_400, "d": 86_400, "week": 604_800}


def duration(low_s: float, high_s: float) -> Callable[[object], float]:
    """A duration in seconds: a number, or text such as "30 days", "12 h" or "90 min"."""
    within = seconds(low_s, high_s)

    def convert(value: object) -> float:
        if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
            value = float(match[1]) * _UNITS_S[match[2].lower()]
        elif isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
            raise ValueError(f'must be a duration such as "30 days" or "12 h", not {shown(value)}')
        return within(value)

    return convert


def size(low_bytes: int, high_bytes: int) -> Callable[[object], int]:
    """A size in bytes: a number, or text such as "256 MiB", "1GB" (powers of 1000) or "64M" (of 1024)."""

    def convert(value: object) -> int:
        number = _integer(value)
        if number is None and isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
            figure, prefix, suffix = match.groups()
            base = 1000 if suffix.lower() == "b" else 1024
            number = int(float(figure) * base ** _POWERS[prefix.lower()])
        if number is None:
            raise ValueError(f'must be a size such as "256 MiB" or "1 GB", not {shown(value)}')
        if not low_bytes <= number <= high_bytes:
            raise ValueError(
                f"must be from {low_bytes // MIB} MiB to {high_bytes // MIB} MiB, not {shown(value)}"
            )
        return number

    return convert


def mode(value: object) -> int:
    """Permission bits: text is octal ("0640"), a number is taken as it is (TOML writes 0o640).

    Only the owner may have the write bit, which is for copies: what was made by `cp -r` can be deleted again.
    By the same rule `440` without the 0o, which TOML reads as decimal and which would mean 0670, is caught;
    `640` would be 01200, which is none.
    """
    number: int | None = None
    if isinstance(value, str) and re.fullmatch(r"(0o)?[0-7]{1,6}", value.strip()):
        number = int(value.strip().removeprefix("0o"), 8)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    if number is None or not 0 <= number <= 0o777:
        raise ValueError(f'must be an octal mode such as "0640" (or 0o640), not {shown(value)}')
    if number & 0o022:
        raise ValueError(
            f'must be a mode that lets nobody but the owner write, such as "0640" (or 0o640), '
            f"and {shown(value)} means {number:04o}"
        )
    return number


def user(value: object) -> int:
    """A user's id, by number or name."""
    return _identity(value, "user", lambda name: pwd.getpwnam(name).pw_uid)


def group(value: object) -> int:
    """A group's id, by number or name."""
    return _identity(value, "group", lambda name: grp.getgrnam(name).gr_gid)


def _identity(value: object, kind: str, look_up: Callable[[str], int]) -> int:
    number = _integer(value)
    if number is None and isinstance(value, str) and value and "\0" not in value:
        try:
            return look_up(value)
        except (KeyError, UnicodeError):
            raise ValueError(f"names no {kind} of this machine: {shown(value)}") from None
    if number is None or not 0 <= number < _NO_ID:
        raise ValueError(f"must be the number or name of a {kind}, not {shown(value)}")
    return number


def timezone(value: object) -> str:
    name = text(value)
    if not _ZONE.fullmatch(name) or tz.gettz(name) is None:
        hint = did_you_mean(name, available_timezones()) or ' such as "America/Chicago"'
        raise ValueError(f"must be the name of a time zone, not {shown(name)}{hint}")
    return name


def loopback(host: str) -> bool:
    """Whether a host name or address is this machine and nothing else."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def base_url(value: object) -> str:
    """http(s) URL of the API, without a trailing slash. Never echoed: people put passwords into URLs."""
    url = text(value)
    if len(url) > _MOST_URL:
        raise ValueError(f"must be at most {_MOST_URL} characters long")
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise ValueError('must be a URL such as "https://api.voxo.co"') from None
    if parts.scheme not in ("http", "https") or not host or " " in url or "\\" in url:
        raise ValueError('must be a URL such as "https://api.voxo.co"')
    if "@" in parts.netloc:
        raise ValueError("must not hold a user name or password: use token_file, or email and password_file")
    if "?" in url or "#" in url:
        raise ValueError("must not hold a query or a fragment")
    if parts.scheme == "http" and not loopback(host):
        raise ValueError("must start with https://: plain http would show the token to everybody on the way")
    return url.rstrip("/")


def proxy_url(value: object) -> str:
    """An http(s) proxy: a URL, or HOST:PORT; "" for "none". Never echoed: it may hold a password."""
    url = text(value).strip()
    if url.lower() == "none":
        return ""
    url = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or len(url) > _MOST_URL or " " in url or "\\" in url or not url.isascii():
        raise ValueError('must be a proxy such as "http://proxy.example.com:3128"')
    if parts.scheme not in ("http", "https"):
        raise ValueError("must be a proxy that speaks HTTP, http://HOST:PORT or https://HOST:PORT")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("must be a proxy's address alone, http://HOST:PORT")
    return url.rstrip("/")


def hosts(value: object) -> list[str]:
    """Names of hosts: a list, or text with the names set apart by spaces or commas. "*.example.com" stands
    for every name below example.com, "*" for any host at all."""
    names = re.split(r"[\s,]+", value.strip(" ,")) if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError('must be a list of host names such as ["*.amazonaws.com"]')
    folded = [name.lower().strip("[]") for name in names]
    for name in folded:
        if len(name) > _MOST_HOST or not _HOST_PATTERN.fullmatch(name):
            raise ValueError(
                f'must hold host names without scheme, port and path, or "*.DOMAIN", not {shown(name)}'
            )
    return list(dict.fromkeys(folded))


def listen_address(value: object) -> str:
    """HOST:PORT on this machine, as `metrics.listen` takes it."""
    host, colon, port = text(value).rpartition(":")
    number = _integer(port)
    if not colon or number is None or not 1 <= number <= _MOST_PORT or not loopback(host.strip("[]")):
        raise ValueError(
            f'must be an address of this machine such as "127.0.0.1:9847" or "[::1]:9847", not {shown(value)}'
        )
    return f"{host}:{number}"


def personal_fields(value: object) -> list[str]:
    """A subset of `PERSONAL_FIELDS`: a list, or text with the names set apart by spaces, colons or commas."""
    names = re.split(r"[\s,:]+", value.strip(" ,:")) if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"must be a list of names from {', '.join(PERSONAL_FIELDS)}")
    for name in names:
        if name not in PERSONAL_FIELDS:
            hint = did_you_mean(name, PERSONAL_FIELDS) or f"; there are {', '.join(PERSONAL_FIELDS)}"
            raise ValueError(f"holds an unknown name {shown(name)}{hint}")
    return list(dict.fromkeys(names))


def first_day(today: date) -> Callable[[object], date]:
    """A day not in the future and not before 1970: TOML date or text YYYY-MM-DD."""

    def convert(value: object) -> date:
        day = value
        if isinstance(value, str):
            try:
                day = datetime.strptime(value.strip(), "%Y-%m-%d").date()
            except ValueError:
                day = None
        if not isinstance(day, date) or isinstance(day, datetime):
            raise ValueError(f"must be a date such as 2021-01-01, not {shown(value)}")
        if day > today:
            raise ValueError(f"must not be in the future: {day} is after today, {today}")
        if day.year < 1970:  # before the epoch, where stat(2) has no times that programs expect
            raise ValueError(f"must not be before 1970, not {day}")
        return day

    return convert


def folder_name_problem(name: str) -> str | None:
    """Why a tenant's name cannot be a folder's, or None. The name is one path component on any desktop."""
    if not name or not name.strip():
        return "must not be empty"
    if name.startswith("."):
        return 'must not start with "."'
    if "/" in name or any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        return 'must not hold "/" or control characters'
    if len(name.encode()) > _MAX_NAME_BYTES:
        return f"must be at most {_MAX_NAME_BYTES} bytes long"
    return None


def _integer(value: object) -> int | None:
    """The integer in a number or in plain digits, else None; true and false are not numbers."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,18}", value.strip()):  # fits 64 bits
        return int(value)
    return None
