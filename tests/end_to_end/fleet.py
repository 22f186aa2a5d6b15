"""A small fleet repository as teams keep them: two apps with a base and overlays for staging and production, in a bare repository.

In: a folder, and the prefix of the namespaces that the overlays name. Out: commits, served over smart HTTP by `serving`.
"""

import asyncio
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from service.gitserver import GitServer

APPS, STAGES = ("shop", "blog"), ("staging", "production")
_START_SECONDS = 10
_BASE = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {app}
spec:
  replicas: 1
  selector:
    matchLabels: {{app: {app}}}
  template:
    metadata:
      labels: {{app: {app}}}
    spec:
      containers:
      - name: web
        image: registry.example.com/{app}:1.0.0
        envFrom:
        - configMapRef: {{name: {app}-settings}}
---
apiVersion: v1
kind: Service
metadata:
  name: {app}
spec:
  selector: {{app: {app}}}
  ports:
  - port: 80
    targetPort: 8080
"""
_OVERLAY = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: {namespace}
resources:
- ../base
- settings.yaml
replicas:
- name: {app}
  count: {replicas}
images:
- name: registry.example.com/{app}
  newTag: 1.0.1
"""
_SETTINGS = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {app}-settings
data:
  greeting: {greeting}
"""


def settings(app: str, greeting: str) -> str:
    """The text of an overlay's settings.yaml: the file that a push changes."""
    return _SETTINGS.format(app=app, greeting=greeting)


class Fleet:
    """`folder/NAME.git`, and a work tree beside it. Made with one commit on main."""

    def __init__(self, folder: Path, *, prefix: str, name: str = "fleet") -> None:
        self.root, self.name = folder, name
        self.bare, self.work = folder / f"{name}.git", folder / f"{name}-work"
        git("init", "-q", "--bare", "-b", "main", str(self.bare))
        git("init", "-q", "-b", "main", str(self.work))
        for key, value in (("user.name", "Ada Tester"), ("user.email", "ada@example.com"), ("commit.gpgsign", "false")):
            git("config", key, value, cwd=self.work)
        files = {}
        for app in APPS:
            files[f"apps/{app}/base/app.yaml"] = _BASE.format(app=app)
            files[f"apps/{app}/base/kustomization.yaml"] = "resources:\n- app.yaml\n"
            for count, stage in enumerate(STAGES, 1):
                overlay = _OVERLAY.format(app=app, namespace=f"{prefix}-{stage}", replicas=count)
                files[f"apps/{app}/{stage}/kustomization.yaml"] = overlay
                files[f"apps/{app}/{stage}/settings.yaml"] = settings(app, "hello")
        self.head = self.push(files, subject="Start the fleet")

    def push(
        self, files: Mapping[str, str | bytes | None], *, subject: str = "Change the fleet", branch: str = "main", force: bool = False
    ) -> str:
        """Write files (None deletes), commit, push; returns the commit."""
        for path, content in files.items():
            target = self.work / path
            if content is None:
                target.unlink()
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.encode() if isinstance(content, str) else content)
        git("add", "-A", cwd=self.work)
        git("commit", "-q", "--allow-empty", "-m", subject, cwd=self.work)
        git("push", "-q", *(["--force"] if force else []), str(self.bare), f"HEAD:refs/heads/{branch}", cwd=self.work)
        self.head = git("rev-parse", "HEAD", cwd=self.work)
        return self.head

    def rewind(self, commit: str) -> None:
        """Put the work tree back to a commit: what is pushed next with force rewrites the branch."""
        git("reset", "-q", "--hard", commit, cwd=self.work)


def git(*arguments: str, cwd: Path | None = None) -> str:
    """What git prints, stripped. Raises AssertionError with git's own words."""
    done = subprocess.run(["git", *arguments], cwd=cwd, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


@contextmanager
def serving(root: Path, *, password: str = "") -> Iterator[str]:
    """Serve every NAME.git below `root` from a thread of its own; yields the base URL."""
    ready, stop, address = threading.Event(), asyncio.Event(), []

    async def run() -> None:
        async with GitServer(root=root, push=True, password=password).serving() as url:
            address.append((url, asyncio.get_running_loop()))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),), name="git server", daemon=True)
    thread.start()
    assert ready.wait(_START_SECONDS), "the Git server did not start"
    url, loop = address[0]
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(_START_SECONDS)
