"""A real broker of Apache Kafka on loopback, alone and its own controller: in the clear, with passwords, and with TLS for known clients.

In: a folder, an authority and what `tests/peers/build kafka` has made. Out: a running broker, its listeners by name, what a topic holds.
https://kafka.apache.org/documentation/#brokerconfigs
"""

import asyncio
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.peers.authority import Authority
from tests.peers.binaries import binary
from tests.peers.process import Running, free_port

START_SECONDS = 180  # a Java program on a busy machine
USER, PASSWORD = "ann", "hush-word"
_JAAS = "org.apache.kafka.common.security"


def no_java() -> str:
    """Why there can be no broker here, "" where there can."""
    return "" if shutil.which("java") else "Kafka needs Java >= 17, which is not here (apt-get install default-jre-headless maven)"


class Kafka:
    """Start with `with Kafka(folder, authority) as kafka:`. `away` is a listener whose broker says that it lives where no cluster is."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.folder, self._authority = folder.resolve(), authority
        self.ports = {name: free_port() for name in ("clear", "words", "tls", "away", "controller")}
        self._running: Running | None = None

    def address(self, listener: str) -> str:
        """Of a listener, as Providers name it."""
        return f"kafka{'s' * (listener == 'tls')}://127.0.0.1:{self.ports[listener]}/"

    def __enter__(self) -> "Kafka":
        file = self.folder / "server.properties"
        file.write_text("\n".join(f"{name}={value}" for name, value in self._settings().items()))
        scram = f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"
        command = [binary("kafka"), "kafka.tools.StorageTool", "format", "-t", "4L6g3nShT-eMCtK--X86sw", "-c", file, "--add-scram", scram]
        subprocess.run(command, check=True, capture_output=True, timeout=START_SECONDS)
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Until it answers."""
        self._running = Running("kafka", [binary("kafka"), "kafka.Kafka", self.folder / "server.properties"], log=self.folder / "kafka.log")
        try:
            self._running.until(lambda: all(map(_is_open, self.ports.values())), seconds=START_SECONDS)
        except BaseException:
            self._running.kill()
            raise

    def stop(self) -> None:
        """At once."""
        if self._running is not None:
            self._running.kill()

    async def make(self, *topics: str) -> None:
        """Topics of three partitions."""
        from aiokafka.admin import AIOKafkaAdminClient, NewTopic

        admin = AIOKafkaAdminClient(bootstrap_servers=self._clear)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(topic, 3, 1) for topic in topics])
        finally:
            await admin.close()

    async def read(self, topic: str, count: int) -> Sequence[Any]:
        """The first so many records of a topic."""
        from aiokafka import AIOKafkaConsumer

        consumer = AIOKafkaConsumer(topic, bootstrap_servers=self._clear, auto_offset_reset="earliest")
        await consumer.start()
        try:
            async with asyncio.timeout(20):
                return [await consumer.getone() for _ in range(count)]
        finally:
            await consumer.stop()

    @property
    def _clear(self) -> str:
        return f"127.0.0.1:{self.ports['clear']}"

    def _settings(self) -> dict[str, str]:
        certificate, key = self._authority.pair()
        here = {name.upper(): f"{name.upper()}://127.0.0.1:{port}" for name, port in self.ports.items()}
        told = here | {"AWAY": "AWAY://169.254.169.254:80"}
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self.ports['controller']}",
            "controller.listener.names": "CONTROLLER",
            "listeners": ",".join(here.values()),
            "advertised.listeners": ",".join(each for name, each in told.items() if name != "CONTROLLER"),
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,CLEAR:PLAINTEXT,AWAY:PLAINTEXT,WORDS:SASL_PLAINTEXT,TLS:SSL",
            "inter.broker.listener.name": "CLEAR",
            "log.dirs": str(self.folder / "data"),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
            "listener.name.words.plain.sasl.jaas.config": f'{_JAAS}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";',
            "listener.name.words.scram-sha-512.sasl.jaas.config": f"{_JAAS}.scram.ScramLoginModule required;",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.certificate.chain": _line(certificate),
            "ssl.keystore.key": _line(key),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.certificates": _line(self._authority.pem),
            "ssl.client.auth": "required",
        }


def _line(pem: bytes) -> str:
    """As a file of properties has it."""
    return pem.decode().strip().replace("\n", "\\n")


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
