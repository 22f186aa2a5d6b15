"""kafka: the event itself, as JSON, as a record of a topic of Apache Kafka. Not one of Flux's types. Needs the extra `kafka`.

Credentials: make a user with the right to write to the topic and put `username`, `password` and, unless it is PLAIN, `mechanism`
(SCRAM-SHA-256 or SCRAM-SHA-512) into the Secret; authorities and a client certificate of your own go into `spec.certSecretRef`.
The address is `kafka://<host>:9092,<host>:9092`, or `kafkas://` for TLS, which a certSecretRef stands for too; `spec.channel` is the
topic. The record's key is the object, so that one partition holds all of it in order; its header `idempotency-key` is the same in every
attempt. A record counts as sent when all replicas in sync have it. The library makes its own connections: so it runs apart, and is loaded
there, when it is used first. https://aiokafka.readthedocs.io/ and https://kafka.apache.org/protocol
"""

import re

from providers.answers import address_of, needs
from providers.contract import Event, Means, Misconfigured, Target
from providers.flux_event import flux_bytes
from providers.kafka_line import MECHANISMS, Line, Record, deliver

PORT = 9092
_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}", re.ASCII)
_HOST = re.compile(r"([\w.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])(?::(\d{1,5}))?", re.ASCII)


async def publish(event: Event, target: Target, means: Means) -> None:
    """Write the event to the topic; the caller bounds the time. Raises Misconfigured, Rejected, Busy."""
    await means.apart(deliver, line(target, means), record(event, target), means.timeout.total_seconds())


def preview(event: Event, target: Target) -> str:
    """What would be written."""
    found = record(event, target)
    return f"PRODUCE {found.topic}\nkey: {found.key.decode()}\n\n{found.value.decode()}"


def record(event: Event, target: Target) -> Record:
    """Where the event goes, and as what. Raises Misconfigured."""
    topic = needs(target.channel, "no topic: set spec.channel")
    if not _TOPIC.fullmatch(topic) or topic in (".", ".."):
        raise Misconfigured("spec.channel is not a topic: it has up to 249 letters, digits, dots, dashes and underscores")
    key = f"{event.kind}/{event.namespace}/{event.name}".encode(errors="replace")
    return Record(topic=topic, key=key, value=flux_bytes(event), id=event.id)


def line(target: Target, means: Means) -> Line:
    """The way to the brokers. Raises Misconfigured."""
    tls, servers = _servers(address_of(target))
    if bool(target.username) != bool(target.password):
        raise Misconfigured("username and password belong together: put both into the Secret, or neither")
    mechanism = target.keys["mechanism"].reveal() if "mechanism" in target.keys else "PLAIN"
    if mechanism not in MECHANISMS:
        raise Misconfigured(f"the Secret's key mechanism is none of {', '.join(MECHANISMS)}")
    if "mechanism" in target.keys and not target.username:
        raise Misconfigured("the Secret has a mechanism, but no username and password: add them")
    return Line(
        servers=servers,
        tls=tls or means.certificates is not None,
        certificates=means.certificates,
        mechanism=mechanism if target.username else "",
        username=target.username,
        password=target.password.reveal(),
    )


def _servers(address: str) -> tuple[bool, tuple[str, ...]]:
    """Whether it is TLS, and the brokers as `host:port`."""
    scheme, _, rest = address.partition("://")
    found = [_HOST.fullmatch(each) for each in rest.removesuffix("/").split(",")]
    if scheme not in ("kafka", "kafkas") or not all(each and int(each[2] or PORT) in range(1, 65536) for each in found):
        raise Misconfigured(
            "the address is not kafka:// or kafkas:// and brokers with commas, such as kafka://a.example:9092,b.example:9092"
        )
    return scheme == "kafkas", tuple(f"{each[1]}:{each[2] or PORT}" for each in found if each)
