"""Objects of all served versions come out typed, complete and in the newest form, or Invalid."""

import contextlib
import copy
import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from kinds_samples import everything, sample

from service.kinds.codec import Invalid, decode, refused_fields
from service.kinds.kustomize import Kustomization
from service.kinds.meta import ObjectKey
from service.kinds.notification import Alert, Provider, Receiver
from service.kinds.source import GitRepository
from service.kinds.table import BY_NAME, KINDS, Kind

MANIFESTS = sorted((Path(__file__).parent / "manifests").glob("*.yaml"))
SHA1, SHA256 = "5394cb7f48332b2de7c17dd8b8384bbc84b7e738", "ab" * 32
REFUSED_MANIFESTS = {
    "0-12-Kustomization-apps.yaml": ("spec.decryption",),
}
GIT = {
    "apiVersion": "source.toolkit.fluxcd.io/v1",
    "kind": "GitRepository",
    "metadata": {"name": "apps", "namespace": "flux-system"},
    "spec": {"url": "https://example.com/apps", "interval": "1m"},
}
KS = {
    "apiVersion": "kustomize.toolkit.fluxcd.io/v1beta2",
    "kind": "Kustomization",
    "metadata": {"name": "apps", "namespace": "flux-system"},
    "spec": {"interval": "10m", "prune": True, "sourceRef": {"kind": "GitRepository", "name": "apps"}},
}
RECEIVER = {
    "apiVersion": "notification.toolkit.fluxcd.io/v1",
    "kind": "Receiver",
    "metadata": {"name": "hook", "namespace": "flux-system"},
    "spec": {
        "type": "github",
        "secretRef": {"name": "token"},
        "resources": [{"kind": "GitRepository", "name": "*", "matchLabels": {"a": "b"}}],
    },
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["1m", "HEAD/" + SHA1, "0s"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.sampled_from(["name", "kind"]), inner, max_size=3),
    max_leaves=8,
)


def changed(obj: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {**obj, "spec": {name: value for name, value in {**obj["spec"], **spec}.items() if value is not ...}}


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_published_manifest_decodes(path: Path) -> None:
    obj = yaml.safe_load(path.read_text())
    kind = BY_NAME[obj["apiVersion"].partition("/")[0], obj["kind"]]
    typed = decode(kind.type, obj)
    assert (typed.metadata.name, typed.metadata.namespace) == (obj["metadata"]["name"], obj["metadata"].get("namespace", ""))
    assert refused_fields(obj) == REFUSED_MANIFESTS.get(path.name, ())


def test_manifests_hold_the_kinds_that_people_write_about() -> None:
    kinds = {"GitRepository", "OCIRepository", "HelmRepository", "Kustomization", "Alert", "Provider"}
    assert {path.name.split("-")[2] for path in MANIFESTS} == kinds


VERSIONS = [(kind, version) for kind in KINDS for version in kind.versions]


@pytest.mark.parametrize(("kind", "version"), VERSIONS, ids=lambda each: getattr(each, "kind", each))
def test_object_with_every_field_decodes_in_every_version(kind: Kind, version: str) -> None:
    obj = everything(kind) | {"apiVersion": f"{kind.group}/{version}"}
    if kind.kind == "Receiver":  # this field excludes another
        obj["spec"] = {**obj["spec"], "type": "generic-oidc", "secretRef": None}
    typed = decode(kind.type, obj)
    assert typed.api_version == obj["apiVersion"]
    assert typed.key == ObjectKey(group=kind.group, kind=kind.kind, namespace="b", name="a")
    assert pickle.loads(pickle.dumps(typed)) == typed


def test_git_repository_has_defaults() -> None:
    git = decode(GitRepository, GIT)
    assert (git.spec.timeout, git.spec.provider, git.spec.ref, git.spec.suspend) == (timedelta(seconds=60), "generic", None, False)
    assert (git.status.observed_generation, git.status.artifact, git.status.conditions) == (-1, None, ())


def test_kustomization_has_defaults() -> None:
    ks = decode(Kustomization, KS)
    assert (ks.spec.path, ks.spec.deletion_policy, ks.spec.force, ks.status.inventory) == ("", "MirrorPrune", False, None)
    assert ks.source_key == ObjectKey(group="source.toolkit.fluxcd.io", kind="GitRepository", namespace="flux-system", name="apps")


def test_receiver_alert_and_provider_have_defaults() -> None:
    receiver = decode(Receiver, RECEIVER)
    assert (receiver.spec.interval, receiver.spec.resources[0].api_version) == (timedelta(minutes=10), None)
    alert = decode(Alert, {"metadata": {"name": "a"}, "spec": {"providerRef": {"name": "p"}, "eventSources": []}})
    assert (alert.spec.event_severity, alert.provider_key.name) == ("info", "p")
    provider = decode(Provider, {"metadata": {"name": "p"}, "spec": {"type": "slack"}})
    assert (provider.spec.timeout, provider.spec.secret_ref) == (timedelta(seconds=15), None)


@pytest.mark.parametrize(
    ("spec", "timeout", "retry", "deletion"),
    [
        ({}, "9m30s", "10m", "delete"),
        ({"interval": "40s", "prune": False}, "30s", "40s", "orphan"),
        ({"timeout": "2m", "retryInterval": "5s", "deletionPolicy": "Orphan"}, "2m", "5s", "orphan"),
        ({"timeout": "1s", "deletionPolicy": "Delete", "prune": False}, "30s", "10m", "delete"),
    ],
)
def test_kustomization_times_and_deletion_are_those_of_flux(spec: dict[str, Any], timeout: str, retry: str, deletion: str) -> None:
    ks = decode(Kustomization, changed(KS, **spec)).spec
    seconds = {"9m30s": 570, "30s": 30, "2m": 120, "10m": 600, "40s": 40, "5s": 5}
    assert (ks.effective_timeout.total_seconds(), ks.effective_retry_interval.total_seconds()) == (seconds[timeout], seconds[retry])
    assert ks.on_deletion == deletion


def test_dependencies_and_health_checks_fill_their_gaps() -> None:
    spec = {"dependsOn": [{"name": "a"}, {"name": "b", "namespace": "other"}], "healthChecks": [{"kind": "Deployment", "name": "web"}]}
    ks = decode(Kustomization, changed(KS, **spec))
    assert [str(each) for each in ks.dependency_keys] == ["Kustomization/flux-system/a", "Kustomization/other/b"]
    assert ks.spec.health_checks[0].api_version == "apps/v1"


def test_status_of_old_versions_becomes_the_newest_form() -> None:
    artifact = {"path": "a", "url": "http://a", "revision": f"main/{SHA1}", "checksum": SHA256, "lastUpdateTime": "2026-01-01T00:00:00Z"}
    git = decode(GitRepository, GIT | {"apiVersion": "source.toolkit.fluxcd.io/v1beta1", "status": {"artifact": artifact}})
    assert git.status.artifact is not None
    assert (git.status.artifact.revision, git.status.artifact.digest) == (f"main@sha1:{SHA1}", f"sha256:{SHA256}")
    assert git.status.artifact.last_update_time == datetime(2026, 1, 1, tzinfo=UTC)
    receiver = decode(Receiver, RECEIVER | {"status": {"url": "/hook/abc"}})
    assert receiver.status.webhook_path == "/hook/abc"
    ks = decode(Kustomization, KS | {"status": {"lastAppliedRevision": f"HEAD/{SHA1}"}})
    assert ks.status.last_applied_revision == f"sha1:{SHA1}"


def test_status_of_a_live_kustomization_is_read() -> None:
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "ReconciliationSucceeded",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    history = {
        "digest": f"sha256:{SHA256}",
        "firstReconciled": "2026-01-01T00:00:00Z",
        "lastReconciled": "2026-01-02T00:00:00Z",
        "lastReconciledDuration": "1.512345678s",
        "lastReconciledStatus": "ReconciliationSucceeded",
        "totalReconciliations": 3,
        "metadata": {"revision": "x"},
    }
    status = {"conditions": [condition], "inventory": {"entries": [{"id": "apps_web_apps_Deployment", "v": "v1"}]}, "history": [history]}
    ks = decode(Kustomization, KS | {"status": status})
    assert ks.status.inventory is not None
    assert [(entry.id, entry.v) for entry in ks.status.inventory] == [("apps_web_apps_Deployment", "v1")]
    assert ks.status.conditions[0].to_json() == condition | {"observedGeneration": 0}
    assert ks.status.history[0].last_reconciled_duration == timedelta(seconds=1.512345)


@pytest.mark.parametrize(
    ("obj", "field"),
    [
        (changed(GIT, interval="soon"), "spec.interval"),
        (changed(GIT, interval="-1m"), "spec.interval"),
        (changed(GIT, interval=60), "spec.interval"),
        (changed(GIT, interval=...), "spec.interval"),
        (changed(GIT, url="git@example.com:a/b"), "spec.url"),
        (changed(GIT, url=""), "spec.url"),
        (changed(GIT, secretRef="token"), "spec.secretRef"),
        (changed(GIT, secretRef={}), "spec.secretRef.name"),
        (changed(GIT, secretRef={"name": ""}), "spec.secretRef.name"),
        (changed(GIT, secretRef={"name": "../../api"}), "spec.secretRef.name"),
        (changed(KS, sourceRef={"kind": "GitRepository", "name": ".."}), "spec.sourceRef.name"),
        (changed(KS, sourceRef={"kind": "GitRepository", "name": "a", "namespace": "b/c"}), "spec.sourceRef.namespace"),
        (RECEIVER | {"metadata": {"name": "a/b"}}, "metadata.name"),
        (changed(GIT, ref={"branch": 5}), "spec.ref.branch"),
        (changed(GIT, suspend="true"), "spec.suspend"),
        (changed(KS, prune=...), "spec.prune"),
        (changed(KS, sourceRef=...), "spec.sourceRef"),
        (changed(KS, sourceRef={"kind": "GitRepository"}), "spec.sourceRef.name"),
        (changed(KS, dependsOn=[{"name": "a"}, {}]), "spec.dependsOn[1].name"),
        (changed(KS, commonMetadata={"labels": {"a": 1}}), "spec.commonMetadata.labels.a"),
        (changed(KS, targetNamespace="x" * 64), "spec.targetNamespace"),
        (changed(KS, patchesStrategicMerge=["kind: A"]), "spec.patchesStrategicMerge[0]"),
        (changed(KS, patchesJson6902=[{"patch": [{"op": "mend", "path": "/"}], "target": {}}]), "spec.patchesJson6902[0].patch[0].op"),
        (changed(RECEIVER, secretRef=...), "spec.secretRef"),
        (changed(RECEIVER, resources=None), "spec.resources"),
        (changed(RECEIVER, resources=[{"kind": "Pod", "name": "a"}]), "spec.resources[0].kind"),
        (RECEIVER | {"metadata": {}}, "metadata.name"),
        (RECEIVER | {"metadata": {"name": "a", "labels": {"a": None}}}, "metadata.labels.a"),
        (RECEIVER | {"metadata": {"name": "a", "deletionTimestamp": "now"}}, "metadata.deletionTimestamp"),
        (GIT | {"spec": None}, "spec"),
        (GIT | {"kind": "Bucket"}, "kind"),
        (GIT | {"apiVersion": "source.toolkit.fluxcd.io/v1alpha1"}, "apiVersion"),
        (GIT | {"status": {"conditions": [{"type": "Ready"}]}}, "status.conditions[0].status"),
    ],
)
def test_wrong_shape_names_its_field(obj: dict[str, Any], field: str) -> None:
    kind = next(kind for kind in KINDS if obj["apiVersion"].startswith(kind.group))
    with pytest.raises(Invalid) as error:
        decode(kind.type, obj)
    assert error.value.field == field


def test_invalid_survives_a_worker_process() -> None:
    error = pickle.loads(pickle.dumps(Invalid("spec.interval", "is missing")))
    assert (error.field, error.message, str(error)) == ("spec.interval", "is missing", "spec.interval: is missing")


@given(st.sampled_from(KINDS), JSON)
def test_any_json_is_invalid_at_worst(kind: Kind, obj: Any) -> None:
    for whole in (obj, {"metadata": {"name": "a"}, "spec": obj, "status": obj}):
        with contextlib.suppress(Invalid):
            decode(kind.type, whole)


def places(value: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(found for name, each in inner for found in places(each, (*at, name)))]


WHOLE = [(kind, whole, places(whole)[1:]) for kind in KINDS for whole in (everything(kind), sample(kind))]


@given(st.sampled_from(WHOLE), st.data())
def test_whole_object_with_anything_in_one_place_is_invalid_at_worst(
    whole: tuple[Kind, dict[str, Any], list[Any]], data: st.DataObject
) -> None:
    kind, obj, spots = whole
    obj = copy.deepcopy(obj)
    *outer, last = data.draw(st.sampled_from(spots))
    inner: Any = obj
    for name in outer:
        inner = inner[name]
    inner[last] = data.draw(JSON)
    with contextlib.suppress(Invalid):
        refused_fields(obj)
    with contextlib.suppress(Invalid):
        assert decode(kind.type, obj).metadata.name
