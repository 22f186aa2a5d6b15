"""A GitRepository logs in as its ServiceAccount at Azure DevOps and AWS CodeCommit: through a proxy, at stand-ins that check it."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from service.cluster.client import Cluster
from service.gitserver import GitServer
from service.identities.accounts import Accounts
from service.identities.grants import Grants
from service.outbound import Outbound, Policy
from service.sources.credentials import Credentials
from tests.identities import clouds
from tests.identities.clouds import KEY_ID, SESSION, Clouds
from tests.identities.conftest import Api, api, authority, cluster, signer
from tests.sources.bench import Bench, opened

__all__ = ["api", "authority", "cluster", "signer"]

DEV_OPS, CODE_COMMIT = "https://dev.azure.com/org/project/_git/fleet", "https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/fleet"
TOKEN = "Bearer entra 499b84ac-1321-427f-aa17-267ca6975798/.default"


@asynccontextmanager
async def proxy(port: int) -> AsyncIterator[tuple[str, list[str]]]:
    """A proxy whose tunnels all lead to one port, and where they were asked to lead."""
    asked: list[str] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(2**16):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode().split()[1])
        onward = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(pump(reader, onward[1]), pump(onward[0], writer))

    server = await asyncio.start_server(tunnel, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
    finally:
        server.close()


class Hosts:
    """Azure DevOps and CodeCommit over one repository. `refuse`: whatever is shown is not good."""

    def __init__(self, clouds: Clouds, git: GitServer) -> None:
        self.clouds, self.git = clouds, git
        self.seen: list[str] = []
        self.refuse = False

    async def answer(self, request: web.Request) -> web.StreamResponse:
        host, given = request.headers["Host"], request.headers.get("Authorization", "")
        if not host.startswith(("dev.azure.com", "git-codecommit.")):
            return await self.clouds.answer(request)
        self.seen.append(given)
        good = given == TOKEN if host.startswith("dev.") else self._is_signed(given, request.path.partition("/fleet")[0] + "/fleet", host)
        if self.refuse or not good:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="git"'})
        request.match_info["path"] = "fleet.git" + request.path.partition("/fleet")[2]
        return await self.git.answer(request)

    def _is_signed(self, given: str, path: str, host: str) -> bool:
        user, _, password = base64.b64decode(given.removeprefix("Basic ")).decode().partition(":")
        stamp, _, signature = password.partition("Z")
        scope = f"{stamp[:8]}/eu-west-1/codecommit/aws4_request"
        return user == f"{KEY_ID}%{SESSION}" and signature == clouds.signature(scope, stamp, f"GIT\n{path}\n\nhost:{host}\n\nhost\n")


@pytest.fixture
async def hosts(signer: clouds.Cluster, remote: Any) -> Hosts:
    remote.commit({"a.yaml": "a: 1\n"})
    return Hosts(Clouds(signer), GitServer(root=remote.bare.parent))


@pytest.fixture
async def bench(
    tmp_path: Path, workers: Any, hosts: Hosts, cluster: Cluster, authority: tuple[Path, ssl.SSLContext]
) -> AsyncIterator[Bench]:
    async with (
        opened("GitRepository", tmp_path, workers) as made,
        clouds.served(hosts.answer, authority[1]) as port,
        proxy(port) as (address, asked),
    ):
        made.grants = Grants(Accounts(cluster), Outbound(Policy(loopback=True)), tls=ssl.create_default_context(cafile=authority[0]))
        made.secrets |= {"ca": {"ca.crt": authority[0].read_bytes()}, "proxy": {"address": address.encode()}}
        made.restart()
        yield made
        assert {each.partition(":")[0] for each in asked} <= {
            "dev.azure.com", "git-codecommit.eu-west-1.amazonaws.com", "login.microsoftonline.com", "sts.eu-west-1.amazonaws.com",
        }  # fmt: skip


def spec(provider: str, url: str, **more: Any) -> dict[str, Any]:
    found = {"url": url, "interval": "1m", "ref": {"branch": "main"}, "provider": provider, "serviceAccountName": "fetch"}
    return {**found, "secretRef": {"name": "ca"}, "proxySecretRef": {"name": "proxy"}, **more}


@pytest.mark.parametrize(("provider", "url"), [("azure", DEV_OPS), ("aws", CODE_COMMIT)])
async def test_repository_is_fetched_as_the_account(bench: Bench, hosts: Hosts, remote: Any, api: Api, provider: str, url: str) -> None:
    bench.api.put(spec(provider, url))
    await bench.run()
    assert bench.api.ready()[0] == "True", bench.api.ready()
    commit = remote.commit({"a.yaml": "a: 2\n"})
    await bench.run()
    assert bench.status["artifact"]["revision"] == f"main@sha1:{commit}"
    assert len(hosts.clouds.asked) == len(api.asked) == 1
    assert len(list((bench.state / "git").iterdir())) == 1  # the log-in changes, and the store stays


async def test_refused_token_is_told_and_asked_for_anew(bench: Bench, hosts: Hosts) -> None:
    hosts.refuse = True
    bench.api.put(spec("azure", DEV_OPS))
    await bench.run()
    status, reason, words = bench.api.ready()
    assert (status, reason) == ("False", "AuthenticationFailed")
    assert "the remote refuses the credentials of ServiceAccount 'apps/fetch'" in words
    assert "entra" not in words
    hosts.refuse = False
    await bench.run()
    assert bench.api.ready()[0] == "True"
    assert len(hosts.clouds.asked) == 2


@pytest.mark.parametrize(
    ("more", "reason", "words"),
    [
        ({"serviceAccountName": ""}, "InvalidProviderConfiguration", "spec.provider azure needs spec.serviceAccountName"),
        ({"provider": "generic"}, "ValidationFailed", "spec.serviceAccountName can only be set with spec.provider azure or aws"),
        ({"url": "https://git.example.com/fleet"}, "AuthenticationFailed", "spec.url is no https address of Azure DevOps"),
        ({"secretRef": {"name": "user"}}, "InvalidProviderConfiguration", "has a log-in, and spec.provider is azure"),
    ],
)
async def test_what_does_not_fit_is_named(bench: Bench, hosts: Hosts, more: Any, reason: str, words: str) -> None:
    bench.secrets["user"] = {"username": b"git", "password": b"hunter2"}
    bench.api.put(spec("azure", DEV_OPS) | more)
    await bench.run()
    assert bench.api.ready()[:2] == ("False", reason)
    assert words in bench.api.ready()[2]
    assert hosts.seen == hosts.clouds.asked == []


def test_log_in_that_changes_by_itself_keeps_its_store() -> None:
    one, two, other = (Credentials(bearer=token, scope=scope) for token, scope in (("a", "s"), ("b", "s"), ("a", "t")))
    assert one.identity == two.identity != other.identity
    assert Credentials(bearer="a").identity != Credentials(bearer="b").identity
