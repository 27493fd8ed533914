"""The vendor's phone system in a box: API, storage and calls, for tests, the demo and benchmarks.

One simulator serves all three, so what the demo shows is what the tests hold. It talks real HTTP on two
loopback sockets (the API and the storage are two origins, as in real life) and knows nothing of the rest
of voxofs: it follows the vendor's page, not our reading of it.

    world    which calls exist: a pure function of (seed, tenant, hour), nothing is kept
    calls    one call and its record;  central  hours of the wall clock
    tenants  ready-made tenants: demo, acme, bench, big, flood, million; hand-written ones
    audio    MP3 bytes of a call, any range of them without building the rest
    links    signing and verifying of storage links, versions 2 and 4
    api      the vendor's API;  storage  the S3-like store;  index  plain HTML folders over the same bytes
    faults   rules that spoil chosen requests;  log  the record of every request;  exchange  one answer
    wire     sockets and the HTTP server;  server  `Simulator`, all of it together
    control  /_sim/, for other processes;  process  a simulator as a child process
"""

from __future__ import annotations

from .calls import Moment, Slot
from .faults import Fault
from .log import Entry
from .process import SimulatorProcess, start_process
from .server import Simulator
from .tenants import ACME, BENCH, BIG, DEMO, FLOOD, MILLION, WORLDS
from .world import FixedTenant, TenantSpec

__all__ = [
    "ACME",
    "BENCH",
    "BIG",
    "DEMO",
    "FLOOD",
    "MILLION",
    "WORLDS",
    "Entry",
    "Fault",
    "FixedTenant",
    "Moment",
    "Simulator",
    "SimulatorProcess",
    "Slot",
    "TenantSpec",
    "start_process",
]
