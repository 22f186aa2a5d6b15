"""A small API server on loopback that a test holds in its hand: objects by path, merge patches, refusals and outages on demand."""

import asyncio
import json
from pathlib import Path
from typing import Any

from aiohttp import web

GROUPS = {
    "source.toolkit.fluxcd.io": {"GitRepository": "gitrepositories", "OCIRepository": "ocirepositories"},
    "image.toolkit.fluxcd.io": {"ImageRepository": "imagerepositories"},
    "kustomize.toolkit.fluxcd.io": {"Kustomization": "kustomizations"},
    "notification.toolkit.fluxcd.io": {"Receiver": "receivers", "Alert": "alerts", "Provider": "providers"},
    "helm.toolkit.fluxcd.io": {"HelmRelease": "helmreleases"},
}


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result


class Kube:
    """`objects` by the path of the API; `calls` what was asked; `refuse` maps a path to a status; `away` cuts every connection."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, str]] = []
        self.bodies: list[Any] = []
        self.refuse: dict[str, int] = {}
        self.away = False
        self.url = ""
        self.folder = Path()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self) -> None:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    def kubeconfig(self, folder: Path) -> Path:
        self.folder = folder
        path = folder / "kubeconfig"
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "c",
                    "clusters": [{"name": "c", "cluster": {"server": self.url}}],
                    "users": [{"name": "c", "user": {"token": "t"}}],
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
                }
            )
        )
        return path

    def wrote(self, method: str = "PATCH") -> list[str]:
        return [path for made, path in self.calls if made == method]

    async def _answer(self, request: web.Request) -> web.Response:
        await asyncio.sleep(0)
        if self.away:
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        path = request.path
        self.calls.append((request.method, path))
        if path in self.refuse:
            return _status(self.refuse[path], "Forbidden")
        parts = path.strip("/").split("/")
        if parts[0] == "apis" and len(parts) in (2, 3):
            return _discovery(parts)
        home = path.removesuffix("/status")
        if request.method == "GET" and home not in self.objects and len(parts) % 2 == 0 and parts[0] == "apis":
            return web.json_response(
                {"items": [item for at, item in self.objects.items() if at.rpartition("/")[0] == path], "metadata": {}}
            )
        if home not in self.objects:
            return _status(404, "NotFound")
        if request.method == "PATCH":
            self.bodies.append(await request.json())
            self.objects[home] = merge(self.objects[home], self.bodies[-1])
        return web.json_response(self.objects[home])


def _status(code: int, reason: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "reason": reason, "message": reason}, status=code)


def _discovery(parts: list[str]) -> web.Response:
    group = parts[1]
    if group not in GROUPS:
        return _status(404, "NotFound")
    if len(parts) == 2:
        return web.json_response({"versions": [{"groupVersion": f"{group}/v1"}], "preferredVersion": {"groupVersion": f"{group}/v1"}})
    resources = [{"name": plural, "kind": kind, "namespaced": True} for kind, plural in GROUPS[group].items()]
    return web.json_response({"resources": resources})
