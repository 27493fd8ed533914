"""What `voxofs check` asks of the service: credentials, each tenant, and what time it is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from voxofs.clock import Clock
from voxofs.config.settings import Config
from voxofs.daemon.preflight import Problem
from voxofs.errors import AccessDenied, NotFound, VoxofsError

from .finding import Finding, broken, good

_MOST_OFFSET_S = 300.0
"""How far the clocks may be apart. A rule of thumb (Kerberos allows as much, RFC 4120, 8.2): a listing that
reaches the present is off by it, links are not, because they run by our monotonic clock."""


class Api(Protocol):
    """What is asked. Errors are VoxofsErrors whose message is for people."""

    async def sign_in(self) -> None:
        """Make sure that there is a token."""

    async def tenant_name(self, tenant_id: int) -> str:
        """The tenant's name, as the service has it."""
        raise NotImplementedError

    @property
    def clock_offset_s(self) -> float | None:
        """How far the server's clock was ahead of this machine's at the last answer; None: not known."""


async def ask_service(config: Config) -> list[Finding]:
    """`service` over connections of its own."""
    from voxofs.core.build import open_core

    # The disk tier is looked at by itself, and not changed.
    async with open_core(config.without_disk(), Clock()) as core:
        return await service(config, core.source)


async def service(config: Config, api: Api) -> list[Finding]:
    """Credentials, each tenant, and the clocks. A failed sign-in makes the rest pointless."""
    found = []
    try:
        await api.sign_in()
    except VoxofsError as error:
        what = f"signing in at {config.api.base_url} failed: {error}"
        return [broken(Problem(what, _remedy(error)))]
    found.append(
        good("a token is at hand" if config.api.email is None else f"signed in at {config.api.base_url}")
    )
    for name, tenant in config.tenants.items():
        try:
            theirs = await api.tenant_name(tenant.id)
        except VoxofsError as error:
            found.append(broken(Problem(f"tenant {name} ({tenant.id}): {error}", _remedy(error))))
        else:
            found.append(good(f"tenant {name} ({tenant.id}) is reachable: {theirs}"))
    return [*found, *_clock(api.clock_offset_s)]


def _remedy(error: VoxofsError) -> str:
    if isinstance(error, AccessDenied):
        return "check the credentials, and ask the service's administrator whether they may see this"
    if isinstance(error, NotFound):
        return "check the tenant's id and base_url in the configuration"
    return "check base_url and the network; a mount works as soon as the service answers"


def _clock(offset_s: float | None) -> Iterator[Finding]:
    if offset_s is None:
        return
    if abs(offset_s) > _MOST_OFFSET_S:
        side = "behind" if offset_s > 0 else "ahead of"
        yield broken(
            Problem(
                f"this machine's clock is {abs(offset_s) / 60:.0f} minutes {side} the server's",
                "set it with: timedatectl set-ntp true",
            )
        )
    else:
        yield good("this machine's clock agrees with the server's")
