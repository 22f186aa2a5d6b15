import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from service.cluster.client import MERGE_PATCH, Cluster
from service.cluster.lease import Lease, Terms
from tests.cluster.objects import Cord, eventually

# the API counts a lease in whole seconds
QUICK = Terms(duration=timedelta(seconds=1), renew_deadline=timedelta(milliseconds=700), retry=timedelta(milliseconds=100))


class Contender:
    def __init__(self, cluster: Cluster, namespace: str, identity: str) -> None:
        self.lease = Lease(cluster, namespace=namespace, name="kustomize-controller-leader-election", identity=identity, terms=QUICK)
        self.told: list[str] = []

    def on_held(self) -> None:
        assert self.lease.is_held
        self.told.append("held")

    def on_lost(self) -> None:
        assert not self.lease.is_held
        self.told.append("lost")


@asynccontextmanager
async def contending(contender: Contender) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(contender.lease.run(contender.on_held, contender.on_lost))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def spec(cluster: Cluster, namespace: str) -> dict[str, Any]:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/kustomize-controller-leader-election"
    found: dict[str, Any] = (await cluster.request("GET", path)).body["spec"]
    return found


async def test_free_lease_is_taken_renewed_and_given_back(cluster: Cluster, namespace: str) -> None:
    one = Contender(cluster, namespace, "one")
    assert not one.lease.is_held
    async with contending(one):
        await eventually(lambda: one.told == ["held"])
        first = await spec(cluster, namespace)
        assert first["holderIdentity"] == one.lease.holder == "one"
        assert (first["leaseDurationSeconds"], first["leaseTransitions"]) == (1, 0)
        await asyncio.sleep(0.9)
        later = await spec(cluster, namespace)
        assert later["renewTime"] > first["renewTime"]
        assert later["acquireTime"] == first["acquireTime"]
        assert one.lease.is_held
    assert one.told == ["held", "lost"]
    assert (await spec(cluster, namespace))["holderIdentity"] == ""


async def test_held_lease_is_waited_for(cluster: Cluster, namespace: str) -> None:
    one, two = Contender(cluster, namespace, "one"), Contender(cluster, namespace, "two")
    async with contending(one):
        await eventually(lambda: one.told == ["held"])
        async with contending(two):
            await asyncio.sleep(1.3)  # longer than the lease lasts: it is renewed
            assert two.told == []
            assert two.lease.holder == "one"
            assert one.lease.is_held


async def test_lease_passes_on_at_once_when_given_back(cluster: Cluster, namespace: str) -> None:
    one, two = Contender(cluster, namespace, "one"), Contender(cluster, namespace, "two")
    async with contending(one):
        await eventually(lambda: one.told == ["held"])
    async with contending(two):
        await eventually(lambda: two.told == ["held"], seconds=0.6)
        assert (await spec(cluster, namespace))["leaseTransitions"] == 1


async def test_lease_of_a_dead_holder_is_taken_after_its_time(cluster: Cluster, namespace: str) -> None:
    body = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "kustomize-controller-leader-election"},
        "spec": {
            "holderIdentity": "dead",
            "leaseDurationSeconds": 1,
            "renewTime": "2001-01-01T00:00:00.000000Z",  # its clock is not ours: it counts from when we saw it
            "leaseTransitions": 4,
        },
    }
    await cluster.request("POST", f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases", body=body)
    one = Contender(cluster, namespace, "one")
    began = asyncio.get_running_loop().time()
    async with contending(one):
        await eventually(lambda: one.told == ["held"])
        assert asyncio.get_running_loop().time() - began > 0.9
        assert (await spec(cluster, namespace))["leaseTransitions"] == 5


async def test_same_identity_goes_on_at_once(cluster: Cluster, namespace: str) -> None:
    await cluster.request(
        "POST",
        f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases",
        body={
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "kustomize-controller-leader-election"},
            "spec": {"holderIdentity": "one", "leaseDurationSeconds": 60, "leaseTransitions": 4},
        },
    )
    one = Contender(cluster, namespace, "one")
    async with contending(one):
        await eventually(lambda: one.told == ["held"], seconds=0.5)
        assert (await spec(cluster, namespace))["leaseTransitions"] == 4


async def test_lease_is_lost_by_our_clock_while_the_server_is_away(kubeconfig: Path, namespace: str, tmp_path: Path) -> None:
    cord = Cord(kubeconfig, tmp_path)
    cluster = await Cluster.from_kubeconfig(await cord.mend())
    one = Contender(cluster, namespace, "one")
    async with contending(one):
        await eventually(lambda: one.told == ["held"])
        await cord.cut()
        await eventually(lambda: not one.lease.is_held, seconds=1)
        await eventually(lambda: one.told == ["held", "lost"], seconds=1)
        await cord.mend()
        await eventually(lambda: one.told == ["held", "lost", "held"])
    await cord.cut()
    await cluster.close()


async def test_lease_that_another_took_is_lost(cluster: Cluster, namespace: str) -> None:
    one = Contender(cluster, namespace, "one")
    async with contending(one):
        await eventually(lambda: one.told == ["held"])
        path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/kustomize-controller-leader-election"
        body = {"spec": {"holderIdentity": "thief", "leaseDurationSeconds": 60}}
        await cluster.request("PATCH", path, body=body, content_type=MERGE_PATCH)
        await eventually(lambda: one.told == ["held", "lost"], seconds=1)
    assert (await spec(cluster, namespace))["holderIdentity"] == "thief"
