"""Which proxy a request goes through: `[api] proxy`, else what the environment says to every program.

$HTTPS_PROXY and $HTTP_PROXY by the scheme of an address, lower case first, as curl and Python have it;
$NO_PROXY exempts hosts and what is below them, whoever named the proxy. This machine is always reached
directly (Go has it so, too): no proxy elsewhere could, and the demo lives there. A proxy's address may hold a
password, so it is a secret; what is shown of it is scheme, host and port.

There is no standard for $NO_PROXY. What all of curl, Python, Go and Ruby take is taken here, and networks
(10.0.0.0/8), which most of them do.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from . import values
from .secrets import Secret


class Proxy(NamedTuple):
    """A proxy, and who named it."""

    url: Secret
    origin: str

    def __str__(self) -> str:
        return shown(self.url.reveal())

    @property
    def has_password(self) -> bool:
        """Whether its address holds credentials."""
        return "@" in urlsplit(self.url.reveal()).netloc


class Proxies(NamedTuple):
    """The proxies there are, and for whom."""

    https: Proxy | None = None
    http: Proxy | None = None
    exempt: str = ""
    """Hosts without a proxy, as $NO_PROXY has them."""

    def of(self, scheme: str, host: str, port: int | None = None) -> Proxy | None:
        """The proxy for an address; None: it is reached directly."""
        proxy = self.https if scheme == "https" else self.http
        if proxy is None or values.loopback(host) or host.endswith(".localhost"):
            return None
        exempt = any(_exempts(word, host.lower(), port) for word in self.exempt.replace(",", " ").split())
        return None if exempt else proxy

    def of_url(self, url: str) -> Proxy | None:
        """The same for a URL."""
        parts = urlsplit(url)
        return self.of(parts.scheme, parts.hostname or "", parts.port)


def _exempts(word: str, host: str, port: int | None) -> bool:
    """Whether a word of $NO_PROXY means this host: "*", a name and all below it, an address, a network; with
    :PORT for that port alone."""
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(word.strip("[]"), strict=False)
    except ValueError:
        pass
    name, colon, only = word.lower().rpartition(":")
    if colon and only.isdigit():
        if port is None or int(only) != port:
            return False
    else:
        name = word.lower()
    name = name.strip("[]").removeprefix("*").lstrip(".")
    return word == "*" or name == host or (bool(name) and host.endswith(f".{name}"))


def shown(url: str) -> str:
    """A proxy's address without user and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def proxies(
    environ: Mapping[str, str], configured: Secret | None, origin: str, problems: list[str]
) -> Proxies:
    """All of it. `configured` is `[api] proxy`, "" in it means none at all; `origin` is where it was said."""
    exempt = (environ.get("no_proxy") or environ.get("NO_PROXY") or "").strip()
    if configured is not None:
        proxy = Proxy(configured, origin) if configured.reveal() else None
        return Proxies(proxy, proxy, exempt)
    found: list[Proxy | None] = []
    for name in ("https_proxy", "http_proxy"):
        variable = name if environ.get(name) else name.upper()
        try:
            url = values.proxy_url(environ.get(variable) or "none")
        except ValueError as error:
            problems.append(f'${variable}: {error}; or do without it, with proxy = "none" below [api]')
            url = ""
        found.append(Proxy(Secret(url), f"${variable}") if url else None)
    return Proxies(found[0], found[1], exempt)
