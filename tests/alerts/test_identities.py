"""Whose cloud identity a Provider has: that of a ServiceAccount of its namespace, where the operator lets it."""

import pytest

from service.alerts.table import Table
from service.cluster.client import Cluster
from service.identities.accounts import Accounts
from service.identities.grants import Grants
from service.kinds.codec import decode
from service.kinds.notification import Provider
from tests.alerts.conftest import World, alert, event, provider
from tests.alerts.test_static import cluster, kube
from tests.triggers.kube import Kube

__all__ = ["cluster", "kube"]  # fixtures


@pytest.mark.parametrize(
    ("spec", "allowed", "words"),
    [
        ({"type": "awssns", "serviceAccountName": "alerts"}, True, ""),
        ({"type": "awssns", "serviceAccountName": "alerts"}, False, "with --workload-identity only"),
        ({"type": "slack", "serviceAccountName": "alerts"}, True, "knows no workload identity"),
    ],
)
def test_identity_is_the_operator_s_to_allow(spec: dict[str, str], allowed: bool, words: str) -> None:
    found = Table(identities=allowed).problem(decode(Provider, provider(**spec)))
    assert words in found if words else found == ""


async def test_account_that_cannot_be_used_keeps_the_messages(world: World, kube: Kube, cluster: Cluster) -> None:
    world.table, world.grants = Table(identities=True), Grants(Accounts(cluster), world.outbound)
    world.put(alert(), provider(type="awssns", channel="arn:aws:sns:eu-west-1:123456789012:flux", serviceAccountName="alerts"))
    async with world.running():
        await world.tell(event())
        assert "ServiceAccount/apps/alerts does not exist: create it" in await world.warned()
        await world.settled(queued=1)


async def test_secret_and_account_together_are_an_error(world: World) -> None:
    world.table = Table(identities=True)
    world.secrets["apps", "keys"] = {"accessKeyID": b"A", "secretAccessKey": b"B"}
    spec = {"channel": "arn:aws:sns:eu-west-1:123456789012:flux", "secretRef": {"name": "keys"}, "serviceAccountName": "alerts"}
    world.put(alert(), provider(type="awssns", **spec))
    async with world.running():
        await world.tell(event())
        assert "choose one of them" in await world.warned()
