"""Watches over the wire, on the embedded and on a real server."""

MERGE = "application/merge-patch+json"


def config_map(name="a", labels=None, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels or {}}, "data": data}


def told(events):
    return [(event["type"], event["object"]["metadata"]["name"]) for event in events]


async def test_watch_resumes_from_a_list(kube):
    path = kube.path("configmaps")
    _, page = await kube.call("GET", path)
    version = page["metadata"]["resourceVersion"]
    await kube.call("POST", path, config_map("a"))
    await kube.call("PATCH", kube.path("configmaps", "a"), {"data": {"x": "1"}}, media=MERGE)
    await kube.call("DELETE", kube.path("configmaps", "a"))
    events = await kube.watch(path, events=3, resourceVersion=version, fieldSelector="metadata.name=a")
    assert told(events) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions))
    (last,) = await kube.watch(path, events=1, resourceVersion=str(versions[1]), fieldSelector="metadata.name=a")
    assert last == events[2]


async def test_watch_without_a_version_begins_with_what_is_there(kube):
    await kube.call("POST", kube.path("configmaps"), config_map("a"))
    events = await kube.watch(kube.path("configmaps"), events=1, fieldSelector="metadata.name=a")
    assert told(events) == [("ADDED", "a")]


async def test_selector_turns_changes_into_added_and_deleted(kube):
    path = kube.path("configmaps")
    _, page = await kube.call("GET", path)
    await kube.call("POST", path, config_map("a"))
    one = kube.path("configmaps", "a")
    await kube.call("PATCH", one, {"metadata": {"labels": {"on": "yes"}}}, media=MERGE)
    await kube.call("PATCH", one, {"data": {"x": "1"}}, media=MERGE)
    await kube.call("PATCH", one, {"metadata": {"labels": {"on": None}}}, media=MERGE)
    events = await kube.watch(path, events=3, resourceVersion=page["metadata"]["resourceVersion"], labelSelector="on=yes")
    assert told(events) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


async def test_watch_ends_at_its_time(kube):
    path = kube.path("configmaps")
    _, made = await kube.call("POST", path, config_map("a"))
    asked = {"resourceVersion": made["metadata"]["resourceVersion"], "fieldSelector": "metadata.name=a"}
    events = await kube.watch(path, events=9, timeoutSeconds="1", allowWatchBookmarks="true", **asked)
    assert {event["type"] for event in events} <= {"BOOKMARK"}  # the real one may end without


async def test_watch_ends_with_a_bookmark(own):
    path = own.path("configmaps")
    _, made = await own.call("POST", path, config_map("a"))
    version = made["metadata"]["resourceVersion"]
    events = await own.watch(path, events=9, resourceVersion=version, timeoutSeconds="1", allowWatchBookmarks="true")
    assert {event["type"] for event in events} == {"BOOKMARK"}
    assert int(events[-1]["object"]["metadata"]["resourceVersion"]) >= int(version)


async def test_nonsense_versions_are_refused(kube):
    answer = await kube.watch(kube.path("configmaps"), events=1, resourceVersion="soon")
    assert (answer[0]["kind"], answer[0]["code"]) in (("Status", 400), ("Status", 500))  # the real one says 500
