"""One answer, from the push to the Pod that blocks: asked of a running service, and of the cluster alone."""

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from service.cli.whytree import lines
from service.compose.why.evidence import FromCluster
from service.compose.why.explain import Unknown, explain
from service.compose.why.memory import why_of
from service.kinds.meta import KUSTOMIZE_GROUP, ObjectKey
from service.state.deliverylog import TargetState
from service.state.inbox import NewDelivery
from service.state.outbox import EventRow, OutMessage
from tests.kustomizations.test_flow import app
from tests.kustomizations.test_health import WEB, is_waiting
from tests.kustomizations.town import SHARD, Town, config_map
from tests.triggers.scene import key

Why = Callable[[str, str, str], Awaitable[Mapping[str, Any] | None]]
RECEIVER = key("Receiver", "web")


async def asked(town: Town, why: Why, kind: str, name: str) -> dict[str, Any]:
    answer = await why(kind, town.namespace, name)
    assert answer is not None
    json.dumps(answer)
    return dict(answer)


def shown(answer: dict[str, Any]) -> str:
    return "\n".join(lines(answer))


async def with_broken_pod(town: Town) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-1", "labels": {"app": "web"}}}
    pods = f"/api/v1/namespaces/{town.namespace}/pods"
    await town.api.request("POST", pods, body=pod | {"spec": {"containers": [{"name": "web", "image": "shop:nope"}]}})
    state = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "shop:nope"'}}
    container = {"name": "web", "state": state, "ready": False, "restartCount": 0, "image": "shop:nope", "imageID": ""}
    status = {"phase": "Pending", "containerStatuses": [container]}
    await town.api.request("PATCH", f"{pods}/web-1/status", body={"status": status}, content_type="application/merge-patch+json")


async def test_a_push_that_concerns_one_is_told_to_both(hamlet: Town) -> None:
    hamlet.repository.commit(app("shop") | app("blog"))
    house = await hamlet.start()
    why = why_of(house)
    await hamlet.apply(hamlet.source(), hamlet.kustomization("shop"), hamlet.kustomization("blog"))
    await hamlet.at(hamlet.revision, "shop", "blog")
    await hamlet.quiet()
    stored = NewDelivery(receiver=RECEIVER, sender_type="github", delivery_id="72d3162e", body_digest="d", events_json="[]", trace="pushed")
    row = await house.inbox.put(stored)
    fleet = key("GitRepository", "fleet", namespace=hamlet.namespace)
    await house.inbox.targets(row, [TargetState(object=fleet, state="reconciled")])
    revision = hamlet.push({"shop/settings.yaml": config_map("shop", "2")})
    await hamlet.at(revision, "shop", "blog")
    await hamlet.quiet()

    shop = await asked(hamlet, why, "ks", "shop")
    assert shop["push"]["concerned"] is True
    assert shop["push"]["changedReads"] == ["file shop/settings.yaml"]
    assert shop["push"]["paths"] == ["shop/settings.yaml"]
    assert shop["answer"] == f"Kustomization/{hamlet.namespace}/shop is ready at {revision}: {shop['push']['said']}"
    assert (shop["delivery"]["sender"], shop["delivery"]["senderId"]) == ("github", "72d3162e")
    assert shop["lastRun"]["changes"] == [f"ConfigMap/{hamlet.namespace}/shop configured"]
    assert [each["step"] for each in shop["lastRun"]["steps"]] == ["build", "apply"]
    assert shop["lastRun"]["compared"] == "what changed"
    assert shop["source"]["fetchResult"] in ("succeeded", "unchanged")
    assert shop["health"] == []
    assert 500 < shop["next"]["inSeconds"] < 700

    blog = await asked(hamlet, why, "Kustomization", "blog")
    assert blog["push"]["concerned"] is False
    assert blog["push"]["said"].endswith(f"none of its {blog['push']['reads']} reads changed: moved without a run")
    assert blog["lastRun"]["revision"] != revision
    assert "moved without a run" in shown(blog)
    fleet_answer = await asked(hamlet, why, "gitrepo", "fleet")
    assert fleet_answer["source"]["revision"] == revision
    assert fleet_answer["delivery"]["senderId"] == "72d3162e"


async def test_the_answer_goes_down_to_the_pod(hamlet: Town) -> None:
    hamlet.repository.commit({"shop/web.yaml": WEB} | app("blog"))
    house = await hamlet.start()
    why = why_of(house)
    await with_broken_pod(hamlet)
    await hamlet.apply(hamlet.source(), hamlet.kustomization("shop", wait=True))
    await hamlet.apply(hamlet.kustomization("blog", dependsOn=[{"name": "shop"}]))
    await hamlet.wait("Kustomization", "shop", is_waiting)
    event = {"involvedObject": {"kind": "Kustomization", "namespace": hamlet.namespace, "name": "shop"}, "reason": "Progressing"}
    await house.outbox.add(EventRow(key="1", json=event))
    (stored, *_) = [each for each in await house.outbox.unmatched() if each.key == "1"]
    message = OutMessage(alert=key("Alert", "all"), provider=key("Provider", "slack"), payload="{}")
    await house.outbox.match(stored.id, [message])

    shop = await asked(hamlet, why, "Kustomization", "shop")
    said = 'Pod web-1: container web: ImagePullBackOff; Back-off pulling image "shop:nope"'
    assert shop["health"] == [
        {
            "object": f"Deployment/{hamlet.namespace}/web",
            "status": "InProgress",
            "message": "replicas: 0/1",
            "pods": [said],
        }
    ]
    place = f"Kustomization/{hamlet.namespace}/shop"
    assert shop["answer"] == f"{place} waits for health: Deployment/{hamlet.namespace}/web is InProgress: {said}"
    assert shop["next"] == {"waitsForHealth": True}
    assert (shop["alerts"][0]["state"], shop["alerts"][0]["reason"]) == ("queued", "Progressing")

    blog = await asked(hamlet, why, "ks", "blog")
    assert blog["answer"].startswith(f"Kustomization/{hamlet.namespace}/blog waits for {place}, which is not ready")

    web = await asked(hamlet, why, "deployment", "web")
    assert web["asked"]["owner"] == place
    assert web["asked"]["pods"] == [said]
    assert web["answer"].startswith(f"Deployment/{hamlet.namespace}/web is InProgress: {said}; it belongs to {place}, which waits")

    text = shown(web)
    assert said in text
    assert "when its health is decided" in text

    alone = await explain(FromCluster(hamlet.api), "ks", hamlet.namespace, "shop")
    assert alone["answer"] == shop["answer"]
    assert alone["health"] == shop["health"]
    assert "delivery" not in alone
    assert "from the cluster alone" in shown(alone)


async def test_a_chain_is_followed_to_the_one_that_blocks(hamlet: Town) -> None:
    hamlet.repository.commit(app("one") | app("two") | app("three") | {"one/broken.yaml": "a: ["})
    why = why_of(await hamlet.start())
    on = {"two": "one", "three": "two"}
    await hamlet.apply(hamlet.source(), hamlet.kustomization("one"))
    await hamlet.apply(*(hamlet.kustomization(name, dependsOn=[{"name": need}]) for name, need in on.items()))
    await hamlet.not_ready("one", "BuildFailed")
    await hamlet.not_ready("three", "DependencyNotReady")
    answer = await asked(hamlet, why, "ks", "three")
    prefix = f"Kustomization/{hamlet.namespace}"
    assert answer["answer"].startswith(f"{prefix}/three waits for {prefix}/one, which is not ready: kustomize build failed: ")
    assert answer["dependencies"][0]["dependencies"][0]["reason"] == "BuildFailed"
    one = await asked(hamlet, why, "ks", "one")
    assert one["answer"].startswith(f"{prefix}/one failed with BuildFailed: kustomize build failed: ")
    assert one["lastRun"]["result"] == "BuildFailed"
    await hamlet.apply(hamlet.kustomization("one", suspend=True))
    await hamlet.wait("Kustomization", "one", lambda seen: seen["spec"].get("suspend") is True)
    assert "suspended" in (await explain(FromCluster(hamlet.api), "ks", hamlet.namespace, "one"))["answer"]


async def test_what_is_not_there_is_said(hamlet: Town) -> None:
    house = await hamlet.start()
    why = why_of(house)
    await hamlet.apply(hamlet.kustomization("shop"))
    await hamlet.wait("Kustomization", "shop", lambda _: bool(house.catalog.all()))
    answer = await asked(hamlet, why, "ks", "shop")
    assert answer["source"] == {"object": f"GitRepository/{hamlet.namespace}/fleet", "missing": True}
    assert answer["answer"].endswith(f"has no source: GitRepository/{hamlet.namespace}/fleet is not there")
    assert await why("Deployment", hamlet.namespace, "web") is None
    for kind in ("ks", "Deployment"):
        with pytest.raises(Unknown):
            await explain(FromCluster(hamlet.api), kind, hamlet.namespace, "never")
    assert ObjectKey(group=KUSTOMIZE_GROUP, kind="Kustomization", namespace=hamlet.namespace, name="shop") in house.catalog.all()


async def test_receivers_alerts_and_providers_are_explained_by_what_went_through_them(hamlet: Town) -> None:
    house = await hamlet.start()
    why = why_of(house)
    group, labels = "notification.toolkit.fluxcd.io", {SHARD: hamlet.namespace}
    specs: dict[tuple[str, str], dict[str, Any]] = {
        ("Receiver", "v1"): {
            "type": "github",
            "events": ["push"],
            "secretRef": {"name": "hook"},
            "resources": [{"kind": "GitRepository", "name": "fleet"}],
        },
        ("Alert", "v1beta3"): {"providerRef": {"name": "it"}, "eventSources": [{"kind": "Kustomization", "name": "*"}]},
        ("Provider", "v1beta3"): {"type": "slack", "channel": "x", "secretRef": {"name": "slack"}},
    }
    for (kind, version), spec in specs.items():
        path = f"/apis/{group}/{version}/namespaces/{hamlet.namespace}/{kind.lower()}s"
        body = {"apiVersion": f"{group}/{version}", "kind": kind, "metadata": {"name": "it", "labels": labels}, "spec": spec}
        await hamlet.api.request("POST", path, body=body)
    about = {kind: ObjectKey(group=group, kind=kind, namespace=hamlet.namespace, name="it") for kind, _ in specs}
    new = NewDelivery(receiver=about["Receiver"], sender_type="github", delivery_id="d1", body_digest="d", events_json="[]", trace="t1")
    await house.inbox.done(await house.inbox.put(new), "nothing", "no object is meant")
    event = {"involvedObject": {"kind": "Kustomization", "namespace": "x", "name": "y"}, "reason": "BuildFailed", "severity": "error"}
    await house.outbox.add(EventRow(key="1", json=event))
    (stored,) = await house.outbox.unmatched()
    await house.outbox.match(stored.id, [OutMessage(alert=about["Alert"], provider=about["Provider"], payload="{}")])
    (message,) = await house.outbox.due(datetime.now(UTC))
    await house.outbox.rejected(message.id, "404 no_team")

    receiver = await asked(hamlet, why, "receiver", "it")
    assert (receiver["delivery"]["senderId"], receiver["delivery"]["verdict"]) == ("d1", "nothing")
    for kind in ("Alert", "provider"):
        told = (await asked(hamlet, why, kind, "it"))["alerts"]
        assert [(each["state"], each["error"], each["reason"]) for each in told] == [("rejected", "404 no_team", "BuildFailed")]
    assert "refused for good" in shown(await asked(hamlet, why, "Alert", "it"))
