"""Where a link may lead. The API gives it, so it is a stranger's text: bounded first, then looked at.

A link makes this machine send a request, and the answer is shown to whoever reads the file. What only this
machine can reach must not be had that way: loopback, the link's own addresses, and the cloud's metadata
services, which give away credentials, are refused unless the API is in the same place itself (a test, an
appliance). Where `[storage] hosts` says which hosts there are, nothing but them is right.

A name is judged as it stands. What it resolves to is not known here; where the names themselves are not
trusted, `hosts` is the answer.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from urllib.parse import urljoin, urlsplit

from voxofs.errors import BadAnswer
from voxofs.traffic.wire import plain_origin

_MOST_LINK_BYTES = 8_192
"""No server need take a longer one (RFC 9110, 4.1, asks for 8,000 octets); signed links have under 2,000."""
_MOST_HOST_BYTES = 253
"""Of a name in the DNS: 255 octets with those for lengths (RFC 1035, 2.3.4)."""
_NETLOC = re.compile(r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
"""Host and port (RFC 3986, 3.2) without a user, whose "@" hides the host from people, and in ASCII: what IDNA
would make of other letters may be another host, even an address."""
_MOST_ORIGINS = 64
"""The regions of a storage are a handful. A rule of thumb."""
_METADATA = frozenset(
    {
        "metadata.google.internal",
        "169.254.169.254",  # Amazon EC2, Azure, Google, OpenStack
        "169.254.170.2",  # Amazon ECS, credentials of a task
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure, WireServer
        "fd00:ec2::254",  # Amazon EC2 by IPv6
        "fd20:ce::254",  # Google by IPv6
    }
)
"""Each by its vendor's page on instance metadata."""


class Addresses:
    """Which addresses links may have. `hosts`: patterns, or None for the default; `base_url`: the API's."""

    def __init__(self, hosts: Sequence[str] | None, base_url: str) -> None:
        self._hosts = hosts
        self._own_place = _place(urlsplit(base_url).hostname or "")
        self._only_encrypted = base_url.startswith("https:")
        self._good: set[str] = set()
        """Origins that were looked at before: links of one origin come by the thousand."""

    def checked(self, url: str, giver: str) -> str:
        """The link, if it may be followed. Raises `BadAnswer`, which names the giver and the host alone."""
        if len(url) > _MOST_LINK_BYTES:
            raise BadAnswer(f"{giver} gave a link of {len(url)} characters: tell the vendor")
        plain = plain_origin(url)
        if plain is None or plain not in self._good:
            self._check(url, giver)
            if plain is not None and len(self._good) < _MOST_ORIGINS:
                self._good.add(plain)
        return url

    def _check(self, url: str, giver: str) -> None:
        try:
            parts = urlsplit(url)
            netloc = _NETLOC.fullmatch(parts.netloc)
        except ValueError:
            netloc = None
        if netloc is None or parts.scheme not in ("http", "https") or len(netloc[1]) > _MOST_HOST_BYTES:
            raise BadAnswer(f"{giver} gave a link that is no http(s) address of a host: tell the vendor")
        if parts.scheme == "http" and self._only_encrypted:
            raise BadAnswer(f"{giver} gave an unencrypted link; recordings are not fetched in the clear")
        host = netloc[1].strip("[]").rstrip(".").lower()
        if self._hosts is None:
            place = _place(host)
            if place is not None and place != self._own_place:
                raise BadAnswer(
                    f"{giver} gave a link to {host} ({place}): it is not followed; if the storage is really "
                    "there, list that host in [storage] hosts"
                )
        elif not any(_matches(host, pattern) for pattern in self._hosts):
            raise BadAnswer(
                f"{giver} gave a link to {host}, which [storage] hosts does not list: "
                "add it there if it is right"
            )

    def redirected(self, link: str, location: str, giver: str) -> str:
        """Where a redirect leads, if it may be followed. Raises `BadAnswer`."""
        if len(location) > _MOST_LINK_BYTES:
            raise BadAnswer(f"{giver} redirects to an address of {len(location)} characters")
        try:
            target = urljoin(link, location)
        except ValueError:
            raise BadAnswer(f"{giver} redirects to what is no address") from None
        if link.startswith("https:") and not target.startswith("https:"):
            raise BadAnswer(f"{giver} redirects to an unencrypted address; it is not followed")
        return self.checked(target, giver)


def _matches(host: str, pattern: str) -> bool:
    return pattern in ("*", host) or (pattern.startswith("*.") and host.endswith(pattern[1:]))


def _place(host: str) -> str | None:
    """What only this machine reaches under a name or address, in words; None for what others reach, too."""
    if host in _METADATA:
        return "a metadata service"
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, 6.3
        return "this machine"
    address = _address(host)
    if address is None:
        return None
    if str(address) in _METADATA:
        return "a metadata service"
    if address.is_loopback or address.is_unspecified:  # Linux takes 0.0.0.0 for itself
        return "this machine"
    if address.is_link_local or address.is_multicast:
        return "this machine's link"
    return None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a host is written as, in every form that the resolver takes: 127.1 and 0x7f000001 are
    127.0.0.1 to inet_aton(3), and so is ::ffff:127.0.0.1 to the kernel."""
    try:
        if ":" in host:
            six = ipaddress.IPv6Address(host)
            return six.ipv4_mapped or six
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (ValueError, OSError):
        return None
