"""A token is exchanged: both paths and both signatures count until the end, and not a moment longer."""

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from receivers.contract import BadSignature, Credentials, UnknownKey
from receivers.github import GITHUB
from service.cluster.client import Cluster
from service.state.store import Store
from service.triggers.index import webhook_path
from service.triggers.overlap import EitherVerifier, verifier_of
from tests.triggers.kube import Kube
from tests.triggers.scene import SECRET_PATH, TOKEN, key, push_body, secret, signed
from tests.web.test_hooks import serving

NEW = b"new-token"
PATHS = [webhook_path(token, "web", "apps") for token in (TOKEN, NEW)]


def exchanged(until: str | None) -> dict[str, Any]:
    made = secret(NEW)
    made["data"]["token-previous"] = base64.b64encode(TOKEN).decode()
    if until is not None:
        made["data"]["token-previous-until"] = base64.b64encode(until.encode()).decode()
    return made


def after(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def test_both_count_until_the_end(store: Store, kube: Kube, cluster: Cluster) -> None:
    kube.objects[SECRET_PATH] = exchanged(after(1.0))
    body = push_body()
    async with serving(store, kube, cluster) as scene:
        for path in PATHS:
            for token in (TOKEN, NEW):
                assert (await scene.post(body, signed(body, token=token), path))[0] == 200
            assert (await scene.post(body, signed(body, token=b"guess"), path))[0] == 400
        await asyncio.sleep(1.0)
        assert (await scene.post(body, signed(body, token=TOKEN), PATHS[0]))[0] == 404, "the former path"
        assert (await scene.post(body, signed(body, token=TOKEN), PATHS[1]))[0] == 400, "the former signature"
        assert (await scene.post(body, signed(body, token=NEW), PATHS[1]))[0] == 200


@pytest.mark.parametrize("until", [None, "", "soon", "2027-01-31", "2027-01-31T18:00:00", "2026-01-31T18:00:00Z"])
async def test_without_an_end_that_is_to_come_only_the_new_one_counts(
    store: Store, kube: Kube, cluster: Cluster, until: str | None
) -> None:
    kube.objects[SECRET_PATH] = exchanged(until)
    body = push_body()
    async with serving(store, kube, cluster) as scene:
        assert (await scene.post(body, signed(body), PATHS[0]))[0] == 404
        assert (await scene.post(body, signed(body), PATHS[1]))[0] == 400
        assert (await scene.post(body, signed(body, token=NEW), PATHS[1]))[0] == 200
        entry = await scene.index.load(key("Receiver", "web"))
        assert entry is not None
        told = "token-previous-until must say when it ends" in entry.held.problem
        assert told == (until is None or not until.endswith("Z"))


async def test_once_the_former_token_is_taken_out_it_counts_no_more(store: Store, kube: Kube, cluster: Cluster) -> None:
    kube.objects[SECRET_PATH] = exchanged(after(60))
    body = push_body()
    async with serving(store, kube, cluster) as scene:
        assert (await scene.post(body, path=PATHS[0]))[0] == 200
        kube.objects[SECRET_PATH] = secret(NEW)
        await scene.index.load(key("Receiver", "web"))
        assert (await scene.post(body, path=PATHS[0]))[0] == 404
        assert (await scene.post(body, path=PATHS[1]))[0] == 400


def test_a_token_that_cannot_be_used_at_all_does_not_hide_the_other() -> None:
    body = push_body()
    headers = {name.lower(): value for name, value in signed(body, token=NEW).items()}
    both = verifier_of(GITHUB, headers, [Credentials(token=b""), Credentials(token=NEW)])
    both.feed(body)
    both.check()
    neither = verifier_of(GITHUB, headers, [Credentials(token=b"a"), Credentials(token=b"b")])
    neither.feed(body)
    with pytest.raises(BadSignature, match="does not fit"):
        neither.check()
    with pytest.raises(BadSignature, match="empty"):
        verifier_of(GITHUB, headers, [Credentials(token=b""), Credentials(token=b"")])


class Refusing:
    def __init__(self, error: BadSignature) -> None:
        self.error = error

    def feed(self, chunk: bytes) -> None:
        """Whatever it is."""

    def check(self) -> None:
        raise self.error


def test_a_key_that_is_not_known_yet_wins_over_one_that_is_wrong() -> None:
    with pytest.raises(UnknownKey):
        EitherVerifier([Refusing(BadSignature("no")), Refusing(UnknownKey("perhaps"))], []).check()
