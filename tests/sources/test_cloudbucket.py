"""Buckets of the clouds as a ServiceAccount: S3 by signed requests, Google's and Azure's by a token, through a proxy, at stand-ins."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from service.cluster.client import Cluster
from service.identities.accounts import Accounts
from service.identities.grants import Grants
from service.outbound import Outbound, Policy
from tests.identities import clouds
from tests.identities.clouds import Clouds
from tests.identities.conftest import Api, api, authority, cluster, signer
from tests.sources.bench import Bench, opened
from tests.sources.s3 import StandIn
from tests.sources.test_gitlogin import proxy

__all__ = ["api", "authority", "cluster", "signer"]

S3, GOOGLE, AZURE = "s3.eu-west-1.amazonaws.com", "storage.googleapis.com", "https://fleet.blob.core.windows.net"
BLOBS = (
    "<EnumerationResults><Blobs><Blob><Name>a.yaml</Name><Properties><Last-Modified>Sat, 21 Nov 2026 10:00:00 GMT</Last-Modified>"
    "<Content-Length>5</Content-Length><Content-Type>text/plain</Content-Type><Etag>{}</Etag></Properties></Blob></Blobs>"
    "<NextMarker/></EnumerationResults>"
)


class Network:
    """All hosts on one port. `refuse`: the stores take what nobody has."""

    def __init__(self, signer: clouds.Cluster) -> None:
        self.store, self.clouds = StandIn(), Clouds(signer)
        self.store.objects["a.yaml"] = b"a: 1\n"
        self.refuse = False

    async def answer(self, request: web.Request) -> web.StreamResponse:
        host, given = request.headers["Host"], request.headers.get("Authorization", "")
        match host:
            case "apps.s3.eu-west-1.amazonaws.com":
                good = clouds.is_signed(request.method, request.raw_path, request.headers, b"")
                path = f"/apps{request.raw_path}"
            case "storage.googleapis.com":
                good, path = given == "Bearer ya29", request.raw_path
            case "fleet.blob.core.windows.net":
                good, path = given == "Bearer entra https://storage.azure.com/.default", request.raw_path
            case _:
                return await self.clouds.answer(request)
        if self.refuse or not good:
            return web.Response(status=403, text="<Error><Code>AccessDenied</Code><Message>secret words</Message></Error>")
        if "comp=list" in path:
            return web.Response(text=BLOBS.format(self.store.etag("a.yaml")), content_type="application/xml")
        return await self.store.answer(request.clone(rel_url=URL(path, encoded=True)))


@pytest.fixture
def network(signer: clouds.Cluster) -> Network:
    return Network(signer)


@pytest.fixture
async def bench(
    tmp_path: Path, workers: Any, network: Network, cluster: Cluster, authority: tuple[Path, ssl.SSLContext]
) -> AsyncIterator[Bench]:
    async with (
        opened("Bucket", tmp_path, workers) as made,
        clouds.served(network.answer, authority[1]) as port,
        proxy(port) as (address, _),
    ):
        made.grants = Grants(Accounts(cluster), Outbound(Policy(loopback=True)), tls=ssl.create_default_context(cafile=authority[0]))
        made.secrets |= {"ca": {"ca.crt": authority[0].read_bytes()}, "proxy": {"address": address.encode()}}
        made.restart()
        yield made


def spec(provider: str, endpoint: str, **more: Any) -> dict[str, Any]:
    found = {"bucketName": "apps", "endpoint": endpoint, "provider": provider, "interval": "1m", "timeout": "10s", "region": "eu-west-1"}
    return {**found, "serviceAccountName": "fetch", "certSecretRef": {"name": "ca"}, "proxySecretRef": {"name": "proxy"}, **more}


@pytest.mark.parametrize(("provider", "endpoint"), [("aws", S3), ("gcp", GOOGLE), ("azure", AZURE)])
async def test_bucket_is_read_as_the_account(bench: Bench, network: Network, api: Api, provider: str, endpoint: str) -> None:
    bench.api.put(spec(provider, endpoint))
    await bench.run()
    assert bench.api.ready()[0] == "True", bench.api.ready()
    assert bench.events[-1][2].startswith("stored artifact with 1 fetched files")
    await bench.run()
    assert len(network.clouds.asked) == len(api.asked) == 1


async def test_refusal_is_told_and_the_cloud_is_asked_anew(bench: Bench, network: Network) -> None:
    network.refuse = True
    bench.api.put(spec("aws", S3))
    await bench.run()
    status, reason, words = bench.api.ready()
    assert (status, reason) == ("False", "AuthenticationFailed")
    assert "it answered 403" in words
    assert "secret words" not in words
    network.refuse = False
    await bench.run()
    assert bench.api.ready()[0] == "True"
    assert len(network.clouds.asked) == 2


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"provider": "generic"}, "spec.serviceAccountName goes with spec.provider aws, azure or gcp"),
        ({"secretRef": {"name": "ca"}}, "neither with spec.secretRef nor with spec.sts: remove one of them"),
        ({"endpoint": "s3.example.com"}, "spec.endpoint is no host of amazonaws.com"),
        ({"provider": "gcp", "endpoint": "storage.example.com"}, "is at a host of that cloud"),
        ({"serviceAccountName": "gone"}, "ServiceAccount/apps/gone does not exist"),
    ],
)
async def test_what_does_not_fit_is_named(bench: Bench, network: Network, more: Any, words: str) -> None:
    bench.api.put(spec("aws", S3) | more)
    await bench.run()
    assert bench.api.ready()[0] == "False"
    assert words in bench.api.ready()[2]
    assert network.clouds.asked == []
