"""Receivers' conditions, as users of Flux read them."""

from typing import Any

import pytest

from service.cluster.client import Cluster
from service.cluster.discovery import Discovery
from service.reconcile.outcome import Failed, Stalled
from service.triggers.index import ReceiverIndex, webhook_path
from service.triggers.receiver import ReceiverReconciler
from tests.triggers.kube import Kube
from tests.triggers.scene import SECRET_PATH, TOKEN, key, receiver, secret

WEB = key("Receiver", "web")
PATH = webhook_path(TOKEN, "web", "apps")
ISSUER = {"issuerURL": "https://ci.example.com", "validations": [{"expression": "claims.sub == 'x'", "message": "not x"}]}
OIDC = {"type": "generic-oidc", "secretRef": None}
AT = "/apis/notification.toolkit.fluxcd.io/v1/namespaces/apps/receivers/web"


class Scene:
    """One Receiver in the server and in the cache, which follows the server before each run."""

    def __init__(self, kube: Kube, cluster: Cluster, *, shadow: bool = False, **spec: Any) -> None:
        self.kube = kube
        self.kube.objects[AT] = receiver(**spec)
        self.cache: dict[tuple[str, str], dict[str, Any]] = {}
        self.index = ReceiverIndex(cluster, self.cache)
        self.reconciler = ReceiverReconciler(cluster, Discovery(cluster), objects=self.cache, index=self.index, shadow=shadow)

    async def run(self) -> str:
        self.cache.clear()
        if AT in self.kube.objects:
            self.cache["apps", "web"] = self.kube.objects[AT]
        return (await self.reconciler.reconcile(WEB, ())).result

    @property
    def status(self) -> dict[str, Any]:
        return self.kube.objects[AT].get("status", {})

    @property
    def conditions(self) -> dict[str, tuple[str, str, str]]:
        return {c["type"]: (c["status"], c["reason"], c["message"]) for c in self.status.get("conditions", [])}


async def test_is_ready_with_flux_message_and_finalizer(kube: Kube, cluster: Cluster) -> None:
    kube.objects[SECRET_PATH] = secret()
    scene = Scene(kube, cluster)
    assert await scene.run() == "succeeded"
    assert scene.conditions == {"Ready": ("True", "Succeeded", f"Receiver initialized for path: {PATH}")}
    assert (scene.status["webhookPath"], scene.status["observedGeneration"]) == (PATH, 1)
    assert kube.objects[AT]["metadata"]["finalizers"] == ["finalizers.fluxcd.io"]
    writes = len(kube.wrote())
    assert await scene.run() == "unchanged"
    assert len(kube.wrote()) == writes


async def test_notes_the_requested_reconcile(kube: Kube, cluster: Cluster) -> None:
    kube.objects[SECRET_PATH] = secret()
    scene = Scene(kube, cluster)
    kube.objects[AT]["metadata"]["annotations"] = {"reconcile.fluxcd.io/requestedAt": "now"}
    await scene.run()
    assert scene.status["lastHandledReconcileAt"] == "now"


async def test_says_which_secret_is_missing_and_recovers(kube: Kube, cluster: Cluster) -> None:
    scene = Scene(kube, cluster)
    with pytest.raises(Failed) as caught:
        await scene.run()
    assert caught.value.reason == "TokenNotFound"
    assert scene.conditions["Ready"][:2] == ("False", "TokenNotFound")
    assert "Secret apps/token is missing" in scene.conditions["Ready"][2]
    assert "webhookPath" not in scene.status
    kube.objects[SECRET_PATH] = secret()
    assert await scene.run() == "succeeded"
    assert set(scene.conditions) == {"Ready"}


async def test_a_lost_secret_blanks_the_path(kube: Kube, cluster: Cluster) -> None:
    kube.objects[SECRET_PATH] = secret()
    scene = Scene(kube, cluster)
    await scene.run()
    del kube.objects[SECRET_PATH]
    with pytest.raises(Failed):
        await scene.run()
    assert "webhookPath" not in scene.status
    assert scene.index.find(PATH) is None


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"type": "generic-oidc"}, "spec.oidcProviders"),
        ({"secretRef": None}, "spec.secretRef"),
        ({"oidcProviders": [ISSUER]}, "spec.oidcProviders"),
        ({"type": "generic-oidc", "oidcProviders": [ISSUER]}, "spec.secretRef"),
        ({"type": "generic-oidc", "secretRef": None, "oidcProviders": [ISSUER, ISSUER]}, "spec.oidcProviders"),
        ({"from": "the future"}, "spec.from"),
    ],
)
async def test_stalls_on_what_is_not_carried_out(kube: Kube, cluster: Cluster, spec: dict[str, Any], field: str) -> None:
    kube.objects[SECRET_PATH] = secret()
    scene = Scene(kube, cluster, **spec)
    with pytest.raises(Stalled, match=field):
        await scene.run()
    assert scene.conditions["Stalled"][:2] == ("True", "ValidationFailed")
    assert field in scene.conditions["Ready"][2]
    assert scene.status["observedGeneration"] == 1


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"resourceFilter": "req."}, "failed to parse the CEL expression 'req.': ERROR: <input>:1:5"),
        ({"resourceFilter": "foo == 1"}, "undeclared reference to 'foo'"),
        ({"resourceFilter": "claims.sub == 'x'"}, "undeclared reference to 'claims'"),
        ({"resourceFilter": "req.ref"}, "expected bool"),
        ({"resources": [{"kind": "GitRepository", "name": "fleet", "filter": "'x'"}]}, "expected bool"),
        ({**OIDC, "oidcProviders": [ISSUER | {"validations": [{"expression": "req.a == 1", "message": ""}]}]}, "reference to 'req'"),
        ({**OIDC, "oidcProviders": [ISSUER | {"variables": [{"name": "a-b", "expression": "1"}]}]}, "a-b"),
    ],
)
async def test_stalls_on_expressions_as_flux_does(kube: Kube, cluster: Cluster, spec: dict[str, Any], words: str) -> None:
    kube.objects[SECRET_PATH] = secret()
    scene = Scene(kube, cluster)
    await scene.run()
    kube.objects[AT]["spec"] |= spec
    kube.objects[AT]["metadata"]["generation"] = 2
    with pytest.raises(Stalled, match="terminally"):
        await scene.run()
    for condition, status in (("Ready", "False"), ("Stalled", "True")):
        assert scene.conditions[condition][:2] == (status, "InvalidCELExpression")
        assert words in scene.conditions[condition][2]
    assert (scene.status["observedGeneration"], scene.status["webhookPath"]) == (2, PATH)


async def test_generic_oidc_needs_no_secret(kube: Kube, cluster: Cluster) -> None:
    scene = Scene(kube, cluster, type="generic-oidc", secretRef=None, oidcProviders=[ISSUER])
    assert await scene.run() == "succeeded"
    assert scene.status["webhookPath"] == webhook_path(b"", "web", "apps")


async def test_stalls_on_an_object_of_another_shape(kube: Kube, cluster: Cluster) -> None:
    scene = Scene(kube, cluster, interval={"no": "duration"})
    with pytest.raises(Stalled):
        await scene.run()
    writes = len(kube.wrote())
    assert "spec.interval" in scene.conditions["Stalled"][2]
    with pytest.raises(Stalled):
        await scene.run()
    assert len(kube.wrote()) == writes


async def test_leaves_a_suspended_receiver_alone(kube: Kube, cluster: Cluster) -> None:
    scene = Scene(kube, cluster, suspend=True)
    assert await scene.run() == "suspended"
    assert scene.status == {}


async def test_a_suspended_receiver_notes_a_requested_reconcile_and_nothing_else(kube: Kube, cluster: Cluster) -> None:
    scene = Scene(kube, cluster, suspend=True)
    kube.objects[AT]["metadata"]["annotations"] = {"reconcile.fluxcd.io/requestedAt": "now"}
    assert await scene.run() == "suspended"
    assert scene.status == {"lastHandledReconcileAt": "now"}
    writes = len(kube.wrote())
    assert await scene.run() == "suspended"
    assert len(kube.wrote()) == writes


async def test_lets_a_deleted_receiver_go(kube: Kube, cluster: Cluster) -> None:
    kube.objects[SECRET_PATH] = secret()
    scene = Scene(kube, cluster)
    await scene.run()
    kube.objects[AT]["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["finalizers.fluxcd.io", "else"]}
    assert await scene.run() == "gone"
    assert kube.objects[AT]["metadata"]["finalizers"] == ["else"]
    del kube.objects[AT]
    assert await scene.run() == "gone"


async def test_shadow_writes_nothing_but_knows_the_path(kube: Kube, cluster: Cluster) -> None:
    kube.objects[SECRET_PATH] = secret()
    scene = Scene(kube, cluster, shadow=True)
    await scene.run()
    assert kube.wrote() == []
    assert scene.index.find(PATH) is not None


async def test_an_api_server_that_is_away_is_tried_again(kube: Kube, cluster: Cluster) -> None:
    scene = Scene(kube, cluster)
    kube.away = True
    with pytest.raises(Failed, match="API server"):
        await scene.run()
