"""Kafka: what is written where, and what the library's errors mean. The broker itself: tests/alerts/test_kafka.py."""

import dataclasses
import json
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiokafka import errors
from hypothesis import given
from hypothesis import strategies as some

from providers import kafka
from providers.contract import Busy, Certificates, Misconfigured, Rejected, Secret, Target
from providers.kafka_line import deliver, judged
from tests.providers.conftest import FOLDER, event_of, target_of


class Noting:
    """Means that note what would be run apart."""

    tls = None
    timeout = timedelta(seconds=15)

    def __init__(self, certificates: Certificates | None = None) -> None:
        self.certificates = certificates
        self.got: tuple[Any, ...] = ()

    async def connect(self, host: str, port: int) -> Any:
        raise AssertionError(f"{host}:{port}: the library makes its own connections")

    async def apart(self, function: Any, *args: Any) -> Any:
        assert function is deliver
        self.got = args


EVENT = event_of(json.loads((FOLDER / "kafka" / "applied" / "event.json").read_text())["event"])


@pytest.mark.parametrize("case", sorted((FOLDER / "kafka").glob("*/")), ids=lambda path: path.name)
async def test_record_equals_the_recording(case: Path) -> None:
    body, means = json.loads((case / "event.json").read_text()), Noting()
    await kafka.publish(event_of(body["event"]), target_of(body["target"]), means)
    line, record, seconds = means.got
    seen = {"line": dataclasses.asdict(line) | {"servers": list(line.servers)}, "topic": record.topic, "key": record.key.decode()}
    assert seen | {"body": json.loads(record.value)} == json.loads((case / "request.json").read_text())
    assert seconds == 15


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("", "no address"),
        ("nats://a.example", "kafka:// or kafkas://"),
        ("kafka://", "kafka:// or kafkas://"),
        ("kafka://a.example:0", "kafka:// or kafkas://"),
        ("kafka://a.example:70000", "kafka:// or kafkas://"),
        ("kafka://a.example,,b.example", "kafka:// or kafkas://"),
        ("kafka://me:hush@a.example", "kafka:// or kafkas://"),
        ("kafka://a.example/topic", "kafka:// or kafkas://"),
    ],
)
async def test_address_that_cannot_be_used_says_why(address: str, words: str) -> None:
    with pytest.raises(Misconfigured, match=words) as caught:
        await kafka.publish(EVENT, Target(address=Secret(address), channel="a"), Noting())
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"channel": ""}, "no topic"),
        ({"channel": "a b"}, "not a topic"),
        ({"channel": ".."}, "not a topic"),
        ({"username": "me"}, "belong together"),
        ({"keys": {"mechanism": Secret("PLAIN")}}, "no username and password"),
        ({"username": "me", "password": Secret("hush"), "keys": {"mechanism": Secret("GSSAPI")}}, "none of PLAIN"),
    ],
)
async def test_half_given_is_named(given: dict[str, Any], words: str) -> None:
    with pytest.raises(Misconfigured, match=words):
        await kafka.publish(EVENT, Target(**{"address": Secret("kafka://a.example"), "channel": "flux"} | given), Noting())


async def test_certificates_stand_for_tls() -> None:
    means = Noting(Certificates(ca=b"ca"))
    await kafka.publish(EVENT, Target(address=Secret("kafka://a.example"), channel="flux"), means)
    assert (means.got[0].tls, means.got[0].certificates) == (True, Certificates(ca=b"ca"))


@pytest.mark.parametrize(
    ("found", "kind", "words"),
    [
        ([errors.SaslAuthenticationFailed(), errors.KafkaConnectionError("a.example hush")], Misconfigured, "refuses the credentials"),
        ([errors.UnsupportedSaslMechanismError()], Misconfigured, "mechanism"),
        ([errors.TopicAuthorizationFailedError("hush")], Misconfigured, "the right to write"),
        ([errors.UnknownTopicOrPartitionError()], Misconfigured, "no topic of this name"),
        ([errors.MessageSizeTooLargeError("hush")], Rejected, "longer than Kafka takes"),
        ([ssl.SSLCertVerificationError("hush"), errors.KafkaConnectionError("hush")], Busy, "certificates of the brokers"),
        ([errors.KafkaConnectionError("hush")], Busy, "no connection"),
        ([TimeoutError("hush")], Busy, "in time"),
        ([errors.NotEnoughReplicasError("hush")], Busy, "NotEnoughReplicasError"),
    ],
)
def test_errors_are_told_by_their_consequence(found: list[BaseException], kind: type[Exception], words: str) -> None:
    error = judged(found)
    assert type(error) is kind
    assert words in str(error)
    assert "hush" not in str(error)


@given(address=some.text() | some.from_regex(r"kafkas?://[a-z0-9.:,\[\]/-]{0,40}"), topic=some.text(max_size=300))
def test_any_address_is_taken_or_named(address: str, topic: str) -> None:
    target = Target(address=Secret(address), channel=topic)
    try:
        found = kafka.line(target, Noting()), kafka.record(EVENT, target)
    except Misconfigured:
        return
    assert all(int(each.rpartition(":")[2]) in range(1, 65536) for each in found[0].servers)
    assert found[1].topic == topic
