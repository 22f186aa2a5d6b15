"""Work in a process of its own: what it must not reach or read is refused, whatever library asks, and what overruns is ended."""

import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest
import pytest_asyncio

from providers.contract import Busy, Misconfigured, Rejected
from service.alerts.confined import Confined
from service.outbound import Policy

LIMIT = timedelta(seconds=10)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def confined() -> AsyncIterator[Confined]:
    """One for all tests: starting a process takes a second here."""
    made = Confined(Policy())
    yield made
    await made.close()


def get(url: str) -> None:
    build_opener(ProxyHandler({})).open(url, timeout=1)


def datagram(host: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.sendto(b"x", (host, 514))


def unix(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(path)


def swallow() -> None:
    """As libraries do."""
    try:
        get("http://127.0.0.1:9440/")
    except OSError:
        raise Rejected("some error") from None


def run(program: str) -> None:
    subprocess.run([program], check=True)


def read(path: str) -> str:
    return Path(path).read_text()


def write(path: str) -> None:
    Path(path).write_text("x")


class Unpicklable(Exception):
    def __init__(self, secret: str, other: object) -> None:
        super().__init__(secret)
        self.other = other


def raise_odd() -> None:
    raise Unpicklable("hush", lambda: None)


def fail(words: str) -> None:
    raise Busy(words, timedelta(seconds=7))


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("work", "argument", "words"),
    [
        (get, "http://169.254.169.254/latest/", "169.254.169.254 is link-local"),
        (get, "http://localhost:9440/", "this machine itself"),
        (datagram, "169.254.169.254", "link-local"),
        (unix, "/run/containerd/containerd.sock", "an address of this machine"),
        (run, "/bin/true", "subprocess.Popen is not for messages"),
    ],
)
async def test_what_must_not_be_reached_is_refused(confined: Confined, work: Callable[[str], None], argument: str, words: str) -> None:
    with pytest.raises(Misconfigured, match=words):
        await confined.run(work, argument, timeout=LIMIT)


@pytest.mark.asyncio(loop_scope="module")
async def test_refusal_is_told_where_the_library_has_swallowed_it(confined: Confined) -> None:
    with pytest.raises(Misconfigured, match=r"127.0.0.1 is this machine itself"):
        await confined.run(swallow, timeout=LIMIT)


@pytest.mark.asyncio(loop_scope="module")
async def test_files_are_read_where_programs_lie_only(confined: Confined, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("hush")
    link = tmp_path / "link.txt"
    link.symlink_to("/etc/hostname")
    assert await confined.run(read, "/etc/hostname", timeout=LIMIT)
    assert await confined.run(read, str(link), timeout=LIMIT)
    for path in (str(secret), f"/etc/../{secret}", "/proc/self/environ", "/var/run/secrets/kubernetes.io/serviceaccount/token"):
        with pytest.raises(Misconfigured, match="reading a file of this machine"):
            await confined.run(read, path, timeout=LIMIT)
    with pytest.raises(Misconfigured, match="writing a file"):
        await confined.run(write, str(tmp_path / "new"), timeout=LIMIT)
    assert not (tmp_path / "new").exists()


@pytest.mark.asyncio(loop_scope="module")
async def test_result_and_errors_come_back_whole(confined: Confined) -> None:
    assert await confined.run(os.path.join, "a", "b", timeout=LIMIT) == "a/b"
    with pytest.raises(Busy, match="later") as caught:
        await confined.run(fail, "later", timeout=LIMIT)
    assert caught.value.retry_after == timedelta(seconds=7)


@pytest.mark.asyncio(loop_scope="module")
async def test_what_a_library_raises_is_told_by_its_type_alone(confined: Confined) -> None:
    with pytest.raises(Busy, match=r"^the library failed: Unpicklable$"):
        await confined.run(raise_odd, timeout=LIMIT)


@pytest.mark.asyncio(loop_scope="module")
async def test_work_that_overruns_is_ended(confined: Confined) -> None:
    began = time.monotonic()
    with pytest.raises(Busy, match=r"no answer within 0.2 s"):
        await confined.run(time.sleep, 60, timeout=timedelta(seconds=0.2))
    assert await confined.run(os.path.join, "a", "b", timeout=LIMIT) == "a/b"
    assert time.monotonic() - began < 5
