"""The VOXO API: reports, links, tenants, sign-in (the vendor's page, *Call Recordings*).

Each call gives what it promises or raises a `VoxofsError` that says what to do. The bearer token is added
here, for the API's own origin, and nowhere else; redirects are not followed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

import trio

from .central import api_text
from .clock import Clock
from .config import Api
from .credentials import Credentials
from .errors import AccessDenied, BadAnswer, DeadlineExceeded, NotFound, Unavailable, VoxofsError
from .gate import Demand, Gate, Priority
from .health import Meter
from .http import Answer, HttpClient, origin_of
from .retry import is_overload, is_passing, persistently

_JSON = {b"content-type": b"application/json", b"accept": b"application/json", b"accept-encoding": b"gzip"}
_SMALL_BODY_BYTES = 2**20
_MESSAGE_LENGTH = 200
_COMPARE_CLOCKS_S = 60.0


@dataclass
class VoxoApi:
    """The vendor's endpoints under one base URL. `deadline_s`: no request is repeated after that."""

    config: Api
    http: HttpClient
    gate: Gate
    clock: Clock
    meter: Meter
    deadline_s: float

    def __post_init__(self) -> None:
        self.base_url = self.config.base_url.rstrip("/")
        self.origin = origin_of(self.base_url)
        self.credentials = Credentials(self.config, self._sign_in, self.clock)
        self._compared_at_s = float("-inf")
        self.clock_offset_s: float | None = None
        """The API's clock less this machine's, from its last answer's Date header, in seconds."""

    async def report(self, tenant_id: int, begin: datetime, end: datetime, demand: Demand) -> bytes:
        """The body of the records' report for wall-clock times begin to end, two days at most."""
        query = {
            "recordType": "recordings",
            "start": api_text(begin),
            "end": api_text(end),
            "tenantId": str(tenant_id),
        }
        if self.config.recordings is not None:
            query["recordings"] = self.config.recordings
        self.meter.count("reports")
        try:
            return await self._get("/call-reports", query, f"the report of tenant {tenant_id}", demand, None)
        except NotFound as error:
            # Not an ENOENT: a tenant that the API does not know is no proof that its recordings are gone.
            raise BadAnswer(
                f"{self.origin} does not know tenant {tenant_id} (404): check its id in the configuration",
                status=404,
            ) from error

    async def link(self, tenant_id: int, unique_id: str, start: str, demand: Demand) -> str:
        """A signed link to a recording's audio; it dies 60 s after it was made. Raises `NotFound`."""
        route = f"/call-recordings/{quote(unique_id, safe='')}"
        self.meter.count("links")
        body = await self._get(
            route, {"tenantId": str(tenant_id), "start": start}, f"the link of {unique_id}", demand
        )
        uri = _field(body, "uri", self.origin)
        if origin_of(uri).startswith("http:") and self.origin.startswith("https:"):
            raise BadAnswer(
                f"{self.origin} gave an unencrypted link; recordings are not fetched in the clear"
            )
        return uri

    async def tenant_name(self, tenant_id: int) -> str:
        """The tenant's display name; proves that this token may see it."""
        demand = Demand(str(tenant_id), Priority.READER)
        self.meter.count("tenants")
        return _field(
            await self._get(f"/tenants/{tenant_id}", {}, f"tenant {tenant_id}", demand), "name", self.origin
        )

    async def _get(
        self,
        route: str,
        query: Mapping[str, str],
        what: str,
        demand: Demand,
        limit_bytes: int | None = _SMALL_BODY_BYTES,
    ) -> bytes:
        url = f"{self.base_url}{route}?{urlencode(query, quote_via=quote)}"
        return await persistently(
            lambda: self._get_once(url, what, demand, limit_bytes),
            demand,
            self.deadline_s,
            self.clock.monotonic_s,
        )

    async def _get_once(self, url: str, what: str, demand: Demand, limit_bytes: int | None) -> bytes:
        """One GET; a 401 has the token renewed and is tried once more before anybody sees it."""
        token = await self.credentials.token()
        for last in (False, True):
            headers = {**_JSON, b"authorization": b"Bearer " + token.encode()}
            try:
                async with self.gate.place(demand), self.http.request("GET", url, headers) as answer:
                    return await self._body(answer, what, limit_bytes)
            except AccessDenied as error:
                if error.status != 401 or last:
                    raise
                await self.credentials.renew(token)
                token = await self.credentials.token()
            except Unavailable as error:
                if is_overload(error.status):
                    self.gate.overloaded()
                raise
        raise AssertionError("unreachable")

    async def _body(self, answer: Answer, what: str, limit_bytes: int | None) -> bytes:
        self._compare_clocks(answer)
        if answer.status in (200, 201):
            body = await (answer.body(limit_bytes) if limit_bytes else answer.body())
            self.gate.succeeded()
            self.meter.add_bytes("api", len(body))
            return body
        raise self._refusal(answer, what, await answer.body(_SMALL_BODY_BYTES))

    def _compare_clocks(self, answer: Answer) -> None:
        """Once a minute: parsing a date costs more than the answer is worth every time."""
        now_s = self.clock.monotonic_s()
        if now_s - self._compared_at_s >= _COMPARE_CLOCKS_S:
            self._compared_at_s = now_s
            date_s = answer.date_s
            self.clock_offset_s = None if date_s is None else date_s - self.clock.wall_s()

    def _refusal(self, answer: Answer, what: str, body: bytes) -> VoxofsError:
        """The domain error for a status other than success; bodies are as the vendor's page shows."""
        status = answer.status
        said = f"{self.origin} answered {status} for {what}"
        if is_passing(status):
            wait_s = answer.retry_after_s
            return Unavailable(f"{said}: it may pass, try again", status=status, retry_after_s=wait_s)
        if status == 401:
            return AccessDenied(f"{said}: the token is not valid; provide a fresh one", status=status)
        if status == 403:
            return AccessDenied(f"{said}: this account may not; ask the vendor for access", status=status)
        if status == 404:
            return NotFound(f"{said}: it is not there", status=status)
        if 300 <= status < 400:
            return BadAnswer(f"{said}, a redirect: set [api] base_url to where it leads", status=status)
        told = self.credentials.redact(_message(body))[:_MESSAGE_LENGTH]
        return BadAnswer(f"{said}: {told!r}" if told else said, status=status)

    async def sign_in(self) -> None:
        """Prove that a token can be had. Raises `AccessDenied`, `Unavailable`."""
        await self.credentials.token()

    async def _sign_in(self, email: str, password: str) -> str:
        content = json.dumps({"strategy": "local", "email": email, "password": password}).encode()
        demand = Demand("", Priority.READER)
        self.meter.count("sign_ins")
        with trio.move_on_after(self.deadline_s):
            async with (
                self.gate.place(demand),
                self.http.request("POST", f"{self.base_url}/authentication", _JSON, content) as answer,
            ):
                if answer.status == 401:
                    raise AccessDenied(
                        f"{self.origin} refuses the sign-in (401): check [api] email and password_file",
                        status=403,
                    )
                return _field(
                    await self._body(answer, "the sign-in", _SMALL_BODY_BYTES), "accessToken", self.origin
                )
        raise DeadlineExceeded(f"{self.origin} did not answer the sign-in within {self.deadline_s:g} s")


def _field(body: bytes, name: str, origin: str) -> str:
    try:
        answer: Any = json.loads(body)
        value = answer[name]
    except (ValueError, KeyError, TypeError, RecursionError):
        value = None
    if not isinstance(value, str) or not value:
        raise BadAnswer(f"{origin} answered without a usable {name!r}: check [api] base_url and any proxy")
    return value


def _message(body: bytes) -> str:
    """The vendor's own words, where the body holds any. They may repeat what was sent."""
    try:
        message = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return message if isinstance(message, str) else ""
