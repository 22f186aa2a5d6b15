"""Every recording of every sender over HTTP: verified, read, on disk or filtered, and refused where it is damaged."""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from receivers import RECEIVERS
from receivers.record import load
from service.cluster.client import Cluster
from service.state.store import Store
from service.triggers import intake
from service.triggers.credentials import NoToken
from service.triggers.index import webhook_path
from tests.receivers.recordings import CASES, KEYED, UNSIGNED, Case, folder_of
from tests.triggers.kube import Kube
from tests.triggers.scene import SECRET_PATH, key, secret, until
from tests.triggers.test_keys import Issuer
from tests.web.test_hooks import PATH, UNKNOWN, Scene, serving

HOP = {"host", "content-length", "accept-encoding", "connection"}
SIGNED = next(case for case in CASES if case.folder.name == "push__signed")


def sent(headers: Mapping[str, str]) -> dict[str, str]:
    """Without what the client sets itself, and without ids: some recordings are the same delivery with another proof."""
    return {name: value for name, value in headers.items() if name not in HOP and not name.endswith(("-delivery", "-activityid"))}


def signed_now(case: Case, *, seconds_ago: float = 0) -> dict[str, str]:
    at = str(int(time.time() - seconds_ago))
    key = base64.b64decode(case.token.removeprefix(b"whsec_"))
    mac = hmac.new(key, f"{case.headers['webhook-id']}.{at}.".encode() + case.body, "sha256").digest()
    return case.headers | {"webhook-timestamp": at, "webhook-signature": f"v1,{base64.b64encode(mac).decode()}"}


@pytest.mark.parametrize("type_", [type_ for type_ in RECEIVERS if type_ not in KEYED])
async def test_recordings_are_taken_or_refused_as_they_say(store: Store, kube: Kube, cluster: Cluster, type_: str) -> None:
    async with serving(store, kube, cluster, type=type_) as scene:
        for case in (case for case in CASES if case.type == type_ and case is not SIGNED):
            known = {row.row for row in await scene.inbox.pending()}
            status, words = await scene.post(case.body, sent(case.headers))
            rows = [row for row in await scene.inbox.pending() if row.row not in known]
            expected = case.expected
            if isinstance(expected, dict):
                assert (status, (await scene.last()).sender_type, rows) == (400, type_, []), case
                continue
            changes = [event for event in expected if event["type"] != "Unchanged"]
            is_stored = bool(changes) or not expected
            assert (status, words.partition(";")[0]) == (200, "stored" if is_stored else "filtered"), case
            assert [len(load(row.events_json)) for row in rows] == ([len(changes)] if is_stored else []), case
            if type_ not in UNSIGNED:
                bare = {name: value for name, value in sent(case.headers).items() if name == "content-type" or name.endswith("-event")}
                assert (await scene.post(case.body, bare))[0] == 400, case


@pytest.mark.parametrize(("seconds_ago", "status"), [(0, 200), (240, 200), (-240, 200), (400, 400), (-400, 400)])
async def test_a_signed_time_bounds_replays(store: Store, kube: Kube, cluster: Cluster, seconds_ago: float, status: int) -> None:
    kube.objects[SECRET_PATH] = secret(SIGNED.token)
    async with serving(store, kube, cluster, type="gitlab") as scene:
        path = webhook_path(SIGNED.token, "web", "apps")
        assert (await scene.post(SIGNED.body, sent(signed_now(SIGNED, seconds_ago=seconds_ago)), path))[0] == status
        if status == 400:
            assert "a replay" in (await scene.last()).detail


async def test_a_time_that_is_none_is_refused_beside_a_good_token(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with serving(store, kube, cluster, type="gitlab") as scene:
        headers = {"X-Gitlab-Token": "a-shared-secret", "webhook-signature": "v1,x", "webhook-timestamp": "soon"}
        assert (await scene.post(b"{}", headers))[0] == 400


async def test_events_are_compared_where_the_sender_names_them(store: Store, kube: Kube, cluster: Cluster) -> None:
    push = next(case for case in CASES if case.type == "gitlab" and case.folder.name == "push__branch")
    issue = next(case for case in CASES if case.type == "gitlab" and case.folder.name == "issue")
    async with serving(store, kube, cluster, type="gitlab", events=["push hook"]) as scene:
        assert (await scene.post(push.body, sent(push.headers)))[1].startswith("stored")
        assert (await scene.post(issue.body, sent(issue.headers)))[1].startswith("filtered")


async def test_events_without_effect_are_ignored_for_types_of_flux_alone(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with serving(store, kube, cluster, type="generic", events=["push"]) as scene:
        assert (await scene.post(b"", {}))[0] == 200
    async with serving(store, kube, cluster, type="distribution", events=["push"]) as scene:
        assert (await scene.post(b"{}", {"Authorization": "Bearer a-shared-secret"}))[0] == 503
        assert "spec.events" in (await scene.last()).detail


async def test_an_annotation_names_the_type_on_flux_own_crds(store: Store, kube: Kube, cluster: Cluster) -> None:
    case = next(case for case in CASES if case.type == "gitea" and case.folder.name == "forgejo_push")
    async with serving(store, kube, cluster, type="generic-hmac") as scene:
        assert (await scene.post(case.body, sent(case.headers)))[0] == 400
        scene.cache["apps", "web"]["metadata"]["annotations"] = {"notification.sluice.dev/type": "gitea"}
        await scene.index.load(key("Receiver", "web"))
        assert (await scene.post(case.body, sent(case.headers)))[0] == 200
        assert (await scene.inbox.pending())[0].sender_type == "gitea"


@pytest.mark.parametrize(("type_", "path", "status"), [("cloudevents", PATH, 200), ("github", PATH, 405), ("cloudevents", UNKNOWN, 405)])
async def test_senders_of_cloudevents_may_ask_first(store: Store, kube: Kube, cluster: Cluster, type_: str, path: str, status: int) -> None:
    async with serving(store, kube, cluster, type=type_) as scene:
        url = f"http://{scene.port.address}{path}"
        async with scene.session.options(url, headers={"WebHook-Request-Origin": "eventgrid.azure.net"}) as answer:
            assert (answer.status, answer.headers.get("WebHook-Allowed-Origin")) == (status, "*" if status == 200 else None)
            assert answer.headers["Allow"] == "POST"
        async with scene.session.options(url) as answer:
            assert answer.status == 405


@asynccontextmanager
async def with_keys(scene: Scene) -> AsyncIterator[Issuer]:
    """The index runs, and its keys come from an issuer on loopback."""
    issuer = Issuer()
    async with issuer.serving() as keys, asyncio.TaskGroup() as tasks:
        scene.index.keys = keys
        indexing = tasks.create_task(scene.index.run(), name="index")
        yield issuer
        indexing.cancel()


async def test_google_is_believed_once_its_keys_are_there(store: Store, kube: Kube, cluster: Cluster) -> None:
    said = json.loads((folder_of("gcr") / "credentials.json").read_text())
    held = secret()
    kube.objects[SECRET_PATH] = held
    cases = {case.folder.name: case for case in CASES if case.type == "gcr"}
    good = cases["insert__tag"]
    async with serving(store, kube, cluster) as scene:
        scene.cache["apps", "web"]["spec"]["type"] = "gcr"
        with pytest.raises(NoToken, match="email and audience"):
            await scene.index.load(key("Receiver", "web"))
        held["data"] |= {name: base64.b64encode(said[name].encode()).decode() for name in ("email", "audience")}
        await scene.index.load(key("Receiver", "web"))
        status, words = await scene.post(good.body, sent(good.headers))
        assert (status, words.partition(";")[0]) == (503, "not ready, try again")
        async with with_keys(scene):
            await scene.index.load(key("Receiver", "web"))
            await until(lambda: bool(scene.index.keys.current))
            for case in cases.values():
                status, _ = await scene.post(case.body, sent(case.headers))
                assert status == (200 if isinstance(case.expected, list) else 400), case
            assert len(await scene.inbox.pending()) == 4
            assert (await scene.post(good.body, {"Content-Type": "application/json"}))[0] == 400
            assert "Authorization is missing" in (await scene.last()).detail


async def test_a_token_that_has_ended_is_refused(store: Store, kube: Kube, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    said = json.loads((folder_of("gcr") / "credentials.json").read_text())
    held = secret()
    held["data"] |= {name: base64.b64encode(said[name].encode()).decode() for name in ("email", "audience")}
    kube.objects[SECRET_PATH] = held
    good = next(case for case in CASES if case.type == "gcr" and case.folder.name == "insert__tag")
    async with serving(store, kube, cluster, type="gcr") as scene, with_keys(scene):
        await scene.index.load(key("Receiver", "web"))
        await until(lambda: bool(scene.index.keys.current))
        monkeypatch.setattr(intake, "LEEWAY", -timedelta(days=365 * 150))
        assert (await scene.post(good.body, sent(good.headers)))[0] == 400
        assert "has ended" in (await scene.last()).detail
