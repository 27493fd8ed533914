"""The vendor's API: sign-in, tenants, call reports, links to recordings.

Follows the vendor's page "Call Recordings" and, for what that leaves out, public knowledge of the service
(a Feathers application: errors are JSON with `name`, `message`, `code`, `className`, `errors`; an answer to a
sign-in that demands a second factor has `mode` and `mfaVerifyToken` and no token; `/v2/authentication/jwt`
says whose a token is).
"""

from __future__ import annotations

import re
import secrets
from datetime import datetime, timedelta
from urllib.parse import parse_qsl, quote, unquote_plus

import msgspec
import trio

from . import links
from .exchange import Exchange, Spoilt
from .faults import Fault
from .vendor import Vendor
from .wire import Connection, Receive, Scope, Send
from .world import Tenant

_STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_TWO_DAYS = timedelta(days=2)
_TURN_BYTES = 65_536
"""Of a report, between two turns for others: about 190 records, half a millisecond's work (measured)."""
_ROUTES = {
    "authentication": "auth",
    "v2": "auth",
    "tenants": "tenant",
    "call-reports": "reports",
    "call-recordings": "link",
}


class Api:
    """The application behind `sim.api_url`."""

    def __init__(self, vendor: Vendor) -> None:
        self._vendor = vendor

    async def __call__(self, connection: Connection, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        _, first, rest = [*path.split("/", 2), "", ""][:3]
        route = _ROUTES.get(first, "other")
        entry = self._vendor.log.begin("api", route, scope["method"])
        exchange = Exchange(self._vendor, connection, scope, receive, send, entry)
        try:
            if route == "auth":
                await (self._sign_in(exchange) if first == "authentication" else self._whose(exchange, rest))
            elif scope["method"] != "GET":
                await exchange.begin()
                await exchange.api_error(
                    405, f"Method `{scope['method'].lower()}` is not supported by this endpoint."
                )
            elif route == "link":
                await self._link(exchange, rest)
            elif route == "reports":
                await self._reports(exchange)
            elif route == "tenant":
                await self._tenant(exchange, rest)
            else:
                await exchange.begin()
                await exchange.api_error(404, "Page not found")
        except Spoilt:
            pass
        finally:
            self._vendor.log.end(entry)

    async def _sign_in(self, exchange: Exchange) -> None:
        vendor = self._vendor
        body = await exchange.body()
        await exchange.begin()
        try:
            given = msgspec.json.decode(body, type=dict[str, object])
        except msgspec.DecodeError:
            await exchange.api_error(400, "Unexpected token in JSON")
            return
        wanted = {"strategy": "local", "email": vendor.email, "password": vendor.password}
        if exchange.entry.method != "POST" or any(given.get(key) != value for key, value in wanted.items()):
            await exchange.api_error(401, "Invalid login")
            return
        if vendor.second_factor:
            await exchange.json({"mode": "totp", "mfaVerifyToken": secrets.token_urlsafe(32)}, 201)
            return
        token = vendor.issue_token()
        answer = {"accessToken": token, "authentication": {"strategy": "local"}, "user": self._user()}
        await exchange.json(answer, 201)

    def _user(self) -> dict[str, object]:
        """Who signs in, whatever with: there is one account."""
        vendor = self._vendor
        own = next(iter(vendor.world.tenants.values()), None)
        return {
            "id": 7,
            "email": vendor.email,
            "tenantId": own and own.id,
            "tenantIds": [number for number in vendor.world.tenants if number not in vendor.forbidden],
            "timezone": None,
            "myExtension": {"tenantId": own and own.id, "tenantCode": own and own.code},
        }

    async def _whose(self, exchange: Exchange, rest: str) -> None:
        """Whose a token is, of the second edition; the rest of that edition is not here."""
        vendor = self._vendor
        body = await exchange.body()
        await exchange.begin()
        if rest != "authentication/jwt" or exchange.entry.method != "POST" or not vendor.tells_tenants:
            await exchange.api_error(404, "Page not found")
            return
        try:
            given = msgspec.json.decode(body, type=dict[str, object]).get("accessToken")
        except msgspec.DecodeError:
            given = None
        if not vendor.tokens.holds(given, vendor.now()):
            await exchange.api_error(401, "jwt expired")
            return
        await exchange.json({"accessToken": given, "user": self._user()}, 201)

    async def _permitted(
        self, exchange: Exchange, tenant_id: str | None, unique_id: str | None = None
    ) -> Tenant | None:
        """The tenant that is asked about, after delay, faults and rights; None: an error was answered."""
        vendor = self._vendor
        number = int(tenant_id) if tenant_id is not None and tenant_id.isdecimal() else None
        await exchange.begin(number, unique_id)
        if not vendor.tokens.check(exchange.headers.get(b"authorization"), vendor.now()):
            await exchange.api_error(
                401, "jwt expired" if b"authorization" in exchange.headers else "Not authenticated"
            )
        elif number is None:
            await exchange.api_error(400, "tenantId is required and must be an integer")
        elif number in vendor.forbidden:
            await exchange.api_error(403, "You do not have access to this tenant")
        elif (tenant := vendor.world.tenants.get(number)) is None:
            await exchange.api_error(404, f"No record found for id '{number}'")
        else:
            return tenant
        return None

    async def _tenant(self, exchange: Exchange, tenant_id: str) -> None:
        tenant = await self._permitted(exchange, tenant_id)
        if tenant is not None:
            known = {
                "id": tenant.id,
                "name": tenant.name,
                "timeZone": "America/Chicago",
                "tenantCode": tenant.code,
            }
            await exchange.json(known | {"active": 1})

    async def _reports(self, exchange: Exchange) -> None:
        vendor = self._vendor
        query = dict(parse_qsl(exchange.scope["query_string"].decode("latin-1"), keep_blank_values=True))
        start, end = query.get("start", ""), query.get("end", "")
        exchange.entry.range = f"{start}/{end}"
        tenant = await self._permitted(exchange, query.get("tenantId"))
        if tenant is None:
            return
        problem = _range_problem(query.get("recordType"), start, end)
        if problem:
            await exchange.api_error(400, problem)
            return
        parts: list[bytes] = []
        new_bytes = 0
        for part in tenant.report(start, end, vendor.inclusive_end, vendor.later_form, vendor.now()):
            parts.append(part)
            new_bytes += len(part)
            if new_bytes > _TURN_BYTES:  # a large report takes a while: others get their turn
                new_bytes = 0
                await trio.lowlevel.checkpoint()
        body = b"[" + b",".join(parts) + b"]"
        await exchange.answer(200, [(b"content-type", b"application/json; charset=utf-8")], body)

    async def _link(self, exchange: Exchange, unique_id: str) -> None:
        vendor = self._vendor
        query = _query(exchange.scope["query_string"].decode("latin-1"))
        tenant = await self._permitted(exchange, query.get("tenantId"), unique_id)
        if tenant is None:
            return
        start = query.get("start")
        if not start:
            await exchange.api_error(400, "start is required")
            return
        found = tenant.find(unique_id, start, vendor.later_form, vendor.now())
        if found is None or not found.has_audio:
            await exchange.api_error(404, f"No record found for id '{unique_id}'")
            return
        year, month, day, hour = found.wall[:4], found.wall[5:7], found.wall[8:10], found.wall[11:]
        path = f"/{links.BUCKET}/{tenant.code}/{year}/{month}/{day}/{hour}/{quote(unique_id, safe='~')}.mp3"
        dead = exchange.fault is not None and exchange.fault.kind == "expired"
        now_s = vendor.storage_now() + vendor.sign_skew_s - (vendor.link_lifetime_s + 1 if dead else 0)
        signed = links.sign(vendor.signature, vendor.storage_host, path, now_s, vendor.link_lifetime_s)
        await exchange.json({"uri": f"{_origin(vendor, exchange.fault)}{path}?{signed}"})


def _origin(vendor: Vendor, fault: Fault | None) -> str:
    """Where a link leads: the storage, unless a fault has it otherwise."""
    if fault is not None and fault.kind == "elsewhere":
        return f"{vendor.storage_url.partition('://')[0]}://{fault.host}"
    return vendor.storage_url


def _query(text: str) -> dict[str, str]:
    """The fields of a query string whose names need no decoding; several times faster than parse_qsl."""
    return {
        name: unquote_plus(value) for name, _, value in (field.partition("=") for field in text.split("&"))
    }


def _range_problem(record_type: str | None, start: str, end: str) -> str:
    """Why that range is refused; empty where it is not."""
    if record_type != "recordings":
        return "recordType is required"
    stamps = []
    for name, text in (("start", start), ("end", end)):
        try:
            if not _STAMP.fullmatch(text):
                raise ValueError
            stamps.append(datetime.strptime(text, "%Y-%m-%d %H:%M:%S"))
        except ValueError:
            return f"{name} is required in the form YYYY-MM-DD HH:MM:SS"
    if stamps[1] < stamps[0]:
        return "end must not be before start"
    if stamps[1] - stamps[0] > _TWO_DAYS:
        return "The range between start and end must not exceed 2 days"
    return ""
