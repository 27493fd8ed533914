"""A transport that goes directly or through a proxy, by the address of each request.

Direct connections are `transport`'s, whose business no proxy is; what goes through a proxy is httpx's
(`stock`), which knows CONNECT, authentication at the proxy, and proxies that speak TLS. Where no proxy is
configured nothing of this is used.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from voxofs.config.proxies import Proxies, Proxy

from .stock import StockTransport
from .transport import Transport


class ProxyFailed(httpx.ProxyError):
    """No way through a proxy. `proxy` may be shown; `status` is the proxy's, where it answered."""

    def __init__(self, proxy: Proxy, status: str | None) -> None:
        super().__init__("no way through the proxy")
        self.proxy = str(proxy)
        self.status = status


class RoutedTransport(httpx.AsyncBaseTransport):
    """`direct` where no proxy is for the address, else httpx's transport, as wide and with the same trust."""

    def __init__(
        self,
        direct: Transport | StockTransport,
        proxies: Proxies,
        tls: ssl.SSLContext,
        *,
        keepalive_s: float,
    ) -> None:
        self._direct = direct
        self._proxies = proxies
        self.connections = direct.connections
        self._through = {
            each: StockTransport(
                self.connections, tls, keepalive_s=keepalive_s, proxy=_as_httpx_has_it(each, tls)
            )
            for each in (proxies.https, proxies.http)
            if each is not None
        }

    @property
    def free(self) -> int:
        """How many more requests may be made at this moment, whichever way they go."""
        return self._direct.free - sum(each.connections - each.free for each in self._through.values())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """As the transports do it; raises `ProxyFailed`, too."""
        url = request.url
        proxy = self._proxies.of(url.scheme, url.host, url.port)
        if proxy is None:
            return await self._direct.handle_async_request(request)
        with _telling(proxy):
            return await self._through[proxy].handle_async_request(request)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._direct.aclose()
        for each in self._through.values():
            await each.aclose()


def _as_httpx_has_it(proxy: Proxy, tls: ssl.SSLContext) -> httpx.Proxy:
    url = proxy.url.reveal()
    return httpx.Proxy(url, ssl_context=tls if url.startswith("https:") else None)


@contextmanager
def _telling(proxy: Proxy) -> Iterator[None]:
    """That it was on the way through a proxy. Its own words stay behind: they are a stranger's."""
    try:
        yield
    except httpx.ProxyError as error:
        status = re.match(r"[1-5][0-9]{2}\b", str(error))
        raise ProxyFailed(proxy, status[0] if status else None) from error
    except httpx.ConnectError as error:
        raise ProxyFailed(proxy, None) from error
