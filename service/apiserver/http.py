"""The HTTP side: aiohttp requests in, Kubernetes answers out. Every failure is a Status object.

https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

import asyncio
import hmac
import json
import logging
import random
from collections import Counter
from datetime import timedelta
from typing import Any

import yaml
from aiohttp import web

from service.apiserver import discovery, lists, requests, reviews, scale
from service.apiserver.intake import Options, Target
from service.apiserver.objects import Objects, body_in
from service.apiserver.refusal import Refused, bad_request, no_such_path, not_served, unsupported_media
from service.apiserver.requests import ListAsked, Place
from service.apiserver.resources import Registry, Resource
from service.apiserver.watches import Watcher, Watches

Object = dict[str, Any]
BODY_BYTES = 3 * 1024 * 1024
WATCH_FOR = timedelta(minutes=30)
JSON = "application/json"
_log = logging.getLogger(__name__)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the base is chosen by what PyYAML was built with
    """YAML as JSON knows it: times stay text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


class Front:
    """Routes requests to the rooms below and counts them."""

    def __init__(self, objects: Objects, watches: Watches, token: str) -> None:
        self._objects, self._watches, self._token = objects, watches, f"Bearer {token}".encode()
        self._counts: Counter[tuple[str, str, str, int]] = Counter()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer any request."""
        found = requests.place(request.path)
        try:
            self._check_token(request)
            response = await (self._serve(request, found) if found else self._other(request))
        except Refused as refused:
            response = _json(refused.body(), status=refused.code)
        except web.HTTPRequestEntityTooLarge:
            large = Refused(413, "RequestEntityTooLarge", f"Request entity is too large: limit is {BODY_BYTES}")
            response = _json(large.body(), status=413)
        verb = "WATCH" if request.query.get("watch") in ("true", "1") else request.method
        self._counts[(verb, found.group if found else "", found.plural if found else "", response.status)] += 1
        return response

    def _check_token(self, request: web.Request) -> None:
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, self._token) and request.path not in ("/healthz", "/livez", "/readyz"):
            raise Refused(401, "Unauthorized", "Unauthorized")

    async def _other(self, request: web.Request) -> web.Response:
        path = request.path.rstrip("/")
        if path in ("/healthz", "/livez", "/readyz"):
            return web.Response(text="ok")
        if path == "/metrics":
            return web.Response(text=self._metrics())
        if path == "/openapi/v2":
            return web.Response(body=discovery.openapi_v2(), content_type=discovery.OPENAPI_V2_TYPE)
        body = self._document(path)
        if body is None:
            raise no_such_path()
        if request.method not in ("GET", "HEAD"):
            raise not_served(request.method)
        return _json(body)

    def _document(self, path: str) -> Object | None:
        registry = self._objects.registry
        match path.strip("/").split("/"):
            case ["openapi", "v3", *rest]:
                return _openapi(registry, rest)
            case [""]:
                return {"paths": list(discovery.PATHS)}
            case ["version"]:
                return discovery.VERSION
            case ["api"]:
                return discovery.core_versions()
            case ["apis"]:
                return discovery.groups(registry)
            case ["api", version]:
                return discovery.resources(registry, "", version)
            case ["apis", group]:
                return discovery.group(registry, group)
            case ["apis", group, version]:
                return discovery.resources(registry, group, version)
        return None

    def _metrics(self) -> str:
        lines = [
            "# HELP apiserver_request_total Requests by verb, group, resource and HTTP code.",
            "# TYPE apiserver_request_total counter",
        ]
        for (verb, group, resource, code), count in sorted(self._counts.items()):
            lines.append(f'apiserver_request_total{{verb="{verb}",group="{group}",resource="{resource}",code="{code}"}} {count}')
        lines += ["# TYPE apiserver_longrunning_requests gauge", f'apiserver_longrunning_requests{{verb="WATCH"}} {self._watches.count()}']
        return "\n".join(lines) + "\n"

    async def _serve(self, request: web.Request, found: Place) -> web.StreamResponse:
        if reviews.is_review(found):
            if request.method != "POST":
                raise not_served(request.method)
            return _json(reviews.answer(found, await _body(request)), status=201)
        resource = self._objects.registry.find(found.group, found.version, found.plural)
        if resource is None or (found.namespace and not resource.namespaced):
            raise no_such_path()
        if found.subresource == "scale" and resource.scale:
            return await self._scale(request, found, resource)
        if found.subresource and not self._has(resource, found.subresource):
            raise no_such_path()
        if not found.name:
            return await self._collection(request, found, resource)
        if resource.namespaced and not found.namespace:
            raise no_such_path()
        return await self._object(request, found, resource)

    def _has(self, resource: Resource, subresource: str) -> bool:
        return (subresource == "status" and resource.status) or (subresource == "finalize" and resource.key == "/namespaces")

    async def _collection(self, request: web.Request, found: Place, resource: Resource) -> web.StreamResponse:
        namespace = found.namespace or None
        match request.method:
            case "GET":
                asked = requests.list_asked(request.query)
                if asked.watch:
                    return await self._watch(request, resource, namespace, asked)
                page = lists.Page(self._objects.store, resource, namespace, asked)
                return _bytes(
                    await page.body(
                        resource, requests.form(request.headers.get("Accept", "")), request.query.get("includeObject", "Metadata")
                    )
                )
            case "POST":
                if resource.namespaced and namespace is None:
                    raise not_served(request.method)
                options = _options(request, found)
                target = Target(resource=resource, namespace=found.namespace, name="")
                return self._one(request, resource, await self._objects.create(target, await _body(request), options), options, status=201)
            case "DELETE":
                return await self._delete_all(request, found, resource)
        raise not_served(request.method)

    async def _object(self, request: web.Request, found: Place, resource: Resource) -> web.StreamResponse:
        target = Target(resource=resource, namespace=found.namespace, name=found.name)
        options = _options(request, found)
        match request.method:
            case "GET" if request.query.get("watch") in ("true", "1"):
                asked = requests.list_asked({**request.query, "fieldSelector": f"metadata.name={found.name}"})
                return await self._watch(request, resource, found.namespace or None, asked)
            case "GET" | "HEAD":
                return self._one(request, resource, self._objects.read(target), options)
            case "PUT":
                return self._one(request, resource, await self._objects.update(target, await _body(request), options), options)
            case "PATCH":
                body, status = await self._patch(request, target, options)
                return self._one(request, resource, body, options, status=status)
            case "DELETE" if not found.subresource:
                asked_body = await _delete_body(request)
                options.dry_run = options.dry_run or asked_body.get("dryRun") == ["All"]
                body, gone = await self._objects.delete(target, options, asked_body)
                return (
                    _bytes(_deleted(body, resource))
                    if gone and resource.key not in ("/pods", "/namespaces")
                    else self._one(request, resource, body, options)
                )
        raise not_served(request.method)

    async def _patch(self, request: web.Request, target: Target, options: Options) -> tuple[bytes, int]:
        media = request.content_type
        if media not in requests.PATCHES:
            raise unsupported_media(media, requests.PATCHES)
        patch = await _body(request)
        if media != "application/apply-patch+yaml":
            if request.query.get("force"):
                raise bad_request("force may only be set for server-side apply")
            return await self._objects.patch(target, patch, media, options), 200
        if not request.query.get("fieldManager"):
            raise Refused(
                422, "Invalid", 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
            )
        body, created = await self._objects.apply(target, patch, options)
        return body, 201 if created else 200

    async def _delete_all(self, request: web.Request, found: Place, resource: Resource) -> web.Response:
        if resource.key == "/namespaces" or (resource.namespaced and not found.namespace):
            raise not_served(request.method)
        options, body = _options(request, found), await _delete_body(request)
        page = lists.Page(self._objects.store, resource, found.namespace or None, requests.list_asked(request.query))
        for row in page.rows:
            try:
                await self._objects.delete(Target(resource=resource, namespace=row.namespace, name=row.name), options, body)
            except Refused as refused:
                if refused.code != 404:
                    raise
        return _bytes(await page.body(resource, "object", "None"))

    async def _scale(self, request: web.Request, found: Place, resource: Resource) -> web.Response:
        target = Target(resource=resource, namespace=found.namespace, name=found.name)
        live = json.loads(self._objects.read(target))
        match request.method:
            case "GET":
                return _json(scale.read(live))
            case "PUT" | "PATCH":
                replicas = scale.wanted(live, await _body(request), request.content_type)
                body = await self._objects.patch(
                    target, {"spec": {"replicas": replicas}}, "application/merge-patch+json", _options(request, found)
                )
                return _json(scale.read(json.loads(body)))
        raise not_served(request.method)

    def _one(self, request: web.Request, resource: Resource, body: bytes, options: Options, *, status: int = 200) -> web.Response:
        form = requests.form(request.headers.get("Accept", ""))
        response = _bytes(lists.one(body, resource, form, request.query.get("includeObject", "Metadata")), status=status)
        for warning in options.warnings[:20]:
            response.headers.add("Warning", f'299 - "{_quoted(warning)}"')
        return response

    async def _watch(self, request: web.Request, resource: Resource, namespace: str | None, asked: ListAsked) -> web.StreamResponse:
        store, matches = self._objects.store, lists.matcher(resource, asked)
        form, include = requests.form(request.headers.get("Accept", "")), request.query.get("includeObject", "Metadata")
        render = (
            None
            if form == "object" and resource.api_version == resource.stored_api_version
            else lambda body: lists.one(body_in(body, resource), resource, form, include)
        )
        start, first = _start(asked.version), b""
        if start == 0:
            start = store.version
            rows = [row for row in store.select(resource.key, namespace) if matches is None or matches(row)]
            first = b"".join([b'{"type":"ADDED","object":' + (render(row.body) if render else row.body) + b"}\n" for row in rows])
        response = web.StreamResponse(headers={"Content-Type": JSON})
        await response.prepare(request)
        if first:
            await response.write(first)
        watcher = Watcher(namespace, matches, start)
        try:
            async for chunk in self._watches.follow(resource, watcher, limit=_time_limit(asked), bookmarks=asked.bookmarks, render=render):
                await response.write(chunk)
        except (ConnectionResetError, asyncio.CancelledError):
            _log.debug("a watch was closed by its client")
            raise
        return response


def _openapi(registry: Registry, rest: list[str]) -> Object | None:
    match rest:
        case []:
            return discovery.openapi_index(registry)
        case ["api", version]:
            return discovery.openapi_v3(registry, "", version)
        case ["apis", group, version]:
            return discovery.openapi_v3(registry, group, version)
    return None


def _time_limit(asked: ListAsked) -> timedelta:
    if asked.timeout_seconds:
        return timedelta(seconds=asked.timeout_seconds)
    return WATCH_FOR + random.random() * WATCH_FOR  # noqa: S311 - spreads clients, keeps no secret


def _start(version: str) -> int:
    try:
        return int(version or 0)
    except ValueError as error:
        raise bad_request(f"invalid resource version {version!r}") from error


def _options(request: web.Request, found: Place) -> Options:
    return requests.options(request.query, request.headers.get("User-Agent", ""), found.subresource)


async def _body(request: web.Request) -> Any:
    """Read a JSON or YAML body. Raises Refused 400, 415."""
    data = await request.read()
    media = request.content_type
    if media not in (JSON, "application/yaml", "application/octet-stream", *requests.PATCHES):
        raise unsupported_media(media, (JSON, "application/yaml"))
    try:
        return json.loads(data)
    except ValueError as error:
        if "yaml" not in media:
            raise bad_request(f"the body is not JSON: {error}") from error
    try:
        return yaml.load(data, Loader=_Loader)  # noqa: S506 - a subclass of the safe loader
    except yaml.YAMLError as error:
        raise bad_request(f"the body is neither JSON nor YAML: {error}") from error


async def _delete_body(request: web.Request) -> Object:
    """Return DeleteOptions from the body, completed from the query."""
    body = await _body(request) if request.can_read_body else {}
    if not isinstance(body, dict):
        raise bad_request("the body of a delete is a DeleteOptions object")
    if "propagationPolicy" in request.query:
        body.setdefault("propagationPolicy", request.query["propagationPolicy"])
    if body.get("propagationPolicy") not in (None, "Background", "Foreground", "Orphan"):
        raise bad_request('propagationPolicy is one of "Background", "Foreground", "Orphan"')
    return body


def _deleted(body: bytes, resource: Resource) -> bytes:
    meta = json.loads(body)["metadata"]
    details = {
        "name": meta["name"],
        **({"group": resource.group} if resource.group else {}),
        "kind": resource.plural,
        "uid": meta.get("uid", ""),
    }
    return json.dumps({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}).encode()


def _quoted(text: str) -> str:
    return "".join(char for char in text if char.isprintable()).replace("\\", "\\\\").replace('"', '\\"')


def _bytes(body: bytes, *, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type=JSON)


def _json(body: Object, *, status: int = 200) -> web.Response:
    return _bytes(json.dumps(body, separators=(",", ":")).encode(), status=status)
