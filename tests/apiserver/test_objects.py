"""Create, read, list, update, patch and delete over the wire, on the embedded and on a real server."""

import base64

import pytest

MERGE, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


def config_map(name="a", **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def test_needs_the_token(kube):
    kube.session.headers["Authorization"] = "Bearer wrong"
    status, body = await kube.call("GET", "/api/v1/namespaces")
    assert (status, body["kind"], body["reason"]) == (401, "Status", "Unauthorized")
    kube.session.headers["Authorization"] = f"Bearer {kube.token}"


async def test_create_gives_identity_and_refuses_a_second(kube):
    status, made = await kube.call("POST", kube.path("configmaps"), config_map(x="1"))
    assert status == 201
    assert {"uid", "creationTimestamp", "resourceVersion"} <= made["metadata"].keys()
    status, body = await kube.call("POST", kube.path("configmaps"), config_map(x="1"))
    assert (status, body["reason"], body["details"]["name"]) == (409, "AlreadyExists", "a")


async def test_generate_name_makes_names(kube):
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "a-"}}
    names = {(await kube.call("POST", kube.path("configmaps"), obj))[1]["metadata"]["name"] for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("a-") and len(name) == 7 for name in names)


async def test_missing_things_are_404(kube):
    status, body = await kube.call("GET", kube.path("configmaps", "no"))
    assert (status, body["reason"], body["message"]) == (404, "NotFound", 'configmaps "no" not found')
    status, body = await kube.call("POST", kube.path("configmaps", namespace="no-such-place"), config_map())
    assert (status, body["message"]) == (404, 'namespaces "no-such-place" not found')
    assert (await kube.call("GET", "/apis/no.such.group/v1/things"))[0] == 404


async def test_update_needs_the_newest_version(kube):
    _, made = await kube.call("POST", kube.path("configmaps"), config_map(x="1"))
    path = kube.path("configmaps", "a")
    status, new = await kube.call("PUT", path, {**made, "data": {"x": "2"}})
    assert (status, new["data"]) == (200, {"x": "2"})
    status, body = await kube.call("PUT", path, {**made, "data": {"x": "3"}})
    assert (status, body["reason"]) == (409, "Conflict")
    assert "the object has been modified" in body["message"]
    status, same = await kube.call("PUT", path, new)
    assert (status, same["metadata"]["resourceVersion"]) == (200, new["metadata"]["resourceVersion"])


@pytest.mark.parametrize(
    ("media", "patch"),
    [
        (MERGE, {"data": {"x": None, "y": "2"}}),
        (JSON_PATCH, [{"op": "remove", "path": "/data/x"}, {"op": "add", "path": "/data/y", "value": "2"}]),
        (STRATEGIC, {"data": {"x": None, "y": "2"}}),
    ],
)
async def test_patches(kube, media, patch):
    await kube.call("POST", kube.path("configmaps"), config_map(x="1"))
    status, body = await kube.call("PATCH", kube.path("configmaps", "a"), patch, media=media)
    assert (status, body["data"]) == (200, {"y": "2"})


async def test_unknown_patch_type_is_415(kube):
    await kube.call("POST", kube.path("configmaps"), config_map(x="1"))
    status, body = await kube.call("PATCH", kube.path("configmaps", "a"), {}, media="application/json")
    assert (status, body["reason"]) == (415, "UnsupportedMediaType")


async def test_list_pages_and_selects(kube):
    for at in range(5):
        obj = config_map(f"c{at}")
        obj["metadata"]["labels"] = {"odd": str(at % 2)}
        await kube.call("POST", kube.path("configmaps"), obj)
    path = kube.path("configmaps")
    for query in ({}, {"labelSelector": "odd"}):
        names, token = [], ""
        while True:
            _, page = await kube.call("GET", path, limit="2", **query, **({"continue": token} if token else {}))
            names += [item["metadata"]["name"] for item in page["items"] if item["metadata"]["name"] != "kube-root-ca.crt"]
            assert len(page["items"]) <= 2
            if not (token := page["metadata"].get("continue", "")):
                break
        assert names == ["c0", "c1", "c2", "c3", "c4"], query
    for selector, wanted in (("odd=1", 2), ("odd!=1,odd", 3), ("odd in (0,1)", 5), ("!odd,nope", 0), ("odd notin (0),odd", 2)):
        _, page = await kube.call("GET", path, labelSelector=selector)
        assert len(page["items"]) == wanted, selector
    _, page = await kube.call("GET", path, fieldSelector="metadata.name=c3")
    assert [item["metadata"]["name"] for item in page["items"]] == ["c3"]
    status, _ = await kube.call("GET", path, fieldSelector="data.x=1")
    assert status == 400


async def test_events_are_selected_by_their_object(kube):
    for at, name in enumerate(("a", "b")):
        involved = {"kind": "ConfigMap", "namespace": kube.namespace, "name": name}
        event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": f"e{at}"}, "involvedObject": involved, "reason": "Made"}
        status, body = await kube.call("POST", kube.path("events"), {**event, "type": "Normal", "message": "hi"})
        assert status == 201, body
    _, page = await kube.call("GET", kube.path("events"), fieldSelector="involvedObject.name=b,reason=Made,type!=Warning")
    assert [item["metadata"]["name"] for item in page["items"]] == ["e1"]


async def test_finalizers_hold_a_deleted_object(kube):
    obj = config_map(x="1")
    obj["metadata"]["finalizers"] = ["example.com/wait"]
    await kube.call("POST", kube.path("configmaps"), obj)
    path = kube.path("configmaps", "a")
    status, body = await kube.call("DELETE", path)
    assert status == 200
    assert body["metadata"]["deletionTimestamp"]
    status, body = await kube.call("PATCH", path, {"metadata": {"finalizers": ["example.com/wait", "example.com/more"]}}, media=MERGE)
    assert status == 422
    await kube.call("PATCH", path, {"metadata": {"finalizers": None}}, media=MERGE)
    assert (await kube.call("GET", path))[0] == 404


async def test_delete_honours_preconditions_and_dry_run(kube):
    _, made = await kube.call("POST", kube.path("configmaps"), config_map(x="1"))
    path = kube.path("configmaps", "a")
    options = {"apiVersion": "v1", "kind": "DeleteOptions"}
    assert (await kube.call("DELETE", path, {**options, "preconditions": {"uid": "other"}}))[0] == 409
    assert (await kube.call("DELETE", path, dryRun="All"))[0] == 200
    status, body = await kube.call("DELETE", path, {**options, "preconditions": {"uid": made["metadata"]["uid"]}})
    assert (status, body["status"], body["details"]["name"]) == (200, "Success", "a")


async def test_delete_collection_takes_what_is_selected(kube):
    for name in ("a", "b"):
        obj = config_map(name)
        obj["metadata"]["labels"] = {"name": name}
        await kube.call("POST", kube.path("configmaps"), obj)
    status, _ = await kube.call("DELETE", kube.path("configmaps"), labelSelector="name=a")
    assert status == 200
    assert [(await kube.call("GET", kube.path("configmaps", name)))[0] for name in ("a", "b")] == [404, 200]


async def test_secret_takes_plain_text(kube):
    obj = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "väl"}}
    status, body = await kube.call("POST", kube.path("secrets"), obj)
    assert status == 201
    assert body["type"] == "Opaque"
    assert "stringData" not in body
    assert base64.b64decode(body["data"]["k"]).decode() == "väl"


async def test_secret_data_may_be_wrapped(kube):
    path = kube.path("secrets", "s")
    obj = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "aGVs\nbG8=\n"}}
    status, body = await kube.apply(path, obj)
    assert (status, body["data"]) == (201, {"k": "aGVsbG8="})
    assert (await kube.apply(path, obj))[1] == body


async def test_service_ports_need_names(kube):
    spec = {"selector": {"a": "b"}, "ports": [{"port": 80}, {"port": 81, "name": "b"}]}
    obj = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec}
    status, body = await kube.call("POST", kube.path("services"), obj)
    assert (status, [cause["field"] for cause in body["details"]["causes"]]) == (422, ["spec.ports[0].name"])


async def test_immutable_things_stay(kube):
    obj = {**config_map(x="1"), "immutable": True}
    await kube.call("POST", kube.path("configmaps"), obj)
    status, body = await kube.call("PATCH", kube.path("configmaps", "a"), {"data": {"x": "2"}}, media=MERGE)
    assert (status, body["details"]["causes"][0]["field"]) == (422, "data")


async def test_invalid_names_and_types_are_refused(kube):
    status, body = await kube.call("POST", kube.path("configmaps"), config_map("Bad_Name"))
    assert (status, body["details"]["causes"][0]["field"]) == (422, "metadata.name")
    status, body = await kube.call("POST", kube.path("configmaps"), {**config_map(), "data": {"x": 1}})
    assert (status, body["reason"]) == (400, "BadRequest")
    status, _ = await kube.call("POST", kube.path("configmaps"), b"{not json")
    assert status == 400
    status, body = await kube.call("POST", kube.path("configmaps"), {**config_map(), "dada": {}}, fieldValidation="Strict")
    assert status == 400
    assert 'unknown field "dada"' in body["message"]


async def test_leases_keep_micro_times(kube):
    path = kube.path("leases", api="/apis/coordination.k8s.io/v1")
    spec = {"holderIdentity": "me", "leaseDurationSeconds": 35, "renewTime": "2026-01-01T00:00:00.000001Z"}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}, "spec": spec}
    status, body = await kube.call("POST", path, lease)
    assert (status, body["spec"]) == (201, spec)


async def test_tables_and_partial_metadata(kube):
    await kube.call("POST", kube.path("configmaps"), config_map(x="1"))
    path = kube.path("configmaps", "a")
    _, table = await kube.call("GET", path, accept="application/json;as=Table;g=meta.k8s.io;v=v1,application/json")
    assert table["kind"] == "Table"
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert table["rows"][0]["cells"][0] == "a"
    _, partial = await kube.call("GET", path, accept="application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")
    assert (partial["kind"], partial["metadata"]["name"]) == ("PartialObjectMetadata", "a")
    assert "data" not in partial


async def test_discovery_answers(kube):
    _, groups = await kube.call("GET", "/apis")
    assert "apps" in [group["name"] for group in groups["groups"]]
    _, core = await kube.call("GET", "/api/v1")
    assert {"configmaps", "secrets", "namespaces", "events"} <= {one["name"] for one in core["resources"]}
    assert (await kube.call("GET", "/version"))[1]["major"] == "1"
    _, index = await kube.call("GET", "/openapi/v3")
    _, document = await kube.call("GET", index["paths"]["apis/apps/v1"]["serverRelativeURL"].split("?")[0])
    assert any(schema.get("x-kubernetes-group-version-kind") for schema in document["components"]["schemas"].values())
    assert "apiserver_request_total" in (await kube.call("GET", "/metrics", accept="text/plain"))[1]["text"]
