"""HelmChart from a museum, a registry and a Git repository: which version, when nothing is fetched, what is packaged, and each fault."""

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from service.kinds.meta import FINALIZER
from service.reconcile.queue import Trigger
from tests.sources.conftest import History
from tests.sources.helmbench import HelmBench, chart, key_of, opened
from tests.sources.registry import served, tarball
from tests.sources.test_notation import Own, policy
from tests.sources.test_ocirepository import sign

LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
VERSIONS = ("1.0.0", "1.4.2", "1.5.0-rc.1", "2.0.0")


@pytest.fixture
async def bench(tmp_path, workers) -> AsyncIterator[HelmBench]:
    async with opened(tmp_path, workers) as made:
        for version in VERSIONS:
            made.museum.publish(
                chart("web", version, {"prod.yaml": "replicas: 3\nnew: {a: 1}\n", "eu.yaml": "new: {b: 2}\n"}), "web", version
            )
        made.repository()
        await made.run("HelmRepository", "museum")
        yield made


def unpacked(archive: bytes) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {each.name: tar.extractfile(each).read().decode(errors="replace") for each in tar if each.isfile()}  # type: ignore[union-attr]


async def stored(bench: HelmBench, name: str = "web", **spec: Any) -> tuple[str, dict[str, str]]:
    """The Ready message after a run, and the files of the stored chart."""
    bench.chart(name, **spec)
    await bench.run("HelmChart", name)
    ready = bench.condition("HelmChart", name)
    assert ready is not None
    assert ready[0] == "True", ready
    return ready[2], unpacked(bench.stored("HelmChart", name))


async def test_a_version_is_pulled_once(bench):
    bench.chart(version="1.x")
    assert (await bench.run("HelmChart", "web")).result == "succeeded"
    status = bench.status("HelmChart", "web")
    assert bench.condition("HelmChart", "web") == ("True", "ChartPullSucceeded", "pulled 'web' chart with version '1.4.2'")
    assert (status["artifact"]["path"], status["artifact"]["revision"]) == ("helmchart/apps/web/web-1.4.2.tgz", "1.4.2")
    assert status["observedChartName"] == "web"
    assert status["observedSourceArtifactRevision"] == bench.status("HelmRepository", "museum")["artifact"]["revision"]
    assert status["url"] == "http://sluice/helmchart/apps/web/latest.tar.gz"
    assert bench.stored("HelmChart", "web") == bench.museum.files["/web-1.4.2.tgz"]  # byte for byte
    assert bench.events[-1] == ("web", "info", "ChartPullSucceeded", "pulled 'web' chart with version '1.4.2'")

    bench.museum.asked.clear()
    assert (await bench.run("HelmChart", "web")).result == "unchanged"
    assert bench.museum.asked == []
    bench.restart()
    assert (await bench.run("HelmChart", "web")).result == "unchanged"
    assert (bench.museum.asked, bench.api.patches) == ([], [])

    bench.museum.publish(chart("web", "1.9.0"), "web", "1.9.0")
    bench.ran.clear()
    await bench.run("HelmRepository", "museum")
    assert bench.ran == ["web"]
    assert (await bench.run("HelmChart", "web")).result == "succeeded"
    assert bench.status("HelmChart", "web")["artifact"]["revision"] == "1.9.0"


@pytest.mark.parametrize(
    ("wanted", "version"),
    [("", "2.0.0"), ("*", "2.0.0"), ("1.5.0-rc.1", "1.5.0-rc.1"), (">=1.0.0-0 <2.0.0", "1.5.0-rc.1"), ("~1.0", "1.0.0"), ("4.8.x", None)],
)
async def test_ranges(bench, wanted, version):
    bench.chart(version=wanted)
    outcome = await bench.run("HelmChart", "web")
    if version is not None:
        assert bench.status("HelmChart", "web")["artifact"]["revision"] == version
        return
    why = "invalid chart reference: failed to get chart version for remote reference: no 'web' chart with version matching '4.8.x' found"
    assert outcome.result == "stalled"
    assert bench.condition("HelmChart", "web") == ("False", "InvalidChartReference", why)
    assert bench.condition("HelmChart", "web", "Stalled") == ("True", "InvalidChartReference", why)


async def test_values_files_replace_the_values(bench):
    said, files = await stored(bench, version="1.4.2", valuesFiles=["values.yaml", "prod.yaml", "eu.yaml"])
    assert said == "packaged 'web' chart with version '1.4.2+1' and merged values files [values.yaml prod.yaml eu.yaml]"
    assert yaml.safe_load(files["web/values.yaml"]) == {"replicas": 3, "new": {"a": 1, "b": 2}}
    assert yaml.safe_load(files["web/Chart.yaml"])["version"] == "1.4.2+1"
    assert (await bench.run("HelmChart", "web")).result == "unchanged"
    said, _ = await stored(bench, version="1.4.2", valuesFile="prod.yaml", valuesFiles=["none.yaml"], ignoreMissingValuesFiles=True)
    assert said == "packaged 'web' chart with version '1.4.2+2' and merged values files [prod.yaml]"
    assert bench.status("HelmChart", "web")["observedValuesFiles"] == ["prod.yaml"]
    said, _ = await stored(bench, version="1.4.2", valuesFiles=["values.yaml"])
    assert said == "pulled 'web' chart with version '1.4.2'"  # as if none were named
    assert "observedValuesFiles" not in bench.status("HelmChart", "web")
    bench.chart(version="1.4.2", valuesFiles=["none.yaml"])
    assert (await bench.run("HelmChart", "web")).result == "stalled"
    why = "values files merge error: failed to merge chart values: no values file found at path 'none.yaml'"
    assert bench.condition("HelmChart", "web") == ("False", "ValuesFilesError", why)
    assert bench.condition("HelmChart", "web", "BuildFailed") == ("True", "ValuesFilesError", why)


async def test_other_hosts_get_credentials_only_if_asked_to(bench):
    bench.museum.login = ("robot", "hunter2")
    bench.secrets["login"] = {"username": b"robot", "password": b"hunter2"}
    bench.museum.publish(chart("far", "1.0.0"), "far", "1.0.0", url=f"{bench.museum.other}/far-1.0.0.tgz")
    bench.repository(secretRef={"name": "login"})
    await bench.run("HelmRepository", "museum")
    await stored(bench, chart="far")
    assert bench.museum.logins[-1] == ("elsewhere/far-1.0.0.tgz", None)
    bench.repository(secretRef={"name": "login"}, passCredentials=True)
    await stored(bench, chart="far")
    path, login = bench.museum.logins[-1]
    assert path == "elsewhere/far-1.0.0.tgz"
    assert login is not None


async def test_an_index_leads_nowhere_that_is_forbidden(bench):
    bench.museum.publish(chart("meta", "1.0.0"), "meta", "1.0.0", url="http://169.254.169.254/meta.tgz")
    await bench.run("HelmRepository", "museum")
    bench.chart(chart="meta")
    assert (await bench.run("HelmChart", "web")).result == "failed"
    assert bench.condition("HelmChart", "web")[1] == "ChartPullError"
    assert "169.254.169.254 is link-local" in bench.condition("HelmChart", "web")[2]


async def test_faults_leave_the_last_chart(bench):
    await stored(bench, version="1.x")
    before = bench.status("HelmChart", "web")["artifact"]
    good = bench.museum.files["/web-2.0.0.tgz"]
    for bad, words in (
        (good[:-10], "has not the digest that the index says"),
        (b"x" * (10 * 2**20 + 1), "exceeds 10,485,760 bytes limit"),
    ):
        bench.museum.files["/web-2.0.0.tgz"] = bad
        bench.chart(version="2.x")
        outcome = await bench.run("HelmChart", "web")
        assert (outcome.result, outcome.backoff) == ("failed", True)
        assert bench.condition("HelmChart", "web")[1] == "ChartPullError"
        assert words in bench.condition("HelmChart", "web")[2]
        assert bench.status("HelmChart", "web")["artifact"] == before
    bench.museum.files["/web-2.0.0.tgz"] = good
    await stored(bench, version="2.x")


@pytest.mark.parametrize(
    ("archive", "words"),
    [
        (b"no archive", "not a gzipped chart archive"),
        (tarball({"bad/values.yaml": b""}), "Chart.yaml file is missing"),
        (tarball({"bad/Chart.yaml": b"name: bad\nversion: 1.0.0\n"}), "chart.metadata.apiVersion is required"),
        (tarball({"bad/Chart.yaml": b"apiVersion: v2\nname: ../bad\nversion: 1.0.0\n"}), "chart.metadata.name '../bad' is invalid"),
        (tarball({"bad/Chart.yaml": b"apiVersion: v2\nname: bad\nversion: new\n"}), "chart.metadata.version 'new' is invalid"),
        (tarball({"bad/Chart.yaml": b"apiVersion: v2\nname: other\nversion: 1.0.0\n"}), "a chart of another name, 'other'"),
        (tarball({"../Chart.yaml": b"x"}), "leads out of the archive"),
        (chart("bad", "1.0.0", {"big": "x" * (5 * 2**20 + 1)}), "larger than the maximum file size"),
    ],
    ids=["no archive", "no Chart.yaml", "no apiVersion", "name", "version", "other", "outside", "big file"],
)
async def test_archives_that_are_no_charts(bench, archive, words):
    bench.museum.publish(archive, "bad", "1.0.0")
    await bench.run("HelmRepository", "museum")
    bench.chart(chart="bad")
    assert (await bench.run("HelmChart", "web")).result == "failed"
    assert bench.condition("HelmChart", "web")[1] == "ChartPullError"
    assert words in bench.condition("HelmChart", "web")[2]
    assert "artifact" not in bench.status("HelmChart", "web")


async def test_a_source_that_is_not_there_yet(bench):
    bench.chart(sourceRef={"kind": "HelmRepository", "name": "none"})
    await bench.run("HelmChart", "web")
    why = 'failed to get source: helmrepositories.source.toolkit.fluxcd.io "none" not found'
    assert bench.condition("HelmChart", "web") == ("False", "SourceUnavailable", why)
    bench.repository("fresh")
    bench.chart("early", sourceRef={"kind": "HelmRepository", "name": "fresh"})
    bench.events.clear()
    await bench.run("HelmChart", "early")
    why = "no artifact available for HelmRepository source 'fresh'"
    assert bench.condition("HelmChart", "early") == ("False", "NoSourceArtifact", why)
    assert bench.events == []  # it is on its way: nobody is alarmed
    await bench.run("HelmRepository", "fresh")
    assert "early" in bench.ran
    await bench.run("HelmChart", "early")
    assert bench.condition("HelmChart", "early")[0] == "True"


async def test_charts_of_a_registry(bench):
    async with served() as registry:
        for version in ("1.0.0", "1.4.2_7", "2.0.0-rc.1"):
            registry.push(version, chart("app", version.replace("_", "+")), media_type=LAYER)
        registry.login = ("robot", "hunter2")
        bench.secrets["login"] = {"username": b"robot", "password": b"hunter2"}
        bench.api.put(
            "HelmRepository",
            "oci",
            {"url": f"oci://{registry.host}/team", "type": "oci", "insecure": True, "secretRef": {"name": "login"}},
        )
        source = {"kind": "HelmRepository", "name": "oci"}
        said, files = await stored(bench, chart="app", version="1.x", sourceRef=source)
        assert said == "pulled 'app' chart with version '1.4.2+7'"
        assert "app/Chart.yaml" in files
        assert bench.status("HelmChart", "web")["artifact"]["path"].endswith("/app-1.4.2+7.tgz")
        registry.asked.clear()
        assert (await bench.run("HelmChart", "web")).result == "unchanged"
        assert set(registry.asked) <= {"GET tags/list", "GET /token", "GET /v2/"}
        newer = registry.put("hidden", registry.manifests[registry.push("hidden", chart("app", "1.5.0"), media_type=LAYER)])
        asyncio.get_running_loop().call_later(0.2, registry.tags.update, {"1.5.0": newer})
        hint = Trigger(reason="source", hint=f"app:1.5.0@{newer}")
        await bench.reconcilers["HelmChart"].reconcile(key_of("HelmChart", "web"), (hint,))
        assert bench.status("HelmChart", "web")["artifact"]["revision"] == "1.5.0"  # the registry lists it after it has told of it
        registry.asked.clear()
        await bench.reconcilers["HelmChart"].reconcile(key_of("HelmChart", "web"), (Trigger(reason="source", hint="other:9.0.0@sha256:0"),))
        assert registry.asked.count("GET tags/list") == 4  # a log-in and three pages: a push of another chart is not waited for
        await stored(bench, chart="app", version="1.0.0", sourceRef=source)
        registry.asked.clear()
        assert (await bench.run("HelmChart", "web")).result == "unchanged"
        assert registry.asked == []  # an exact version that is stored costs nothing
        bench.chart(chart="app", version="9.x", sourceRef=source)
        assert (await bench.run("HelmChart", "web")).backoff
        assert bench.condition("HelmChart", "web")[1] == "ChartPullError"
        registry.push("3.0.0", b"no chart", media_type="application/vnd.oci.image.layer.v1.tar")
        bench.chart(chart="app", version="3.0.0", sourceRef=source)
        await bench.run("HelmChart", "web")
        assert "is no Helm chart" in bench.condition("HelmChart", "web")[2]
        bench.secrets["login"] = {"username": b"robot", "password": b"wrong"}
        await bench.run("HelmChart", "web")
        assert bench.condition("HelmChart", "web")[0] == "False"


async def test_a_chart_that_a_trust_policy_lets_pass_counts(bench):
    own = Own()
    pem = own.root.public_bytes(serialization.Encoding.PEM)
    bench.secrets["keys"] = {"trustpolicy.json": policy("permissive"), "root.crt": pem}
    async with served() as registry:
        digest = registry.push("1.0.0", chart("app", "1.0.0"), media_type=LAYER)
        bench.api.put("HelmRepository", "oci", {"url": f"oci://{registry.host}/team", "type": "oci", "insecure": True})
        source = {"kind": "HelmRepository", "name": "oci"}
        bench.chart(chart="app", version="1.x", sourceRef=source, verify={"provider": "notation", "secretRef": {"name": "keys"}})
        for signature, words in (
            (None, "no signatures found"),
            (Own().signed(about=digest), "does not come from one that the Secret holds"),
        ):
            if signature is not None:
                registry.attach(digest, "application/vnd.cncf.notary.signature", signature, "application/jose+json")
            assert (await bench.run("HelmChart", "web")).backoff
            assert words in bench.condition("HelmChart", "web", "SourceVerified")[2]
            assert "artifact" not in bench.status("HelmChart", "web")
        registry.attach(digest, "application/vnd.cncf.notary.signature", own.signed(about=digest), "application/jose+json")
        assert (await bench.run("HelmChart", "web")).result == "succeeded"
        said = bench.condition("HelmChart", "web", "SourceVerified")
        assert said[:2] == ("True", "Succeeded")
        assert said[2].startswith("verified signature of version 1.0.0, signed by CN=leaf")


async def test_only_what_is_signed_counts(bench):
    good, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    pem = good.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    bench.secrets["keys"] = {"cosign.pub": pem}
    async with served() as registry:
        digest = registry.push("1.0.0", chart("app", "1.0.0"), media_type=LAYER)
        bench.api.put("HelmRepository", "oci", {"url": f"oci://{registry.host}/team", "type": "oci", "insecure": True})
        source = {"kind": "HelmRepository", "name": "oci"}
        bench.chart(chart="app", version="1.x", sourceRef=source, verify={"provider": "cosign", "secretRef": {"name": "keys"}})
        for key, words in ((None, "no signatures found"), (other, "no matching signatures: a signature is not by one of the keys")):
            if key is not None:
                sign(registry, digest, key)
            await bench.run("HelmChart", "web")
            why = f"chart verification error: failed to verify the signature using provider 'cosign': {words}"
            assert bench.condition("HelmChart", "web") == ("False", "ChartVerificationError", why)
            assert bench.condition("HelmChart", "web", "SourceVerified") == ("False", "ChartVerificationError", why)
            assert "artifact" not in bench.status("HelmChart", "web")
        sign(registry, digest, good)
        assert (await bench.run("HelmChart", "web")).result == "succeeded"
        assert bench.condition("HelmChart", "web", "SourceVerified") == ("True", "Succeeded", "verified signature of version 1.0.0")
        assert (await bench.run("HelmChart", "web")).result == "unchanged"
        registry.push("1.1.0", chart("app", "1.1.0"), media_type=LAYER)  # not signed
        await bench.run("HelmChart", "web")
        assert bench.condition("HelmChart", "web")[1] == "ChartVerificationError"
        assert bench.status("HelmChart", "web")["artifact"]["revision"] == "1.0.0"


async def test_an_index_may_name_charts_of_a_registry(bench):
    """As Bitnami's does: its log-in stays at home."""
    async with served() as registry:
        archive = chart("app", "1.0.0")
        registry.push("1.0.0", archive, media_type=LAYER)
        bench.museum.publish(archive, "app", "1.0.0", url=f"oci://{registry.host}/team/app:1.0.0")
        await bench.run("HelmRepository", "museum")
        bench.chart(chart="app")
        await bench.run("HelmChart", "web")
        assert bench.condition("HelmChart", "web")[1] == "ChartPullError"  # https alone, since nothing says that http will do
        assert f"{registry.host} gave no answer" in bench.condition("HelmChart", "web")[2]


FLEET = {
    "charts/app/Chart.yaml": "apiVersion: v2\nname: app # ours\nversion: 0.1.0\nappVersion: \"1.10\"\n",
    "charts/app/values.yaml": "a: 1\n",
    "charts/app/prod.yaml": "a: 3\n",
    "charts/app/templates/x.yaml": "a: {{ .Values.a }}\n",
    "charts/app/templates/.x.yaml.swp": "x",
    "charts/app/.helmignore": "*.md\n",
    "charts/app/README.md": "x",
    "values/prod.yaml": "a: 2\n",
}  # fmt: skip
SOURCE = {"kind": "GitRepository", "name": "fleet"}


def publish(bench: HelmBench, snapshot: Any) -> None:
    """The Git repository has fetched."""
    artifact = {"path": "p", "url": "u", "revision": snapshot.revision}
    bench.api.put("GitRepository", "fleet", {"url": "https://example.com/fleet", "interval": "1m"})
    bench.api.objects[key_of("GitRepository", "fleet")]["status"] = {"artifact": artifact}
    bench.published.publish(replace(snapshot, key=key_of("GitRepository", "fleet")), ())


async def test_a_chart_of_a_folder(bench, history: History):
    bench.chart(chart="./charts/app", sourceRef=SOURCE)
    publish(bench, history.commit(FLEET))
    assert bench.ran == ["web"]
    said, files = await stored(bench, chart="./charts/app", version="9.x", sourceRef=SOURCE)
    assert said == "packaged 'app' chart with version '0.1.0'"
    named = {"app/Chart.yaml", "app/values.yaml", "app/prod.yaml", "app/templates/x.yaml", "app/.helmignore"}
    assert set(files) == named
    assert files["app/Chart.yaml"] == FLEET["charts/app/Chart.yaml"]
    first = bench.stored("HelmChart", "web")
    publish(bench, history.commit({"charts/app/values.yaml": "a: 9\n"}))
    assert (await bench.run("HelmChart", "web")).result == "succeeded"  # only which revision was looked at
    assert bench.stored("HelmChart", "web") == first  # the version is what counts
    publish(bench, history.commit({"charts/app/Chart.yaml": "apiVersion: v2\nname: app\nversion: 0.2.0\n"}))
    await bench.run("HelmChart", "web")
    assert bench.status("HelmChart", "web")["artifact"]["revision"] == "0.2.0"
    assert unpacked(bench.stored("HelmChart", "web"))["app/values.yaml"] == "a: 9\n"


async def test_the_revision_may_be_part_of_the_version(bench, history: History):
    snapshot = history.commit(FLEET)
    publish(bench, snapshot)
    files = ["values/prod.yaml"]
    said, packed = await stored(bench, chart="charts/app", sourceRef=SOURCE, reconcileStrategy="Revision", valuesFiles=files)
    version = f"0.1.0+{snapshot.commit[:12]}.1"
    assert said == f"packaged 'app' chart with version '{version}' and merged values files [values/prod.yaml]"
    assert packed["app/values.yaml"] == "a: 2\n"  # paths are those of the repository
    assert packed["app/Chart.yaml"] == f'apiVersion: v2\nname: app # ours\nversion: "{version}"\nappVersion: "1.10"\n'
    publish(bench, history.commit({"other": "x"}))
    await bench.run("HelmChart", "web")
    assert bench.status("HelmChart", "web")["artifact"]["revision"] != version


async def test_dependencies_are_built(bench, history: History):
    listed = (
        "dependencies:\n"
        "- {name: common, version: 1.x, repository: 'file://../common'}\n"
        f"- {{name: web, version: ~1.4, repository: '{bench.museum.url}/'}}\n"
    )
    files = {**FLEET, "charts/app/Chart.yaml": f"apiVersion: v2\nname: app\nversion: 0.1.0\n{listed}"}
    files["charts/common/Chart.yaml"] = "apiVersion: v2\nname: common\nversion: 1.2.0\ntype: library\n"
    publish(bench, history.commit(files))
    _, packed = await stored(bench, chart="charts/app", sourceRef=SOURCE)
    assert packed["app/charts/common/Chart.yaml"] == files["charts/common/Chart.yaml"]
    assert yaml.safe_load(packed["app/charts/web/Chart.yaml"])["version"] == "1.4.2"
    lock = f"dependencies:\n- {{name: web, version: 1.0.0, repository: '{bench.museum.url}'}}\n"
    publish(
        bench,
        history.commit({"charts/app/Chart.lock": lock, "charts/app/Chart.yaml": files["charts/app/Chart.yaml"] + "type: application\n"}),
    )
    _, packed = await stored(bench, chart="./charts/app/", sourceRef=SOURCE)
    assert yaml.safe_load(packed["app/charts/web/Chart.yaml"])["version"] == "1.0.0"  # as locked
    publish(bench, history.commit({"charts/app/Chart.lock": lock.replace("1.0.0", "7.0.0")}))
    bench.chart(chart="charts/app", sourceRef=SOURCE)
    assert (await bench.run("HelmChart", "web")).backoff
    assert bench.condition("HelmChart", "web")[1] == "DependencyBuildError"
    assert "failed to add remote dependency 'web': " in bench.condition("HelmChart", "web")[2]
    publish(
        bench, history.commit({"charts/app/Chart.lock": None, "charts/common/Chart.yaml": "apiVersion: v2\nname: common\nversion: 2.0.0\n"})
    )
    await bench.run("HelmChart", "web")
    assert bench.condition("HelmChart", "web")[2].endswith("can't get a valid version for constraint '1.x'")


async def test_a_folder_that_is_no_chart(bench, history: History):
    publish(bench, history.commit(FLEET))
    for path, words in (
        ("charts/none", "no such file or directory"),
        ("charts", "Chart.yaml file is missing"),
        ("../../etc", "no such file"),
    ):
        bench.chart(chart=path, sourceRef=SOURCE)
        assert (await bench.run("HelmChart", "web")).result == "stalled"
        assert bench.condition("HelmChart", "web")[1] == "InvalidChartReference"
        assert words in bench.condition("HelmChart", "web")[2]


async def test_after_a_restart_a_git_chart_waits_for_its_source(bench, history: History):
    publish(bench, history.commit(FLEET))
    await stored(bench, chart="charts/app", sourceRef=SOURCE)
    bench.restart()
    assert (await bench.run("HelmChart", "web")).result == "waiting"
    assert bench.api.patches == []


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"verify": {"secretRef": {"name": "a"}, "matchOIDCIdentity": [{"issuer": "", "subject": ""}]}}, "spec.verify.matchOIDCIdentity"),
        ({"verify": {"provider": "cosign", "secretRef": {"name": "keys"}}}, "only charts of a HelmRepository of the type oci"),
        ({"verify": {"provider": "notation"}}, "spec.verify.secretRef"),
        ({"chart": "Web"}, "invalid chart name 'Web'"),
        ({"version": "newest"}, "is not a range of versions"),
        ({"chart": "none"}, "no chart name found"),
    ],
)
async def test_what_only_a_change_can_mend_stalls(bench, spec, words):
    bench.chart(**spec)
    assert (await bench.run("HelmChart", "web")).result == "stalled"
    assert words in bench.condition("HelmChart", "web")[2]


async def test_deletion_lets_go(bench):
    await stored(bench)
    found = bench.api.objects[key_of("HelmChart", "web")]
    assert found["metadata"]["finalizers"] == [FINALIZER]
    found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert (await bench.run("HelmChart", "web")).result == "gone"
    assert [path for path in (bench.state / "artifacts").rglob("*.tgz")] == []
