"""An origin that answers whatever bytes a test gives it, and a core that asks it.

One port plays both parts: it reports one recording, gives a link of the test's choice, and answers for the
audio with the test's own status line, headers and body.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from unittest.mock import patch

import stamina
import trio
from harness.world import call

from voxofs.clock import Clock
from voxofs.config.secrets import Secret
from voxofs.config.sections import ApiSection, MountSection, TenantSection
from voxofs.config.settings import Config
from voxofs.core.build import Core, open_core

from .virtual import TLS, leaks

PATH = ("office", "2024", "03", "05", "10", "tape.mp3")


@dataclass
class Answers:
    """What the origin says."""

    report: bytes = json.dumps([call("tape", "2024-03-05 10:00:00")]).encode()
    link: str | None = None
    """None: a link to the origin itself."""
    head: bytes = b"HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-4/5\r\ncontent-length: 5\r\n"
    body: bytes = b"audio"
    api_head: bytes | None = None
    """In place of a sound head for reports and links."""


@asynccontextmanager
async def hostile_core(answers: Answers) -> AsyncIterator[Core]:
    """A core whose API and storage are one hostile origin. Nothing may be left in it at the end."""
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"

        async def serve(stream: trio.SocketStream) -> None:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # it may leave at any time
                request = b""
                while b"\r\n\r\n" not in request:
                    more = await stream.receive_some(65_536)
                    if not more:
                        return
                    request += more
                await stream.send_all(_answer(answers, request.split(b" ")[1], url))
                await stream.send_eof()

        nursery.start_soon(trio.serve_listeners, serve, [listener])
        config = Config(
            api=ApiSection(base_url=url, token=Secret("a-token"), connections=4),
            mount=MountSection(deadline_s=5.0),
            tenants={"office": TenantSection(id=9, since=date(2023, 1, 1))},
        )
        with patch("ssl.create_default_context", lambda: TLS), stamina.set_testing(True, attempts=1):
            async with open_core(config, Clock()) as core:
                yield core
                with trio.fail_after(20):
                    while leaks(core):  # noqa: ASYNC110 (nothing tells the end of all work)
                        await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


def _answer(answers: Answers, path: bytes, url: str) -> bytes:
    if path.startswith(b"/audio"):
        return answers.head + b"connection: close\r\n\r\n" + answers.body
    body = answers.report
    if path.startswith(b"/call-recordings"):
        link = f"{url}/audio" if answers.link is None else answers.link
        body = json.dumps({"uri": link}).encode()
    head = answers.api_head or b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n" % len(body)
    return head + b"connection: close\r\n\r\n" + body


class _Defects(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(self.format(record))


@contextmanager
def no_defects() -> Iterator[None]:
    """A boundary that catches what nobody foresaw keeps the daemon alive, but it is still a defect."""
    handler = _Defects()
    logging.getLogger("voxofs").addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger("voxofs").removeHandler(handler)
    assert not handler.said, handler.said[0]
