"""What the tests of deliveries are made of: Receivers, sources, Secrets, and signed pushes."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

from receivers.contract import GitPush
from service.cluster.watch import Change
from service.kinds.meta import KUSTOMIZE_GROUP, NOTIFICATION_GROUP, SOURCE_GROUP, ObjectKey

TOKEN = b"a-shared-secret"


def key(kind: str, name: str, namespace: str = "apps") -> ObjectKey:
    group = {"GitRepository": SOURCE_GROUP, "Kustomization": KUSTOMIZE_GROUP, "Receiver": NOTIFICATION_GROUP}.get(
        kind, "helm.toolkit.fluxcd.io"
    )
    return ObjectKey(group=group, kind=kind, namespace=namespace, name=name)


def receiver(name: str = "web", namespace: str = "apps", resources: list[dict[str, Any]] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "notification.toolkit.fluxcd.io/v1",
        "kind": "Receiver",
        "metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}", "generation": 1, "resourceVersion": "1"},
        "spec": {
            "type": "github",
            "secretRef": {"name": "token"},
            "resources": resources if resources is not None else [{"kind": "GitRepository", "name": "fleet"}],
            **spec,
        },
    }


def repository(name: str = "fleet", url: str = "https://github.com/acme/fleet", namespace: str = "apps", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        "metadata": {"name": name, "namespace": namespace, "labels": {"team": "shop"}},
        "spec": {"url": url, "interval": "10m", "ref": {"branch": "main"}, **spec},
    }


def kustomization(name: str, source: str = "fleet", namespace: str = "apps", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": name, "namespace": namespace, "labels": {"team": "shop"}},
        "spec": {"interval": "10m", "prune": True, "sourceRef": {"kind": "GitRepository", "name": source}, **spec},
    }


def secret(token: bytes | None = TOKEN) -> dict[str, Any]:
    data = {} if token is None else {"token": base64.b64encode(token).decode()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token", "namespace": "apps"}, "data": data}


SECRET_PATH = "/api/v1/namespaces/apps/secrets/token"


def added(object_: dict[str, Any], old: dict[str, Any] | None = None) -> Change:
    return Change(type="MODIFIED" if old else "ADDED", object=object_, old=old)


def deleted(object_: dict[str, Any]) -> Change:
    return Change(type="DELETED", object=object_, old=object_)


def push(ref: str = "refs/heads/main", *urls: str) -> GitPush:
    return GitPush(urls=urls or ("https://github.com/acme/fleet.git",), ref=ref, before="1" * 40, after="2" * 40)


def push_body(after: str = "2" * 40, padding: int = 0) -> bytes:
    body = {
        "ref": "refs/heads/main",
        "before": "1" * 40,
        "after": after,
        "repository": {"clone_url": "https://github.com/acme/fleet.git"},
        "commits": [],
        "padding": "x" * padding,
    }
    return json.dumps(body).encode()


def signed(body: bytes, event: str = "push", *, token: bytes = TOKEN, delivery: str = "") -> dict[str, str]:
    headers = {
        "X-GitHub-Event": event,
        "X-Hub-Signature-256": "sha256=" + hmac.new(token, body, hashlib.sha256).hexdigest(),
        "Content-Type": "application/json",
    }
    return headers | ({"X-GitHub-Delivery": delivery} if delivery else {})


async def until(holds: Callable[[], bool], seconds: float = 2) -> None:
    """Wait for something that another task or process brings about."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.002)
