"""Raw requests to the Kubernetes API: a method, a path and JSON in, status and JSON out, over kubernetes_asyncio's connection pool.

No models: generated methods deserialise each answer, which costs more than the request. kubernetes_asyncio's own `request` turns bodies
into JSON a second time, and its session looks for ~/.netrc and proxies in two threads at each request, so its connector (the pool with
the kubeconfig's TLS settings) is used directly.
https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

import asyncio
import copy
import json
import socket
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes_asyncio.client import ApiClient
from kubernetes_asyncio.client.rest import RESTClientObject
from yarl import URL

from service.cluster.access import Access, BadKubeconfig, ClusterError

__all__ = ["APPLY_PATCH", "JSON_PATCH", "MERGE_PATCH", "Answer", "ApiAway", "ApiError", "BadKubeconfig", "Cause", "Cluster", "ClusterError"]

APPLY_PATCH = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"

BUSY_TRIES = 5
CONNECT_SECONDS = 10
_NO_LIMIT = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)  # asyncio.timeout bounds the whole
_IDENTITY = {"Accept": "application/json", "User-Agent": "sluice", "Accept-Encoding": "identity"}
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_ONE_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the server said: the HTTP status (2xx), the JSON body and how long it was."""

    status: int
    body: dict[str, Any]
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One detail of a refusal: the field (may be ""), a machine-readable reason, and words."""

    field: str
    reason: str
    message: str


class ApiError(ClusterError):
    """The server answered, but not with 2xx. str() is the Status' message, as kubectl prints it."""

    def __init__(self, status: int, reason: str, message: str, causes: tuple[Cause, ...] = ()) -> None:
        super().__init__(status, reason, message, causes)
        self.status = status
        self.reason = reason
        self.message = message
        self.causes = causes

    def __str__(self) -> str:
        return self.message

    @property
    def not_found(self) -> bool:
        """True for 404: neither the object, its namespace nor its kind is there; `reason` is NotFound in each case."""
        return self.status == 404


class ApiAway(ClusterError):
    """The server gave no answer: connection refused or lost, or too late. Nothing is known about what it did."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Cluster:
    """A connection to one API server. Make it inside the running loop; `close()` it there."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._server = access.server
        self._acting: dict[str, str] = {}
        self.on_answer: Callable[[str, str, int], None] = lambda _method, _host, _status: None  # method, host, status; 0: none
        self._api = ApiClient(access.configuration)
        self._endless = RESTClientObject(access.configuration, maxsize=0)  # a pool of 100 shared with watches would run dry
        self._requests = _session(self._api.rest_client)
        self._watches = _session(self._endless)
        self._hop: dict[str, Any] = {"allow_redirects": False, "timeout": _NO_LIMIT}  # a redirect would carry the token elsewhere
        if proxy := access.configuration.proxy or _proxy_of_the_environment(URL(self._server)):
            self._hop["proxy"] = proxy
        if access.configuration.tls_server_name:
            self._hop["server_hostname"] = access.configuration.tls_server_name

    @classmethod
    async def from_kubeconfig(cls, path: Path | str | None = None) -> "Cluster":
        """Connect as a kubeconfig says; None means $KUBECONFIG, then ~/.kube/config. Raises BadKubeconfig. Sends nothing yet."""
        return cls(await Access.from_kubeconfig(path))

    @classmethod
    async def in_cluster(cls) -> "Cluster":
        """Connect with the Pod's service account. Raises BadKubeconfig outside of a Pod."""
        return cls(await Access.in_cluster())

    def impersonating(self, user: str) -> "Cluster":
        """The same connections, each request as another user. It need not be closed; it ends with this one."""
        other = copy.copy(self)
        other._acting = {"Impersonate-User": user}
        return other

    @property
    def server(self) -> str:
        """The server's base URL, for messages."""
        return self._server

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | list[Any] | bytes | None = None,
        content_type: str | None = None,
        timeout: timedelta = timedelta(seconds=30),
    ) -> Answer:
        """Send one request and return the answer; `path` is already quoted, bytes are sent as they are.

        "Too busy" answers with a Retry-After are waited for within `timeout`, refused credentials are loaded afresh once.
        Raises ApiError for an answer that is not 2xx, ApiAway when there was none within `timeout`.
        """
        url = self._url(path, query)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
        headers = {**_IDENTITY, "Content-Type": content_type or "application/json"} if data is not None else _IDENTITY
        return await self._answered(method, url, headers, data, timeout)

    async def list_metadata(self, path: str, *, limit: int, after: str = "", timeout: timedelta = timedelta(seconds=30)) -> Answer:
        """The metadata alone of at most `limit` objects of a collection: names of Secrets without values. `after` is the `continue` of
        the page before. Raises as `request`."""
        return await self.page_of_metadata(path, query={"limit": str(limit), **({"continue": after} if after else {})}, timeout=timeout)

    async def page_of_metadata(self, path: str, *, query: Mapping[str, str], timeout: timedelta) -> Answer:
        """The same with selectors and the rest of a list's query."""
        return await self._answered("GET", self._url(path, query), {**_IDENTITY, "Accept": _METADATA}, None, timeout)

    async def metadata(self, path: str, *, timeout: timedelta = timedelta(seconds=30)) -> Answer:
        """The metadata alone of one object. Raises as `request`."""
        return await self._answered("GET", self._url(path, None), {**_IDENTITY, "Accept": _ONE_METADATA}, None, timeout)

    async def _answered(self, method: str, url: URL, headers: Mapping[str, str], data: bytes | None, timeout: timedelta) -> Answer:
        path = url.raw_path
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                return await self._until_answered(method, url, headers, data)
        except TimeoutError as error:
            raise ApiAway(f"{method} {path}: no answer from {self._server} within {timeout.total_seconds():g} s") from error
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            raise ApiAway(f"{method} {path}: {self._server} is not reachable: {_words(error)}") from error
        except BadKubeconfig as error:
            raise ApiAway(f"{method} {path}: the credentials cannot be renewed: {error}") from error

    async def _until_answered(self, method: str, url: URL, headers: Mapping[str, str], data: bytes | None) -> Answer:
        renewed = reconnected = False
        for attempt in range(1, 1000):
            try:
                status, retry_after, raw = await self._once(method, url, headers, data)
            except aiohttp.ServerDisconnectedError:
                if method != "PATCH" or reconnected:  # aiohttp repeats the other repeatable methods on a stale connection itself
                    raise
                reconnected = True
                continue
            if status < 300:
                return Answer(status=status, body=_parse(status, raw), size_bytes=len(raw))
            if status == 401 and not renewed:
                renewed = True
                if await self._access.renew():
                    continue
            if retry_after is None or attempt >= BUSY_TRIES:
                raise _refusal(status, raw)
            await asyncio.sleep(retry_after)
        raise AssertionError("unreachable")

    async def _once(self, method: str, url: URL, headers: Mapping[str, str], data: bytes | None) -> tuple[int, float | None, bytes]:
        sent = {**headers, **await self._access.headers(), **self._acting}
        status = 0
        try:
            async with self._requests.request(method, url, headers=sent, data=data, **self._hop) as response:
                raw = await response.read()
                status = response.status
        finally:
            self.on_answer(method, url.authority, status)
        busy = response.headers.get("Retry-After") if status == 429 or status >= 500 else None
        return status, float(busy) if busy is not None and busy.isdigit() else None, raw

    async def stream(
        self, path: str, *, query: Mapping[str, str], idle: timedelta, metadata_only: bool = False
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the JSON lines of a watch until the server ends it. Own connections, not those of `request`. Close the generator.

        Raises ApiError when the server refuses, ApiAway when the connection breaks or brings nothing for `idle`.
        """
        lines = Lines()
        try:
            async with asyncio.timeout(CONNECT_SECONDS + 30):
                response = await self._open(path, query, _ONE_METADATA if metadata_only else _IDENTITY["Accept"])
            async with response:
                while True:
                    async with asyncio.timeout(idle.total_seconds()):  # around the read alone: a timeout must not span a yield
                        chunk = await response.content.readany()
                    if not chunk:
                        return
                    for line in lines.feed(chunk):
                        yield json.loads(line)
        except TimeoutError as error:
            raise ApiAway(f"watch {path}: nothing heard from {self._server} in time") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ApiAway(f"watch {path}: {self._server} broke off: {_words(error)}") from error
        except BadKubeconfig as error:
            raise ApiAway(f"watch {path}: the credentials cannot be renewed: {error}") from error

    async def _open(self, path: str, query: Mapping[str, str], accept: str) -> aiohttp.ClientResponse:
        headers = {**_IDENTITY, "Accept": accept, **await self._access.headers(), **self._acting}
        response = await self._watches.request("GET", self._url(path, query), headers=headers, **self._hop)
        if response.status < 300:
            _keep_alive(response)
            return response
        async with response:
            if response.status == 401:
                await self._access.renew()
            raise _refusal(response.status, await response.read())

    async def close(self) -> None:
        """Close all connections."""
        await self._requests.close()
        await self._watches.close()
        await self._api.close()
        await self._endless.close()

    def _url(self, path: str, query: Mapping[str, str] | None) -> URL:
        return URL(f"{self._server}{path}?{urlencode(query)}" if query else self._server + path, encoded=True)


class Lines:
    """Cuts a stream of chunks into lines; what is not yet a whole line waits for the next chunk."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes, without empty ones."""
        if b"\n" not in chunk:
            self._rest.append(chunk)
            return []
        first, *others = chunk.split(b"\n")
        whole = [b"".join([*self._rest, first]), *others[:-1]]
        self._rest = [others[-1]] if others[-1] else []
        return [line for line in whole if line.strip()]


def _session(pool: RESTClientObject) -> aiohttp.ClientSession:
    """A session on kubernetes_asyncio's connector; its buffer holds the largest object that etcd takes, as there."""
    return aiohttp.ClientSession(
        connector=pool.pool_manager.connector, connector_owner=False, cookie_jar=aiohttp.DummyCookieJar(), read_bufsize=2**21
    )


def _proxy_of_the_environment(server: URL) -> str | None:
    """HTTPS_PROXY and the like, read once; None when there is none or NO_PROXY names the server."""
    if server.host is None or proxy_bypass(server.host):
        return None
    return getproxies().get(server.scheme)


def _parse(status: int, raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw) if raw else {}
    except ValueError as error:
        raise ApiError(status, "NotJSON", f"the answer is not JSON: is this a Kubernetes API server? It begins {raw[:80]!r}") from error
    return body if isinstance(body, dict) else {"items": body}


def _refusal(status: int, raw: bytes) -> ApiError:
    """The error of a Status body (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/), or of any other."""
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict) or body.get("kind") != "Status":
        words = raw[:200].decode(errors="replace").strip()
        return ApiError(status, "", f"the server answered {status}{f': {words}' if words else ''}")
    details = body.get("details") or {}
    causes = tuple(
        Cause(field=str(cause.get("field", "")), reason=str(cause.get("reason", "")), message=str(cause.get("message", "")))
        for cause in details.get("causes") or ()
    )
    return ApiError(status, str(body.get("reason", "")), str(body.get("message") or f"the server answered {status}"), causes)


def _keep_alive(response: aiohttp.ClientResponse) -> None:
    """Let the kernel notice within a minute that the other end of an idle watch is gone."""
    transport = response.connection.transport if response.connection is not None else None
    link = transport.get_extra_info("socket") if transport is not None else None
    if link is None:
        return
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            link.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
