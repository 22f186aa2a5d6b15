"""What builds fetch from outside: files within their bounds, refs as git reads them, the same thing once."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from service.kustomize.remote import NotFetched, RepoSpec
from service.sources import remotebase
from service.sources.remotebase import remote_bases


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
