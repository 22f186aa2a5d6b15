"""The chart's own RBAC as a kubeconfig: what the service runs with on a real cluster, instead of system:masters.

In: the templates of charts/sluice, a namespace, an administrator's client. Out: a kubeconfig of the service account, by TokenRequest.
The RBAC templates are kept plain, so that they can be read without helm; test_chart.py holds this reading equal to helm's own.
"""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from tests.end_to_end.kubernetes import Kubernetes
from tests.peers.kube import kubeconfig

CHART = Path(__file__).resolve().parents[2] / "charts" / "sluice"
RELEASE = "sluice"
PLAIN = ("serviceaccount.yaml", "clusterrole.yaml", "leases.yaml")
_LABELS = {"app.kubernetes.io/name": "sluice", "app.kubernetes.io/instance": RELEASE}


def rendered(namespace: str) -> list[dict[str, Any]]:
    """The objects of the plain templates for the release `sluice` in `namespace`. Fails on a template that is not plain any more."""
    text = "\n---\n".join((CHART / "templates" / name).read_text() for name in PLAIN)
    text = re.sub(r"\{\{- with \.Values\.serviceAccount\.annotations \}\}.*?\{\{- end \}\}", "", text, flags=re.DOTALL)
    text = re.sub(r"\{\{- (if \.Values\.rbac\.create|end) \}\}|\{\{ end \}\}", "", text)
    values = {'include "sluice.name" .': RELEASE, ".Release.Namespace": namespace, 'include "sluice.runtimeNamespace" .': namespace}
    for expression, value in values.items():
        text = text.replace("{{ " + expression + " }}", value)
    labels = "\n    ".join(f"{key}: {value}" for key, value in _LABELS.items())
    text = text.replace('{{- include "sluice.labels" . | nindent 4 }}', labels)
    assert "{{" not in text, f"not plain: {text[text.index('{{') :][:80]}"
    return [each for each in yaml.safe_load_all(text) if each]


def may_apply(namespace: str, into: tuple[str, ...]) -> list[dict[str, Any]]:
    """What `rbac.apply: [namespaces]` renders."""
    group = "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "name": RELEASE, "namespace": namespace}
    return [
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": f"{RELEASE}-apply", "namespace": each},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "admin"},
            "subjects": [subject],
        }
        for each in into
    ]


def may_impersonate(namespace: str) -> list[dict[str, Any]]:
    """What `rbac.apply: impersonate` renders."""
    group, name = "rbac.authorization.k8s.io", f"{RELEASE}-{namespace}-apply"
    rules = [{"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]}]
    binding = {"roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name}}
    binding["subjects"] = [{"kind": "ServiceAccount", "name": RELEASE, "namespace": namespace}]  # type: ignore[assignment]  # JSON
    made = {"ClusterRole": {"rules": rules}, "ClusterRoleBinding": binding}
    return [{"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": name}, **body} for kind, body in made.items()]


def service_account(admin: Kubernetes, folder: Path, *, namespace: str, into: tuple[str, ...]) -> Path:
    """Install the RBAC (namespaces have to be there) and return the kubeconfig of the service account."""
    admin.apply(*rendered(namespace), *may_apply(namespace, into))
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    answer = admin.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{RELEASE}/token", request)
    path = folder / "service-account.kubeconfig"
    path.write_text(json.dumps(kubeconfig(admin.cluster, {"token": answer["status"]["token"]})))
    path.chmod(0o600)
    return path
