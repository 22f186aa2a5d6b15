"""A source without a Secret logs in as its ServiceAccount: image pull secrets, or what its cloud gives at stand-ins that check it."""

import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from service.cluster.client import Cluster
from service.identities.accounts import Accounts
from service.identities.grants import Grants
from tests.identities import clouds
from tests.identities.clouds import REGISTRY, Clouds
from tests.identities.conftest import Api, api, authority, cluster, signer
from tests.sources import helmbench
from tests.sources.bench import Bench, opened
from tests.sources.registry import StandIn, tarball

__all__ = ["api", "authority", "cluster", "signer"]

ACCOUNT = "source.sluice.dev/service-account"
CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
FILES: dict[str, bytes | None] = {"app.yaml": b"kind: ConfigMap\n"}
PASSWORDS = {
    REGISTRY: ("AWS", "ecr-password"),
    "fleet.azurecr.io": ("00000000-0000-0000-0000-000000000000", "acr of fleet.azurecr.io"),
    "europe-docker.pkg.dev": ("oauth2accesstoken", "ya29"),
}


class Network:
    """All hosts on one port: registries of clouds that want a log-in, and the clouds. `refuse`: registries that take none."""

    def __init__(self, signer: clouds.Cluster) -> None:
        self.registry, self.clouds = StandIn(), Clouds(signer)
        self.seen: list[tuple[str, str]] = []
        self.refuse = False

    async def answer(self, request: web.Request) -> web.StreamResponse:
        host = request.headers["Host"]
        if host not in PASSWORDS or request.path == "/oauth2/exchange":
            return await self.clouds.answer(request)
        given = request.headers.get("Authorization", "")
        self.seen.append((host, given))
        if given != aiohttp.encode_basic_auth(*PASSWORDS[host]) or self.refuse:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="cloud"'})
        return await self.registry.answer(request)


@pytest.fixture
async def network(signer: clouds.Cluster) -> Network:
    made = Network(signer)
    made.registry.push("1.0", tarball(FILES))
    return made


@pytest.fixture
async def bench(
    tmp_path: Path, workers: Any, network: Network, cluster: Cluster, authority: tuple[Path, ssl.SSLContext]
) -> AsyncIterator[Bench]:
    async with opened("OCIRepository", tmp_path, workers) as made, clouds.served(network.answer, authority[1]) as port:
        made.outbound = clouds.OutboundTo(port)
        made.grants = Grants(Accounts(cluster), made.outbound, tls=ssl.create_default_context(cafile=authority[0]))
        made.secrets["ca"] = {"ca.crt": authority[0].read_bytes()}
        made.pull_secrets["fetch"] = ()
        made.restart()
        yield made


def spec(provider: str, host: str = REGISTRY, **more: Any) -> dict[str, Any]:
    found = {"url": f"oci://{host}/team/app", "interval": "1m", "ref": {"tag": "1.0"}, "provider": provider}
    return {**found, "certSecretRef": {"name": "ca"}, "serviceAccountName": "fetch", **more}


@pytest.mark.parametrize(("provider", "host"), list(zip(("aws", "azure", "gcp"), PASSWORDS, strict=True)))
async def test_artifact_is_pulled_as_the_account(bench: Bench, network: Network, api: Api, provider: str, host: str) -> None:
    bench.api.put(spec(provider, host))
    await bench.run()
    assert bench.api.ready()[0] == "True", bench.api.ready()
    asked = len(network.clouds.asked)
    await bench.run()
    assert len(network.clouds.asked) == asked
    assert len(api.asked) == 1


async def test_refused_log_in_is_told_and_asked_for_anew(bench: Bench, network: Network) -> None:
    network.refuse = True
    bench.api.put(spec("aws"))
    await bench.run()
    assert bench.api.ready()[:2] == ("False", "AuthenticationFailed")
    assert "ecr-password" not in bench.api.ready()[2]
    network.refuse = False
    await bench.run()
    assert bench.api.ready()[0] == "True"
    assert network.clouds.asked.count("api.ecr.eu-west-1.amazonaws.com/") == 2


@pytest.mark.parametrize(
    ("more", "allowed", "reason", "words"),
    [
        ({}, False, "FeatureGateDisabled", "spec.serviceAccountName with spec.provider aws: carried out with --workload-identity only"),
        ({"serviceAccountName": ""}, True, "InvalidProviderConfiguration", "spec.provider aws needs spec.serviceAccountName"),
        ({"serviceAccountName": "gone"}, True, "AuthenticationFailed", "failed to get service account 'apps/gone': there is none"),
        ({"provider": "gcp"}, True, "AuthenticationFailed", f"failed to get credential from gcp: {REGISTRY} is no registry of gcp"),
    ],
)
async def test_what_gives_no_identity_is_named(bench: Bench, network: Network, more: Any, allowed: bool, reason: str, words: str) -> None:
    if not allowed:
        bench.grants = None
        bench.restart()
    bench.api.put(spec("aws") | more)
    await bench.run()
    assert bench.api.ready()[:2] == ("False", reason)
    assert words in bench.api.ready()[2]
    assert network.seen == network.clouds.asked == []
    assert (bench.api.condition("Stalled") is not None) == (reason != "AuthenticationFailed")


async def test_cloud_that_says_no_is_told(bench: Bench, network: Network) -> None:
    network.clouds.refuse = {"sts.eu-west-1.amazonaws.com"}
    bench.api.put(spec("aws"))
    await bench.run()
    assert bench.api.ready()[:2] == ("False", "AuthenticationFailed")
    assert "let the role trust the cluster's issuer" in bench.api.ready()[2]


async def test_secrets_come_before_the_identity(bench: Bench, network: Network) -> None:
    auths = {REGISTRY: {"username": "AWS", "password": "ecr-password"}}
    bench.secrets["pull"] = {".dockerconfigjson": json.dumps({"auths": auths}).encode()}
    bench.pull_secrets["fetch"] = ("pull",)
    bench.api.put(spec("aws"))
    await bench.run()
    assert bench.api.ready()[0] == "True"
    assert network.clouds.asked == []


@pytest.fixture
async def charts(
    tmp_path: Path, workers: Any, network: Network, cluster: Cluster, authority: tuple[Path, ssl.SSLContext]
) -> AsyncIterator[helmbench.HelmBench]:
    async with helmbench.opened(tmp_path, workers) as made, clouds.served(network.answer, authority[1]) as port:
        made.outbound = clouds.OutboundTo(port)
        made.grants = Grants(Accounts(cluster), made.outbound, tls=ssl.create_default_context(cafile=authority[0]))
        made.secrets["ca"] = {"ca.crt": authority[0].read_bytes()}
        made.restart()
        network.registry.push("1.0.0", helmbench.chart("app", "1.0.0"), media_type=CHART)
        yield made


async def test_charts_are_pulled_as_the_account_of_the_annotation(charts: helmbench.HelmBench, network: Network) -> None:
    registry = {"url": f"oci://{REGISTRY}/team", "type": "oci", "certSecretRef": {"name": "ca"}}
    charts.chart(chart="app", version="1.x", sourceRef={"kind": "HelmRepository", "name": "museum"})
    charts.api.put("HelmRepository", "museum", {**registry, "provider": "aws"})
    await charts.run("HelmChart", "web")
    _, reason, words = charts.condition("HelmChart", "web") or ("", "", "")
    assert (reason, words) == (
        "InvalidProviderConfiguration",
        f"spec.provider aws needs the annotation {ACCOUNT}: sluice lends nobody its own identity. Or set generic, and name a Secret",
    )
    charts.pull_secrets["fetch"] = ()
    charts.api.put("HelmRepository", "museum", {**registry, "provider": "aws"}, annotations={ACCOUNT: "fetch"})
    await charts.run("HelmChart", "web")
    assert charts.condition("HelmChart", "web") == ("True", "ChartPullSucceeded", "pulled 'app' chart with version '1.0.0'")
    assert network.clouds.asked.count("api.ecr.eu-west-1.amazonaws.com/") == 1


@pytest.mark.parametrize("more", [{}, {"secretRef": {"name": "pull"}}], ids=["of the account", "of secretRef"])
async def test_charts_are_pulled_with_a_docker_configuration(charts: helmbench.HelmBench, network: Network, more: Any) -> None:
    registry = {"url": f"oci://{REGISTRY}/team", "type": "oci", "certSecretRef": {"name": "ca"}}
    charts.secrets["pull"] = {
        ".dockerconfigjson": json.dumps({"auths": {REGISTRY: {"username": "AWS", "password": "ecr-password"}}}).encode()
    }
    charts.pull_secrets["builder"] = ("pull",)
    charts.api.put("HelmRepository", "museum", {**registry, **more}, annotations={} if more else {ACCOUNT: "builder"})
    charts.chart(chart="app", version="1.0.0", sourceRef={"kind": "HelmRepository", "name": "museum"})
    await charts.run("HelmChart", "web")
    assert (charts.condition("HelmChart", "web") or ("",))[0] == "True"
    assert network.clouds.asked == []
