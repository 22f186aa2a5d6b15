from datetime import timedelta

import pytest
from aiohttp import web
from yarl import URL

from service.kinds.source import GitRef
from service.outbound import Outbound, Policy
from service.sources.credentials import Credentials
from service.sources.fetcherror import RemoteFailed
from service.sources.gitref import wanted
from service.sources.gitstore import GitStore
from service.sources.smart import Smart, Unfit

NOBODY = Credentials()
MAIN = wanted(GitRef(branch="main"))


async def fetch(store: GitStore, url: str, credentials: Credentials = NOBODY):
    return await store.fetch(uid="u1", url=url, credentials=credentials, wanted=MAIN, timeout=timedelta(seconds=5))


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "2852039166", "metadata.google.internal"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_metadata_services_are_refused_in_both_ways(tmp_path, scheme, host):
    smart = Smart()
    url = f"{scheme}://{host}/fleet.git"
    with pytest.raises(RemoteFailed, match="not allowed"):
        await fetch(GitStore(tmp_path / "git", smart=smart), url)
    with pytest.raises(Unfit):
        await smart.advertised(url, Credentials())
    await smart.close()


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
async def test_a_proxy_is_judged_too(tmp_path, scheme):
    with pytest.raises(RemoteFailed, match="not allowed") as told:
        await fetch(
            GitStore(tmp_path / "git"), "https://127.0.0.1/fleet.git", Credentials(proxy=f"{scheme}://u:s3cret@169.254.169.254:3128")
        )
    assert "s3cret" not in str(told.value)


async def test_our_own_ports_and_private_ranges_by_the_switch(remote, tmp_path):
    remote.commit({"a.yaml": "a: 1\n"})
    port = URL(remote.url).port
    for policy in (Policy(loopback=True, ports=frozenset({port})), Policy(private=False)):
        smart = Smart(outbound=Outbound(policy))
        with pytest.raises(RemoteFailed, match=r"not allowed: 127\.0\.0\.1"):
            await fetch(GitStore(tmp_path / "git", policy=policy, smart=smart), remote.url)
        await smart.close()


async def test_a_redirect_to_a_metadata_service_is_refused(tmp_path):
    async def redirect(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "http://169.254.169.254/fleet.git/info/refs?service=git-upload-pack"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", redirect)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        with pytest.raises(RemoteFailed, match=r"169\.254\.169\.254 is link-local"):
            await fetch(GitStore(tmp_path / "git"), f"http://127.0.0.1:{runner.addresses[0][1]}/fleet.git")
    finally:
        await runner.cleanup()
