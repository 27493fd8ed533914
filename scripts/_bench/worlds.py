"""Where the vendor is: near or far, over TLS or not. A world is a simulator in a process of its own.

The same seed makes the same calls in each. Far is a relay that delays each direction by half of the round
trip; over TLS the certificate is of an authority that is made here and that every program is told to trust.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme
from processes import cpu_s
from truth import SEED

from voxofs.simulator.process import SimulatorProcess, start_process


@dataclass(frozen=True)
class World:
    """What a work is done in."""

    title: str
    """In front of the names of its works; nothing for the world that goes without saying."""
    api_delay_s: float
    """How long the API works on an answer."""
    storage_delay_s: float
    round_trip_s: float = 0.0
    tls: bool = False

    @property
    def prefix(self) -> str:
        """What the name of a work begins with."""
        return f"{self.title}: " if self.title else ""

    def told(self) -> str:
        """Its delays in words; what else it is, its title says."""
        parts = [f"API {self.api_delay_s * 1000:.0f} ms", f"storage {self.storage_delay_s * 1000:.0f} ms"]
        if self.round_trip_s:
            parts.insert(0, f"round trip {self.round_trip_s * 1000:.0f} ms")
        return ", ".join(parts)


_FAR = (0.04, 0.01, 0.04)
"""A live link is tens of milliseconds away; what the servers need themselves is then less than near."""

WORLDS = {
    "near": World("", 0.08, 0.03),
    "tls": World("TLS", 0.08, 0.03, tls=True),
    "far": World("far", *_FAR),
    "far-tls": World("far, TLS", *_FAR, tls=True),
}
"""By the name that `--worlds` takes. Near, the whole delay is before the answer, and none on the way."""


@dataclass(frozen=True)
class Service:
    """A running simulator, and how it is reached."""

    world: World
    sim: SimulatorProcess
    authority: Path | None
    """The certificate to trust (PEM); None: there is no TLS."""

    @property
    def environment(self) -> dict[str, str]:
        """For programs that take their trust from OpenSSL's variable."""
        return {} if self.authority is None else {"SSL_CERT_FILE": str(self.authority)}

    def trust(self) -> ssl.SSLContext | None:
        """For this process."""
        return None if self.authority is None else ssl.create_default_context(cafile=str(self.authority))

    def cpu_s(self) -> float:
        """CPU time of the simulator so far; the relay's is not its."""
        return cpu_s(self.sim.pid)

    def relay_cpu_s(self) -> float:
        """CPU time of the relay so far."""
        return 0.0 if self.sim.relay_pid is None else cpu_s(self.sim.relay_pid)


@contextmanager
def running(world: World, base: Path) -> Iterator[Service]:
    """A simulator of this world, until the block ends. Certificates lie in `base`."""
    options: dict[str, object] = {}
    authority = None
    if world.tls:
        issuer = trustme.CA()
        certificate = issuer.issue_cert("127.0.0.1")
        authority, chain = base / "authority.pem", base / "chain.pem"
        issuer.cert_pem.write_to_path(str(authority))
        certificate.private_key_and_cert_chain_pem.write_to_path(str(chain))
        options["tls_cert"] = chain
    if world.round_trip_s:
        options["round_trip_s"] = world.round_trip_s
    with start_process(
        world="bench",
        seed=SEED,
        api_delay_s=world.api_delay_s,
        storage_delay_s=world.storage_delay_s,
        **options,
    ) as sim:
        yield Service(world, sim, authority)
