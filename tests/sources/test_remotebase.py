"""What builds fetch from outside: files within their bounds, refs as git reads them, the same thing once."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from service.gitserver import GitServer
from service.kustomize.remote import NotFetched, RepoSpec
from service.sources import remotebase
from service.sources.remotebase import remote_bases
from tests.sources.conftest import make_remote
from tests.sources.test_submodules import link


class Host(BaseHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012 - of the one host that a test has

    def do_GET(self) -> None:
        type(self).asked.append(self.path)
        self.send_response(200 if "pod" in self.path else 404)
        self.end_headers()
        self.wfile.write(b"x" * 1000)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def host() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Host)
    Host.asked.clear()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_file_is_fetched_once(host: str) -> None:
    with remote_bases() as remote:
        assert remote.file(f"{host}/pod.yaml") == remote.file(f"{host}/pod.yaml") == b"x" * 1000
    assert Host.asked == ["/pod.yaml"]


def test_what_is_not_there_and_what_is_too_large_are_errors_without_secrets(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with remote_bases() as remote:
        with pytest.raises(NotFetched, match="status code 404") as caught:
            remote.file(f"{host}/nope.yaml?token=hidden")
        assert "hidden" not in str(caught.value)
        monkeypatch.setattr(remotebase, "MAX_BYTES", 999)
        with pytest.raises(NotFetched, match="more than 999 bytes"):
            remote.file(f"{host}/pod.yaml")


def test_a_ref_that_git_does_not_allow_is_not_asked_for(host: str) -> None:
    with remote_bases() as remote:
        for ref in ("a:refs/heads/x", "--upload-pack=x", "a..b"):
            with pytest.raises(NotFetched, match="not a name that Git allows"):
                remote.clone(RepoSpec(url=f"{host}/org/pod", ref=ref))
    assert Host.asked == []


async def test_submodules_stand_in_their_places_unless_the_address_says_no(tmp_path: Path) -> None:
    fleet, lib = await asyncio.to_thread(lambda: [make_remote(tmp_path / "remotes", name, "") for name in ("fleet", "lib")])
    pinned = lib.commit({"l.yaml": "l: 1\n"})
    lib.commit({"l.yaml": "l: 2\n"})
    link(fleet, {"vendor/lib": ("../lib.git", pinned)}, {"a.yaml": "a: 1\n"})

    def build(url: str) -> None:
        with remote_bases() as remote:
            tree, commit = remote.clone(RepoSpec(url=url, timeout=timedelta(seconds=20)))
            assert (tree.read("vendor/lib/l.yaml"), commit) == (b"l: 1\n", fleet.git("rev-parse", "HEAD"))
            tree, _ = remote.clone(RepoSpec(url=url, submodules=False, timeout=timedelta(seconds=20)))
            assert (tree.kind("a.yaml"), tree.list("vendor")) == ("file", ())

    async with GitServer(root=tmp_path / "remotes").serving() as base:
        await asyncio.to_thread(build, f"{base}/fleet.git")
        link(fleet, {"vendor/lib": ("file:///etc", pinned)})
        with pytest.raises(NotFetched, match=r"submodules of .*'file' is not supported"):
            await asyncio.to_thread(build, f"{base}/fleet.git")
