"""The API server as a user sees it: apply, get, wait. Standard library alone, so that nothing of the service is used to check the service.

In: a kubeconfig. Out: plain JSON; `Refused` with the server's own words for answers of 400 and more.
"""

import base64
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]
PLURALS = {
    "Namespace": ("/api/v1", "namespaces"),
    "Secret": ("/api/v1", "secrets"),
    "ConfigMap": ("/api/v1", "configmaps"),
    "Service": ("/api/v1", "services"),
    "ServiceAccount": ("/api/v1", "serviceaccounts"),
    "Event": ("/api/v1", "events"),
    "Deployment": ("/apis/apps/v1", "deployments"),
    "Lease": ("/apis/coordination.k8s.io/v1", "leases"),
    "ClusterRole": ("/apis/rbac.authorization.k8s.io/v1", "clusterroles"),
    "ClusterRoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "clusterrolebindings"),
    "Role": ("/apis/rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "rolebindings"),
    "CustomResourceDefinition": ("/apis/apiextensions.k8s.io/v1", "customresourcedefinitions"),
    "GitRepository": ("/apis/source.toolkit.fluxcd.io/v1", "gitrepositories"),
    "Bucket": ("/apis/source.toolkit.fluxcd.io/v1", "buckets"),
    "OCIRepository": ("/apis/source.toolkit.fluxcd.io/v1", "ocirepositories"),
    "HelmRepository": ("/apis/source.toolkit.fluxcd.io/v1", "helmrepositories"),
    "HelmChart": ("/apis/source.toolkit.fluxcd.io/v1", "helmcharts"),
    "ExternalArtifact": ("/apis/source.toolkit.fluxcd.io/v1", "externalartifacts"),
    "ArtifactGenerator": ("/apis/source.extensions.fluxcd.io/v1beta1", "artifactgenerators"),
    "Kustomization": ("/apis/kustomize.toolkit.fluxcd.io/v1", "kustomizations"),
    "Receiver": ("/apis/notification.toolkit.fluxcd.io/v1", "receivers"),
    "Alert": ("/apis/notification.toolkit.fluxcd.io/v1beta3", "alerts"),
    "Provider": ("/apis/notification.toolkit.fluxcd.io/v1beta3", "providers"),
}


class Refused(Exception):
    """The server answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status, self.message = status, message


class Kubernetes:
    """A client for tests."""

    def __init__(self, kubeconfig: Path) -> None:
        read = yaml.safe_load(kubeconfig.read_text())
        cluster, user = read["clusters"][0]["cluster"], read["users"][0]["user"]
        self.kubeconfig, self.cluster = kubeconfig, cluster
        self._server = cluster["server"].rstrip("/")
        self._headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        self._tls = _tls(cluster) if self._server.startswith("https") else None

    def request(self, method: str, path: str, body: object = None, *, content_type: str = "application/json") -> Object:
        """One request. Raises Refused, or OSError when nobody answers."""
        data = None if body is None else json.dumps(body).encode()
        headers = {**self._headers, "Content-Type": content_type}
        found: Object = json.loads(self._send(urllib.request.Request(self._server + path, method=method, data=data, headers=headers)))
        return found

    def metrics(self) -> str:
        """What the server counts, in Prometheus' text format. Raises as `request` does."""
        return self._send(urllib.request.Request(self._server + "/metrics", headers=self._headers)).decode()

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Server-side apply, as `kubectl apply --server-side` does."""
        for each in objects:
            metadata = each["metadata"]
            path = path_of(each["kind"], metadata.get("namespace", ""), metadata["name"], each["apiVersion"])
            self.request("PATCH", f"{path}?fieldManager=tester&force=true", each, content_type="application/apply-patch+yaml")

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object, or None if it is not there."""
        try:
            return self.request("GET", path_of(kind, namespace, name))
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def list(self, kind: str, namespace: str) -> list[Object]:
        """All objects of a kind in a namespace."""
        items: list[Object] = self.request("GET", path_of(kind, namespace))["items"]
        return items

    def patch(self, kind: str, namespace: str, name: str, patch: Mapping[str, Any]) -> None:
        """A merge patch."""
        self.request("PATCH", path_of(kind, namespace, name), patch, content_type="application/merge-patch+json")

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """Ask for the deletion; finalizers may keep the object for a while."""
        self.request("DELETE", path_of(kind, namespace, name))

    def wait(self, kind: str, namespace: str, name: str, test: Callable[[Object], bool], *, seconds: float = 20) -> Object:
        """The object as soon as `test` is true of it. Raises AssertionError with its status as it was last."""
        end, seen = time.monotonic() + seconds, None
        while time.monotonic() < end:
            try:
                seen = self.get(kind, namespace, name)
            except OSError:  # the server is away; that is what some tests are about
                seen = None
            if seen is not None and test(seen):
                return seen
            time.sleep(0.05)
        shown = json.dumps((seen or {}).get("status") or seen, indent=1)
        raise AssertionError(f"{kind} {namespace}/{name} was not as expected in {seconds:g} s: {shown}")

    def wait_gone(self, kind: str, namespace: str, name: str, *, seconds: float = 20) -> None:
        """Return when the object is not there any more."""
        end = time.monotonic() + seconds
        while self.get(kind, namespace, name) is not None:
            assert time.monotonic() < end, f"{kind} {namespace}/{name} is still there after {seconds:g} s"
            time.sleep(0.05)

    def _send(self, request: urllib.request.Request) -> bytes:
        try:
            with urllib.request.urlopen(request, timeout=20, context=self._tls) as answer:
                read: bytes = answer.read()
                return read
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(error.code, error.read().decode(errors="replace")) from None


def path_of(kind: str, namespace: str, name: str = "", version: str = "") -> str:
    """The path of an object, or of all of a kind without a name; in another version than the newest, if one is given."""
    base, plural = PLURALS[kind]
    base = f"/apis/{version}" if "/" in version else base
    inside = f"/namespaces/{namespace}" if namespace else ""
    return f"{base}{inside}/{plural}" + (f"/{name}" if name else "")


def condition(seen: Object, kind: str = "Ready") -> dict[str, Any]:
    """A condition of an object, {} if it has none."""
    return next((each for each in (seen.get("status") or {}).get("conditions") or () if each["type"] == kind), {})


def is_ready(seen: Object) -> bool:
    """Ready=True for the generation that stands in the object."""
    ready = condition(seen)
    return ready.get("status") == "True" and ready.get("observedGeneration") == seen["metadata"]["generation"]


def _tls(cluster: Mapping[str, str]) -> ssl.SSLContext:
    given = cluster.get("certificate-authority-data")
    context = ssl.create_default_context(cadata=base64.b64decode(given).decode() if given else None)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
