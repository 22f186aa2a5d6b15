"""Charts, from where helm itself has put them: a real registry that tells of each push, static files with helm's index, a folder in Git.

What is stored is read by helm, and compared with what helm pulls and packages. Needs helm and the registry.
"""

import functools
import http.server
import io
import subprocess
import tarfile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.kubernetes import is_ready
from tests.end_to_end.world import TOKEN, World
from tests.peers.binaries import binary
from tests.peers.registry import Registry

pytestmark = pytest.mark.real
SOURCE = "source.toolkit.fluxcd.io"
TEMPLATE = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: '{{ .Values.a }}'}\n"


def helm(*arguments: object, folder: Path) -> str:
    environment = {"HOME": str(folder), "PATH": "/usr/bin:/bin", "HELM_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run([str(binary("helm")), *map(str, arguments)], capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, (arguments, done.stderr)
    return done.stdout


def files(name: str, version: str, dependencies: str = "") -> dict[str, str]:
    about = f"apiVersion: v2\nname: {name}\nversion: {version}\nappVersion: '1.10'\n{dependencies}"
    return {"Chart.yaml": about, "values.yaml": "a: 1\n", "prod.yaml": "a: 2\n", "templates/x.yaml": TEMPLATE, ".helmignore": "*.md\n"}


def packaged(folder: Path, name: str, version: str) -> Path:
    """What `helm package` makes."""
    for path, text in {**files(name, version), "README.md": "left out"}.items():
        target = folder / name / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    helm("package", folder / name, "--destination", folder, folder=folder)
    return folder / f"{name}-{version}.tgz"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def museum(folder: Path) -> Iterator[str]:
    """The folder over HTTP."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def repository(town: World, name: str, version: str, **spec: Any) -> None:
    """Apply a HelmRepository of any served version."""
    made = labelled(town.made(f"{SOURCE}/{version}", "HelmRepository", name, {"interval": "10m", **spec}))
    path = f"/apis/{SOURCE}/{version}/namespaces/{town.namespace}/helmrepositories/{name}?fieldManager=tester&force=true"
    town.kube.request("PATCH", path, made, content_type="application/apply-patch+yaml")


def chart(town: World, name: str, source: str, kind: str = "HelmRepository", **spec: Any) -> dict[str, Any]:
    given = {"chart": "web", "interval": "10m", "sourceRef": {"kind": kind, "name": source}, **spec}
    return labelled(town.made(f"{SOURCE}/v1", "HelmChart", name, given))


def labelled(made: dict[str, Any]) -> dict[str, Any]:
    made["metadata"]["labels"]["team"] = "shop"
    return made


def stored(town: World, name: str, version: str) -> bytes:
    """The chart as others in the cluster get it, as soon as it is there in that version."""
    seen = town.wait("HelmChart", name, lambda seen: is_ready(seen) and seen["status"]["artifact"]["revision"] == version)
    with urllib.request.urlopen(seen["status"]["artifact"]["url"], timeout=10) as answer:
        body: bytes = answer.read()
    with urllib.request.urlopen(seen["status"]["url"], timeout=10) as answer:
        assert answer.read() == body
    return body


def members(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {each.name: tar.extractfile(each).read() for each in tar if each.isfile()}  # type: ignore[union-attr]


def test_charts_of_a_registry_follow_each_push(town: World, peers: Any, tmp_path: Path) -> None:
    peers.need("registry", "helm")
    town.sluice.arguments += ("--allow-loopback",)
    town.sluice.start()
    stars = [{"kind": kind, "name": "*", "matchLabels": {"team": "shop"}} for kind in ("HelmRepository", "HelmChart")]
    town.kube.apply(*town.namespaces(), town.secret("hook", token=TOKEN), town.receiver("registry", *stars, type="distribution", events=[]))
    hook = f"http://127.0.0.1:{town.sluice.ports['listen']}{town.hook_path('registry')}"
    with Registry(tmp_path / "registry", hook=hook, token=TOKEN) as registry:
        place = f"oci://{registry.host}/charts"
        for name in ("web", "other"):
            helm("push", packaged(tmp_path, name, "1.0.0"), place, "--plain-http", folder=tmp_path)
        repository(town, "charts", "v1beta2", url=place, type="oci", insecure=True)
        town.kube.apply(
            chart(town, "web", "charts", version="1.x"),
            chart(town, "other", "charts", chart="other", version="*"),
            chart(town, "production", "charts", version="1.0.0", valuesFiles=["values.yaml", "prod.yaml"]),
        )
        assert stored(town, "web", "1.0.0") == (tmp_path / "web-1.0.0.tgz").read_bytes()
        stored(town, "other", "1.0.0")
        (tmp_path / "own.tgz").write_bytes(stored(town, "production", "1.0.0+1"))
        assert 'a: "2"' in helm("template", "x", tmp_path / "own.tgz", folder=tmp_path).replace("'", '"')
        helm("push", packaged(tmp_path, "web", "1.1.0"), place, "--plain-http", folder=tmp_path)
        assert stored(town, "web", "1.1.0") == (tmp_path / "web-1.1.0.tgz").read_bytes()  # long before its interval
        seen = town.kube.get("HelmRepository", town.namespace, "charts")
        assert seen is not None
        assert "finalizers" not in seen["metadata"]
        assert "conditions" not in seen["status"]
    assert town.failures() == []


def test_charts_of_a_museum(town: World, peers: Any, tmp_path: Path) -> None:
    peers.need("helm")
    town.sluice.arguments += ("--allow-loopback",)
    town.sluice.start()
    served = tmp_path / "served" / "bitnami"
    served.mkdir(parents=True)
    for version in ("1.0.0", "1.4.0", "2.0.0"):
        packaged(tmp_path, "web", version).rename(served / f"web-{version}.tgz")
    helm("repo", "index", served, folder=tmp_path)
    with museum(tmp_path / "served") as url:
        town.kube.apply(
            *town.namespaces(),
            chart(town, "ranged", "bitnami", version=">=1.0.0 <2.0.0"),
            chart(town, "newest", "old"),
        )
        repository(town, "bitnami", "v1beta2", url=f"{url}/bitnami")
        repository(town, "old", "v1beta1", url=f"{url}/bitnami/", timeout="60s")
        assert stored(town, "ranged", "1.4.0") == (served / "web-1.4.0.tgz").read_bytes()
        stored(town, "newest", "2.0.0")
        packaged(tmp_path, "web", "1.9.0").rename(served / "web-1.9.0.tgz")
        helm("repo", "index", served, folder=tmp_path)
        asked = {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now"}}}
        town.kube.request(
            "PATCH", f"/apis/{SOURCE}/v1/namespaces/{town.namespace}/helmrepositories/bitnami", asked,
            content_type="application/merge-patch+json",
        )  # fmt: skip
        stored(town, "ranged", "1.9.0")  # its source has moved
    assert town.failures() == []


def test_a_chart_of_a_folder_is_what_helm_packages(town: World, peers: Any, tmp_path: Path) -> None:
    peers.need("helm")
    town.sluice.arguments += ("--allow-loopback",)
    town.sluice.start()
    served = tmp_path / "served"
    served.mkdir()
    packaged(tmp_path, "dep", "1.2.0").rename(served / "dep-1.2.0.tgz")
    helm("repo", "index", served, folder=tmp_path)
    with museum(served) as url:
        needs = f"dependencies:\n- {{name: dep, version: 1.x, repository: '{url}'}}\n"
        made = files("web", "0.1.0", needs)
        town.fleet.push({f"charts/web/{path}": text for path, text in {**made, "README.md": "left out"}.items()})
        town.kube.apply(
            *town.namespaces(),
            town.secret("hook", token=TOKEN),
            town.source("fleet"),
            town.receiver("hook", {"kind": "GitRepository", "name": "fleet"}),
            chart(town, "web", "fleet", "GitRepository", chart="./charts/web", version="1.x.x"),
        )
        ours = stored(town, "web", "0.1.0")
        for path, text in made.items():
            target = tmp_path / "web" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        helm("dependency", "update", tmp_path / "web", folder=tmp_path)
        helm("package", tmp_path / "web", "--destination", tmp_path, folder=tmp_path)
        theirs = members((tmp_path / "web-0.1.0.tgz").read_bytes())
        found = members(ours)
        assert set(found) == set(theirs) - {"web/Chart.lock"}  # helm has just written that one
        assert {name: found[name] for name in found if not name.endswith("Chart.yaml")} == {
            name: theirs[name] for name in found if not name.endswith("Chart.yaml")
        }  # of a Chart.yaml helm writes its own rendering
        (tmp_path / "ours.tgz").write_bytes(ours)
        assert helm("template", "x", tmp_path / "ours.tgz", folder=tmp_path) == helm(
            "template", "x", tmp_path / "web-0.1.0.tgz", folder=tmp_path
        )
        helm("lint", tmp_path / "ours.tgz", folder=tmp_path)
        commit = town.fleet.push({"charts/web/Chart.yaml": files("web", "0.2.0", needs)["Chart.yaml"]})
        town.hook_path()
        town.hook(commit)
        stored(town, "web", "0.2.0")
    assert town.failures() == []
