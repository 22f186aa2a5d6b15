"""For the person who runs it: the delivery log, and why an object is as it is, on loopback, behind a token.

In: GET, and POST to have a delivery carried out again, with `Authorization: Bearer <STATE/admin.token>`. Out: JSON. The Host header must
name loopback, so that a page of another site cannot reach this port through a name that it points here (DNS rebinding). https://owasp.org/www-community/attacks/DNS_Rebinding
"""

import hmac
import ipaddress
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from service.cluster.client import ClusterError
from service.kinds.meta import ObjectKey
from service.state.errors import StateError
from service.web.desk import Desk

TOKEN_BYTES = 32
Why = Callable[[str, str, str], Awaitable[Mapping[str, Any] | None]]
_WHY: web.AppKey[Why] = web.AppKey("why")
Shadow = Callable[[], Mapping[ObjectKey, Mapping[str, Any]]]
_SHADOW: web.AppKey[Shadow] = web.AppKey("shadow")


def token_file(state: Path) -> str:
    """Return the token in STATE/admin.token, which is made if it is not there, readable by its owner alone. Raises OSError."""
    path = state / "admin.token"
    try:
        held = path.read_text(encoding="ascii").strip()
        if held:
            path.chmod(0o600)
            return held
    except FileNotFoundError:
        pass
    token = secrets.token_urlsafe(TOKEN_BYTES)
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(token + "\n")
    fresh.replace(path)
    return token


def application(desk: Desk, token: str, why: Why, shadow: Shadow = dict) -> web.Application:
    """Return the application of the admin port. `desk` is all about deliveries. `why` explains (kind, namespace, name), or returns None
    where that is not there; `shadow` has what shadow mode would do, by object."""
    app = web.Application(middlewares=[_guard(token)])
    app[_WHY], app[_SHADOW] = why, shadow
    desk.add_to(app)
    app.router.add_get("/shadow", _shadow)
    app.router.add_get("/why/{kind}/{namespace}/{name}", _why)
    return app


def _guard(token: str) -> Middleware:
    expected = f"Bearer {token}".encode()

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not _is_loopback(request.headers.get("Host", "")):
            return web.Response(status=403, text="the Host header must name loopback: open http://127.0.0.1 or http://localhost\n")
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, expected):
            headers = {"WWW-Authenticate": 'Bearer realm="sluice"'}
            return web.Response(status=401, text="a token is needed: it is in admin.token in the state folder\n", headers=headers)
        try:
            response = await handler(request)
        except StateError as error:
            response = web.json_response({"error": str(error)}, status=503)
        response.headers["Cache-Control"] = "no-store"
        return response

    return guard


def _is_loopback(host: str) -> bool:
    """Whether a Host header names this machine and nothing that a name server could point here."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.rpartition(":")[0] or host
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


async def _shadow(request: web.Request) -> web.Response:
    """What would be done to each Kustomization, those with differences first."""
    found = sorted(request.app[_SHADOW]().values(), key=lambda each: (not (each["problem"] or each["changes"]), each["object"]))
    return web.json_response({"objects": found})


async def _why(request: web.Request) -> web.Response:
    """One answer about one object."""
    kind, namespace, name = (request.match_info[part] for part in ("kind", "namespace", "name"))
    try:
        found = await request.app[_WHY](kind, namespace, name)
    except ClusterError as error:
        return web.json_response({"error": f"the API server refuses or does not answer: {error}"}, status=502)
    if found is None:
        known = "an object of a kind of ours that is there, or one that a Kustomization has applied"
        return web.json_response({"error": f"{kind}/{namespace}/{name}: not found; name {known}"}, status=404)
    return web.json_response(found)
