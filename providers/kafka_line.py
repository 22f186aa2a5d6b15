"""Producers of Kafka, in the process of `Means.apart`: one for each Provider's brokers and credentials, used again by the next record.

In: a line to brokers, and a record. Out: nothing when all replicas in sync have it, or Misconfigured, Rejected or Busy with words that hold
nothing of an answer. A producer's loop runs only while one of its records is under way: what is learnt there, such as an address that must
not be reached, concerns that record's Provider. https://aiokafka.readthedocs.io/en/stable/producer.html
"""

import asyncio
import logging
import os
import ssl
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from providers.contract import Busy, Certificates, Misconfigured, Rejected

MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
MOST = 16
CLOSING_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Brokers as `host:port`, and who we are there; an empty mechanism is nobody."""

    servers: tuple[str, ...]
    tls: bool = False
    certificates: Certificates | None = None
    mechanism: str = ""
    username: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is written. `id` is the same in every attempt."""

    topic: str
    key: bytes
    value: bytes = field(repr=False)
    id: str = ""


def deliver(line: Line, record: Record, seconds: float) -> None:
    """Write the record within this time. Raises Misconfigured, Rejected, Busy."""
    producer = _producers.pop(line, None) or _Producer(line, seconds)
    while len(_producers) >= MOST:
        _producers.pop(next(iter(_producers))).close()
    heard = _Heard()
    log = logging.getLogger("aiokafka")
    log.handlers, log.propagate = [heard], False
    try:
        producer.run(heard.until_refused(producer.send(record)), 0.9 * seconds)
    except Exception as error:  # noqa: BLE001 - also what the library raises of other things
        producer.close()
        raise judged([*heard.errors, error]) from None
    _producers[line] = producer


class _Producer:
    """One of the library's, with a loop of its own."""

    def __init__(self, line: Line, seconds: float) -> None:
        self._line, self._seconds = line, seconds
        self._loop = asyncio.new_event_loop()
        self._made: Any = None  # the library has no types

    def run(self, work: Coroutine[Any, Any, None], seconds: float) -> None:
        self._loop.run_until_complete(asyncio.wait_for(work, seconds))

    async def send(self, record: Record) -> None:
        if self._made is None:
            self._made = await _started(self._line, self._seconds)
        headers = [("content-type", b"application/json")] + ([("idempotency-key", record.id.encode())] if record.id else [])
        await self._made.send_and_wait(record.topic, record.value, key=record.key, headers=headers)

    def close(self) -> None:
        """Whatever state it is in."""
        with suppress(Exception):
            if self._made is not None:
                self.run(self._made.stop(), CLOSING_SECONDS)
        with suppress(Exception):
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self.run(asyncio.sleep(0), CLOSING_SECONDS)
        self._loop.close()


_producers: dict[Line, _Producer] = {}  # of this process; the one used last is the last


async def _started(line: Line, seconds: float) -> Any:
    from aiokafka import AIOKafkaProducer

    producer = AIOKafkaProducer(
        bootstrap_servers=list(line.servers),
        client_id="sluice",
        acks="all",
        enable_idempotence=True,
        request_timeout_ms=int(500 * seconds),
        security_protocol=f"{'SASL_' if line.mechanism else ''}{'SSL' if line.tls else 'PLAINTEXT'}",
        ssl_context=_context(line.certificates or Certificates()) if line.tls else None,
        sasl_mechanism=line.mechanism or "PLAIN",
        sasl_plain_username=line.username or None,
        sasl_plain_password=line.password or None,
    )
    try:
        await producer.start()
    except BaseException:
        await producer.stop()
        raise
    return producer


def _context(certificates: Certificates) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=certificates.ca.decode("ascii") or None)
    if certificates.certificate:
        file = os.memfd_create("certificate")  # the ssl module takes files only, and this process writes none
        try:
            os.write(file, certificates.certificate + b"\n" + certificates.key)
            context.load_cert_chain(f"/proc/self/fd/{file}", password="")
        finally:
            os.close(file)
    return context


class _Heard(logging.Handler):
    """Keeps the errors that the library only logs, before it tries again."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.errors: list[BaseException] = []
        self._refused = asyncio.Event()

    async def until_refused(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work, but no longer once this process was kept from an address. Raises PermissionError, and what the work raises."""
        task, refused = asyncio.ensure_future(work), asyncio.ensure_future(self._refused.wait())
        try:
            await asyncio.wait((task, refused), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise PermissionError("an address must not be reached")
            task.result()
        finally:
            task.cancel()
            refused.cancel()

    def emit(self, record: logging.LogRecord) -> None:
        arguments = record.args if isinstance(record.args, tuple) else ()
        self.errors += [each for each in arguments if isinstance(each, BaseException)]
        if any(isinstance(each, PermissionError) for each in self.errors):
            self._refused.set()


def judged(errors: list[BaseException]) -> Misconfigured | Rejected | Busy:
    """What follows of the errors of one attempt: of the first that a person has to do something about, else of the last."""
    for error in errors:
        name = type(error).__name__
        if isinstance(error, ssl.SSLError):
            return Busy("the TLS connection failed: check the certificates of the brokers")
        if name in _MISCONFIGURED:
            return Misconfigured(_MISCONFIGURED[name])
        if name in _REJECTED:
            return Rejected(_REJECTED[name])
    if isinstance(errors[-1], TimeoutError):
        return Busy("the brokers did not take it in time")
    if type(errors[-1]).__name__ == "KafkaConnectionError":
        return Busy("no connection to the brokers, or they ended it: check the address, and whether they want TLS or credentials")
    return Busy(f"the brokers did not take it: {type(errors[-1]).__name__}")


_CREDENTIALS = "Kafka refuses the credentials: put valid ones into the Secret, and their mechanism"
_RIGHTS = "Kafka refuses the user: give it the right to write to the topic of spec.channel"
_MISCONFIGURED = {
    "AuthenticationFailedError": _CREDENTIALS,
    "SaslAuthenticationFailed": _CREDENTIALS,
    "IllegalSaslStateError": _CREDENTIALS,
    "UnsupportedSaslMechanismError": "Kafka does not take this mechanism: put the broker's own into the Secret's key mechanism",
    "TopicAuthorizationFailedError": _RIGHTS,
    "ClusterAuthorizationFailedError": "Kafka refuses the user: give it the right of an idempotent write",
    "UnknownTopicOrPartitionError": "there is no topic of this name: create it, or correct spec.channel",
    "InvalidTopicError": "spec.channel is not a topic that Kafka takes: correct it",
}
_REJECTED = {
    "MessageSizeTooLargeError": "the event is longer than Kafka takes: raise the topic's max.message.bytes",
    "RecordListTooLargeError": "the event is longer than Kafka takes: raise the topic's max.message.bytes",
}
