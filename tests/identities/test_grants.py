"""A cluster's token becomes credentials at stand-ins of the clouds that check it, and they are kept as long as they should be."""

import asyncio
import ssl
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from providers.identity import aws_keys, azure_token
from service.cluster.client import Cluster
from service.identities.accounts import Accounts
from service.identities.grants import Grants, NotGranted, Wanted
from service.identities.remotes import User, Way, code_commit_user, to_code_commit, to_dev_ops, to_registry
from service.outbound import Outbound
from tests.identities import clouds
from tests.identities.clouds import KEY_ID, REGISTRY, SESSION, Clouds
from tests.identities.conftest import Api

Sky = tuple[Clouds, int]
WANTED = Wanted(namespace="apps", account="fetch", cloud="azure", purpose="a")


def now() -> datetime:
    return datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


async def got(grants: Grants, cloud: str, way: Way[User]) -> tuple[str, str]:
    found = await grants.get(replace(WANTED, cloud=cloud, purpose=way.purpose), way.exchange)
    return found.name, found.password


async def test_registries_are_shown_what_their_cloud_gives(grants: Grants, sky: Sky) -> None:
    assert await got(grants, "aws", to_registry("aws", REGISTRY, now)) == ("AWS", "ecr-password")
    assert sky[0].asked == ["sts.eu-west-1.amazonaws.com/", "api.ecr.eu-west-1.amazonaws.com/"]
    user, password = await got(grants, "azure", to_registry("azure", "fleet.azurecr.io", now))
    assert (user, password) == ("00000000-0000-0000-0000-000000000000", "acr of fleet.azurecr.io")
    assert await got(grants, "gcp", to_registry("gcp", "europe-docker.pkg.dev", now)) == ("oauth2accesstoken", "ya29")
    assert set(sky[0].subjects) == {"system:serviceaccount:apps:fetch"}


async def test_public_registry_of_aws_is_asked_in_its_region(grants: Grants, sky: Sky) -> None:
    assert await got(grants, "aws", to_registry("aws", "public.ecr.aws", now)) == ("AWS", "ecr-password")
    assert sky[0].asked == ["sts.us-east-1.amazonaws.com/", "api.ecr-public.us-east-1.amazonaws.com/"]


@pytest.mark.parametrize(
    ("cloud", "host"),
    [
        ("aws", "123456789012.dkr.ecr.eu-west-1.amazonaws.com.example.com"),
        ("aws", "example.com"),
        ("aws", f"evil-{REGISTRY}"),
        ("azure", "azurecr.io"),
        ("azure", "fleet.azurecr.io:8443"),
        ("gcp", "docker.pkg.dev.example.com"),
        ("gcp", "xgcr.io"),
    ],
)
def test_credentials_are_made_for_the_cloud_s_own_registries_alone(cloud: str, host: str) -> None:
    with pytest.raises(NotGranted, match="is no registry of"):
        to_registry(cloud, host, now)


async def test_git_hosts_are_shown_a_token_or_a_signature(grants: Grants) -> None:
    way = to_dev_ops("https://dev.azure.com/org/project/_git/fleet")
    assert await grants.get(WANTED, way.exchange) == "entra 499b84ac-1321-427f-aa17-267ca6975798/.default"
    url = "https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/fleet"
    keys = to_code_commit(url)
    user = code_commit_user(await grants.get(replace(WANTED, cloud="aws", purpose=keys.purpose), keys.exchange), url, now())
    assert user.name == f"{KEY_ID}%{SESSION}"
    said = "GIT\n/v1/repos/fleet\n\nhost:git-codecommit.eu-west-1.amazonaws.com\n\nhost\n"
    wanted = clouds.signature("20261121/eu-west-1/codecommit/aws4_request", "20261121T120000", said)
    assert user.password == f"20261121T120000Z{wanted}"
    assert wanted not in repr(user)


@pytest.mark.parametrize("url", ["http://dev.azure.com/a/b/_git/c", "https://dev.azure.com.example.com/a", "https://example.com/x"])
def test_git_credentials_are_made_for_the_cloud_s_own_hosts_alone(url: str) -> None:
    for way in (to_dev_ops, to_code_commit):
        with pytest.raises(NotGranted, match=r"spec\.url is no https address"):
            way(url)


async def test_one_exchange_serves_all_who_ask_at_once_and_later(grants: Grants, sky: Sky, api: Api) -> None:
    found = await asyncio.gather(*(grants.get(WANTED, lambda identity: azure_token(identity, "s")) for _ in range(20)))
    assert set(found) == {"entra s"}
    await grants.get(WANTED, lambda identity: azure_token(identity, "s"))
    assert len(sky[0].asked) == len(api.asked) == 1


async def test_credentials_are_nobody_else_s(grants: Grants, sky: Sky, api: Api) -> None:
    async def ask(wanted: Wanted = WANTED) -> None:
        await grants.get(wanted, lambda identity: azure_token(identity, "s"))

    await ask()
    await ask(replace(WANTED, purpose="another"))
    assert len(sky[0].asked) == 2
    api.uid = "u-2"  # deleted, and made again
    await ask()
    api.annotations["iam.example.com/other"] = "x"
    await ask()
    assert len(sky[0].asked) == 4
    with pytest.raises(NotGranted, match="does not exist"):  # not out of what was kept
        await ask(replace(WANTED, account="gone"))
    with pytest.raises(NotGranted, match="does not exist"):
        await ask(replace(WANTED, namespace="other"))


async def test_credentials_that_end_or_were_refused_are_asked_for_again(grants: Grants, sky: Sky) -> None:
    sky[0].lifetime = 0
    for _ in range(2):
        await grants.get(WANTED, lambda identity: azure_token(identity, "s"))
    assert len(sky[0].asked) == 2
    sky[0].lifetime = 3600
    await grants.get(WANTED, lambda identity: azure_token(identity, "s"))
    await grants.get(WANTED, lambda identity: azure_token(identity, "s"))
    assert len(sky[0].asked) == 3
    grants.doubt(WANTED)
    await grants.get(WANTED, lambda identity: azure_token(identity, "s"))
    assert len(sky[0].asked) == 4


async def test_a_cloud_that_says_no_is_told_without_its_words(grants: Grants, sky: Sky) -> None:
    sky[0].refuse = {"sts.eu-west-1.amazonaws.com"}
    with pytest.raises(NotGranted, match="let the role trust the cluster's issuer") as caught:
        await grants.get(replace(WANTED, cloud="aws"), lambda identity: aws_keys(identity, "eu-west-1"))
    assert "secret words" not in str(caught.value)
    sky[0].redirect = {"login.microsoftonline.com": "https://dev.azure.com/steal"}
    with pytest.raises(NotGranted):
        await grants.get(WANTED, lambda identity: azure_token(identity, "s"))
    assert "dev.azure.com/steal" not in sky[0].asked


async def test_certificate_that_is_not_trusted_and_addresses_that_are_refused(cluster: Cluster, sky: Sky) -> None:
    doubted = Grants(Accounts(cluster), clouds.OutboundTo(sky[1]), tls=ssl.create_default_context())
    with pytest.raises(NotGranted, match="Certificate"):
        await doubted.get(WANTED, lambda identity: azure_token(identity, "s"))
    proxied = replace(WANTED, proxy="http://169.254.169.254:80")
    with pytest.raises(NotGranted, match=r"not allowed: .*metadata"):
        await Grants(Accounts(cluster), Outbound()).get(proxied, lambda identity: azure_token(identity, "s"))
    assert sky[0].asked == []
