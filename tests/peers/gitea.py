"""A real Git host on loopback that sends its own signed webhooks: Gitea.

In: a folder and the binary of `tests/peers/build gitea`. Out: a running host with one user, and the few API calls that a test needs.
As a command it stays in the foreground: `python tests/peers/gitea.py DIR`, Ctrl-C ends it.
API: https://docs.gitea.com/api ; settings: https://docs.gitea.com/administration/config-cheat-sheet
"""

import base64
import json
import os
import secrets
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

if __package__ in (None, ""):  # run as a command
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.peers.binaries import binary, folder_of
from tests.peers.process import PeerFailed, Running, free_port

START_SECONDS = 60
USER = "tester"
_SETTINGS = """
RUN_MODE = prod
RUN_USER = {account}
I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true
[server]
HTTP_ADDR = 127.0.0.1
HTTP_PORT = {port}
ROOT_URL = http://127.0.0.1:{port}/
DISABLE_SSH = {no_ssh}
START_SSH_SERVER = true
BUILTIN_SSH_SERVER_USER = git
SSH_LISTEN_HOST = 127.0.0.1
SSH_LISTEN_PORT = {ssh_port}
OFFLINE_MODE = true
STATIC_ROOT_PATH = {static}
[database]
DB_TYPE = sqlite3
PATH = {folder}/gitea.db
[security]
INSTALL_LOCK = true
SECRET_KEY = {key}
[webhook]
ALLOWED_HOST_LIST = loopback
[log]
LEVEL = Warn
[repository]
ROOT = {folder}/repositories
"""


class Gitea:
    """Start with `with Gitea(folder) as host:`; it answers on `host.url` then, and ends with the block. `ssh`: on `host.ssh_port` too."""

    def __init__(self, folder: Path, *, ssh: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder.resolve()
        self.port, self.password = free_port(), secrets.token_hex(12)
        self.ssh_port, self._ssh = free_port(), ssh
        self.url = f"http://127.0.0.1:{self.port}"
        self._running: Running | None = None

    def __enter__(self) -> "Gitea":
        values = {"account": _account(), "port": self.port, "folder": self.folder, "key": secrets.token_hex(16)}
        values |= {"no_ssh": not self._ssh, "ssh_port": self.ssh_port}
        (self.folder / "app.ini").write_text(_SETTINGS.format(static=folder_of("gitea.static"), **values))
        environment = {"GITEA_WORK_DIR": str(self.folder)}
        command = [binary("gitea"), "-c", self.folder / "app.ini"]
        self._running = Running("gitea", [*command, "web"], log=self.folder / "gitea.log", env=environment)
        try:
            self._running.until(self._answers, seconds=START_SECONDS)
            self._make_user(command, environment)
        except BaseException:
            self._running.kill()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        if self._running is not None:
            self._running.kill()

    def make_repository(self, name: str) -> str:
        """Make an empty repository of the user; returns the URL to push to, with the password in it."""
        self.api("POST", "/user/repos", {"name": name, "private": True, "default_branch": "main"})
        return f"http://{USER}:{self.password}@127.0.0.1:{self.port}/{USER}/{name}.git"

    def add_key(self, title: str, public: str) -> None:
        """Let whoever has the private key in, as the user."""
        self.api("POST", "/user/keys", {"title": title, "key": public})

    def add_hook(self, name: str, *, url: str, secret: str) -> int:
        """Register a webhook for pushes; returns its id."""
        config = {"url": url, "content_type": "json", "secret": secret}
        made = self.api("POST", f"/repos/{USER}/{name}/hooks", {"type": "gitea", "active": True, "events": ["push"], "config": config})
        return int(made["id"])

    def api(self, method: str, path: str, body: object = None) -> dict:
        """One call of Gitea's API below /api/v1. Raises urllib.error.HTTPError."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api/v1{path}", method=method, data=data)
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{USER}:{self.password}".encode()).decode())
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else {}

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/version", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _make_user(self, command: list, environment: dict[str, str]) -> None:
        names = ("--username", USER, "--password", self.password, "--email", f"{USER}@example.com")
        arguments = [*command, "admin", "user", "create", "--admin", *names, "--must-change-password=false"]
        done = subprocess.run(arguments, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise PeerFailed(f"gitea made no user: {(done.stdout + done.stderr)[-1000:]}")


def _account() -> str:
    return subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()


def _serve(folder: Path) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    with Gitea(folder) as host:
        print(f"{host.url}  user {USER}  password {host.password}", flush=True)
        signal.pause()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    _serve(Path(sys.argv[1]))
