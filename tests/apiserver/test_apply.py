"""Server-side apply over the wire, on the embedded and on a real server."""

import copy
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Object = dict[str, Any]
APPS = "/apis/apps/v1"


def config_map(**data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}


def deployment(*containers: Object, replicas: int | None = 2) -> Object:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": list(containers)}}
    spec: Object = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
    if replicas is not None:
        spec["replicas"] = replicas
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"app": "web"}}, "spec": spec}


def owners(obj: Object) -> dict[str, Object]:
    return {entry["manager"]: entry["fieldsV1"] for entry in obj["metadata"]["managedFields"]}


async def test_creates_with_201_and_names_the_owner(kube):
    status, made = await kube.apply(kube.path("configmaps", "a"), config_map(x="1"))
    assert status == 201
    (entry,) = made["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"], entry["fieldsV1"]) == ("one", "Apply", {"f:data": {"f:x": {}}})


async def test_same_apply_changes_nothing(kube):
    path = kube.path("configmaps", "a")
    _, made = await kube.apply(path, config_map(x="1"))
    status, again = await kube.apply(path, config_map(x="1"))
    assert status == 200
    assert again == made


async def test_conflict_names_owner_and_field(kube):
    path = kube.path("configmaps", "a")
    await kube.apply(path, config_map(x="1"))
    status, body = await kube.apply(path, config_map(x="2"), manager="two")
    assert (status, body["reason"]) == (409, "Conflict")
    assert body["details"]["causes"] == [{"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.x"}]


async def test_force_takes_the_field(kube):
    path = kube.path("configmaps", "a")
    await kube.apply(path, config_map(x="1", y="1"))
    status, body = await kube.apply(path, config_map(x="2"), manager="two", force="true")
    assert (status, body["data"]) == (200, {"x": "2", "y": "1"})
    assert owners(body) == {"one": {"f:data": {"f:y": {}}}, "two": {"f:data": {"f:x": {}}}}


async def test_dropped_field_goes_unless_somebody_else_owns_it(kube):
    path = kube.path("configmaps", "a")
    await kube.apply(path, config_map(x="1", y="1"))
    await kube.apply(path, config_map(y="1"), manager="two")
    _, body = await kube.apply(path, config_map())
    assert body["data"] == {"y": "1"}


async def test_containers_merge_by_name(kube):
    path = kube.path("deployments", "web", api=APPS)
    web, side = {"name": "web", "image": "nginx:1"}, {"name": "side", "image": "side:1"}
    await kube.apply(path, deployment(web))
    status, body = await kube.apply(path, deployment(side, replicas=None), manager="two")
    assert status == 200, body
    assert [one["name"] for one in body["spec"]["template"]["spec"]["containers"]] == ["web", "side"]
    _, body = await kube.apply(path, deployment({"name": "web", "image": "nginx:2"}))
    assert [one["image"] for one in body["spec"]["template"]["spec"]["containers"]] == ["nginx:2", "side:1"]
    assert body["metadata"]["generation"] == 3


async def test_scaled_replicas_stay_once_the_applier_drops_them(kube):
    path = kube.path("deployments", "web", api=APPS)
    web = {"name": "web", "image": "nginx:1"}
    await kube.apply(path, deployment(web))
    await kube.call("PATCH", path, {"spec": {"replicas": 5}}, media="application/merge-patch+json", fieldManager="hpa")
    status, _ = await kube.apply(path, deployment(web))
    assert status == 409
    _, body = await kube.apply(path, deployment(web, replicas=None))
    assert body["spec"]["replicas"] == 5


async def test_dry_run_changes_nothing(kube):
    path = kube.path("configmaps", "a")
    _, made = await kube.apply(path, config_map(x="1"))
    status, body = await kube.apply(path, config_map(x="2"), dryRun="All")
    assert (status, body["data"]) == (200, {"x": "2"})
    assert (await kube.call("GET", path))[1] == made
    status, _ = await kube.apply(kube.path("configmaps", "b"), {**config_map(), "metadata": {"name": "b"}}, dryRun="All")
    assert status == 201
    assert (await kube.call("GET", kube.path("configmaps", "b")))[0] == 404


async def test_yaml_body_is_read(kube):
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  day: '2026-01-01'\n"
    status, body = await kube.apply(kube.path("configmaps", "a"), text)
    assert (status, body["data"]) == (201, {"day": "2026-01-01"})


async def test_refuses_unknown_fields_twins_and_missing_keys(kube):
    status, body = await kube.apply(kube.path("configmaps", "a"), {**config_map(), "dada": {}})
    assert status == 500
    assert ".dada: field not declared in schema" in body["message"]
    web = {"name": "web", "image": "nginx:1"}
    path = kube.path("deployments", "web", api=APPS)
    status, body = await kube.apply(path, deployment(web, web))
    assert status == 500
    assert "duplicate entries for key" in body["message"]
    status, body = await kube.apply(path, deployment({"image": "nginx:1"}))
    assert (status, body["details"]["causes"][0]["field"]) == (422, "spec.template.spec.containers[0].name")


async def test_needs_a_field_manager(kube):
    status, body = await kube.call("PATCH", kube.path("configmaps", "a"), config_map(), media="application/apply-patch+yaml")
    assert status == 422
    assert "fieldManager" in body["message"]


async def test_status_is_applied_apart(kube):
    path = kube.path("deployments", "web", api=APPS)
    await kube.apply(path, deployment({"name": "web", "image": "nginx:1"}))
    wanted = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "status": {"readyReplicas": 1, "replicas": 2}}
    status, body = await kube.apply(path + "/status", wanted, manager="controller")
    assert (status, body["status"]["readyReplicas"], body["metadata"]["generation"]) == (200, 1, 1)
    entry = next(entry for entry in body["metadata"]["managedFields"] if entry["manager"] == "controller")
    assert entry["subresource"] == "status"
    assert entry["fieldsV1"] == {"f:status": {"f:readyReplicas": {}, "f:replicas": {}}}


TEXT = st.sampled_from(["1", "2"])
PORT = st.fixed_dictionaries({"containerPort": st.sampled_from([80, 81])}, optional={"name": st.sampled_from(["p", "q"])})
ENV = st.fixed_dictionaries({"name": st.sampled_from(["A", "B", "C"])}, optional={"value": TEXT})
CONTAINER = st.fixed_dictionaries(
    {"name": st.sampled_from(["x", "y", "z"]), "image": TEXT},
    optional={
        "args": st.lists(TEXT, max_size=2),
        "env": st.lists(ENV, max_size=3, unique_by=lambda one: one["name"]),
        "ports": st.lists(PORT, max_size=1),
    },
)
POD = st.fixed_dictionaries(
    {"containers": st.lists(CONTAINER, min_size=1, max_size=3, unique_by=lambda one: one["name"])},
    optional={"nodeSelector": st.dictionaries(st.sampled_from(["a", "b"]), TEXT, max_size=2), "terminationGracePeriodSeconds": st.just(5)},
)
APPLIES = st.lists(
    st.tuples(st.sampled_from(["one", "two"]), POD, st.sampled_from(["true", "false"]), st.sampled_from([None, 1, 2])),
    min_size=1,
    max_size=5,
)


def shaped(body: Object) -> Object:
    """Return what must be equal on all servers: spec, owners, status; without times and identities."""
    out = copy.deepcopy(body)
    for key in ("uid", "resourceVersion", "creationTimestamp", "namespace"):
        out.get("metadata", {}).pop(key, None)
    for entry in out.get("metadata", {}).get("managedFields", ()):
        entry.pop("time", None)
    managed = out.get("metadata", {}).get("managedFields")
    if managed:
        managed.sort(key=lambda entry: entry["manager"])
    return out


async def play(kube: Any, name: str, applies: list[tuple[str, Object, str, int | None]]) -> list[tuple[int, Object]]:
    answers = []
    for manager, pod, force, replicas in applies:
        obj = deployment(replicas=replicas)
        obj["metadata"]["name"], obj["spec"]["template"]["spec"] = name, pod
        path = kube.path("deployments", name, api=APPS)
        status, body = await kube.apply(path, obj, manager=manager, force=force)
        answers.append((status, shaped(body)))
        if status < 300:
            assert await kube.apply(path, obj, manager=manager, force=force) == (200, body)
    return answers


def test_any_sequence_of_applies_is_idempotent_and_as_on_the_real_server(run_generated, request):
    """Each apply repeated is no change; with a real server at hand both give the same answers. Longer with --soak."""
    many = 60 if request.config.getoption("--soak") else 12
    counter = iter(range(1_000_000))

    @settings(max_examples=many, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(APPLIES)
    def check(applies: list[tuple[str, Object, str, int | None]]) -> None:
        name = f"g-{next(counter)}"
        first, *others = run_generated(lambda kube: play(kube, name, applies))
        for other in others:
            assert other == first

    check()
