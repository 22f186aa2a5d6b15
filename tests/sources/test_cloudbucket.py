"""Buckets of the clouds as a ServiceAccount: S3 by signed requests, Google's and Azure's by a token, through a proxy, at stand-ins."""

import base64
import hashlib
import json
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
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
TENANT = "11111111-2222-3333-4444-555555555555"
BLOBS = (
    "<EnumerationResults><Blobs><Blob><Name>a.yaml</Name><Properties><Last-Modified>Sat, 21 Nov 2026 10:00:00 GMT</Last-Modified>"
    "<Content-Length>5</Content-Length><Content-Type>text/plain</Content-Type><Etag>{}</Etag></Properties></Blob></Blobs>"
    "<NextMarker/></EnumerationResults>"
)


class Network:
    """All hosts on one port. `refuse`: the stores take what nobody has."""

    application: x509.Certificate

    def __init__(self, signer: clouds.Cluster) -> None:
        self.store, self.clouds = StandIn(), Clouds(signer)
        self.store.objects["a.yaml"] = b"a: 1\n"
        self.refuse = False
        self.chains: list[int] = []

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
            case "login.microsoftonline.com" if request.path == f"/{TENANT}/oauth2/v2.0/token":
                return self._application(dict(await request.post()))
            case _:
                return await self.clouds.answer(request)
        if self.refuse or not good:
            return web.Response(status=403, text="<Error><Code>AccessDenied</Code><Message>secret words</Message></Error>")
        if "comp=list" in path:
            return web.Response(text=BLOBS.format(self.store.etag("a.yaml")), content_type="application/xml")
        return await self.store.answer(request.clone(rel_url=URL(path, encoded=True)))

    def _application(self, form: dict[str, Any]) -> web.Response:
        head, claims, signed = (base64.urlsafe_b64decode(f"{part}===") for part in form["client_assertion"].split("."))
        said, assertion = json.loads(head), json.loads(claims)
        leaf = self.application
        text = form["client_assertion"].rpartition(".")[0].encode()
        leaf.public_key().verify(signed, text, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
        assert said["x5t#S256"] == base64.urlsafe_b64encode(leaf.fingerprint(hashes.SHA256())).rstrip(b"=").decode()
        assert assertion["aud"] == f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token"
        assert assertion["iss"] == assertion["sub"] == form["client_id"] == "app"
        assert assertion["nbf"] < time.time() < assertion["exp"] <= time.time() + 600
        self.chains.append(len(said.get("x5c", ())))
        return web.json_response({"access_token": f"entra {form['scope']}", "expires_in": 3599})


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


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the key and certificate of an application, in PEM and as PKCS #12 with and without a password."""
    folder = tmp_path_factory.mktemp("application")
    for line in (
        "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=app -keyout app.key -out app.crt",
        "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=other -keyout other.key -out other.crt",
        "pkcs12 -export -inkey app.key -in app.crt -out app.p12 -passout pass:",
        "pkcs12 -export -inkey app.key -in app.crt -out locked.p12 -passout pass:hunter2",
    ):
        subprocess.run(["openssl", *line.split()], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize(
    ("files", "more", "chain"),
    [
        (("app.key", "app.crt"), {}, 0),
        (("app.crt", "other.crt", "app.key"), {"clientCertificateSendChain": b"true"}, 2),
        (("app.p12",), {}, 0),
        (("locked.p12",), {"clientCertificatePassword": b"hunter2", "clientCertificateSendChain": b"1"}, 1),
    ],
)
async def test_azure_is_read_as_an_application(
    bench: Bench, network: Network, application: Path, files: tuple[str, ...], more: dict[str, bytes], chain: int
) -> None:
    network.application = x509.load_pem_x509_certificate((application / "app.crt").read_bytes())
    held = b"".join((application / name).read_bytes() for name in files)
    bench.secrets["app"] = {"tenantId": TENANT.encode(), "clientId": b"app", "clientCertificate": held, "accountKey": b"unused", **more}
    bench.api.put(spec("azure", AZURE, serviceAccountName="", secretRef={"name": "app"}))
    await bench.run()
    assert bench.api.ready()[0] == "True", bench.api.ready()
    assert network.chains == [chain]
    etag = network.store.etag("a.yaml").encode().hex()
    assert bench.status["artifact"]["revision"] == f"sha256:{hashlib.sha256(f'a.yaml {etag}{chr(10)}'.encode()).hexdigest()}"  # as Flux's


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ({"tenantId": b"t", "clientId": b"app", "clientCertificate": b"junk"}, "the key 'clientCertificate' cannot be read"),
        ({"tenantId": b"t", "clientId": b"app", "clientCertificate": "app.crt"}, "the key 'clientCertificate' cannot be read"),
        ({"tenantId": b"t", "clientId": b"app", "clientCertificate": "app.key"}, "the key 'clientCertificate' cannot be read"),
        ({"tenantId": b"t", "clientId": b"app", "clientCertificate": "locked.p12"}, "or clientCertificatePassword is wrong"),
        ({"tenantId": b"t", "clientId": b"app", "clientCertificate": "both", "authorityHost": b"http://x"}, "no https:// address"),
        ({"tenantId": b"t"}, "invalid secret data: requires 'clientId', 'accountKey' or 'sasKey'"),
    ],
)
async def test_applications_that_cannot_be_used(bench: Bench, network: Network, application: Path, held: Any, words: str) -> None:
    both = (application / "app.key").read_bytes() + (application / "app.crt").read_bytes()
    read = {
        name: both if value == "both" else (application / value).read_bytes() if isinstance(value, str) else value
        for name, value in held.items()
    }
    bench.secrets["app"] = read
    bench.api.put(spec("azure", AZURE, serviceAccountName="", secretRef={"name": "app"}))
    await bench.run()
    assert bench.api.ready()[:2] == ("False", "AuthenticationFailed")
    assert words in bench.api.ready()[2]
    assert network.chains == []
