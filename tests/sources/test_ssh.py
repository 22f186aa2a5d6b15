"""Against a real sshd, where the machine has one."""

import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from getpass import getuser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.kinds.source import GitRef
from service.sources.credentials import InvalidSecret
from service.sources.fetcherror import AuthRefused, RemoteFailed
from service.sources.gitref import wanted
from service.sources.gitstore import GitStore
from service.sources.ssh import read_ssh, with_user
from service.sources.tree import GitTree
from tests.sources.bench import opened
from tests.sources.conftest import Remote, make_remote
from tests.sources.test_submodules import link

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
MAIN = wanted(GitRef(branch="main"))
CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
"""


@dataclass(frozen=True, kw_only=True)
class Host:
    folder: Path
    remote: Remote
    port: int

    @property
    def url(self) -> str:
        return f"ssh://{getuser()}@127.0.0.1:{self.port}{self.remote.bare}"

    def secret(self, key: str = "plain", **more: bytes) -> dict[str, bytes]:
        hosts = f"# ours\n[127.0.0.1]:{self.port} {(self.folder / 'host.pub').read_text()}".encode()
        return {"identity": (self.folder / key).read_bytes(), "known_hosts": hosts, **more}

    async def fetch(self, store: GitStore, secret: dict[str, bytes]):
        return await store.fetch(uid="u1", url=self.url, credentials=read_ssh(secret), wanted=MAIN, timeout=timedelta(seconds=20))


def keygen(path: Path, kind: str, phrase: str = "") -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", phrase, "-f", str(path)], check=True)


@pytest.fixture
def host(tmp_path):
    if SSHD is None:
        pytest.skip("needs sshd, of Debian's openssh-server")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    for name, kind, phrase in (("host", "ed25519", ""), ("plain", "ed25519", ""), ("ec", "ecdsa", ""), ("locked", "rsa", "a phrase")):
        keygen(tmp_path / name, kind, phrase)
    keygen(tmp_path / "stranger", "ed25519")
    (tmp_path / "authorized").write_bytes(b"".join((tmp_path / f"{each}.pub").read_bytes() for each in ("plain", "ec", "locked")))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "config").write_text(CONFIG.format(port=port, folder=tmp_path))
    daemon = subprocess.Popen([SSHD, "-D", "-e", "-f", str(tmp_path / "config")], stderr=subprocess.PIPE)
    try:
        assert daemon.stderr is not None
        assert b"listening" in daemon.stderr.readline()
        yield Host(folder=tmp_path, remote=make_remote(tmp_path / "remotes", "fleet", ""), port=port)
    finally:
        daemon.kill()
        daemon.communicate()


async def test_each_kind_of_key_logs_in(host, tmp_path):  # a process and a login for each
    store = GitStore(tmp_path / "git")
    first = host.remote.commit({"a.yaml": "a: 1\n"})
    assert (await host.fetch(store, host.secret())).commit == first
    second = host.remote.commit({"a.yaml": "a: 2\n"})
    got = await host.fetch(store, host.secret())
    assert (got.commit, got.before) == (second, first)
    assert (await host.fetch(store, host.secret("ec"))).commit == second
    assert (await host.fetch(store, host.secret("locked", password=b"a phrase\n"))).commit == second


async def test_only_known_hosts_and_good_keys(host, tmp_path):  # a process for each
    store = GitStore(tmp_path / "git")
    host.remote.commit({"a.yaml": "a: 1\n"})
    other = (host.folder / "stranger.pub").read_bytes()
    for known in (b"[127.0.0.1]:%d " % host.port + other, b"example.com " + (host.folder / "host.pub").read_bytes()):
        with pytest.raises(RemoteFailed, match="known_hosts"):
            await host.fetch(store, host.secret(known_hosts=known))
    with pytest.raises(AuthRefused, match="refuses the key 'identity'"):
        await host.fetch(store, host.secret("stranger"))
    with pytest.raises(AuthRefused, match="'password'") as told:
        await host.fetch(store, host.secret("locked", password=b"wr0ng"))
    assert "wr0ng" not in str(told.value)


@pytest.fixture
async def bench(tmp_path, workers) -> AsyncIterator:
    async with opened("GitRepository", tmp_path, workers) as made:
        yield made


async def test_a_repository_over_ssh_becomes_ready(host, bench):
    commit = host.remote.commit({"a.yaml": "a: 1\n"})
    spec = {"url": host.url, "interval": "1m0s", "timeout": "20s", "ref": {"branch": "main"}}
    bench.api.put(spec)
    await bench.run()
    assert bench.api.ready()[:2] == ("False", "AuthenticationFailed")
    bench.api.put({**spec, "secretRef": {"name": "key"}})
    bench.secrets["key"] = host.secret()
    assert (await bench.run()).result == "succeeded"
    assert bench.revisions == [f"main@sha1:{commit}"]


KEY = b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"
HOSTS = b"example.com ssh-ed25519 AAAA\n"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"identity": KEY}, "'known_hosts' is missing"),
        ({"known_hosts": HOSTS}, "'identity' is missing"),
        ({"identity": b"ssh-ed25519 AAAA", "known_hosts": HOSTS}, "no private key"),
        ({"identity": KEY, "known_hosts": b"# nothing\n"}, "no host key"),
        ({"identity": KEY, "known_hosts": b"@revoked " + HOSTS}, "marker"),
        ({"identity": KEY, "known_hosts": b"example.com\n"}, "ssh-keyscan"),
        ({"identity": KEY, "known_hosts": HOSTS, "password": b"\xff"}, "text"),
    ],
)
def test_secrets_that_cannot_be_used(data, words):
    with pytest.raises(InvalidSecret, match=words):
        read_ssh(data)


def test_identities_differ_and_nothing_is_shown():
    known = read_ssh({"identity": KEY, "known_hosts": HOSTS, "password": b"s3cret"})
    assert "AAAA" not in repr(known)
    assert known.identity != replace(known, known_hosts=b"x").identity
    assert known.identity != replace(known, ssh_key=b"x").identity


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_secret_is_read_or_refused(key, hosts):
    try:
        found = read_ssh({"identity": key, "known_hosts": hosts})
    except InvalidSecret:
        return
    assert found.known_hosts.strip()


def test_the_user_is_git_unless_named():
    assert with_user("ssh://example.com:22/a") == "ssh://git@example.com:22/a"
    assert with_user("ssh://ada@example.com/a") == "ssh://ada@example.com/a"


async def test_submodules_of_the_host_are_fetched_with_its_key(host, bench, tmp_path):  # a process for each fetch
    lib = make_remote(tmp_path / "remotes", "lib", "")
    pinned = lib.commit({"l.yaml": "l: 1\n"})
    lib.commit({"l.yaml": "l: 2\n"})  # this server refuses ids, so the branch is looked through
    link(host.remote, {"vendor/lib": ("../lib.git", pinned)}, {"a.yaml": "a: 1\n"})
    bench.secrets["key"] = host.secret()
    given = {"interval": "1m0s", "timeout": "20s", "ref": {"branch": "main"}, "secretRef": {"name": "key"}, "recurseSubmodules": True}
    bench.api.put({"url": host.url, **given})
    assert (await bench.run()).result == "succeeded", bench.api.ready()
    assert GitTree.open(bench.published[bench.key]).read("vendor/lib/l.yaml") == b"l: 1\n"
