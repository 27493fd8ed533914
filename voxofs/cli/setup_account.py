"""What `voxofs setup` asks of the service: whether a credential works, and which tenants there are.

Each is tried as a mount would, and before anything is written.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import trio

from voxofs.config.proxies import Proxies
from voxofs.config.secrets import Secret
from voxofs.config.sections import ApiSection, LogSection, MountSection
from voxofs.config.settings import Config
from voxofs.core.build import Core
from voxofs.errors import AccessDenied, NotFound, VoxofsError

from .offline import with_core

_PATIENCE_S = 15.0
"""How long somebody at a terminal waits for an answer; a rule of thumb. Half a mount's `deadline_s`."""


class Service(NamedTuple):
    """Who is asked, and which way."""

    base_url: str
    proxies: Proxies = Proxies()
    ca_file: Path | None = None


class Credential(NamedTuple):
    """What is written down: a token, or an e-mail address and its password."""

    secret: Secret
    email: str | None = None


class Known(NamedTuple):
    """A tenant as the service knows it."""

    id: int
    code: str
    """Its name in the storage's keys; "" where that is not told."""
    name: str


class Tried(NamedTuple):
    """A credential that works."""

    credential: Credential
    token: Secret
    """What to ask with: the credential's own, or the one that signing in gave."""
    tenants: tuple[int, ...]
    """Whose numbers the service tells."""


def try_credential(service: Service, credential: Credential) -> Tried:
    """Sign in, or have the token looked at. Raises `SecondFactor`, `AccessDenied`, `Unavailable`, …"""

    async def work(core: Core) -> Tried:
        if credential.email is None:
            return Tried(credential, credential.secret, await core.source.tenants_of(credential.secret))
        account = await core.source.account(credential.email, credential.secret)
        return Tried(credential, account.token, account.tenants)

    return with_core(_config(service, None if credential.email else credential.secret), work)


def look_up(service: Service, token: Secret, numbers: tuple[int, ...]) -> tuple[list[Known], dict[int, str]]:
    """The tenants of these numbers in their order, and why others cannot be shown. Raises `VoxofsError` where
    the service cannot be asked, or refuses the token."""

    async def work(core: Core) -> None:
        async with trio.open_nursery() as nursery:
            for number in numbers:
                nursery.start_soon(one, core, number)

    async def one(core: Core, number: int) -> None:
        try:
            name, code = await core.source.tenant_folder(number)
            found[number] = Known(number, code, name)
        except (AccessDenied, NotFound) as error:
            if error.status == 401:
                failures.append(error)
            refused[number] = str(error)
        except VoxofsError as error:
            failures.append(error)

    found: dict[int, Known] = {}
    refused: dict[int, str] = {}
    failures: list[VoxofsError] = []
    with_core(_config(service, token), work)
    if failures:
        raise failures[0]
    return [found[number] for number in numbers if number in found], refused


def _config(service: Service, token: Secret | None) -> Config:
    """A configuration that is good for asking who one is, and for nothing else: it has no tenant."""
    return Config(
        tenants={},
        api=ApiSection(base_url=service.base_url, token=token, ca_file=service.ca_file),
        proxies=service.proxies,
        mount=MountSection(deadline_s=_PATIENCE_S),
        log=LogSection(level="error"),
    )
