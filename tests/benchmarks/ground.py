"""What the slower benchmarks stand on: an API server of their own, a Git server, many apps in one repository, the service.

In: how many apps. Out: `Ground` while the block runs; everything ends with it. The API server is a process beside the service.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.push import NAMESPACE, manifests
from tests.end_to_end.fleet import git, serving
from tests.end_to_end.kubernetes import Kubernetes, Object, is_ready
from tests.end_to_end.sluice_process import Sluice
from tests.end_to_end.world import KUSTOMIZE, NOTIFICATION, SOURCE, install_crds
from tests.peers.kube import ControlPlane
from tests.peers.process import Running

TOKEN = "a-benchmark's-token"
START_SECONDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """`url` is the repository's, `head` its commit."""

    kube: Kubernetes
    sluice: Sluice
    url: str
    head: str

    def source(self, name: str) -> Object:
        """A GitRepository of the one repository."""
        return made(SOURCE, "GitRepository", name, {"interval": "60m", "url": self.url, "ref": {"branch": "main"}})

    def receiver(self, source: str) -> Sequence[Object]:
        """A Receiver of type github and its Secret."""
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "hook", "namespace": NAMESPACE},
            "stringData": {"token": TOKEN},
        }
        resources = [{"kind": "GitRepository", "name": source}]
        spec = {"type": "github", "events": ["ping", "push"], "secretRef": {"name": "hook"}, "resources": resources}
        return secret, made(f"{NOTIFICATION}/v1", "Receiver", "hook", spec)

    def ready(self, kind: str) -> int:
        """How many objects of the kind are Ready."""
        return sum(is_ready(each) for each in self.kube.list(kind, NAMESPACE))


def kustomization(name: str, *, source: str, path: str) -> Object:
    """A Kustomization that runs when its source moves."""
    spec = {"interval": "60m", "path": path, "prune": True, "sourceRef": {"kind": "GitRepository", "name": source}}
    return made(KUSTOMIZE, "Kustomization", name, spec)


def made(api: str, kind: str, name: str, spec: dict[str, Any]) -> Object:
    """An object in the benchmark's namespace."""
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}


def names(count: int) -> list[str]:
    """The apps' names."""
    return [f"app-{number:05d}" for number in range(count)]


@contextmanager
def ground(*, apps: int, real: bool) -> Iterator[Ground]:
    """All of it, with the service running and nothing for it to do yet."""
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        kube = Kubernetes(stack.enter_context(api_server(folder / "kube", real=real)))
        install_crds(kube)
        for namespace in (NAMESPACE, "flux-system"):
            kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        head = _repository(folder, apps)
        url = stack.enter_context(serving(folder / "git"))
        sluice = stack.enter_context(Sluice(folder / "sluice", [f"--kubeconfig={kube.kubeconfig}"]))
        yield Ground(kube=kube, sluice=sluice.start(), url=f"{url}/fleet.git", head=head)


@contextmanager
def api_server(folder: Path, *, real: bool) -> Iterator[Path]:
    """A kubeconfig of an API server of its own: a real one, or the embedded as a process."""
    if real:
        with ControlPlane(folder) as plane:
            yield plane.kubeconfig
        return
    folder.mkdir()
    file = folder / "kubeconfig"
    with Running("the embedded API server", [sys.executable, "-m", "service.apiserver", folder], log=folder / "server.log") as server:
        server.until(file.is_file, seconds=START_SECONDS)
        yield file


def _repository(folder: Path, apps: int) -> str:
    """One commit on main; the root's kustomization.yaml names all apps."""
    bare, work = folder / "git" / "fleet.git", folder / "work"
    git("init", "-q", "--bare", "-b", "main", str(bare))
    git("init", "-q", "-b", "main", str(work))
    for key, value in (("user.name", "bench"), ("user.email", "bench@example.com")):
        git("config", key, value, cwd=work)
    for app in names(apps):
        (work / "apps" / app).mkdir(parents=True)
        for file, text in manifests(app, "v0").items():
            (work / "apps" / app / file).write_text(text)
    (work / "apps" / "kustomization.yaml").write_text("resources:\n" + "".join(f"- {app}\n" for app in names(apps)))
    git("add", "-A", cwd=work)
    git("commit", "-q", "-m", "Start the fleet", cwd=work)
    git("push", "-q", str(bare), "main", cwd=work)
    return git("rev-parse", "HEAD", cwd=work)
