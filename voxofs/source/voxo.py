"""The VOXO API, the one `Source` there is: reports, links, tenants, sign-in (the vendor's page, *Call
Recordings*).

Each call gives what it promises or raises a `VoxofsError` that says what to do. The bearer token is added
here, for the API's own origin, and nowhere else; redirects are not followed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import partial
from typing import NamedTuple, TypeVar
from urllib.parse import quote

import trio

from voxofs.central import CentralTime
from voxofs.clock import Clock
from voxofs.config.secrets import Secret
from voxofs.config.sections import ApiSection
from voxofs.errors import AccessDenied, BadAnswer, NotFound, Unanswered, Unavailable, VoxofsError
from voxofs.model import Record, Tenant
from voxofs.observe.health import Meter
from voxofs.traffic.demand import Demand, Priority
from voxofs.traffic.gate import Gate
from voxofs.traffic.http import Answer, HttpClient, origin_of
from voxofs.traffic.retry import is_passing, persistently

from .account import Account, account_of, field, message, named, tenants_of
from .address import Addresses
from .credentials import Credentials
from .interface import Link, Report
from .report import decoded

T = TypeVar("T")

_JSON = {b"content-type": b"application/json", b"accept": b"application/json", b"accept-encoding": b"gzip"}
_TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
"""Of the parameters `start` and `end` (the vendor's page)."""
_SMALL_BODY_BYTES = 2**20
"""Links and tenants have under 2 KiB; a mebibyte is none of them."""
_REPORT_BODY_BYTES = 128 * 2**20
"""A quarter of a million records in two days, five times what the largest simulated tenant has."""
_MESSAGE_LENGTH = 200
"""Of the vendor's words, in characters: about two lines of a terminal."""
_REPORT_SILENCE_SHARE = 2 / 3
"""Of the deadline: a large report is made before its first byte is sent. The rest is for another try."""
_COMPARE_CLOCKS_S = 60.0
"""Parsing a date costs more than an answer is worth every time; clocks drift by less than 1 s a day."""


class _Question(NamedTuple):
    """A GET: what it is counted as, where to, and what it is called in errors. `silence_s`: how long the API
    may say nothing; None for as long as anybody may."""

    kind: str
    route: str
    query: Mapping[str, str]
    what: str
    limit_bytes: int = _SMALL_BODY_BYTES
    silence_s: float | None = None


_GRACE_SHARE = 0.75
"""Of a deadline: how long a refused credential's source is watched for a fresh one. What is left is for the
request itself, and for the refusal to be told as one and not as a time-out."""


class _Told(NamedTuple):
    """A body, and the server's clock when it was sent where that was looked at."""

    body: bytes | bytearray
    server_s: float | None


class VoxoApi:
    """The vendor's endpoints under one base URL. `deadline_s`: no request is repeated after that.
    `link_lifetime_s`: how long the vendor's links live."""

    span_days = 2
    """The longest report there is (the vendor's page)."""

    def __init__(
        self,
        config: ApiSection,
        http: HttpClient,
        gate: Gate,
        clock: Clock,
        meter: Meter,
        central: CentralTime,
        addresses: Addresses,
        *,
        link_lifetime_s: float,
        deadline_s: float,
    ) -> None:
        self._config = config
        self._http = http
        self._gate = gate
        self._clock = clock
        self._meter = meter
        self._central = central
        self._addresses = addresses
        self._link_lifetime_s = link_lifetime_s
        self._deadline_s = deadline_s
        self._base_url = config.base_url.rstrip("/")
        self._origin = origin_of(self._base_url)
        self._credentials = Credentials(config, self._sign_in, clock, grace_s=_GRACE_SHARE * deadline_s)
        self._compared_at_s = float("-inf")
        self.clock_offset_s: float | None = None

    async def records(self, tenant: Tenant, begin: datetime, end: datetime, demand: Demand) -> Report:
        """See `Source`. Times are the wall clock's of the zone that the vendor speaks in."""
        query = {
            "recordType": "recordings",
            "start": begin.strftime(_TIME_FORMAT),
            "end": end.strftime(_TIME_FORMAT),
            "tenantId": str(tenant.id),
        }
        if self._config.recordings is not None:
            query["recordings"] = self._config.recordings
        question = _Question(
            "reports",
            "/call-reports",
            query,
            f"the report of tenant {tenant.id}",
            _REPORT_BODY_BYTES,
            self._deadline_s * _REPORT_SILENCE_SHARE,
        )
        try:
            told = await self._get(question, demand)
        except NotFound as error:
            # Not an ENOENT: a tenant that the API does not know is no proof that its recordings are gone.
            raise BadAnswer(
                f"{self._origin} does not know tenant {tenant.id} (404): check its id in the configuration",
                status=404,
            ) from error
        skipped: Counter[str] = Counter()
        return Report(decoded(told.body, self._central, skipped), skipped, told.server_s)

    async def link(self, tenant: Tenant, record: Record, demand: Demand) -> Link:
        """See `Source`. A link dies 60 s after it was made (the vendor's page)."""
        route = f"/call-recordings/{quote(record.unique_id, safe='')}"
        query = {"tenantId": str(tenant.id), "start": record.start_text}
        question = _Question("links", route, query, f"the link of {record.unique_id}")
        told = await self._get(question, demand)
        url = field(told.body, "uri", self._origin)
        return Link(self._addresses.checked(url, self._origin), self._link_lifetime_s)

    async def tenant_name(self, tenant_id: int) -> str:
        """See `Source`."""
        return (await self.tenant_folder(tenant_id))[0]

    async def tenant_folder(self, tenant_id: int) -> tuple[str, str]:
        """See `Source`."""
        demand = Demand(str(tenant_id), Priority.READER)
        question = _Question("tenants", f"/tenants/{tenant_id}", {}, f"tenant {tenant_id}")
        told = await self._get(question, demand)
        return field(told.body, "name", self._origin), named(told.body, "tenantCode")

    async def account(self, email: str, password: Secret) -> Account:
        """See `Source`."""
        self._credentials.keep_secret(email)
        return await self._signed_in(email, self._credentials.keep_secret(password.reveal()).reveal())

    async def tenants_of(self, token: Secret) -> tuple[int, ...]:
        """See `Source`. The route is one of the API's second edition, known from public client code
        alone. So whatever it answers, only the first edition's word makes a token a bad one; asking for any
        tenant brings that.
        """
        content = json.dumps({"accessToken": token.reveal()}).encode()
        try:
            told = await self._post("/v2/authentication/jwt", content, "the token")
            if tenants := tenants_of(told.body):
                return tenants
        except (AccessDenied, NotFound, BadAnswer):
            pass
        try:
            await self.tenant_name(1)
        except AccessDenied as error:
            if error.status == 401:
                raise
        except (NotFound, BadAnswer):
            pass
        return ()

    async def admitted(self, tenant: Tenant) -> None:
        """See `Source`. One request, tried once: `_get` would wait for a fresh token."""
        demand, what = Demand(tenant.name, Priority.READER), f"tenant {tenant.id}"
        try:
            token = await self._credentials.token()
            headers = {**_JSON, b"authorization": b"Bearer " + token.encode()}
            async with self._gate.place(demand):
                url = f"{self._base_url}/tenants/{tenant.id}"
                sent = partial(self._meter.count, "tenants")
                async with self._http.request("GET", url, headers, sent=sent) as answer:
                    await self._body(answer, what, _SMALL_BODY_BYTES)
        finally:  # whoever gives up waiting for another password has been told of this one
            if (refusal := self._credentials.refusal) is not None:
                raise AccessDenied(str(refusal), status=refusal.status)

    async def sign_in(self) -> None:
        """Prove that a token can be had. Raises `AccessDenied`, `Unavailable`."""
        await self._credentials.token()

    def forget_credentials(self) -> None:
        """See `Source`."""
        self._credentials.forget()

    async def _get(self, question: _Question, demand: Demand) -> _Told:
        """The answer, tried again where that makes sense."""
        query = "&".join([f"{name}={quote(value, safe='')}" for name, value in question.query.items()])
        url = f"{self._base_url}{question.route}" + (f"?{query}" if query else "")
        return await persistently(lambda: self._get_once(url, question, demand), demand)

    async def _get_once(self, url: str, question: _Question, demand: Demand) -> _Told:
        """One GET; a 401 has the token renewed before anybody sees it, twice because what was read of a file
        in the middle of its being written is refused, too."""
        token = self._credentials.at_hand
        if token is None:
            token = await self._signed(self._credentials.token, demand)
        for last in (False, False, True):
            headers = {**_JSON, b"authorization": b"Bearer " + token.encode()}
            try:
                sent = partial(self._meter.count, question.kind)
                async with (
                    self._gate.request(demand),
                    self._http.request(
                        "GET", url, headers, silence_s=question.silence_s, sent=sent
                    ) as answer,
                ):
                    return await self._body(answer, question.what, question.limit_bytes)
            except AccessDenied as error:
                if error.status != 401 or last:
                    raise
                await self._signed(partial(self._credentials.renew, token), demand)
                token = await self._credentials.token()
        raise AssertionError("unreachable")

    async def _signed(self, work: Callable[[], Awaitable[T]], demand: Demand) -> T:
        """Have a token on behalf of a demand: where the API cannot be had for that, it cannot be had at all,
        and the gate is to know."""
        began_s = self._gate.now_s()
        demand.asks(self._gate)
        try:
            return await work()
        except Unavailable as error:
            self._gate.ended(demand, began_s, error)
            raise
        finally:
            demand.asks(None)

    async def _body(self, answer: Answer, what: str, limit_bytes: int) -> _Told:
        server_s = self._compare_clocks(answer, anew=limit_bytes == _REPORT_BODY_BYTES)
        if answer.status in (200, 201):
            body = await answer.body(limit_bytes)
            self._meter.add_bytes("api", len(body))
            return _Told(body, server_s)
        raise self._refusal(answer, what, await answer.body(_SMALL_BODY_BYTES, cut=True))

    def _compare_clocks(self, answer: Answer, *, anew: bool) -> float | None:
        """The server's clock at this answer. Anew for every report, whose days are settled by it; otherwise
        once a minute, because parsing a date costs more than a link is worth."""
        now_s = self._clock.monotonic_s()
        if not anew and now_s - self._compared_at_s < _COMPARE_CLOCKS_S:
            return None
        self._compared_at_s = now_s
        date_s = answer.date_s
        self.clock_offset_s = None if date_s is None else date_s - self._clock.wall_s()
        return date_s

    def _refusal(self, answer: Answer, what: str, body: bytes | bytearray) -> VoxofsError:
        """The domain error for a status other than success; bodies are as the vendor's page shows."""
        status = answer.status
        said = f"{self._origin} answered {status} for {what}"
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
        told = self._credentials.redact(message(body))[:_MESSAGE_LENGTH]
        return BadAnswer(f"{said}: {told!r}" if told else said, status=status)

    async def _sign_in(self, email: str, password: str) -> str:
        return (await self._signed_in(email, password)).token.reveal()

    async def _signed_in(self, email: str, password: str) -> Account:
        content = json.dumps({"strategy": "local", "email": email, "password": password}).encode()
        try:
            told = await self._post("/authentication", content, "the sign-in")
        except AccessDenied as error:
            if error.status != 401:
                raise
            raise AccessDenied(
                f"{self._origin} refuses the sign-in (401): check [api] email and password_file",
                status=403,
            ) from None
        return account_of(told.body, self._origin)

    async def _post(self, route: str, content: bytes, what: str) -> _Told:
        """A POST without a token in its head; sent once."""
        sent = partial(self._meter.count, "sign_ins")
        with trio.move_on_after(self._deadline_s):
            async with (
                self._gate.place(Demand("", Priority.READER)),
                self._http.request("POST", f"{self._base_url}{route}", _JSON, content, sent=sent) as answer,
            ):
                return await self._body(answer, what, _SMALL_BODY_BYTES)
        raise Unanswered(f"{self._origin} did not answer {what} within {self._deadline_s:g} s")
