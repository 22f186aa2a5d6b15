"""SNS over HTTP: the certificate is fetched in the background, the subscription confirmed, both under the policy for foreign addresses."""

import asyncio
import base64
import datetime
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from service.cluster.client import Cluster
from service.outbound import Fetched, Outbound, OutboundFailed
from service.state.store import Store
from service.triggers import certificates
from service.triggers.certificates import Certificates
from tests.receivers.recordings import CASES
from tests.receivers.test_jwt import PRIVATE
from tests.triggers.kube import Kube
from tests.triggers.scene import SECRET_PATH, key, secret, until
from tests.web.test_hooks import Scene, serving
from tests.web.test_senders import sent

TOPIC = "arn:aws:sns:us-west-2:123456789012:fleet"
RECORDED = {case.folder.name: case for case in CASES if case.type == "sns"}


def certificate(days: int = 365) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(
        name, name, PRIVATE.public_key(), 1, now - datetime.timedelta(days=800), now + datetime.timedelta(days=days)
    )

    return builder.sign(PRIVATE, hashes.SHA256()).public_bytes(Encoding.PEM)


class Sns(Outbound):
    """What stands behind the policy: amazonaws.com, here."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.pem, self.status = certificate(), 200

    async def get(self, url: str, *, timeout: datetime.timedelta, most_bytes: int, redirects: int = 3) -> Fetched:
        self.asked.append(url)
        if self.status == 0:
            raise OutboundFailed("no answer")
        return Fetched(status=self.status, headers={}, body=self.pem, url=url)


def signed(name: str) -> bytes:
    """A recording, signed with the key of our certificate."""
    message = json.loads(RECORDED[name].body)
    fields = ("Message", "MessageId", "SubscribeURL", "Subject", "Timestamp", "Token", "TopicArn", "Type")
    text = "".join(f"{field}\n{message[field]}\n" for field in fields if field in message)
    digest = hashes.SHA1() if message["SignatureVersion"] == "1" else hashes.SHA256()
    return json.dumps(message | {"Signature": base64.b64encode(PRIVATE.sign(text.encode(), padding.PKCS1v15(), digest)).decode()}).encode()


@asynccontextmanager
async def subscribed(store: Store, kube: Kube, cluster: Cluster) -> AsyncIterator[tuple[Scene, Sns]]:
    sns, held = Sns(), secret()
    held["data"]["topic"] = base64.b64encode(TOPIC.encode()).decode()
    async with serving(store, kube, cluster, type="github") as scene, asyncio.TaskGroup() as tasks:
        kube.objects[SECRET_PATH] = held
        scene.cache["apps", "web"]["spec"]["type"] = "sns"
        scene.index.certificates = Certificates(sns)
        await scene.index.load(key("Receiver", "web"))
        indexing = tasks.create_task(scene.index.run(), name="index")
        yield scene, sns
        indexing.cancel()


async def test_a_message_waits_for_its_certificate(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with subscribed(store, kube, cluster) as (scene, sns):
        for name in ("s3__put", "s3__removed__v2", "codecommit__push"):
            headers = sent(RECORDED[name].headers)
            if not sns.asked:
                assert (await scene.post(signed(name), headers))[0] == 503
                await until(lambda: bool(scene.index.certificates.current))
            assert (await scene.post(signed(name), headers))[0] == 200, name
        assert len(sns.asked) == 1
        assert (await scene.post(signed("s3__put").replace(b"acme-fleet", b"evil-fleet"), sent(RECORDED["s3__put"].headers)))[0] == 400
        assert (await scene.post(RECORDED["other_topic"].body, sent(RECORDED["s3__put"].headers)))[0] == 400
        assert len(await scene.inbox.pending()) == 3


async def test_a_subscription_is_confirmed_or_asked_for_again(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with subscribed(store, kube, cluster) as (scene, sns):
        headers, body = sent(RECORDED["subscription"].headers), signed("subscription")
        await scene.post(body, headers)
        await until(lambda: bool(scene.index.certificates.current))
        for sns.status in (500, 0):
            assert (await scene.post(body, headers))[0] == 503
            assert "cannot be confirmed" in (await scene.last()).detail
        sns.status = 200
        assert (await scene.post(body, headers))[0] == 200
        assert sns.asked[-1].startswith("https://sns.us-west-2.amazonaws.com/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:us-west-2:")
        assert (await scene.post(RECORDED["subscription"].body, headers))[0] == 400  # signed by somebody else
        assert await scene.inbox.pending() == []


async def test_strangers_cannot_make_us_fetch_at_will(monkeypatch: pytest.MonkeyPatch) -> None:
    sns = Sns()
    room = Certificates(sns)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(room.run(), name="certificates")
        room.need("https://169.254.169.254/x.pem")
        room.need("https://sns.us-east-1.amazonaws.com.evil.example/x.pem")
        for number in range(50):
            room.need(f"https://sns.us-east-1.amazonaws.com/{number}.pem")
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        assert len(sns.asked) == certificates.A_MINUTE
        assert all("amazonaws.com/" in address for address in sns.asked)
        running.cancel()


async def test_a_certificate_that_has_ended_does_not_count() -> None:
    sns = Sns()
    sns.pem = certificate(days=-1)
    room = Certificates(sns)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(room.run(), name="certificates")
        room.need("https://sns.us-east-1.amazonaws.com/a.pem")
        await until(lambda: bool(sns.asked))
        await asyncio.sleep(0.02)
        assert room.current == ()
        running.cancel()
