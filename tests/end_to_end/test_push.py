"""The main job: a push, its signed webhook, the object changed, the message at Slack. On both API servers; on the real one with the
chart's RBAC and not as system:masters. Each test starts the service itself, so it takes longer than others."""

import json
import subprocess
from pathlib import Path

from tests.end_to_end.kubernetes import Kubernetes, condition
from tests.end_to_end.slack import BOT_TOKEN
from tests.end_to_end.sluice_process import Sluice
from tests.end_to_end.world import NAMES, NOTIFICATION, World


def test_a_push_is_live_and_slack_knows(town: World) -> None:
    town.sluice.start()
    town.install()
    assert {town.greeting(app=app, stage=stage) for app in ("shop", "blog") for stage in ("staging", "production")} == {"hello"}
    commit = town.greet("good morning", subject="Greet the early ones")
    answer = town.hook(commit)
    assert answer.status == 200
    took = town.wait_greeting("good morning")
    town.wait_revision(commit, ["shop-production"])
    message = town.slack.wait_about("shop-production", commit[:7])
    assert "ConfigMap" in message.text
    assert "Greet the early ones" in message.text or "shop-settings" in message.text
    town.wait_revision(commit, NAMES)  # the others move to the new revision without a build
    assert not town.slack.about("blog-staging", commit[:7], "configured")
    assert took < 10
    assert town.failures() == []


def test_what_a_push_leaves_behind_is_flux_own_form(village: World) -> None:
    village.sluice.start()
    village.install()
    source = village.kube.get("GitRepository", village.namespace, "fleet")
    assert source is not None
    source = village.wait("GitRepository", "fleet", lambda seen: seen["status"].get("artifact", {}).get("digest", "").startswith("sha256:"))
    artifact = source["status"]["artifact"]
    assert artifact["revision"] == f"main@sha1:{village.fleet.head}"
    path = artifact["url"].split("/", 3)[3]
    assert village.sluice.fetch("cluster", f"/{path}")[:2] == b"\x1f\x8b"
    seen = village.kube.get("Kustomization", village.namespace, "shop-production")
    assert seen is not None
    entries = {entry["id"] for entry in seen["status"]["inventory"]["entries"]}
    target = f"{village.namespace}-production"
    assert entries == {f"{target}_shop-settings__ConfigMap", f"{target}_shop__Service", f"{target}_shop_apps_Deployment"}
    assert seen["metadata"]["finalizers"] == ["finalizers.fluxcd.io"]
    assert condition(seen)["reason"] == "ReconciliationSucceeded"
    assert condition(seen)["message"] == f"Applied revision: main@sha1:{village.fleet.head}"
    applied = village.kube.get("ConfigMap", target, "shop-settings")
    assert applied is not None
    assert applied["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"] == "shop-production"
    assert "kustomize-controller" in {entry["manager"] for entry in applied["metadata"]["managedFields"]}


def test_what_is_taken_out_of_git_is_taken_out_of_the_cluster(town: World) -> None:
    town.sluice.start()
    town.install()
    overlay = town.fleet.work / "apps/shop/staging/kustomization.yaml"
    commit = town.fleet.push(
        {
            "apps/shop/staging/kustomization.yaml": overlay.read_text().replace("- settings.yaml\n", ""),
            "apps/shop/staging/settings.yaml": None,
        }
    )
    assert town.hook(commit).status == 200
    town.kube.wait_gone("ConfigMap", f"{town.namespace}-staging", "shop-settings")
    town.wait_revision(commit, ["shop-staging"])
    assert town.greeting(stage="production") == "hello"
    town.slack.wait_about("shop-staging", "deleted")


def test_deleting_a_kustomization_prunes_what_it_applied(town: World) -> None:
    town.sluice.start()
    town.install()
    town.kube.delete("Kustomization", town.namespace, "blog-staging")
    town.kube.wait_gone("Kustomization", town.namespace, "blog-staging")
    town.kube.wait_gone("ConfigMap", f"{town.namespace}-staging", "blog-settings")
    assert town.greeting(app="blog", stage="production") == "hello"


def test_drift_is_mended_when_asked_for(village: World) -> None:
    village.sluice.start()
    village.install()
    target = f"{village.namespace}-production"
    village.kube.patch("ConfigMap", target, "shop-settings", {"data": {"greeting": "changed by hand"}})
    asked = {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now-please"}}}
    village.kube.patch("Kustomization", village.namespace, "shop-production", asked)
    village.wait_greeting("hello")
    village.wait("Kustomization", "shop-production", lambda seen: seen["status"].get("lastHandledReconcileAt") == "now-please")


def test_slack_by_bot_token(village: World) -> None:
    village.sluice.start()
    provider = {"type": "slack", "channel": "deployments", "address": village.slack.api_url, "secretRef": {"name": "bot"}}
    village.kube.apply(*village.objects())
    village.kube.apply(village.secret("bot", token=BOT_TOKEN), village.made(f"{NOTIFICATION}/v1beta3", "Provider", "slack", provider))
    village.wait_revision(village.fleet.head)
    commit = village.greet("by token")
    village.hook(commit)
    message = village.slack.wait_about("shop-production", commit[:7])
    assert message.path == "/api/chat.postMessage"
    assert message.body["channel"] == "deployments"


def test_shadow_mode_writes_nothing_and_sends_nothing(village: World) -> None:
    village.sluice = Sluice(village.sluice.folder, [*village.sluice.arguments, "--shadow"])
    with village.sluice:
        village.kube.apply(*village.objects())
        before = {
            kind: village.kube.list(kind, village.namespace) for kind in ("GitRepository", "Kustomization", "Receiver", "Lease", "Event")
        }
        village.sluice.start()
        village.sluice.wait_log(lambda lines: sum("shop-production" in json.dumps(line) for line in lines) > 0)
        after = {kind: village.kube.list(kind, village.namespace) for kind in before}
        assert after == before
        assert village.greeting() == ""
        assert village.slack.attempts == 0


def test_the_embedded_api_is_all_that_is_needed(tmp_path: Path) -> None:
    """`sluice serve --embedded`: one process, its own API, a kubeconfig for kubectl; it is all there again after a kill."""
    folder = tmp_path / "api"
    with Sluice(tmp_path / "sluice", [f"--embedded={folder}", "--simulate-workloads"]).start() as sluice:
        kube = Kubernetes(folder / "kubeconfig")
        kube.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept", "namespace": "default"}, "data": {"a": "b"}})
        command = ["kubectl", "--kubeconfig", str(folder / "kubeconfig"), "get", "receivers,kustomizations,gitrepositories", "-A"]
        assert _runs(command)
        sluice.kill()
        sluice.start()
        kube = Kubernetes(folder / "kubeconfig")
        kept = kube.get("ConfigMap", "default", "kept")
        assert kept is not None
        assert kept["data"] == {"a": "b"}
        assert sluice.stop() == 0


def _runs(command: list[str]) -> bool:
    """Whether kubectl is content; true where there is no kubectl, which nothing else here needs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except FileNotFoundError:
        return True
    assert done.returncode == 0, done.stderr
    return True
