"""Hooks are taken at once whatever the service is busy with: their p99 during a cold build of 1,000 objects, over HTTP against the process.

The best of three tries counts, and each is held against hooks to the same service just before, at rest: on a machine that is busy with
other work both are late, and only what the build adds is the service's doing. Each try builds objects that were never seen before. A try
takes some seconds: the service is started, and the build has to be long enough to be measured.
"""

import asyncio
import hashlib
import hmac
import json
from pathlib import Path
from time import perf_counter

from tests.compose.test_fleets import asked
from tests.end_to_end.sluice_process import Sluice
from tests.kustomizations.town import SHARD, Object, Town, config_map

OBJECTS = 1000
MOST_SECONDS = 0.025
MOST_TIMES_AT_REST = 4  # where the machine itself is so late that 25 ms say nothing
REST_SECONDS = 0.7
TRIES = 3
TOKEN = "hook-token-of-the-test"
RECORDING = Path(__file__).parents[1] / "receivers/github/push__branch/body"
NOTIFICATION = "/apis/notification.toolkit.fluxcd.io/v1/namespaces/{}/receivers/{}"


def folder(name: str) -> dict[str, str]:
    return {f"{name}/{number:04}.yaml": config_map(f"{name}-{number:04}", f"{name} {number}") for number in range(OBJECTS)}


async def hook_path(town: Town) -> str:
    """A Receiver for a source that is suspended: all of a hook's way but the fetch."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hook"}, "stringData": {"token": TOKEN}}
    await town.api.request("POST", f"/api/v1/namespaces/{town.namespace}/secrets", body=secret)
    other = town.source(suspend=True)
    other["metadata"]["name"] = "other"
    await town.apply(other)
    spec = {"type": "github", "secretRef": {"name": "hook"}, "resources": [{"kind": "GitRepository", "name": "other"}]}
    metadata = {"name": "hook", "namespace": town.namespace, "labels": {SHARD: town.namespace}}
    receiver: Object = {"apiVersion": "notification.toolkit.fluxcd.io/v1", "kind": "Receiver", "metadata": metadata, "spec": spec}
    path = NOTIFICATION.format(town.namespace, "hook")
    await town.api.request("POST", path.rpartition("/")[0], body=receiver)
    seen = await town.wait_outside("Receiver", "hook", lambda seen: bool((seen.get("status") or {}).get("webhookPath")), seconds=20)
    return str(seen["status"]["webhookPath"])


async def hooks(port: int, path: str, until: asyncio.Event) -> list[tuple[float, float]]:
    """Signed pushes one after another on one connection: when each was sent, and the seconds until its answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    took: list[tuple[float, float]] = []
    push = json.loads(RECORDING.read_bytes())
    while not until.is_set():
        body = json.dumps(push | {"after": hashlib.sha1(str(perf_counter()).encode()).hexdigest()})
        signature = hmac.new(TOKEN.encode(), body.encode(), "sha256").hexdigest()
        head = f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nX-GitHub-Event: push\r\n"
        head += f"X-GitHub-Delivery: {len(took)}\r\nX-Hub-Signature-256: sha256={signature}\r\nContent-Length: {len(body)}\r\n\r\n"
        began = perf_counter()
        writer.write((head + body).encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        took.append((began, perf_counter() - began))
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        await reader.readexactly(int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        await asyncio.sleep(0.002)
    writer.close()
    return took


async def measured(town: Town, sluice: Sluice, path: str, name: str) -> dict[str, float]:
    """p99 in seconds at rest and while the folder is built; how many hooks were sent during the build."""
    town.repository.commit(folder(name))
    await asked(town, name)
    await town.wait_outside(
        "GitRepository", "fleet", lambda seen: seen["status"].get("artifact", {}).get("revision") == town.revision, seconds=30
    )
    done = asyncio.Event()
    sending = asyncio.create_task(hooks(sluice.ports["listen"], path, done))
    await asyncio.sleep(REST_SECONDS)
    began = perf_counter()
    await town.apply(town.kustomization(name))
    object_ = f"Kustomization/{town.namespace}/{name}"
    async with asyncio.timeout(60):
        while not (lines := sluice.log(msg="built", object=object_)):  # noqa: ASYNC110 - another process's doing
            await asyncio.sleep(0.1)
    done.set()
    took = await sending
    during = [one for at, one in took if began <= at < began + lines[0]["seconds"]]
    return {"rest": p99([one for at, one in took if at < began]), "build": p99(during), "hooks": len(during)}


def p99(took: list[float]) -> float:
    ordered = sorted(took)
    return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] if ordered else 0.0


async def test_hooks_are_taken_at_once_while_a_thousand_objects_are_built(hamlet: Town, tmp_path: Path) -> None:
    hamlet.repository.commit({"README.md": "a fleet"})
    await hamlet.apply(hamlet.source())
    scope = [f"--watch-label-selector={SHARD}={hamlet.namespace}", f"--runtime-namespace={hamlet.namespace}"]
    with Sluice(tmp_path / "sluice", [f"--kubeconfig={hamlet.kubeconfig}", *scope]) as sluice:
        await asyncio.to_thread(sluice.start)
        path = await hook_path(hamlet)
        tries = []
        for number in range(TRIES):
            tries.append(await measured(hamlet, sluice, path, f"app-{number}"))
            if tries[-1]["build"] < MOST_SECONDS:
                break
        print(tries)
        assert any(each["build"] < max(MOST_SECONDS, MOST_TIMES_AT_REST * each["rest"]) for each in tries), tries
        assert sum(each["hooks"] for each in tries) > 5
