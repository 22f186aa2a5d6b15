"""With what a bucket is opened: keys that a token service lends, certificates, and what is refused by name."""

import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.sources.bench import Bench, opened
from tests.sources.s3 import StandIn, served

ANSWER = """<?xml version="1.0" encoding="UTF-8"?>
<AssumeRoleWithLDAPIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithLDAPIdentityResult><Credentials>
<AccessKeyId>LENT</AccessKeyId><SecretAccessKey>lent+secret/1</SecretAccessKey><Expiration>2026-11-21T16:00:00Z</Expiration>
<SessionToken>eyJhbGciOiJIUzUxMiJ9.e30.s_-g</SessionToken></Credentials></AssumeRoleWithLDAPIdentityResult></AssumeRoleWithLDAPIdentityResponse>"""


@pytest.fixture
async def bench(tmp_path, workers) -> AsyncIterator[Bench]:
    async with opened("Bucket", tmp_path, workers) as made:
        yield made


@pytest.fixture
async def store() -> AsyncIterator[StandIn]:
    async with served() as made:
        made.objects["a.yaml"] = b"a: 1\n"
        yield made


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.crt, and certificates with keys of 127.0.0.1 and of a client, both by that CA."""
    folder = tmp_path_factory.mktemp("ca")
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1\n")
    lines = ["req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=ca -keyout ca.key -out ca.crt"]
    for name in ("server", "client"):
        lines.append(f"req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr")
        lines.append(f"x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 1 -extfile san -out {name}.crt")
    for line in lines:
        subprocess.run(["openssl", *line.split()], cwd=folder, check=True, capture_output=True)
    return folder


def spec(store: StandIn, **more: Any) -> dict[str, Any]:
    return {"bucketName": "apps", "endpoint": store.host, "insecure": True, "interval": "1m0s", "timeout": "10s", **more}


async def test_keys_that_a_token_service_lends(bench, store):
    async def lend(request: web.Request) -> web.Response:
        form = dict(await request.post())
        if form.pop("LDAPPassword") != "hunter2":
            return web.Response(status=400, text="<ErrorResponse><Message>hunter2</Message></ErrorResponse>")
        assert form == {"Action": "AssumeRoleWithLDAPIdentity", "Version": "2011-06-15", "LDAPUsername": "ada"}
        return web.Response(text=ANSWER, content_type="application/xml")

    app = web.Application()
    app.router.add_post("/", lend)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
        store.signed, store.keys, store.session = True, {"LENT": "lent+secret/1"}, "eyJhbGciOiJIUzUxMiJ9.e30.s_-g"
        bench.secrets["ldap"] = {"username": b"ada", "password": b"hunter2"}
        sts = {"provider": "ldap", "endpoint": endpoint, "secretRef": {"name": "ldap"}}
        bench.api.put(spec(store, sts=sts))
        await bench.run()
        assert bench.api.ready()[0] == "True"
        bench.secrets["ldap"]["password"] = b"wrong"
        await bench.run()
        assert bench.api.ready() == (
            "False", "AuthenticationFailed", f"the token service at {endpoint[7:]} answered 400 (not allowed)",
        )  # fmt: skip
        del bench.secrets["ldap"]["password"]
        await bench.run()
        assert "required fields username, password" in bench.api.ready()[2]
    finally:
        await runner.cleanup()


async def test_a_token_service_that_nobody_may_reach(bench, store):
    bench.api.put(spec(store, sts={"provider": "ldap", "endpoint": "http://169.254.169.254"}))
    await bench.run()
    assert "metadata" in bench.api.ready()[2]


@pytest.mark.parametrize(
    ("provider", "why"),
    [
        ("aws", "STS provider 'ldap' is not supported for 'aws' bucket provider"),
        ("gcp", "STS configuration is not supported for 'gcp' bucket provider"),
    ],
)
async def test_a_token_service_that_does_not_go_with_the_store(bench, store, provider, why):
    bench.api.put(spec(store, provider=provider, sts={"provider": "ldap", "endpoint": "https://sts.example.com"}))
    await bench.run()
    assert bench.api.ready() == ("False", "InvalidSTSConfiguration", why)
    assert bench.api.condition("Stalled")


async def test_client_certificates(bench, authority):
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority / "ca.crt"))
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_cert_chain(authority / "server.crt", authority / "server.key")
    async with served(tls) as store:
        store.objects["a.yaml"] = b"a: 1\n"
        bench.secrets["tls"] = {"ca.crt": (authority / "ca.crt").read_bytes()}
        bench.api.put(spec(store, insecure=False, certSecretRef={"name": "tls"}))
        await bench.run()
        assert bench.api.ready()[:2] == ("False", "BucketOperationFailed")
        bench.secrets["tls"] |= {f"tls.{end}": (authority / f"client.{end}").read_bytes() for end in ("crt", "key")}
        await bench.run()
        assert bench.api.ready()[0] == "True"
        del bench.secrets["tls"]["ca.crt"]
        await bench.run()
        assert "ClientConnectorCertificateError" in bench.api.ready()[2]


@pytest.mark.parametrize(
    ("provider", "endpoint", "words"),
    [
        ("gcp", "storage.example.com", "the provider gcp is at a host of that cloud"),
        ("azure", "https://blob.example.com", "the provider azure is at a host of that cloud"),
        ("azure", "https://evil.example.com/x.blob.core.windows.net", "the provider azure is at a host of that cloud"),
        ("aws", "minio.example.com", "this machine's identity is for https and hosts of amazonaws.com alone"),
    ],
)
async def test_clients_that_follow_redirects_are_for_the_clouds_alone(bench, store, provider, endpoint, words):
    bench.api.put(spec(store, insecure=False, provider=provider, endpoint=endpoint))
    await bench.run()
    assert words in bench.api.ready()[2]


@pytest.mark.parametrize(
    ("provider", "endpoint", "secret"),
    [
        ("aws", "s3.eu-west-1.amazonaws.com", None),
        ("gcp", "storage.googleapis.com", None),
        ("azure", "https://fleet.blob.core.windows.net", None),
        ("azure", "https://fleet.blob.core.windows.net", {"clientId": b"the managed one"}),
    ],
)
async def test_identity_of_the_machine_is_the_operator_s_to_lend(bench, store, provider, endpoint, secret):
    found = spec(store, insecure=False, provider=provider, endpoint=endpoint)
    bench.secrets["own"] = secret or {}
    bench.api.put(found if secret is None else {**found, "secretRef": {"name": "own"}})
    await bench.run()
    assert bench.api.ready()[:2] == ("False", "InvalidProviderConfiguration")
    assert "with --machine-identity only" in bench.api.ready()[2]
    assert bench.api.condition("Stalled") is not None
