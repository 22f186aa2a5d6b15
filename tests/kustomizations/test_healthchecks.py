"""Which objects are waited for, and what is said of those that do not come."""

import json
from typing import Any

from service.cluster.built import Built
from service.cluster.inventory import ObjectId
from service.kinds.codec import decode
from service.kinds.kustomize import Kustomization
from service.kustomizations.healthchecks import checks_of
from service.kustomizations.reports import _lasting
from tests.kustomizations.test_health import WEB, is_waiting
from tests.kustomizations.town import Town, ready


def built(kind: str, name: str, **spec: Any) -> Built:
    body = json.dumps({"kind": kind, "spec": spec}).encode()
    return Built(api_version="batch/v1", kind=kind, namespace="apps", name=name, digest="", body=body, annotations={}, labels={})


def kustomization(**spec: Any) -> Kustomization:
    whole = {"interval": "1m", "prune": True, "sourceRef": {"kind": "GitRepository", "name": "fleet"}, **spec}
    metadata = {"name": "shop", "namespace": "apps", "uid": "1"}
    return decode(
        Kustomization, {"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": metadata, "spec": whole}
    )


def test_all_that_was_applied_is_waited_for_but_what_was_left_alone() -> None:
    objects = [built("Job", "migrate", ttlSecondsAfterFinished=5), built("Job", "seed"), built("CronJob", "tidy")]
    checks = checks_of(kustomization(wait=True), objects, skipped={objects[2].object})
    assert [each.name for each in checks.ids] == ["migrate", "seed"]
    assert [each.name for each in checks.may_vanish] == ["migrate"]
    assert checks_of(kustomization(), objects).ids == ()


def test_named_checks_count_once_and_never_the_object_itself() -> None:
    itself = {"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "name": "shop", "namespace": "apps"}
    other = itself | {"name": "blog"}
    listed = [itself, other, other, {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "namespace": "else"}]
    checks = checks_of(kustomization(healthChecks=listed), ())
    assert checks.ids == (
        ObjectId("apps", "blog", "kustomize.toolkit.fluxcd.io", "Kustomization", "v1"),
        ObjectId("else", "web", "apps", "Deployment", "v1"),
    )


def test_the_words_of_pods_do_not_make_a_failure_a_new_one() -> None:
    first = "health check failed after 1s: timeout waiting for: [Deployment/a/b status: 'InProgress']\n  Pod b-1: restarts: 1"
    again = "health check failed after 2s: timeout waiting for: [Deployment/a/b status: 'InProgress']\n  Pod b-2: restarts: 9"
    assert _lasting(first) == _lasting(again)
    assert _lasting("build failed:\nline 2") == "build failed:\nline 2"


async def test_a_failure_names_what_is_not_ready_and_the_pods_own_reason(hamlet: Town) -> None:
    hamlet.repository.commit({"shop/web.yaml": WEB})
    await hamlet.start()
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web-1", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "nginx:nope"}]},
    }
    pods = f"/api/v1/namespaces/{hamlet.namespace}/pods"
    await hamlet.api.request("POST", pods, body=pod)
    state = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "nginx:nope"'}}
    containers = [{"name": "web", "state": state, "ready": False, "restartCount": 0, "image": "nginx:nope", "imageID": ""}]
    status = {"phase": "Pending", "containerStatuses": containers}
    await hamlet.api.request("PATCH", f"{pods}/web-1/status", body={"status": status}, content_type="application/merge-patch+json")
    await hamlet.apply(hamlet.source(), hamlet.kustomization("shop", wait=True, retryInterval="10m"))
    await hamlet.wait("Kustomization", "shop", is_waiting)
    stuck = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    await hamlet.patch("Deployment", "web", {"status": {"observedGeneration": 1, "replicas": 1, "conditions": [stuck]}}, sub="/status")
    seen = await hamlet.not_ready("shop", "HealthCheckFailed")
    first, *words = ready(seen)["message"].splitlines()
    assert first.endswith(f"failed early due to stalled resources: [Deployment/{hamlet.namespace}/web status: 'Failed']")
    assert words == [
        f"Deployment/{hamlet.namespace}/web: Progress deadline exceeded",
        '  Pod web-1: container web: ImagePullBackOff; Back-off pulling image "nginx:nope"',
    ]


async def test_a_job_that_vanishes_when_it_is_done_counts_as_done(hamlet: Town) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "x", "image": "x"}]}}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "migrate"},
        "spec": {"ttlSecondsAfterFinished": 0, "template": template},
    }
    hamlet.repository.commit({"shop/job.yaml": json.dumps(job)})
    await hamlet.start()
    await hamlet.apply(hamlet.source(), hamlet.kustomization("shop", wait=True))
    await hamlet.wait("Kustomization", "shop", is_waiting)
    await hamlet.api.request(
        "DELETE", f"/apis/batch/v1/namespaces/{hamlet.namespace}/jobs/migrate", query={"propagationPolicy": "Background"}
    )
    await hamlet.at(hamlet.revision, "shop")
