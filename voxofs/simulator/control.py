"""The simulator's controls for other processes: JSON over a port of its own.

It is neither of the vendor's two origins, so the API can be taken down by it and brought back, and what it
is asked appears in no log. Always plain HTTP, never delayed.

GET  /stats          sums since the last reset
GET  /log            ?route=&after=SEQ: entries
POST /reset          forget log and sums
POST /faults         [{"kind": ..., ...}, ...] adds rules; [] removes all
POST /settings       {"api_delay_s": 0.08, "refuse_storage": true, "refuse_api": false, ...}
POST /rotate-token   -> {"token": ...}
POST /replace        {"tenant": 37, "unique_id": ..., "base64": ...}; without base64 another
                     recording of the call, with "remove": true none
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .faults import Fault
from .vendor import Vendor
from .wire import App, Connection, Receive, Scope, Send

SETTINGS = (
    "api_delay_s", "storage_delay_s", "api_skew_s", "skew_s", "sign_skew_s", "link_lifetime_s",
    "token_lifetime_s", "signature", "inclusive_end", "later_form", "forbidden", "password", "second_factor",
    "tells_tenants",
)  # fmt: skip


class Doors(Protocol):
    """The vendor's ports, as far as they can be steered."""

    async def refuse(self, *, api: bool | None = None, storage: bool | None = None) -> None:
        """True closes that port and resets its connections, False opens it again; None leaves it."""

    def connections(self) -> Mapping[str, Mapping[str, int]]:
        """How many connections are open, and were ever accepted, by origin."""


def control_app(vendor: Vendor, doors: Doors) -> App:
    """The application behind `control_url`."""

    async def stats(request: Request) -> Response:
        hits = [
            {"kind": fault.kind, "match": fault.match, "hits": count} for fault, count in vendor.faults.hits()
        ]
        return JSONResponse(vendor.log.stats() | {"faults": hits, "connections": doors.connections()})

    async def log(request: Request) -> Response:
        route, after = request.query_params.get("route"), int(request.query_params.get("after", "0"))
        return JSONResponse([entry.as_dict() for entry in vendor.requests(route) if entry.seq > after])

    async def reset(request: Request) -> Response:
        vendor.reset_log()
        return JSONResponse({})

    async def faults(request: Request) -> Response:
        try:
            rules = [Fault(**rule) for rule in await request.json()]
        except (TypeError, ValueError) as error:
            return JSONResponse({"error": str(error)}, 400)
        if not rules:
            vendor.faults.clear()
        vendor.add_fault(*rules)
        return JSONResponse({"rules": len(vendor.faults.hits())})

    async def settings(request: Request) -> Response:
        wanted = await request.json()
        refuse = {
            name: wanted.pop(f"refuse_{name}") for name in ("api", "storage") if f"refuse_{name}" in wanted
        }
        if unknown := sorted(set(wanted) - set(SETTINGS)):
            return JSONResponse({"error": f"unknown settings {unknown}; known: {SETTINGS}"}, 400)
        for name, value in wanted.items():
            setattr(vendor, name, set(value) if name == "forbidden" else value)
        await doors.refuse(**refuse)
        return JSONResponse({})

    async def rotate(request: Request) -> Response:
        return JSONResponse({"token": vendor.rotate_token()})

    async def replace(request: Request) -> Response:
        wanted = await request.json()
        if wanted.get("remove"):
            vendor.remove_audio(wanted["tenant"], wanted["unique_id"])
        else:
            data = base64.b64decode(wanted["base64"]) if "base64" in wanted else None
            vendor.replace_audio(wanted["tenant"], wanted["unique_id"], data)
        return JSONResponse({})

    handlers: dict[str, tuple[str, Callable[[Request], Awaitable[Response]]]] = {
        "stats": ("GET", stats),
        "log": ("GET", log),
        "reset": ("POST", reset),
        "faults": ("POST", faults),
        "settings": ("POST", settings),
        "rotate-token": ("POST", rotate),
        "replace": ("POST", replace),
    }
    routed = Starlette(routes=[Route(f"/{n}", call, methods=[m]) for n, (m, call) in handlers.items()])

    async def serve(connection: Connection, scope: Scope, receive: Receive, send: Send) -> None:
        await routed(scope, receive, send)

    return serve
