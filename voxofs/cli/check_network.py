"""What `voxofs check` shows of the way to the service: the proxy, and whose certificates are believed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from voxofs.config.settings import Config
from voxofs.daemon.preflight import Problem
from voxofs.errors import ConfigError
from voxofs.traffic.trust import trust

from .finding import Finding, broken, good


def network(config: Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    """What is in use, without a request. A proxy's password is not shown."""
    yield good(_way(config))
    try:
        trust(config.api.ca_file)
    except ConfigError as error:
        yield from (broken(Problem(problem)) for problem in error.problems)
    else:
        if config.api.ca_file is not None:
            yield good(f"the authorities in {config.api.ca_file} are believed, besides the machine's")
    if variable := environ.get("SSL_CERT_FILE"):
        try:
            trust(Path(variable))
        except ConfigError:
            what = f"$SSL_CERT_FILE is {variable}, which holds no certificate that can be read"
            yield broken(Problem(what, "unset it, or let it name a file with authorities (PEM)"))
        else:
            yield good(f"the authorities in {variable} ($SSL_CERT_FILE) are believed, not the machine's")


def _way(config: Config) -> str:
    proxy = config.proxies.https
    if proxy is None:
        return "requests go directly, through no proxy"
    password = " with a password" if proxy.has_password else ""
    exempt = f", but for {config.proxies.exempt} ($NO_PROXY)" if config.proxies.exempt else ""
    return f"requests go through the proxy {proxy}{password} ({proxy.origin}){exempt}"
