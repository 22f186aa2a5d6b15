"""What is asked of the API server for a ServiceAccount."""

import base64
import json
from pathlib import Path

import pytest

from service.cluster.client import Cluster
from service.identities.accounts import Accounts, BadAccount
from tests.identities.clouds import ANNOTATIONS
from tests.identities.conftest import Api

ROLE = {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/alerts"}


async def test_token_is_asked_for_the_cloud_and_for_ten_minutes(cluster: Cluster, api: Api) -> None:
    found = await Accounts(cluster).read("apps", "fetch", "aws")
    assert found.token.reveal().count(".") == 2
    assert found.annotations == ANNOTATIONS
    assert api.asked == [{"audiences": ["sts.amazonaws.com"], "expirationSeconds": 600}]


async def test_account_that_cannot_be_used_is_named(cluster: Cluster, api: Api) -> None:
    with pytest.raises(BadAccount, match="ServiceAccount/apps/other does not exist"):
        await Accounts(cluster).read("apps", "other", "aws")
    del api.annotations["gcp.auth.fluxcd.io/workload-identity-provider"]
    with pytest.raises(BadAccount, match=r"ServiceAccount/apps/fetch: .*workload-identity-provider is missing"):
        await Accounts(cluster).read("apps", "fetch", "gcp")
    assert api.asked == []


async def test_right_that_is_missing_is_named(cluster: Cluster, api: Api) -> None:
    api.forbidden = True
    with pytest.raises(BadAccount, match=r"sluice has no right to use it \(chart: workloadIdentity\): not yours"):
        await Accounts(cluster).read("apps", "fetch", "aws")


@pytest.mark.real
async def test_real_api_server_signs_it(real_kubeconfig: Path) -> None:
    cluster = await Cluster.from_kubeconfig(real_kubeconfig)
    try:
        metadata = {"name": "alerts", "namespace": "default", "annotations": ROLE}
        await cluster.request(
            "POST", "/api/v1/namespaces/default/serviceaccounts", body={"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
        )
        found = await Accounts(cluster).read("default", "alerts", "aws")
        _, claims, _ = found.token.reveal().split(".")
        body = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        assert (body["aud"], body["sub"]) == (["sts.amazonaws.com"], "system:serviceaccount:default:alerts")
        assert body["exp"] - body["iat"] == 600
    finally:
        await cluster.close()
