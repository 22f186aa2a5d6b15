"""`sluice alert test`, offline: a manifest, an event, and what is printed."""

import json
from pathlib import Path

import pytest

from service.cli import main

MANIFEST = """
apiVersion: notification.toolkit.fluxcd.io/v1beta3
kind: Provider
metadata: {name: chat, namespace: apps}
spec: {type: discord, secretRef: {name: hook}}
---
apiVersion: v1
kind: Secret
metadata: {name: hook, namespace: apps}
stringData: {address: "https://discord.com/api/webhooks/1/very-hush"}
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "provider.yaml"
    path.write_text(MANIFEST)
    return path


def test_dry_run_prints_the_request_without_the_secret(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["alert", "test", "apps/chat", "--manifest", str(manifest), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("POST https://discord.com/***\n")
    assert "nothing has happened" in out
    assert "hush" not in out


def test_given_event_is_what_is_shown(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = {
        "involvedObject": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "namespace": "apps", "name": "web"},
        "severity": "error", "reason": "UpgradeFailed", "message": "timed out", "timestamp": "2026-11-21T12:00:00Z",
        "metadata": {"helm.toolkit.fluxcd.io/revision": "1.2.3"},
    }  # fmt: skip
    (tmp_path / "event.json").write_text(json.dumps(body))
    assert (
        main(["alert", "test", "chat", "-n", "apps", "--manifest", str(manifest), "--event", str(tmp_path / "event.json"), "--dry-run"])
        == 0
    )
    out = capsys.readouterr().out
    assert "helmrelease/web.apps" in out
    assert "timed out" in out
    assert "1.2.3" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["apps/other"], "does not hold it"),
        (["apps/chat", "--event", "/nowhere"], "is not an event"),
    ],
)
def test_what_cannot_be_used_is_told(manifest: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    assert main(["alert", "test", *arguments, "--manifest", str(manifest), "--dry-run"]) == 1
    assert words in capsys.readouterr().err


def test_manifest_that_is_none_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x").write_text("kind: [")
    assert main(["alert", "test", "chat", "--manifest", str(tmp_path / "x"), "--dry-run"]) == 1
    assert "not a YAML file" in capsys.readouterr().err


SHAPED = """
apiVersion: notification.toolkit.fluxcd.io/v1beta3
kind: Provider
metadata: {name: chat, namespace: apps}
spec: {type: slack, channel: "#deploys", secretRef: {name: bot}}
---
apiVersion: v1
kind: Secret
metadata: {name: bot, namespace: apps}
stringData: {token: xoxb-hush}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: words, namespace: apps}
data: {title: "{{ object.name }} {{ event.reason }}"}
---
apiVersion: notification.toolkit.fluxcd.io/v1beta3
kind: Alert
metadata:
  name: on-call
  namespace: apps
  annotations:
    notification.sluice.dev/template: words
    notification.sluice.dev/on: event.severity == 'error'
    notification.sluice.dev/digest: 1h
spec: {providerRef: {name: chat}, eventSources: [{kind: Kustomization, name: "*"}]}
"""


def test_dry_run_of_an_alert_shows_its_template_trigger_and_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "shaped.yaml"
    path.write_text(SHAPED)
    arguments = ["alert", "test", "apps/chat", "--manifest", str(path), "--dry-run", "--alert", "on-call"]
    assert main([*arguments, "--severity", "error"]) == 0
    seen = capsys.readouterr()
    assert "❌ sluice-test HealthCheckFailed" in seen.out
    assert "hush" not in seen.out
    assert "for the digest of 1h" in seen.err
    assert main(arguments) == 0
    assert "the trigger `on` does not let such an event pass" in capsys.readouterr().err
    assert main([*arguments[:-1], "other"]) == 1
    assert "does not hold Alert/apps/other" in capsys.readouterr().err


@pytest.mark.parametrize(("length", "by", "words"), [("-1h", "ann", "--for"), ("2h", " ", "who mutes"), ("1000h", "ann", "within 30 days")])
def test_mute_that_says_too_little_is_refused_before_the_cluster_is_asked(
    length: str, by: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["alert", "mute", "apps/on-call", f"--for={length}", "--by", by, "--reason", "r", "--kubeconfig", "/nowhere"]) == 1
    assert words in capsys.readouterr().err
