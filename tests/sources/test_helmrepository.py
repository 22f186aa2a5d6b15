"""HelmRepository against a museum of static files: what is fetched, when nothing is, and what each fault leaves behind."""

import json
from collections.abc import AsyncIterator

import pytest

from service.kinds.meta import FINALIZER
from tests.sources.helmbench import HelmBench, chart, key_of, opened

KIND, NAME = "HelmRepository", "museum"


@pytest.fixture
async def bench(tmp_path, workers) -> AsyncIterator[HelmBench]:
    async with opened(tmp_path, workers) as made:
        made.museum.publish(chart("web", "1.0.0"), "web", "1.0.0")
        yield made


async def test_the_index_is_stored_once_and_asked_for_with_conditions(bench):
    bench.repository()
    bench.chart()
    assert (await bench.run(KIND, NAME)).result == "succeeded"
    artifact = bench.status(KIND, NAME)["artifact"]
    revision = artifact["revision"]
    assert bench.condition(KIND, NAME) == ("True", "Succeeded", f"stored artifact: revision '{revision}'")
    assert artifact["path"] == f"helmrepository/apps/museum/index-{revision.removeprefix('sha256:')}.yaml"
    assert bench.status(KIND, NAME)["url"] == "http://sluice/helmrepository/apps/museum/index.yaml"
    assert json.loads(bench.stored(KIND, NAME))["entries"]["web"][0]["version"] == "1.0.0"
    linked = bench.artifacts.file("helmrepository/apps/museum/index.yaml")
    assert linked is not None
    assert linked.read_bytes() == bench.stored(KIND, NAME)
    assert bench.ran == ["web"]  # its charts look at once
    size = f"{len(bench.museum.files['/index.yaml'])}B"
    assert bench.events == [(NAME, "info", "NewArtifact", f"stored fetched index of size {size} from '{bench.museum.url}'")]

    bench.museum.asked.clear()
    assert (await bench.run(KIND, NAME)).result == "unchanged"
    assert bench.museum.asked == [("/index.yaml", 304)]
    assert (bench.api.patches, bench.ran) == ([], ["web"])

    bench.museum.publish(chart("web", "1.1.0"), "web", "1.1.0")
    assert (await bench.run(KIND, NAME)).result == "succeeded"
    assert bench.status(KIND, NAME)["artifact"]["revision"] != revision
    assert bench.ran == ["web", "web"]


async def test_a_restart_asks_with_the_same_conditions(bench):
    bench.repository()
    await bench.run(KIND, NAME)
    bench.restart()
    bench.museum.asked.clear()
    assert (await bench.run(KIND, NAME)).result == "unchanged"
    assert bench.museum.asked == [("/index.yaml", 304)]
    stored = bench.artifacts.file(bench.status(KIND, NAME)["artifact"]["path"])
    assert stored is not None
    stored.write_bytes(b"damaged")  # then it is fetched again, without conditions
    assert (await bench.run(KIND, NAME)).result == "unchanged"
    assert bench.museum.asked[-1] == ("/index.yaml", 200)
    assert json.loads(bench.stored(KIND, NAME))


async def test_a_date_counts_only_once_nothing_can_have_changed_since(bench):
    bench.museum.age = 1  # a second change within the same second would have the same date
    bench.repository()
    for _ in range(2):
        await bench.run(KIND, NAME)
    assert bench.museum.asked == [("/index.yaml", 200)] * 2
    bench.museum.age = 60
    for _ in range(2):
        await bench.run(KIND, NAME)
    assert bench.museum.asked[2:] == [("/index.yaml", 200), ("/index.yaml", 304)]


async def test_credentials_stay_at_their_origin(bench):
    bench.museum.login = ("robot", "hunter2")
    bench.repository()
    await bench.run(KIND, NAME)
    assert bench.condition(KIND, NAME)[:2] == ("False", "AuthenticationFailed")
    assert "hunter2" not in bench.condition(KIND, NAME)[2]
    bench.secrets["login"] = {"username": b"robot", "password": b"hunter2"}
    bench.repository(secretRef={"name": "login"})
    await bench.run(KIND, NAME)
    assert bench.condition(KIND, NAME)[0] == "True"
    bench.museum.moved["/index.yaml"] = f"{bench.museum.other}/index.yaml"
    bench.museum.publish(chart("web", "2.0.0"), "web", "2.0.0")
    await bench.run(KIND, NAME)
    assert bench.condition(KIND, NAME)[0] == "True"
    assert bench.museum.logins[-1] == ("elsewhere/index.yaml", None)


@pytest.mark.parametrize(
    ("body", "reason", "words"),
    [
        (b"", "IndexationFailed", "empty index.yaml file"),
        (b"entries: {}\n", "IndexationFailed", "no API version specified"),
        (b"<html>not found</html>", "IndexationFailed", "it is no mapping"),
        (b"apiVersion: v1\nentries:\n  a: [\n", "IndexationFailed", "line"),
        (b"a: &a [x]\napiVersion: *a\n", "IndexationFailed", "aliases"),
        (b"{" + b" " * (50 * 2**20), "Failed", "exceeds 52,428,800 bytes limit"),
    ],
    ids=["empty", "no version", "html", "cut", "aliases", "large"],
)
async def test_a_bad_index_leaves_the_last_one(bench, body, reason, words):
    bench.repository()
    await bench.run(KIND, NAME)
    before, good = bench.status(KIND, NAME)["artifact"], bench.museum.files["/index.yaml"]
    bench.museum.files["/index.yaml"] = body
    outcome = await bench.run(KIND, NAME)
    assert (outcome.result, outcome.backoff) == ("failed", True)
    assert bench.condition(KIND, NAME)[:2] == ("False", reason)
    assert words in bench.condition(KIND, NAME)[2]
    assert bench.condition(KIND, NAME, "FetchFailed")[0] == "True"
    assert bench.status(KIND, NAME)["artifact"] == before
    assert list((bench.state / "artifacts" / ".drafts").iterdir()) == []
    bench.museum.files["/index.yaml"] = good
    await bench.run(KIND, NAME)
    assert bench.condition(KIND, NAME)[0] == "True"
    assert bench.condition(KIND, NAME, "FetchFailed") is None


async def test_a_slow_museum_fails_at_the_time_limit(bench):
    bench.museum.slow = 5
    bench.repository(timeout="100ms")
    outcome = await bench.run(KIND, NAME)
    why = "failed to fetch Helm repository index: not finished within 0.1 s; is spec.timeout too short?"
    assert (outcome.result, outcome.backoff) == ("failed", True)
    assert bench.condition(KIND, NAME) == ("False", "Failed", why)
    assert bench.condition(KIND, NAME, "FetchFailed") == ("True", "Failed", why)


async def test_tls_in_the_old_place_and_the_new_one(bench):
    bench.secrets["login"] = {"caFile": b"no certificate"}
    for reference in ("secretRef", "certSecretRef"):
        bench.repository(**{reference: {"name": "login"}})
        await bench.run(KIND, NAME)
        assert bench.condition(KIND, NAME)[1] == "AuthenticationFailed"
        assert "holds a certificate or key that cannot be used" in bench.condition(KIND, NAME)[2]
    bench.secrets["login"] = {"username": b"robot"}
    bench.repository(secretRef={"name": "login"})
    await bench.run(KIND, NAME)
    assert "'username' and 'password' must both be there" in bench.condition(KIND, NAME)[2]


async def test_what_only_a_change_can_mend_stalls(bench):
    bench.repository(url="oci://127.0.0.1/charts")
    assert (await bench.run(KIND, NAME)).result == "stalled"
    assert bench.condition(KIND, NAME) == ("False", "URLInvalid", "invalid Helm repository URL: set spec.type to oci")
    bench.repository(provider="aws")  # of the type default
    assert (await bench.run(KIND, NAME)).result == "stalled"
    assert "spec.provider" in bench.condition(KIND, NAME)[2]


async def test_of_the_type_oci_it_is_static(bench):
    bench.repository()
    bench.chart()
    await bench.run(KIND, NAME)
    found = bench.api.objects[key_of(KIND, NAME)]
    assert found["metadata"]["finalizers"] == [FINALIZER]
    bench.repository(url="oci://127.0.0.1/charts", type="oci")
    await bench.run(KIND, NAME)
    found = bench.api.objects[key_of(KIND, NAME)]
    assert (found["metadata"]["finalizers"], found["status"]) == ([], {"observedGeneration": -1})
    assert bench.ran == ["web", "web"]
    assert (await bench.run(KIND, NAME)).result == "unchanged"
    assert bench.api.patches == []
    bench.restart()
    assert (await bench.run(KIND, NAME)).result == "unchanged"


async def test_deletion_lets_go(bench):
    bench.repository()
    await bench.run(KIND, NAME)
    bench.api.objects[key_of(KIND, NAME)]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert (await bench.run(KIND, NAME)).result == "gone"
    assert key_of(KIND, NAME) not in bench.api.objects
    left = [path for path in (bench.state / "artifacts").rglob("*") if path.is_file()]
    assert left == []
