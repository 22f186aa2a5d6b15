"""kubectl on the embedded and on a real server, as people use it."""

import asyncio
import json
import shutil

import pytest

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="SKIPPED: kubectl is not installed")

MANIFEST = """
apiVersion: v1
kind: ConfigMap
metadata: {name: a, labels: {app: a}}
data: {x: "1"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "nginx:1"}]}
"""


@pytest.fixture
def kubectl(kube, kubeconfig, tmp_path):
    """Run kubectl in the test's namespace; returns its output, fails on a non-zero exit."""

    async def run(*arguments, text=None):
        command = ("kubectl", "--kubeconfig", kubeconfig, "--cache-dir", tmp_path, "-n", kube.namespace, *arguments)
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
        out, _ = await process.communicate(text.encode() if text else None)
        assert process.returncode == 0, out.decode()
        return out.decode()

    return run


async def test_apply_get_describe_annotate_patch_delete(kubectl):
    """A session of eight calls: takes up to 2 s on two busy cores."""
    assert "configmap/a serverside-applied" in await kubectl("apply", "--server-side", "-f", "-", text=MANIFEST)
    assert "web" in await kubectl("get", "deployments")
    assert "Replicas:" in await kubectl("describe", "deployment", "web")
    assert "annotated" in await kubectl("annotate", "cm", "a", "note=hi")
    assert "patched" in await kubectl("patch", "cm", "a", "-p", '{"data":{"x":"2"}}')
    assert await kubectl("get", "cm", "a", "-o", "jsonpath={.data.x} {.metadata.annotations.note}") == "2 hi"
    assert "deleted" in await kubectl("delete", "cm", "a")


async def test_a_list_of_objects_applies(kubectl):
    listed = {"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "listed"}}]}
    assert "configmap/listed" in await kubectl("apply", "--server-side", "-f", "-", text=json.dumps(listed))


async def change_often(kube):
    """kubectl leaves out the first event of a single object's watch, which may be the change itself: so there is more than one."""
    for number in range(100):
        data = {"data": {"x": "3", "number": str(number)}}
        await kube.call("PATCH", kube.path("configmaps", "a"), data, media="application/merge-patch+json")
        await asyncio.sleep(0.2)


async def test_wait_and_watch(kubectl, kube, kubeconfig, tmp_path):
    await kubectl("apply", "--server-side", "-f", "-", text=MANIFEST)
    waiting = asyncio.create_task(kubectl("wait", "cm/a", "--for=jsonpath={.data.x}=3", "--timeout=30s"))
    command = ("kubectl", "--kubeconfig", kubeconfig, "--cache-dir", tmp_path, "-n", kube.namespace)
    watch = (*command, "get", "cm", "a", "-w", "-o", "jsonpath={.data.x},")
    watching = await asyncio.create_subprocess_exec(*watch, stdout=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(30):
            assert await watching.stdout.readuntil(b",") == b"1,"
            changing = asyncio.create_task(change_often(kube))
            assert await watching.stdout.readuntil(b",") == b"3,"
            changing.cancel()
            assert "condition met" in await waiting
    finally:
        watching.kill()
        await watching.communicate()


async def test_client_side_apply_and_diff(kubectl):
    await kubectl("apply", "-f", "-", text=MANIFEST)
    assert "configmap/a configured" in await kubectl("apply", "-f", "-", text=MANIFEST.replace('"1"', '"2"'))
    assert await kubectl("diff", "-f", "-", text=MANIFEST.replace('"1"', '"2"')) == ""
    assert "scaled" in await kubectl("scale", "deployment", "web", "--replicas=4")
    assert await kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "4"
