"""CustomResourceDefinitions and their objects over the wire, on the embedded and on a real server."""

import uuid
from collections.abc import AsyncIterator

import pytest_asyncio

MERGE = "application/merge-patch+json"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
TEXT = {"type": "string"}
CONDITIONS = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["type"],
    "items": {"type": "object", "required": ["type"], "properties": {"type": TEXT, "status": TEXT}},
}
SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["interval"],
            "properties": {
                "interval": {"type": "string", "pattern": "^[0-9]+(s|m|h)$"},
                "retries": {"type": "integer", "default": 3, "minimum": 0, "maximum": 9},
                "mode": {"type": "string", "enum": ["fast", "slow"], "default": "fast"},
                "port": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string", "maxLength": 5}},
                "parts": {"type": "array", "items": {"type": "object", "properties": {"name": TEXT}}},
                "nested": {"type": "object", "default": {}, "properties": {"deep": {"type": "boolean", "default": True}}},
            },
        },
        "status": {"type": "object", "properties": {"conditions": CONDITIONS, "observedGeneration": {"type": "integer"}}},
    },
}


def crd(group):
    columns = [{"name": "Interval", "type": "string", "jsonPath": ".spec.interval"}]
    columns += [{"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'}]

    def version(name, storage):
        out = {"name": name, "served": True, "storage": storage, "schema": {"openAPIV3Schema": SCHEMA}, "subresources": {"status": {}}}
        return {**out, "additionalPrinterColumns": columns}

    names = {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]}
    spec = {"group": group, "scope": "Namespaced", "names": names, "versions": [version("v1", True), version("v1beta1", False)]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": spec,
    }


@pytest_asyncio.fixture
async def group(kube) -> AsyncIterator[str]:
    """The group of a new CRD that is being served."""
    name = f"g{uuid.uuid4().hex[:8]}.example.com"
    status, body = await kube.call("POST", CRDS, crd(name))
    assert status == 201, body
    await kube.until(kube.path("widgets", api=f"/apis/{name}/v1"), 200)
    yield name
    await kube.call("DELETE", f"{CRDS}/widgets.{name}")


def widget(group, version="v1", **spec):
    return {"apiVersion": f"{group}/{version}", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"interval": "1m", **spec}}


async def test_is_established_with_accepted_names(kube, group):
    _, body = await kube.call("GET", f"{CRDS}/widgets.{group}")
    conditions = {one["type"]: one["status"] for one in body["status"]["conditions"]}
    assert (conditions["NamesAccepted"], conditions["Established"]) == ("True", "True")
    assert body["status"]["acceptedNames"] == {
        "plural": "widgets",
        "singular": "widget",
        "kind": "Widget",
        "listKind": "WidgetList",
        "shortNames": ["wd"],
    }
    assert body["status"]["storedVersions"] == ["v1"]


async def test_defaults_and_prunes(kube, group):
    status, body = await kube.call(
        "POST", kube.path("widgets", api=f"/apis/{group}/v1"), widget(group, unknown=1, free={"any": {"thing": [1]}})
    )
    assert status == 201
    wanted = {"interval": "1m", "retries": 3, "mode": "fast", "free": {"any": {"thing": [1]}}, "nested": {"deep": True}}
    assert body["spec"] == wanted
    assert body["metadata"]["generation"] == 1


async def test_validates(kube, group):
    path = kube.path("widgets", api=f"/apis/{group}/v1")
    bad = (
        ({"interval": "soon"}, "spec.interval"),
        ({"retries": 99}, "spec.retries"),
        ({"retries": "three"}, "spec.retries"),
        ({"mode": "odd"}, "spec.mode"),
        ({"tags": ["toolong"]}, "spec.tags[0]"),
        ({"tags": ["a", "a"]}, "spec.tags[1]"),
        ({"port": 1.5}, "spec.port"),
    )
    for spec, field in bad:
        status, body = await kube.call("POST", path, widget(group, **spec))
        assert (status, body["reason"]) == (422, "Invalid"), spec
        assert field in [cause["field"] for cause in body["details"]["causes"]], spec
    obj = widget(group)
    del obj["spec"]["interval"]
    status, body = await kube.call("POST", path, obj)
    assert (status, body["details"]["causes"][0]["field"]) == (422, "spec.interval")


async def test_serves_versions_of_one_object(kube, group):
    await kube.call("POST", kube.path("widgets", api=f"/apis/{group}/v1beta1"), widget(group, "v1beta1"))
    for version in ("v1", "v1beta1"):
        _, body = await kube.call("GET", kube.path("widgets", "w", api=f"/apis/{group}/{version}"))
        assert body["apiVersion"] == f"{group}/{version}"
        _, page = await kube.call("GET", kube.path("widgets", api=f"/apis/{group}/{version}"))
        assert [item["apiVersion"] for item in page["items"]] == [f"{group}/{version}"]
        (event,) = await kube.watch(kube.path("widgets", api=f"/apis/{group}/{version}"), events=1, resourceVersion="0")
        assert event["object"]["apiVersion"] == f"{group}/{version}"


async def test_status_and_spec_are_apart(kube, group):
    path = kube.path("widgets", "w", api=f"/apis/{group}/v1")
    _, made = await kube.call("POST", kube.path("widgets", api=f"/apis/{group}/v1"), {**widget(group), "status": {"observedGeneration": 7}})
    assert "status" not in made
    status = {"conditions": [{"type": "Ready", "status": "True"}], "observedGeneration": 1}
    _, body = await kube.call(
        "PATCH", path + "/status", {"status": status, "spec": {"interval": "9m"}}, media=MERGE, fieldManager="controller"
    )
    assert (body["status"], body["spec"]["interval"], body["metadata"]["generation"]) == (status, "1m", 1)
    _, body = await kube.call("PATCH", path, {"status": {"observedGeneration": 5}, "spec": {"interval": "2m"}}, media=MERGE)
    assert (body["status"], body["spec"]["interval"], body["metadata"]["generation"]) == (status, "2m", 2)
    _, body = await kube.call("PATCH", path, {"metadata": {"annotations": {"a": "b"}}}, media=MERGE)
    assert body["metadata"]["generation"] == 2
    subresources = {entry["manager"]: entry.get("subresource") for entry in body["metadata"]["managedFields"]}
    assert subresources == {"tests": None, "controller": "status"}


async def test_applies_by_list_type(kube, group):
    path = kube.path("widgets", "w", api=f"/apis/{group}/v1")
    status, _ = await kube.apply(path, widget(group, tags=["a"], parts=[{"name": "x"}]))
    assert status == 201
    obj = widget(group, tags=["b"])
    del obj["spec"]["interval"]
    status, body = await kube.apply(path, obj, manager="two")
    assert (status, body["spec"]["tags"]) == (200, ["a", "b"])
    obj["spec"] = {"parts": [{"name": "y"}]}
    status, body = await kube.apply(path, obj, manager="three")
    assert (status, [cause["field"] for cause in body["details"]["causes"]]) == (409, [".spec.parts"])
    mine = next(entry for entry in (await kube.call("GET", path))[1]["metadata"]["managedFields"] if entry["manager"] == "one")
    assert mine["fieldsV1"] == {"f:spec": {"f:interval": {}, "f:parts": {}, "f:tags": {'v:"a"': {}}}}


async def test_prints_columns(kube, group):
    await kube.call("POST", kube.path("widgets", api=f"/apis/{group}/v1"), widget(group))
    path = kube.path("widgets", "w", api=f"/apis/{group}/v1")
    await kube.call("PATCH", path + "/status", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}, media=MERGE)
    _, table = await kube.call("GET", path, accept="application/json;as=Table;g=meta.k8s.io;v=v1")
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Interval", "Ready"]
    assert table["rows"][0]["cells"] == ["w", "1m", "True"]


async def test_goes_with_its_objects(kube, group):
    path = kube.path("widgets", api=f"/apis/{group}/v1")
    await kube.call("POST", path, widget(group))
    await kube.call("DELETE", f"{CRDS}/widgets.{group}")
    await kube.until(f"{CRDS}/widgets.{group}", 404)
    await kube.until(path, 404)


async def test_refuses_a_definition_that_cannot_be_served(kube):
    bad = crd("bad.example.com")
    bad["metadata"]["name"] = "other.bad.example.com"
    status, body = await kube.call("POST", CRDS, bad)
    assert (status, body["details"]["causes"][0]["field"]) == (422, "metadata.name")
    bad = crd("bad.example.com")
    bad["spec"]["versions"][1]["storage"] = True
    assert (await kube.call("POST", CRDS, bad))[0] == 422
