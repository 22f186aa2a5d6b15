"""What controllers clean up in a real cluster: dependents, contents of namespaces."""


def config_map(name, owner=None, **meta):
    if owner:
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}
        meta["ownerReferences"] = [{**reference, "blockOwnerDeletion": True}]
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **meta}}


async def family(own):
    path = own.path("configmaps")
    _, parent = await own.call("POST", path, config_map("parent"))
    _, child = await own.call("POST", path, config_map("child", parent))
    await own.call("POST", path, config_map("grandchild", child))


async def test_dependents_go_in_the_background(own):
    await family(own)
    await own.call("DELETE", own.path("configmaps", "parent"))
    await own.until(own.path("configmaps", "child"), 404)
    await own.until(own.path("configmaps", "grandchild"), 404)


async def test_foreground_waits_for_dependents(own):
    await family(own)
    path = own.path("configmaps", "child")
    await own.call("PATCH", path, {"metadata": {"finalizers": ["example.com/wait"]}}, media="application/merge-patch+json")
    _, body = await own.call("DELETE", own.path("configmaps", "parent"), propagationPolicy="Foreground")
    assert body["metadata"]["finalizers"] == ["foregroundDeletion"]
    await own.until(own.path("configmaps", "grandchild"), 404)
    assert (await own.call("GET", own.path("configmaps", "parent")))[0] == 200
    await own.call("PATCH", path, {"metadata": {"finalizers": None}}, media="application/merge-patch+json")
    await own.until(own.path("configmaps", "child"), 404)
    await own.until(own.path("configmaps", "parent"), 404)


async def test_orphans_stay_without_their_owner(own):
    await family(own)
    await own.call("DELETE", own.path("configmaps", "parent"), propagationPolicy="Orphan")
    await own.until(own.path("configmaps", "parent"), 404)
    _, child = await own.call("GET", own.path("configmaps", "child"))
    assert "ownerReferences" not in child["metadata"]


async def test_namespace_goes_with_its_contents(own):
    await own.call("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    path = own.path("configmaps", namespace="shop")
    await own.call("POST", path, config_map("held", finalizers=["example.com/wait"]))
    _, body = await own.call("DELETE", "/api/v1/namespaces/shop")
    assert body["status"]["phase"] == "Terminating"
    status, body = await own.call("POST", path, config_map("late"))
    assert (status, body["details"]["causes"][0]["reason"]) == (403, "NamespaceTerminating")
    await own.call("PATCH", f"{path}/held", {"metadata": {"finalizers": None}}, media="application/merge-patch+json")
    await own.until("/api/v1/namespaces/shop", 404)


async def test_default_namespace_stays(own):
    status, body = await own.call("DELETE", "/api/v1/namespaces/default")
    assert (status, body["reason"]) == (403, "Forbidden")
