"""A real registry on loopback that sends its own notifications: distribution.

In: a folder, the binary of `tests/peers/build registry`, and where to send notifications to. Out: a running registry, and a push of a small
image over its API. API: https://github.com/opencontainers/distribution-spec ; configuration: https://distribution.github.io/distribution/
"""

import hashlib
import json
import re
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from tests.peers.binaries import binary
from tests.peers.process import Running, free_port

START_SECONDS = 20
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


class Registry:
    """Start with `with Registry(folder, hook=url, token=token) as registry:`; it answers on `registry.host` then."""

    def __init__(self, folder: Path, *, hook: str, token: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.port = folder.resolve(), free_port()
        self.host, self.url = f"127.0.0.1:{self.port}", f"http://127.0.0.1:{self.port}"
        self._hook, self._token = hook, token
        self._running: Running | None = None

    def __enter__(self) -> "Registry":
        endpoint = {
            "name": "sluice",
            "url": self._hook,
            "headers": {"Authorization": [f"Bearer {self._token}"]},
            "timeout": "5s",
            "threshold": 3,
            "backoff": "200ms",
        }
        config = {
            "version": 0.1,
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "data")}, "delete": {"enabled": True}},
            "http": {"addr": self.host, "secret": "of-this-test-alone"},
            "notifications": {"endpoints": [endpoint]},
        }
        (self.folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
        command = [binary("registry"), "serve", self.folder / "config.yml"]
        self._running = Running("registry", command, log=self.folder / "registry.log", env={"OTEL_TRACES_EXPORTER": "none"})
        try:
            self._running.until(self._answers, seconds=START_SECONDS)
        except BaseException:
            self._running.kill()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        if self._running is not None:
            self._running.kill()

    def push(self, name: str, tag: str, content: bytes, annotations: Mapping[str, str] | None = None) -> str:
        """Push an image with one layer, which may have annotations; returns its digest."""
        layer = {**self._blob(name, content), **({"annotations": dict(annotations)} if annotations else {})}
        config = self._blob(
            name, json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}).encode()
        )
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, **config},
            "layers": [{"mediaType": LAYER, **layer}],
        }
        body = json.dumps(manifest).encode()
        self._request("PUT", f"/v2/{name}/manifests/{tag}", body, MANIFEST)
        return f"sha256:{hashlib.sha256(body).hexdigest()}"

    def pull(self, name: str, reference: str) -> bytes:
        """Fetch a manifest, as a source does at its interval."""
        request = urllib.request.Request(f"{self.url}/v2/{name}/manifests/{reference}", headers={"Accept": MANIFEST})
        with urllib.request.urlopen(request, timeout=10) as answer:
            body: bytes = answer.read()
            return body

    def asked(self, agent: str = "aiohttp") -> list[str]:
        """What clients of a name have asked for so far, as `HEAD manifests/1.0`, with the names of repositories left out."""
        lines = (self.folder / "registry.log").read_text(errors="replace").splitlines()
        found = [re.search(r'"(\w+) /v2/(?:.+?)/((?:manifests|blobs|tags|referrers)/\S+) HTTP/', line) for line in lines if agent in line]
        return [f"{each[1]} {each[2]}" for each in found if each is not None]

    def delete(self, name: str, digest: str) -> None:
        """Delete a manifest."""
        self._request("DELETE", f"/v2/{name}/manifests/{digest}")

    def _blob(self, name: str, content: bytes) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        place = self._request("POST", f"/v2/{name}/blobs/uploads/")
        joint = "&" if "?" in place else "?"
        self._request("PUT", f"{place}{joint}digest={urllib.parse.quote(digest)}", content, "application/octet-stream")
        return {"digest": digest, "size": len(content)}

    def _request(self, method: str, path: str, body: bytes | None = None, content_type: str = "") -> str:
        request = urllib.request.Request(urllib.parse.urljoin(self.url, path), method=method, data=body)
        if content_type:
            request.add_header("Content-Type", content_type)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(answer.headers.get("Location", ""))

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/v2/", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
