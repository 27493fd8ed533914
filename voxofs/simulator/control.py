"""/_sim/: the simulator's controls for other processes, JSON over the API's port.

GET  /_sim/stats          sums since the last reset
GET  /_sim/log            ?route=&after=SEQ: entries
POST /_sim/reset          forget log and sums
POST /_sim/faults         [{"kind": ..., ...}, ...] adds rules; [] removes all
POST /_sim/settings       {"api_delay_s": 0.08, "refuse_storage": true, ...}
POST /_sim/rotate-token   -> {"token": ...}
POST /_sim/replace        {"tenant": 37, "unique_id": ..., "base64": ...}; without base64 another
                          recording of the call, with "remove": true none
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .faults import Fault

if TYPE_CHECKING:
    from .server import Simulator

Asgi = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[MutableMapping[str, Any]]],
        Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ],
    Awaitable[None],
]
SETTINGS = (
    "api_delay_s", "storage_delay_s", "skew_s", "sign_skew_s", "link_lifetime_s", "token_lifetime_s",
    "signature", "inclusive_end", "later_form", "forbidden", "password",
)  # fmt: skip


def control_app(sim: Simulator) -> Asgi:
    """The application for everything under /_sim/."""

    async def stats(request: Request) -> Response:
        hits = [
            {"kind": fault.kind, "match": fault.match, "hits": count} for fault, count in sim.faults.hits()
        ]
        return JSONResponse(sim.log.stats() | {"faults": hits, "connections": _connections(sim)})

    async def log(request: Request) -> Response:
        route, after = request.query_params.get("route"), int(request.query_params.get("after", "0"))
        return JSONResponse([entry.as_dict() for entry in sim.requests(route) if entry.seq > after])

    async def reset(request: Request) -> Response:
        sim.reset_log()
        return JSONResponse({})

    async def faults(request: Request) -> Response:
        try:
            rules = [Fault(**rule) for rule in await request.json()]
        except (TypeError, ValueError) as error:
            return JSONResponse({"error": str(error)}, 400)
        if not rules:
            sim.faults.clear()
        sim.add_fault(*rules)
        return JSONResponse({"rules": len(sim.faults.hits())})

    async def settings(request: Request) -> Response:
        wanted = await request.json()
        refuse = {
            name: wanted.pop(f"refuse_{name}") for name in ("api", "storage") if f"refuse_{name}" in wanted
        }
        if unknown := sorted(set(wanted) - set(SETTINGS)):
            return JSONResponse({"error": f"unknown settings {unknown}; known: {SETTINGS}"}, 400)
        for name, value in wanted.items():
            setattr(sim, name, set(value) if name == "forbidden" else value)
        if refuse.get("api"):
            return JSONResponse(
                {"error": "the control runs on the API's port, which therefore stays open"}, 400
            )
        await sim.refuse(storage=refuse.get("storage"))
        return JSONResponse({})

    async def rotate(request: Request) -> Response:
        return JSONResponse({"token": sim.rotate_token()})

    async def replace(request: Request) -> Response:
        wanted = await request.json()
        if wanted.get("remove"):
            sim.remove_audio(wanted["tenant"], wanted["unique_id"])
        else:
            data = base64.b64decode(wanted["base64"]) if "base64" in wanted else None
            sim.replace_audio(wanted["tenant"], wanted["unique_id"], data)
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
    return Starlette(routes=[Route(f"/_sim/{n}", call, methods=[m]) for n, (m, call) in handlers.items()])


def _connections(sim: Simulator) -> dict[str, dict[str, int]]:
    ports = {"api": sim.api_port, "storage": sim.storage_port}
    return {name: {"open": len(port.connections), "accepted": port.accepted} for name, port in ports.items()}
