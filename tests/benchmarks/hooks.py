"""How fast signed pushes are taken: over HTTP, verified, stored on disk (SQLite, synchronous FULL), and carried out up to the queue.

In: flags. Out: one line for each number of connections: requests/s, p50, p99, and the service's processor time for each request, of all its
threads, which says on a busy machine what a quiet one could do. The service runs in one process with a real store in a temporary folder,
the load generator in another, over loopback. Usage:
`python tests/benchmarks/hooks.py [--seconds 4] [--connections 1,16] [--intake-only] [--postgres]`; the last measures on a PostgreSQL, too,
in turns, whose commits wait for the disk, over loopback.
"""

import argparse
import asyncio
import hashlib
import hmac
import json
import multiprocessing
import multiprocessing.connection
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from service.cel import Evaluator
from service.cluster.client import Cluster
from service.cluster.discovery import Discovery
from service.kinds.meta import ObjectKey
from service.metrics import Metrics
from service.reconcile.gate import Gate
from service.reconcile.queue import Trigger
from service.settings import Address
from service.state.inbox import Inbox, Retention
from service.state.store import Store
from service.triggers.choosing import Choosing
from service.triggers.deliveries import Deliveries
from service.triggers.graph import Graph
from service.triggers.index import ReceiverIndex, webhook_path
from service.triggers.intake import Intake, Stored
from service.triggers.listing import Listing
from service.triggers.reading import Reading
from service.triggers.requests import Requests
from service.triggers.spool import Spool
from service.web.hooks import Hooks, application
from service.web.port import Port
from service.workers import Workers
from tests.peers.postgres import databases
from tests.triggers.kube import Kube
from tests.triggers.scene import SECRET_PATH, TOKEN, key, receiver, repository, secret

RECORDING = Path(__file__).parents[1] / "receivers/github/push__branch/body"
WARM_UP_SECONDS = 0.5


class Nobody:
    """Leaves what is stored where it is."""

    def stored(self, new: Stored) -> None:
        pass

    def is_open(self, row: int) -> bool:
        return False


async def serve(folder: Path, pipe: multiprocessing.connection.Connection, intake_only: bool, state_url: str = "") -> None:
    """The web and trigger rooms, with a reconcile that ends at once; tells its port, ends when asked to and tells what is left."""
    kube = Kube()
    kube.objects[SECRET_PATH] = secret()
    await kube.start()
    cluster = await Cluster.from_kubeconfig(kube.kubeconfig(folder))
    store = Store.open(folder / "state", state_url)
    inbox, graph, gate = Inbox(store, Retention(rows=10_000_000)), Graph(["GitRepository"]), Gate("benchmark")
    graph.seen(key("GitRepository", "fleet"), repository())
    receivers = {("apps", "web"): receiver()}
    index = ReceiverIndex(cluster, receivers)
    await index.load(key("Receiver", "web"))
    discovery, loop = Discovery(cluster), asyncio.get_running_loop()
    requests = Requests(cluster, discovery, gate=gate)

    def enqueue(name: ObjectKey, trigger: Trigger) -> None:
        loop.call_soon(lambda: deliveries.outcome(name, datetime.now(UTC), "unchanged"))

    deliveries = Deliveries(
        inbox=inbox,
        choosing=Choosing(receivers=receivers, listing=Listing(graph, cluster, discovery), evaluator=Evaluator(), no_cross_namespace=False),
        requests=requests,
        enqueue=enqueue,
        runs=frozenset(["GitRepository"]),
    )
    deliveries.is_ready.set()
    intake = Intake(
        index=index,
        inbox=inbox,
        reading=Reading(Workers(1), Spool(folder / "spool")),
        is_ready=lambda: True,
        carrier=Nobody() if intake_only else deliveries,
        evaluator=Evaluator(),
    )
    port = Port("hooks", application(Hooks(intake, inbox.log, Metrics())), Address(host="127.0.0.1", port=0))
    await port.start()
    async with asyncio.TaskGroup() as tasks:
        for room in (port, deliveries, requests):
            tasks.create_task(room.run())
        begun = time.process_time()
        pipe.send(port.address.port)
        await loop.run_in_executor(None, pipe.recv)
        pipe.send(dict(await inbox.log.counts()) | {"cpu": time.process_time() - begun})
        for room in (port, deliveries, requests):
            room.stop()
    await cluster.close()
    await kube.stop()
    await store.close()


def serving(folder: Path, pipe: multiprocessing.connection.Connection, intake_only: bool, state_url: str = "") -> None:
    asyncio.run(serve(folder, pipe, intake_only, state_url))


async def one_connection(port: int, name: str, until: float, times: list[tuple[float, float]]) -> None:
    """Pushes one after another, each with a body of its own."""
    push = json.loads(RECORDING.read_bytes())
    path = webhook_path(TOKEN, "web", "apps")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    number = 0
    while (began := time.perf_counter()) < until:
        number += 1
        body = json.dumps(push | {"after": hashlib.sha1(f"{name}{number}".encode()).hexdigest()}).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nX-GitHub-Event: push\r\n"
            f"X-GitHub-Delivery: {name}-{number}\r\nX-Hub-Signature-256: sha256={hmac.new(TOKEN, body, 'sha256').hexdigest()}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        sent = time.perf_counter()
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise SystemExit(f"the service answered {answer[:60]!r}")
        length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        times.append((began, time.perf_counter() - sent))
    writer.close()


async def load(port: int, connections: int, seconds: float) -> tuple[list[float], int]:
    """The latencies of all requests after the warm-up, in seconds, and the number of all requests."""
    start = time.perf_counter()
    times: list[tuple[float, float]] = []
    async with asyncio.TaskGroup() as tasks:
        for number in range(connections):
            tasks.create_task(one_connection(port, f"c{connections}-{number}", start + WARM_UP_SECONDS + seconds, times))
    return [took for began, took in times if began >= start + WARM_UP_SECONDS], len(times)


def measure(connections: int, seconds: float, intake_only: bool, state_url: str = "") -> dict[str, Any]:
    """One run against a fresh service."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    with tempfile.TemporaryDirectory(prefix="hooks-") as folder:
        process = multiprocessing.get_context("spawn").Process(target=serving, args=(Path(folder), theirs, intake_only, state_url))
        process.start()
        try:
            took, requests = asyncio.run(load(ours.recv(), connections, seconds))
            took.sort()
            ours.send("stop")
            left = ours.recv()
            process.join(20)
        finally:
            process.kill()
    return {
        "state": "PostgreSQL" if state_url else "SQLite",
        "connections": connections,
        "requests_per_second": round(len(took) / seconds),
        "p50_ms": round(statistics.median(took) * 1000, 2),
        "p99_ms": round(took[int(len(took) * 0.99)] * 1000, 2),
        "cpu_ms_each": round(left["cpu"] * 1000 / requests, 3),
        "queued_at_the_end": left["queued"],
        "done": left["done"],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--connections", default="1,16")
    parser.add_argument("--intake-only", action="store_true", help="store only: what is stored is not carried out")
    parser.add_argument("--postgres", action="store_true", help="measure on PostgreSQL, too")
    options = parser.parse_args()
    with databases(options.postgres) as opened:
        for count in options.connections.split(","):
            for fresh in opened:
                with fresh() as found:
                    print(json.dumps(measure(int(count), options.seconds, options.intake_only, found)), flush=True)
