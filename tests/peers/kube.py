"""A real Kubernetes control plane on loopback: etcd and kube-apiserver, and with `full` what makes Deployments Ready (no containers run).

In: a folder and the binaries of `tests/peers/build`. Out: a running cluster and its kubeconfig. RBAC is on; the kubeconfig's user is
system:masters. As a command it stays in the foreground: `python tests/peers/kube.py DIR [full]`, Ctrl-C ends all of it.
Flags: https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/ ; https://kwok.sigs.k8s.io
"""

import base64
import json
import secrets
import signal
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

if __package__ in (None, ""):  # run as a command
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.peers.binaries import binary, folder_of
from tests.peers.process import Running, free_port

API, FULL = ("etcd", "kube-apiserver"), ("kube-controller-manager", "kube-scheduler", "kwok")
START_SECONDS = 90
_NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-0", "labels": {"kubernetes.io/hostname": "node-0"}}}
_STAGES = ("pod/fast/pod-*.yaml", "node/fast/node-*.yaml", "node/heartbeat-with-lease/node-*.yaml")


class ControlPlane:
    """Start with `with ControlPlane(folder, full=True) as plane:`; `plane.kubeconfig` is ready then. Everything ends with the block."""

    def __init__(self, folder: Path, *, full: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.full = folder.resolve(), full
        self.kubeconfig = self.folder / "kubeconfig"
        self.token = secrets.token_hex(16)
        self._etcd_port, self._api_port = free_port(), free_port()
        self.server = f"https://127.0.0.1:{self._api_port}"
        self._running: dict[str, Running] = {}

    def __enter__(self) -> "ControlPlane":
        try:
            self._write_keys()
            self._start_etcd()
            self.start_api()
            self._write_kubeconfig()
            if self.full:
                self._start_workloads()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()

    def start_api(self) -> None:
        """Start kube-apiserver on its port and wait until it answers; after `kill_api` the same cluster is back."""
        key = self.folder / "sa.key"
        api = self._start(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            f"--secure-port={self._api_port}",
            "--bind-address=127.0.0.1",
            f"--cert-dir={self.folder / 'certs'}",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--api-audiences=https://kubernetes.default.svc",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--disable-admission-plugins=ServiceAccount",  # without it a Pod waits for the controller that makes its account's Secret
            "--allow-privileged",
        )
        api.until(self._answers, seconds=START_SECONDS)

    def kill_api(self) -> None:
        """The API server is away from now on; what it stored stays."""
        self._running.pop("kube-apiserver").kill()

    def kill(self) -> None:
        """End every process."""
        while self._running:
            self._running.popitem()[1].kill()

    def request(self, method: str, path: str, body: object = None, *, content_type: str = "application/json") -> dict[str, object]:
        """One raw request as the administrator. Raises urllib.error.HTTPError for answers of 400 and more."""
        request = urllib.request.Request(self.server + path, method=method, data=None if body is None else json.dumps(body).encode())
        request.add_header("Authorization", f"Bearer {self.token}")
        request.add_header("Content-Type", content_type)
        with urllib.request.urlopen(request, timeout=30, context=self._tls()) as answer:
            text = answer.read()
            return json.loads(text) if text.startswith(b"{") else {"text": text.decode()}

    @property
    def authority(self) -> Path:
        """The PEM file that the API server's certificate is verified with."""
        return self.folder / "certs" / "apiserver.crt"

    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.authority))

    def _answers(self) -> bool:
        try:
            return self.request("GET", "/readyz") == {"text": "ok"}
        except OSError:  # not listening, no certificate yet, or 500 while a check fails
            return False

    def _start(self, name: str, *arguments: str) -> Running:
        running = self._running[name] = Running(name, [binary(name), *arguments], log=self.folder / f"{name}.log")
        return running

    def _write_keys(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
        (self.folder / "sa.key").write_bytes(pem)
        (self.folder / "tokens.csv").write_text(f"{self.token},admin,admin,system:masters\n")

    def _write_kubeconfig(self) -> None:
        authority = base64.b64encode(self.authority.read_bytes()).decode()
        cluster = {"server": self.server, "certificate-authority-data": authority}
        self.kubeconfig.write_text(json.dumps(kubeconfig(cluster, {"token": self.token}), indent=1))
        self.kubeconfig.chmod(0o600)

    def _start_etcd(self) -> None:
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{free_port()}"
        arguments = ("--data-dir", str(self.folder / "etcd"), "--unsafe-no-fsync", "--log-level", "error")
        urls = ("--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer)
        cluster = ("--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}")
        self._start("etcd", *arguments, *urls, *cluster)

    def _start_workloads(self) -> None:
        """Controllers, scheduler and a node of kwok's whose Pods become Ready without containers."""
        config = f"--kubeconfig={self.kubeconfig}"
        signing = f"--service-account-private-key-file={self.folder / 'sa.key'}"
        quiet = ("--leader-elect=false", f"--secure-port={free_port()}", "--bind-address=127.0.0.1")
        controllers = "--controllers=*,-nodeipam,-cloud-node-lifecycle"
        self._start("kube-controller-manager", config, signing, controllers, *quiet, f"--cert-dir={self.folder / 'kcm'}")
        quiet = ("--leader-elect=false", f"--secure-port={free_port()}", "--bind-address=127.0.0.1")
        self._start("kube-scheduler", config, *quiet, f"--cert-dir={self.folder / 'scheduler'}")
        stages = sorted(path for pattern in _STAGES for path in folder_of("kwok.stages").glob(pattern))
        node = ("--manage-all-nodes", "--node-lease-duration-seconds=40")
        kwok = self._start("kwok", config, *node, *(f"--config={path}" for path in stages))
        self.request("POST", "/api/v1/nodes", _NODE)
        kwok.until(self._node_is_ready, seconds=START_SECONDS)

    def _node_is_ready(self) -> bool:
        node = self.request("GET", "/api/v1/nodes/node-0")
        return any(
            condition["type"] == "Ready" and condition["status"] == "True"
            for condition in node["status"].get("conditions", ())  # type: ignore[attr-defined]
        )


def kubeconfig(cluster: dict[str, str], user: dict[str, str]) -> dict[str, object]:
    """A kubeconfig (JSON is YAML) with one cluster, one user and a context of both."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "peer", "cluster": cluster}],
        "users": [{"name": "peer", "user": user}],
        "contexts": [{"name": "peer", "context": {"cluster": "peer", "user": "peer"}}],
        "current-context": "peer",
    }


def _serve(folder: Path, *, full: bool) -> None:
    """Run in the foreground until SIGINT or SIGTERM."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    start = time.monotonic()
    with ControlPlane(folder, full=full) as plane:
        print(f"export KUBECONFIG={plane.kubeconfig}", flush=True)
        print(f"ready in {time.monotonic() - start:.1f} s; Ctrl-C ends it", file=sys.stderr, flush=True)
        signal.pause()


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or sys.argv[2:] not in ([], ["full"]):
        sys.exit(__doc__)
    _serve(Path(sys.argv[1]), full=sys.argv[2:] == ["full"])
