import asyncio
import base64
import json
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from service.gitserver import GitServer
from service.outbound import Outbound, Policy
from service.sources.credentials import InvalidSecret
from service.sources.fetcherror import AuthRefused, RemoteFailed
from service.sources.githubapp import Apps, proof, read_app
from tests.sources.bench import Bench, opened

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
LOCAL = Outbound(Policy(loopback=True))


@dataclass
class GitHub:
    """Its API as far as Apps need it, on loopback; a proof is checked as GitHub does it."""

    url: str = ""
    lives: timedelta = timedelta(hours=1)
    owners: dict[str, int] = field(default_factory=lambda: {"orgs/acme": 7, "users/ada": 8})
    asked: list[str] = field(default_factory=list)
    given: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.method} {request.path}")
        if not proven(request.headers["Authorization"].removeprefix("Bearer ")):
            return web.json_response({"message": "no"}, status=401)
        await asyncio.sleep(0.02)
        words = request.path.strip("/").split("/")
        if words[-1] == "installation":
            number = self.owners.get("/".join(words[:2]))
            return web.json_response({"id": number}) if number else web.json_response({}, status=404)
        if int(words[2]) not in self.owners.values():
            return web.json_response({}, status=404)
        self.given.append(f"ghs_{len(self.given)}")
        end = (datetime.now(UTC) + self.lives).strftime("%Y-%m-%dT%H:%M:%SZ")
        return web.json_response({"token": self.given[-1], "expires_at": end}, status=201)


def proven(text: str) -> bool:
    head, claims, signature = text.split(".")
    KEY.public_key().verify(decoded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
    said = json.loads(decoded(claims))
    return said["iss"] == "42" and said["iat"] <= time.time() <= said["exp"] <= said["iat"] + 600


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


async def served(github: GitHub, tls: ssl.SSLContext | None) -> web.AppRunner:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", github.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    github.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    return runner


@pytest.fixture
async def github() -> AsyncIterator[GitHub]:
    found = GitHub()
    runner = await served(found, None)
    yield found
    await runner.cleanup()


def secret(github: GitHub, **more: bytes) -> dict[str, bytes]:
    return {"githubAppID": b"42", "githubAppPrivateKey": PEM, "githubAppBaseURL": github.url.encode(), **more}


async def test_a_token_is_asked_for_once_and_again_before_its_end(github):
    apps, app = Apps(LOCAL), read_app(secret(github, githubAppInstallationID=b"7"))
    found = await asyncio.gather(*(apps.credentials(app) for _ in range(5)))
    assert {(each.username, each.password) for each in found} == {("x-access-token", "ghs_0")}
    assert github.asked == ["POST /app/installations/7/access_tokens"]
    apps.doubt(found[0])
    second = await apps.credentials(app)
    assert second.password == "ghs_1"
    assert second.identity == found[0].identity, "a new token would make a new store"
    github.lives = timedelta(minutes=4)
    apps.doubt(second)
    await apps.credentials(app)
    assert (await apps.credentials(app)).password == "ghs_3"
    other = await apps.credentials(read_app(secret(github, githubAppInstallationID=b"8")))
    assert other.identity != second.identity


@pytest.mark.parametrize(("owner", "number"), [(b"acme", 7), (b"ada", 8)])
async def test_the_installation_of_an_owner_is_found(github, owner, number):
    await Apps(LOCAL).credentials(read_app(secret(github, githubAppInstallationOwner=owner)))
    assert github.asked[-1] == f"POST /app/installations/{number}/access_tokens"


async def test_what_github_refuses_is_said(github):
    apps = Apps(LOCAL)
    with pytest.raises(AuthRefused, match="not installed at 'nobody'"):
        await apps.credentials(read_app(secret(github, githubAppInstallationOwner=b"nobody")))
    with pytest.raises(AuthRefused, match="no such installation"):
        await apps.credentials(read_app(secret(github, githubAppInstallationID=b"9")))
    with pytest.raises(AuthRefused, match="401"):
        await apps.credentials(read_app(secret(github, githubAppInstallationID=b"7", githubAppID=b"41")))
    with pytest.raises(RemoteFailed, match="not allowed"):
        await Apps(Outbound()).credentials(read_app(secret(github, githubAppInstallationID=b"7")))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "exactly one"),
        ({"githubAppInstallationID": b"7", "githubAppInstallationOwner": b"acme"}, "exactly one"),
        ({"githubAppInstallationID": b"../7"}, "not a number"),
        ({"githubAppInstallationID": b"7", "githubAppPrivateKey": b"none"}, "RSA private key"),
        ({"githubAppInstallationID": b"7", "githubAppBaseURL": b"ftp://x"}, "not an address"),
        ({"githubAppInstallationID": b"7", "githubAppID": b""}, "'githubAppID'"),
    ],
)
def test_secrets_that_cannot_be_used(changes, words):
    with pytest.raises(InvalidSecret, match=words):
        read_app({**secret(GitHub()), **changes})


@settings(deadline=None, max_examples=20)
@given(st.text(min_size=1, max_size=20))
def test_owners_are_checked(owner):
    try:
        app = read_app({**secret(GitHub()), "githubAppInstallationOwner": owner.encode()})
    except InvalidSecret:
        return
    assert proof(app, 0.0).count(".") == 2
    assert "PRIVATE" not in repr(app) + app.scope


@pytest.fixture
async def bench(tmp_path, workers) -> AsyncIterator[Bench]:
    async with opened("GitRepository", tmp_path, workers) as made:
        yield made


def certificate(folder: Path) -> tuple[bytes, ssl.SSLContext]:
    line = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=git -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(["openssl", *line.split(), "-keyout", "key", "-out", "crt"], cwd=folder, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "crt", folder / "key")
    return (folder / "crt").read_bytes(), context


async def test_a_repository_is_fetched_as_an_app(bench, remote, tmp_path):  # a certificate and forked processes
    commit = remote.commit({"a.yaml": "a: 1\n"})
    ca, context = certificate(tmp_path)
    github = GitHub()
    runner = await served(github, context)
    server = GitServer(root=remote.bare.parent, username="x-access-token", password="ghs_0")
    async with server.serving(tls=context) as base:
        spec = {"url": f"{base}/fleet.git", "interval": "1m0s", "timeout": "20s", "ref": {"branch": "main"}, "secretRef": {"name": "app"}}
        bench.secrets["app"] = secret(github, githubAppInstallationOwner=b"acme", **{"ca.crt": ca})
        bench.api.put(spec)
        await bench.run()
        assert bench.api.ready()[1] == "AuthenticationFailed"
        assert "spec.provider is not github" in bench.api.ready()[2]
        bench.api.put({**spec, "provider": "github"})
        assert (await bench.run()).result == "succeeded"
        assert bench.revisions == [f"main@sha1:{commit}"]
        assert github.given == ["ghs_0"]
        bench.api.put({**spec, "url": remote.url, "provider": "github"})
        assert (await bench.run()).result == "stalled"
        assert bench.api.ready()[1] == "InvalidProviderConfiguration"
    await runner.cleanup()
