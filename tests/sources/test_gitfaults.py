"""What goes wrong on the way from a Git host: said clearly, within spec.timeout, nothing of it kept, and the next good fetch is as any."""

import asyncio
import base64
import os
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from service.kinds.source import GitRef
from service.sources.credentials import Credentials
from service.sources.fetcherror import RemoteFailed, Stopped
from service.sources.gitref import wanted
from service.sources.gitstore import GitStore
from service.sources.smart import Smart
from service.sources.ssh import read_ssh
from tests.sources.conftest import Remote
from tests.sources.test_ssh import Host, host  # noqa: F401 - a fixture
from tests.sources.wire import Fault, Wire

MAIN = wanted(GitRef(branch="main"))
LARGE = 200_000
SOME = 60_000
"""Bytes of an answer: in the middle of the pack of LARGE."""
FAULTS: dict[Fault, type[Exception]] = {"cut": RemoteFailed, "hang": Stopped, "slow": Stopped}


@pytest.fixture
async def wire(remote: Remote) -> AsyncIterator[Wire]:
    async with Wire(urlsplit(remote.url).port or 0).opened() as made:
        yield made


def noise() -> str:
    """Text that does not get smaller."""
    return base64.b64encode(os.urandom(LARGE)).decode()


def kept(folder: Path) -> list[str]:
    """What a store must not hold: drafts of packs, refs of fetches under way."""
    names = [path for path in folder.rglob("*") if path.is_file()]
    drafts = [path for path in names if path.parent.name == "pack" and path.suffix not in (".pack", ".idx", ".rev")]
    return [str(path.relative_to(folder)) for path in (*drafts, *(path for path in names if "refs/incoming" in str(path)))]


async def faulty(store: GitStore, remote: Remote, wire: Wire, fault: Fault, *, smart: bool) -> None:
    async def fetch(seconds: float = 10):
        url = f"http://127.0.0.1:{wire.port}/{remote.bare.name}"
        return await store.fetch(uid="u1", url=url, credentials=Credentials(), wanted=MAIN, timeout=timedelta(seconds=seconds))

    first = ""
    if smart:
        first = await asyncio.to_thread(remote.commit, {"a.yaml": "a: 1\n"})
        await fetch()
    second = await asyncio.to_thread(remote.commit, {"large": noise()})
    wire.fault, wire.after = fault, SOME
    begun = time.monotonic()
    with pytest.raises(FAULTS[fault]) as caught:
        await fetch(1)
    assert time.monotonic() - begun < 2
    assert "127.0.0.1" in str(caught.value) or "not finished within 1 s" in str(caught.value)
    wire.fault = ""
    got = await fetch()
    assert (got.commit, got.before) == (second, first)
    await asyncio.to_thread(remote.git, "-C", str(got.store), "fsck", "--strict")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("smart", [False, True])
async def test_a_pack_that_does_not_come_whole(remote, wire, tmp_path, fault, smart):
    way = Smart() if smart else None
    store = GitStore(tmp_path / "git", smart=way)
    try:
        await faulty(store, remote, wire, fault, smart=smart)
        assert kept(tmp_path / "git") == []
    finally:
        if way is not None:
            await way.close()
        store.close()


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_pack_over_ssh_that_does_not_come_whole(host: Host, tmp_path, fault):  # noqa: F811 - the fixture
    store = GitStore(tmp_path / "git")
    async with Wire(host.port).opened() as wire:
        secret = read_ssh(
            {**host.secret(), "known_hosts": host.secret()["known_hosts"].replace(str(host.port).encode(), str(wire.port).encode())}
        )
        url = host.url.replace(str(host.port), str(wire.port), 1)

        async def fetch(seconds: float):
            return await store.fetch(uid="u1", url=url, credentials=secret, wanted=MAIN, timeout=timedelta(seconds=seconds))

        await asyncio.to_thread(host.remote.commit, {"a.yaml": "a: 1\n"})
        await fetch(20)
        second = await asyncio.to_thread(host.remote.commit, {"large": noise()})
        wire.fault, wire.after = fault, SOME
        with pytest.raises(FAULTS[fault]):
            await fetch(20 if fault == "cut" else 1.5)
        wire.fault = ""
        got = await fetch(20)
        assert got.commit == second
        assert kept(tmp_path / "git") == []
        await asyncio.to_thread(host.remote.git, "-C", str(got.store), "fsck", "--strict")
