"""The demo's fleet repository: two apps with a base and overlays for staging and production, and the objects that make sluice follow it."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAMESPACE = "flux-system"
TOKEN = "demo-hook-token"  # noqa: S105 - a demo on loopback
APPS = {"shop": ("registry.example.com/shop", "Welcome to the shop"), "blog": ("registry.example.com/blog", "Read all about it")}
STAGES = {"staging": 1, "production": 3}

_BASE = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {app}
spec:
  replicas: 1
  selector:
    matchLabels:
      app: {app}
  template:
    metadata:
      labels:
        app: {app}
    spec:
      containers:
      - name: web
        image: {image}:1.0.0
        envFrom:
        - configMapRef:
            name: {app}-settings
        ports:
        - containerPort: 8080
---
apiVersion: v1
kind: Service
metadata:
  name: {app}
spec:
  selector:
    app: {app}
  ports:
  - port: 80
    targetPort: 8080
"""
_OVERLAY = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: {stage}
resources:
- ../base
labels:
- pairs:
    stage: {stage}
replicas:
- name: {app}
  count: {replicas}
images:
- name: {image}
  newTag: 1.0.0
configMapGenerator:
- name: {app}-settings
  envs:
  - settings.env
"""


def files() -> dict[str, str]:
    """Path -> text of the first commit."""
    made = {"README.md": "The fleet: apps/NAME/base and one overlay for each stage.\n"}
    for app, (image, greeting) in APPS.items():
        made[f"apps/{app}/base/app.yaml"] = _BASE.format(app=app, image=image)
        made[f"apps/{app}/base/kustomization.yaml"] = "resources:\n- app.yaml\n"
        for stage, replicas in STAGES.items():
            made[f"apps/{app}/{stage}/kustomization.yaml"] = _OVERLAY.format(app=app, image=image, stage=stage, replicas=replicas)
            made[f"apps/{app}/{stage}/settings.env"] = f"GREETING={greeting}\n"
    return made


class Fleet:
    """A bare repository and a work tree beside it."""

    def __init__(self, folder: Path) -> None:
        self.bare = folder / "git" / "fleet.git"
        self.work = folder / "fleet"

    def create(self) -> str:
        """Make both, commit and push the first state; returns the commit."""
        self.bare.parent.mkdir(parents=True, exist_ok=True)
        _git("init", "-q", "--bare", "-b", "main", str(self.bare))
        _git("--git-dir", str(self.bare), "config", "http.receivepack", "true")
        _git("init", "-q", "-b", "main", str(self.work))
        for key, value in (("user.name", "Ada Demo"), ("user.email", "ada@example.com"), ("commit.gpgsign", "false")):
            _git("config", key, value, cwd=self.work)
        for path, text in files().items():
            (self.work / path).parent.mkdir(parents=True, exist_ok=True)
            (self.work / path).write_text(text)
        return self.commit("Start the fleet", push_to=str(self.bare))

    def commit(self, subject: str, *, push_to: str) -> str:
        """Commit everything in the work tree and push it; returns the commit."""
        _git("add", "-A", cwd=self.work)
        _git("commit", "-q", "-m", subject, cwd=self.work)
        _git("push", "-q", push_to, "main", cwd=self.work)
        return _git("rev-parse", "HEAD", cwd=self.work).strip()


def objects(*, git_url: str, slack_url: str) -> list[Mapping[str, Any]]:
    """What a user would apply with kubectl: namespaces, Secrets, the source, a Kustomization for each overlay, hook and alert."""

    def made(api: str, kind: str, name: str, spec: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}

    def secret(name: str, **data: str) -> Mapping[str, Any]:
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE}, "stringData": data}

    namespaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in (NAMESPACE, *STAGES)]
    source = {"kind": "GitRepository", "name": "fleet"}
    kustomizations = [
        made(
            "kustomize.toolkit.fluxcd.io/v1",
            "Kustomization",
            f"{app}-{stage}",
            {
                "interval": "10m",
                "retryInterval": "30s",
                "path": f"./apps/{app}/{stage}",
                "prune": True,
                "wait": True,
                "timeout": "2m",
                "sourceRef": source,
            },
        )
        for app in APPS
        for stage in STAGES
    ]
    notification = "notification.toolkit.fluxcd.io/"
    return [
        *namespaces,
        secret("hook", token=TOKEN),
        secret("slack", address=slack_url),
        made("source.toolkit.fluxcd.io/v1", "GitRepository", "fleet", {"interval": "10m", "url": git_url, "ref": {"branch": "main"}}),
        *kustomizations,
        made(
            notification + "v1",
            "Receiver",
            "github",
            {"type": "github", "events": ["ping", "push"], "secretRef": {"name": "hook"}, "resources": [source]},
        ),
        made(notification + "v1beta3", "Provider", "slack", {"type": "slack", "channel": "deployments", "secretRef": {"name": "slack"}}),
        made(
            notification + "v1beta3",
            "Alert",
            "everything",
            {"providerRef": {"name": "slack"}, "eventSeverity": "info", "eventSources": [{"kind": "Kustomization", "name": "*"}]},
        ),
    ]


def _git(*arguments: str, cwd: Path | None = None) -> str:
    done = subprocess.run(["git", *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise RuntimeError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
