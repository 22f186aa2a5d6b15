"""Everything around the service for one test: a fleet on a Git server, Slack's stand-in, the objects in the cluster, the service itself.

In: a kubeconfig. Out: `World`, with the few things that a user or a Git host does (push, hook, look). Each world has its own namespaces,
its own Leases and its own shard label, so that several share one cluster.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.end_to_end import chart
from tests.end_to_end.fleet import APPS, STAGES, Fleet, serving, settings
from tests.end_to_end.kubernetes import Kubernetes, Object, condition, is_ready
from tests.end_to_end.slack import BOT_TOKEN, Slack
from tests.end_to_end.sluice_process import Answer, Sluice

TOKEN = "hook-token-of-the-test"
SHARD = "sharding.fluxcd.io/key"
NAMES = tuple(f"{app}-{stage}" for app in APPS for stage in STAGES)
SOURCE, KUSTOMIZE, NOTIFICATION = "source.toolkit.fluxcd.io/v1", "kustomize.toolkit.fluxcd.io/v1", "notification.toolkit.fluxcd.io"


@dataclass(slots=True, kw_only=True)
class World:
    """What a test holds."""

    namespace: str
    kube: Kubernetes
    fleet: Fleet
    git_url: str
    slack: Slack
    sluice: Sluice
    bot: bool = False
    """Slack gets messages from a bot, which changes them; else by an incoming webhook."""

    @property
    def repository(self) -> str:
        """The fleet's clone URL."""
        return f"{self.git_url}/{self.fleet.name}.git"

    def made(self, api: str, kind: str, name: str, spec: Mapping[str, Any]) -> Object:
        """A Flux object of this world's shard."""
        metadata = {"name": name, "namespace": self.namespace, "labels": {SHARD: self.namespace}}
        return {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": dict(spec)}

    def secret(self, name: str, **data: str) -> Object:
        """A Secret."""
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": self.namespace}, "stringData": data}

    def source(self, name: str, **spec: Any) -> Object:
        """A GitRepository of the fleet; `spec` changes what is said here."""
        return self.made(SOURCE, "GitRepository", name, {"interval": "10m", "url": self.repository, "ref": {"branch": "main"}, **spec})

    def kustomization(self, name: str, path: str, *, source: str = "fleet", **spec: Any) -> Object:
        """A Kustomization."""
        given = {"interval": "10m", "retryInterval": "2s", "path": path, "prune": True, "timeout": "20s", **spec}
        return self.made(KUSTOMIZE, "Kustomization", name, {**given, "sourceRef": {"kind": "GitRepository", "name": source}})

    def receiver(self, name: str, *resources: Mapping[str, Any], **spec: Any) -> Object:
        """A Receiver of type github for pushes."""
        given = {"type": "github", "events": ["ping", "push"], "secretRef": {"name": "hook"}, "resources": list(resources)}
        return self.made(f"{NOTIFICATION}/v1", "Receiver", name, {**given, **spec})

    def namespaces(self) -> list[Object]:
        """Its own, and those that the overlays go into."""
        names = (self.namespace, *(f"{self.namespace}-{stage}" for stage in STAGES))
        return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names]

    def objects(self) -> list[Object]:
        """What a user applies: Secrets, source, a Kustomization for each overlay, hook, provider, alert."""
        provider = {"type": "slack", "channel": "deployments", "secretRef": {"name": "slack"}}
        alert = {"providerRef": {"name": "slack"}, "eventSeverity": "info", "eventSources": [{"kind": "Kustomization", "name": "*"}]}
        return [
            self.secret("hook", token=TOKEN),
            self.secret(
                "slack", **({"address": self.slack.api_url, "token": BOT_TOKEN} if self.bot else {"address": self.slack.webhook_url})
            ),
            self.made(f"{NOTIFICATION}/v1beta3", "Provider", "slack", provider),
            self.made(f"{NOTIFICATION}/v1beta3", "Alert", "everything", alert),
            self.source("fleet"),
            *(self.kustomization(f"{app}-{stage}", f"./apps/{app}/{stage}") for app in APPS for stage in STAGES),
            self.receiver("hook", {"kind": "GitRepository", "name": "fleet"}),
        ]

    def install(self) -> None:
        """Apply everything and wait for the first sync."""
        self.kube.apply(*self.objects())
        self.wait_revision(self.fleet.head)

    def wait_revision(self, commit: str, names: Sequence[str] = NAMES, *, seconds: float = 30) -> None:
        """Return when these Kustomizations are Ready at the commit."""
        revision = f"main@sha1:{commit}"
        for name in names:
            self.wait(
                "Kustomization", name, lambda seen: is_ready(seen) and seen["status"]["lastAppliedRevision"] == revision, seconds=seconds
            )

    def wait(self, kind: str, name: str, test: Any, *, seconds: float = 20) -> Object:
        """An object of this world's namespace, as soon as `test` is true of it. Says the end of the service's log when it never is."""
        try:
            return self.kube.wait(kind, self.namespace, name, test, seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\nthe service's log ends:\n{self.sluice.running.tail()}") from None

    def wait_not_ready(self, kind: str, name: str, reason: str, *, seconds: float = 20) -> str:
        """The message of Ready=False with this reason."""
        seen = self.wait(
            kind, name, lambda seen: condition(seen).get("status") == "False" and condition(seen)["reason"] == reason, seconds=seconds
        )
        message: str = condition(seen)["message"]
        return message

    def greet(self, greeting: str, *, app: str = "shop", stage: str = "production", subject: str = "Change the greeting") -> str:
        """Push a change of one app's settings in one stage; returns the commit."""
        return self.fleet.push({f"apps/{app}/{stage}/settings.yaml": settings(app, greeting)}, subject=subject)

    def greeting(self, *, app: str = "shop", stage: str = "production") -> str:
        """What stands in the cluster."""
        seen = self.kube.get("ConfigMap", f"{self.namespace}-{stage}", f"{app}-settings")
        return seen["data"]["greeting"] if seen else ""

    def wait_greeting(self, greeting: str, *, app: str = "shop", stage: str = "production", seconds: float = 20) -> float:
        """Seconds until the cluster has it."""
        start = time.monotonic()
        namespace, name = f"{self.namespace}-{stage}", f"{app}-settings"
        try:
            self.kube.wait("ConfigMap", namespace, name, lambda seen: seen["data"]["greeting"] == greeting, seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\nthe service's log ends:\n{self.sluice.running.tail()}") from None
        return time.monotonic() - start

    def hook_path(self, name: str = "hook") -> str:
        """The Receiver's path, when it has one."""
        seen = self.wait("Receiver", name, lambda seen: is_ready(seen) and seen["status"].get("webhookPath"))
        path: str = seen["status"]["webhookPath"]
        return path

    def hook(self, commit: str, *, ref: str = "refs/heads/main", name: str = "hook", **more: Any) -> Answer:
        """Send GitHub's signed push payload for a commit."""
        return self.sluice.hook(self.hook_path(name), json.dumps(self.payload(commit, ref=ref, **more)).encode(), token=TOKEN)

    def payload(self, commit: str, *, ref: str = "refs/heads/main", **more: Any) -> Object:
        """GitHub's push payload, its parts that say what was pushed."""
        repository = {"full_name": "team/fleet", "clone_url": self.repository, "html_url": self.repository, "default_branch": "main"}
        return {"ref": ref, "before": "0" * 40, "after": commit, "deleted": False, "repository": repository, "commits": [], **more}

    def failures(self) -> list[Object]:
        """Log lines of level error: a test that expects none says so."""
        return [line for line in self.sluice.log() if line.get("level") == "error"]


def install_crds(kube: Kubernetes) -> None:
    """What the chart installs, where the cluster does not have them yet."""
    for path in sorted((chart.CHART / "crds").glob("*.yaml")):
        definition = yaml.safe_load(path.read_text())
        name = definition["metadata"]["name"]
        if kube.get("CustomResourceDefinition", "", name) is None:
            kube.apply(definition)
        kube.wait("CustomResourceDefinition", "", name, lambda seen: condition(seen, "Established").get("status") == "True")


@contextmanager
def world(folder: Path, kubeconfig: Path, namespace: str, *, with_rbac: bool = False, arguments: Sequence[str] = ()) -> Iterator[World]:
    """All of it, with the namespaces made and the service not started yet.

    `with_rbac` runs the service with the chart's own rights (a real cluster); otherwise it has those of the kubeconfig.
    """
    kube = Kubernetes(kubeconfig)
    install_crds(kube)
    with ExitStack() as stack:
        (folder / "git").mkdir()
        fleet = Fleet(folder / "git", prefix=namespace)
        git_url = stack.enter_context(serving(folder / "git"))
        slack = stack.enter_context(Slack())
        scope = [f"--watch-label-selector={SHARD}={namespace}", f"--runtime-namespace={namespace}"]
        made = World(namespace=namespace, kube=kube, fleet=fleet, git_url=git_url, slack=slack, sluice=Sluice(folder / "sluice", ()))
        kube.apply(*made.namespaces())
        if with_rbac:
            targets = tuple(f"{namespace}-{stage}" for stage in STAGES)
            kubeconfig = chart.service_account(kube, folder, namespace=namespace, into=targets)
        made.sluice = stack.enter_context(Sluice(folder / "sluice", [f"--kubeconfig={kubeconfig}", *scope, *arguments]))
        yield made
