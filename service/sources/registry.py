"""A registry over HTTP: one repository's digests, manifests, tags and blobs, each checked against its digest.

The protocol: https://github.com/opencontainers/distribution-spec/blob/main/spec.md and https://distribution.github.io/distribution/spec/auth/
Our own, of four requests: the maintained clients for Python are synchronous (oras) and follow redirects with what they hold. Credentials go
to the registry's own origin, and to the token server that it names; a remote's body is never quoted, only its status.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import aiohttp
from yarl import URL

from service.outbound import OutboundRefused, refusal_in
from service.sources.dockerconfig import DOCKER_HUB, Login
from service.sources.fetcherror import happened
from service.sources.manifests import (
    DIGEST,
    INDEXES,
    MANIFESTS,
    Descriptor,
    Manifest,
    RegistryError,
    Repository,
    digest_of,
    json_object,
    manifest_of,
    manifests_of,
    of_platform,
)

MOST_MANIFEST_BYTES = 256 * 1024  # read on the event loop; real ones have a few kilobytes
MOST_PAGE_BYTES = 4 * 2**20
MOST_TAGS = 100_000
MOST_REFERRERS = 1_000
MOST_REDIRECTS = 5
CHUNK = 2**18
_HUB_API = "registry-1.docker.io"
_PARAMETER = re.compile(r'([a-zA-Z]+)="([^"]*)"')
_NOT_SERVED = (400, 404, 405, 406)
_NEXT = re.compile(r'<([^>]+)>\s*;\s*rel="?next"?')


class Registry:
    """One repository over one session."""

    def __init__(self, session: aiohttp.ClientSession, repository: Repository, login: Login) -> None:
        self._session = session
        self._repository = repository
        self._login = login
        host = _HUB_API if repository.host in ("docker.io", DOCKER_HUB) else repository.host
        self._origin = f"https://{host}"
        self._token = ""

    @property
    def repository(self) -> str:
        """`host/name`."""
        return str(self._repository)

    async def allow_http(self) -> None:
        """Where the registry does not speak TLS, speak http with it."""
        try:
            async with self._session.get(f"{self._origin}/v2/", allow_redirects=False):
                return
        except (aiohttp.ClientError, OSError):
            self._origin = self._origin.replace("https://", "http://", 1)

    async def digest_of(self, tag: str) -> str:
        """Return the digest that a tag, or digest, has now: one HEAD. Raises RegistryError."""
        async with self._asked("HEAD", f"manifests/{tag}", accept=(*MANIFESTS, *INDEXES)) as answer:
            found = answer.headers.get("Docker-Content-Digest", "")
        if DIGEST.fullmatch(found):
            return found
        return digest_of(await self._body(f"manifests/{tag}", (*MANIFESTS, *INDEXES)))

    async def manifest(self, digest: str) -> Manifest:
        """Return the manifest, of an index that for linux/amd64 under the index's digest. Raises RegistryError."""
        found = await self._object(digest)
        if _is_index(found):
            found = await self._object(of_platform(found))
            if _is_index(found):
                raise RegistryError(f"the index {digest} leads to another index")
        return manifest_of(digest, found)

    async def _object(self, digest: str) -> dict[str, Any]:
        """A manifest or index as it stands there, checked."""
        body = await self._body(f"manifests/{digest}", (*MANIFESTS, *INDEXES))
        if digest_of(body) != digest:
            raise RegistryError(f"the manifest {digest} has another digest than its name")
        return json_object(body)

    async def referrers(self, digest: str) -> tuple[Descriptor, ...]:
        """Return what says that it is about a manifest, such as signatures. Raises RegistryError.

        Where the registry does not list them, by the tag that clients keep in place of that.
        https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
        """
        found: list[Descriptor] = []
        path = f"referrers/{digest}"
        try:
            while path and len(found) < MOST_REFERRERS:
                async with self._asked("GET", path, accept=INDEXES[:1]) as answer:
                    if answer.content_type != INDEXES[0]:
                        raise RegistryError(f"{self._repository.host} lists no referrers", 404)  # some say 200 to any path
                    listed = manifests_of(json_object(await _bounded(answer, MOST_MANIFEST_BYTES)))
                    path = self._next(answer) if listed else ""
                found.extend(listed)
            return tuple(found)
        except RegistryError as error:
            if error.status not in _NOT_SERVED:
                raise
        try:
            return manifests_of(json_object(await self._body(f"manifests/{digest.replace(':', '-')}", INDEXES[:1])))
        except RegistryError as error:
            if error.status != 404:
                raise
        return ()

    def _next(self, answer: aiohttp.ClientResponse) -> str:
        """The address of the next page, "" behind the last."""
        follows = _NEXT.search(answer.headers.get("Link", ""))
        return urljoin(f"{self._origin}/v2/{self._repository.name}/", follows[1]) if follows else ""

    async def tags(self) -> tuple[str, ...]:
        """Return all tags. Raises RegistryError."""
        found: list[str] = []
        path = "tags/list?n=1000"
        while path and len(found) < MOST_TAGS:
            async with self._asked("GET", path) as answer:
                body = json_object(await _bounded(answer, MOST_PAGE_BYTES))
                names = body.get("tags") or []
                path = self._next(answer) if names else ""
            found.extend(name for name in names if isinstance(name, str))
        return tuple(found)

    async def blob(self, wanted: Descriptor, target: Path, *, most: int) -> None:
        """Write a blob to a file; it counts only where nothing is raised. Raises RegistryError, OSError where the disk is full."""
        if wanted.size > most:
            raise RegistryError(f"the layer {wanted.digest} has {wanted.size:,} bytes; {most:,} is the most")
        hashed, size = hashlib.sha256(), 0
        with target.open("wb") as file:
            async with self._asked("GET", f"blobs/{wanted.digest}") as answer:
                async for chunk in answer.content.iter_chunked(CHUNK):
                    size += len(chunk)
                    if size > wanted.size:
                        break
                    hashed.update(chunk)
                    file.write(chunk)
        if size != wanted.size or f"sha256:{hashed.hexdigest()}" != wanted.digest:
            raise RegistryError(f"the layer {wanted.digest} is not what its digest says")

    async def small_blob(self, wanted: Descriptor, *, most: int) -> bytes:
        """Return a blob, checked. Raises RegistryError."""
        async with self._asked("GET", f"blobs/{wanted.digest}") as answer:
            found = await _bounded(answer, most)
        if digest_of(found) != wanted.digest:
            raise RegistryError(f"the blob {wanted.digest} is not what its digest says")
        return found

    async def _body(self, path: str, accept: tuple[str, ...]) -> bytes:
        async with self._asked("GET", path, accept=accept) as answer:
            return await _bounded(answer, MOST_MANIFEST_BYTES)

    @asynccontextmanager
    async def _asked(self, method: str, path: str, accept: tuple[str, ...] = ()) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request with at most one log-in."""
        url = path if "://" in path else f"{self._origin}/v2/{self._repository.name}/{path}"
        try:
            answer = await self._followed(method, url, accept)
            challenge = answer.headers.get("WWW-Authenticate")
            if answer.status == 401 and challenge and answer.url.origin() == URL(self._origin).origin():  # not who we were sent on to
                answer.release()
                await self._log_in(challenge)
                answer = await self._followed(method, url, accept)
            try:
                if answer.status >= 400:
                    meaning = _MEANING.get(answer.status, "")
                    raise RegistryError(f"{self._repository.host} answered {answer.status}{meaning}", answer.status)
                yield answer
            finally:
                answer.release()
        except (aiohttp.ClientError, ConnectionError, OutboundRefused) as error:
            refusal = refusal_in(error)
            if refusal is not None:
                raise RegistryError(str(refusal)) from error
            raise RegistryError(f"{self._repository.host} gave no answer, or broke it off: {happened(error)}") from error

    async def _followed(self, method: str, url: str, accept: tuple[str, ...]) -> aiohttp.ClientResponse:
        """The answer behind the redirects; what we hold is for the registry's own origin."""
        for _ in range(MOST_REDIRECTS + 1):
            headers = {"Accept": ", ".join(accept)} if accept else {}
            if self._token and f"{urlsplit(url).scheme}://{urlsplit(url).netloc}" == self._origin:
                headers["Authorization"] = self._token
            answer = await self._session.request(method, url, headers=headers, allow_redirects=False)
            if answer.status not in (301, 302, 303, 307, 308):
                return answer
            onward = urljoin(url, answer.headers.get("Location", ""))
            answer.release()
            if urlsplit(onward).scheme != "https" and urlsplit(url).scheme == "https":
                raise RegistryError(f"{self._repository.host} redirects from https to another scheme")
            url = onward
        raise RegistryError(f"{self._repository.host} redirects more than {MOST_REDIRECTS} times")

    async def _log_in(self, challenge: str) -> None:
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic":
            if not self._login.given:
                raise RegistryError(f"{self._repository.host} asks for a user and password; name a Secret in spec.secretRef", 401)
            self._token = aiohttp.encode_basic_auth(self._login.username, self._login.password)
            return
        asked = {name.lower(): value for name, value in _PARAMETER.findall(rest)}
        if scheme.lower() != "bearer" or urlsplit(asked.get("realm", "")).scheme not in ("https", "http"):
            raise RegistryError(f"{self._repository.host} asks for a log-in that is not supported", 401)
        if self._origin.startswith("https:") and not asked["realm"].startswith("https:"):
            raise RegistryError(f"{self._repository.host} names a token server without TLS", 401)
        self._token = f"Bearer {await self._fetched_token(asked)}"

    async def _fetched_token(self, asked: Mapping[str, str]) -> str:
        scope = asked.get("scope") or f"repository:{self._repository.name}:pull"
        query = {"service": asked.get("service", ""), "scope": scope}
        if self._login.refresh:
            form = {**query, "grant_type": "refresh_token", "client_id": "sluice", "refresh_token": self._login.refresh}
            sent = self._session.post(asked["realm"], data=form, allow_redirects=False)
        else:
            headers = {}
            if self._login.given:
                headers["Authorization"] = aiohttp.encode_basic_auth(self._login.username, self._login.password)
            url = f"{asked['realm']}{'&' if '?' in asked['realm'] else '?'}{urlencode(query)}"
            sent = self._session.get(url, headers=headers, allow_redirects=False)
        async with sent as answer:
            if answer.status != 200:
                raise RegistryError(f"the token server of {self._repository.host} answered {answer.status}", answer.status)
            found = json_object(await _bounded(answer, 2**16))
        token = found.get("token") or found.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise RegistryError(f"the token server of {self._repository.host} gave no token", 401)
        return token


_MEANING = {401: " (not logged in)", 403: " (not allowed)", 404: " (not found)", 429: " (too many requests)"}


def _is_index(found: Mapping[str, Any]) -> bool:
    return found.get("mediaType") in INDEXES or "manifests" in found


async def _bounded(answer: aiohttp.ClientResponse, most: int) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_chunked(CHUNK):
        body += chunk
        if len(body) > most:
            raise RegistryError(f"an answer of the registry is larger than {most:,} bytes")
    return bytes(body)
