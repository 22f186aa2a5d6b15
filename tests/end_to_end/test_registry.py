"""A real registry tells the service of a push: the one OCIRepository that follows it is asked to reconcile, which another controller does.

Needs the real registry; the cluster is the embedded one, and a real kube-apiserver with the chart's rights where there is one.
"""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.world import TOKEN, World
from tests.peers.registry import Registry

pytestmark = pytest.mark.real
REQUESTED_AT = "reconcile.fluxcd.io/requestedAt"
NAME = "ocirepositories.source.toolkit.fluxcd.io"
DEFINITION: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": NAME},
    "spec": {
        "group": "source.toolkit.fluxcd.io",
        "scope": "Namespaced",
        "names": {"kind": "OCIRepository", "listKind": "OCIRepositoryList", "plural": "ocirepositories", "singular": "ocirepository"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                    }
                },
            }
        ],
    },
}


def oci(town: World, name: str, url: str, tag: str) -> dict[str, Any]:
    made = town.made("source.toolkit.fluxcd.io/v1", "OCIRepository", name, {"url": url, "interval": "10m", "ref": {"tag": tag}})
    made["metadata"]["labels"] = {"team": "shop"}
    return made


def asked(town: World, name: str) -> str:
    seen = town.kube.get("OCIRepository", town.namespace, name)
    assert seen is not None
    found: str = seen["metadata"].get("annotations", {}).get(REQUESTED_AT, "")
    return found


@pytest.mark.parametrize("annotated", [False, True], ids=["spec.type", "annotation"])
def test_a_push_to_a_registry_asks_for_the_source_that_follows_it(town: World, peers: Any, tmp_path: Path, annotated: bool) -> None:
    peers.need("registry")
    town.kube.apply(DEFINITION)
    town.kube.wait("CustomResourceDefinition", "", NAME, lambda seen: "Established" in str(seen.get("status")))
    town.sluice.start()
    star = {"kind": "OCIRepository", "name": "*", "matchLabels": {"team": "shop"}}
    receiver = town.receiver("registry", star, type="generic-hmac" if annotated else "distribution", events=[])
    if annotated:
        receiver["metadata"]["annotations"] = {"notification.sluice.dev/type": "distribution"}
    town.kube.apply(town.secret("hook", token=TOKEN), receiver)
    hook = f"http://127.0.0.1:{town.sluice.ports['listen']}{town.hook_path('registry')}"
    with Registry(tmp_path / "registry", hook=hook, token=TOKEN) as registry:
        url = f"oci://{registry.host}/team/shop"
        town.kube.apply(oci(town, "follows", url, "1.0"), oci(town, "pinned", url, "0.9"), oci(town, "other", f"{url}-other", "1.0"))
        registry.push("team/shop", "1.0", b"hello")
        town.kube.wait("OCIRepository", town.namespace, "follows", lambda seen: asked(town, "follows") != "")
        first = asked(town, "follows")
        registry.pull("team/shop", "1.0")  # as the source's controller now does: it must not start all over again
        time.sleep(1)
        assert asked(town, "follows") == first
        assert (asked(town, "pinned"), asked(town, "other")) == ("", "")
        registry.push("team/shop", "1.0", b"hello again")
        town.kube.wait("OCIRepository", town.namespace, "follows", lambda seen: asked(town, "follows") not in ("", first))
    assert town.failures() == []
