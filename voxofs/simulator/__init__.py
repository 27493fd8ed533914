"""The vendor's phone system in a box: API, storage and calls, for tests, the demo and benchmarks.

One simulator serves all three, so what the demo shows is what the tests hold. It talks real HTTP on
loopback sockets (the API and the storage are two origins, as in real life) and knows nothing of the rest of
voxofs: it follows the vendor's page, not our reading of it. Nothing of voxofs but the demo may import it.

    server   `Simulator`: the vendor behind its ports;  process  `start_process`: one as a child process
    vendor   what API and storage share: world, clocks, tokens, faults, log, settings
    world    `TenantSpec`, `FixedTenant`; which calls exist: a pure function of (seed, tenant, hour)
    calls    one call and its record;  central  hours of the wall clock
    tenants  ready-made ones: demo, acme, bench, big, flood, million, month
    audio    MP3 bytes of a call, any range of them without building the rest
    links    signing and verifying of storage links, versions 2 and 4;  tokens  the API's tokens
    api      the vendor's API;  storage  the S3-like store;  index  plain HTML folders over the same bytes
    faults   `Fault`: rules that spoil chosen requests;  exchange  one answer, faults and log included
    log      the record of every request;  control  for other processes
    wire     sockets, TLS and the HTTP server;  relay  the way there and back, for a vendor far away
"""
