"""A stand-in registry on loopback: manifests, blobs and tags by the distribution API, with log-in and redirects as a test asks for."""

import base64
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import encode_basic_auth, web

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.cncf.flux.content.v1.tar+gzip"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def tarball(files: Mapping[str, bytes | None]) -> bytes:
    """A tar.gz; None makes a symbolic link."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            if content is None:
                entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            else:
                entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content or b""))
    return out.getvalue()


class StandIn:
    """`login` is (user, password) or None; `asked` are the requests, `credentials` the Authorization headers that came with them."""

    def __init__(self) -> None:
        self.host, self.name = "", "team/app"
        self.login: tuple[str, str] | None = None
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.tags: dict[str, str] = {}
        self.asked: list[str] = []
        self.elsewhere = self.other = ""
        self.lists_referrers = False
        self.fault: Callable[[web.Request], Awaitable[web.StreamResponse | None]] | None = None
        self.seen_elsewhere: list[str | None] = []

    def push(self, tag: str, *layers: bytes, annotations: Mapping[str, str] | None = None, media_type: str = LAYER) -> str:
        """Returns the digest."""
        listed = []
        for layer in layers:
            self.blobs[digest_of(layer)] = layer
            listed.append({"mediaType": media_type, "digest": digest_of(layer), "size": len(layer)})
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": listed[0], "layers": listed, "annotations": annotations or {}}
        return self.put(tag, json.dumps(manifest).encode())

    def load(self, recording: Path) -> dict[str, Any]:
        """Hold what another registry held; returns the recording."""
        found: dict[str, Any] = json.loads(recording.read_text())
        self.tags |= found["tags"]
        self.manifests |= {digest: text.encode() for digest, text in found["manifests"].items()}
        self.blobs |= {digest: base64.b64decode(text) for digest, text in found["blobs"].items()}
        return found

    def attach(self, digest: str, artifact_type: str, content: bytes, media_type: str) -> str:
        """Put an artifact of one layer there that refers to a manifest, as the API or its stand-in tells; returns its digest."""
        subject = {"mediaType": MANIFEST, "digest": digest, "size": len(self.manifests[digest])}
        layer = {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}
        self.blobs[layer["digest"]] = content
        self.blobs[digest_of(b"{}")] = b"{}"
        config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest_of(b"{}"), "size": 2}
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": artifact_type, "config": config}
        body = json.dumps({**manifest, "layers": [layer], "subject": subject}).encode()
        self.manifests[digest_of(body)] = body
        listed = {"mediaType": MANIFEST, "digest": digest_of(body), "size": len(body), "artifactType": artifact_type}
        tag = digest.replace(":", "-")
        index = (
            json.loads(self.manifests[self.tags[tag]]) if tag in self.tags else {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
        )
        self.put(tag, json.dumps({**index, "manifests": [*index["manifests"], listed]}).encode())
        return digest_of(body)

    def put(self, tag: str, manifest: bytes) -> str:
        digest = digest_of(manifest)
        self.manifests[digest] = manifest
        self.tags[tag] = digest
        return digest

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix(f"/v2/{self.name}/")
        self.asked.append(f"{request.method} {path}")
        broken = await self.fault(request) if self.fault is not None else None
        if broken is not None:
            return broken
        if request.path == "/token":
            given = request.headers.get("Authorization", "")
            good = self.login is None or given == encode_basic_auth(*self.login)
            return web.json_response({"token": "pass"}) if good else web.Response(status=401, text="hunter2 is wrong")
        if self.login and request.headers.get("Authorization") != "Bearer pass":
            challenge = f'Bearer realm="http://{self.host}/token",service="here",scope="repository:{self.name}:pull"'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        match path.split("/"):
            case ["manifests", reference]:
                digest = self.tags.get(reference, reference)
                if digest not in self.manifests:
                    return web.Response(status=404, text="secret words of the remote")
                kind = json.loads(self.manifests[digest]).get("mediaType", MANIFEST)
                return web.Response(body=self.manifests[digest], headers={"Content-Type": kind, "Docker-Content-Digest": digest})
            case ["blobs", digest] if self.elsewhere:
                return web.Response(status=307, headers={"Location": f"{self.elsewhere}/{digest}"})
            case ["blobs", digest] if digest in self.blobs:
                return web.Response(body=self.blobs[digest])
            case ["referrers", digest] if self.lists_referrers:
                tag = self.tags.get(digest.replace(":", "-"), "")
                return web.Response(body=self.manifests.get(tag, b'{"manifests": []}'), content_type=INDEX)
            case ["tags", "list"]:
                names = sorted(self.tags)
                at = int(request.query.get("last", "0"))
                headers = {"Link": f'</v2/{self.name}/tags/list?n=2&last={at + 2}>; rel="next"'} if at + 2 < len(names) else {}
                return web.json_response({"tags": names[at : at + 2]}, headers=headers)
            case _:
                return web.Response(status=404)

    async def answer_elsewhere(self, request: web.Request) -> web.Response:
        self.seen_elsewhere.append(request.headers.get("Authorization"))
        return web.Response(body=self.blobs[request.path.removeprefix("/")])


@asynccontextmanager
async def served() -> AsyncIterator[StandIn]:
    """The registry at `host`, and another origin that `elsewhere` may be set to."""
    found = StandIn()
    runners = []
    ports = []
    for answer in (found.answer, found.answer_elsewhere):
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        runners.append(runner)
        ports.append(runner.addresses[0][1])
    found.host, found.other = f"127.0.0.1:{ports[0]}", f"http://localhost:{ports[1]}"
    try:
        yield found
    finally:
        for runner in runners:
            await runner.cleanup()
