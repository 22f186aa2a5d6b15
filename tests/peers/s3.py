"""A real object store on loopback that checks signatures and counts requests: Versity's S3 gateway over a folder.

Needs `tests/peers/build versitygw`. Objects are written by obstore, another client than the one under test.
https://github.com/versity/versitygw/wiki
"""

import re
import urllib.error
import urllib.request
from pathlib import Path

import obstore
from obstore.store import S3Store

from tests.peers.binaries import binary
from tests.peers.process import Running, free_port

START_SECONDS = 20
KEY, SECRET, REGION = "key-of-the-tests", "secret-of-the-tests", "eu-central-1"
_LINE = re.compile(r" s3_(\w+) (.*?) /apps\S* (\d{3}) ")


class S3:
    """Start with `with S3(folder) as s3:`; the empty bucket `apps` is at `s3.host` then."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder.resolve(), free_port()
        self.host = f"127.0.0.1:{self.port}"
        self._log = self.folder / "access.log"
        self._seen = 0
        self._running: Running | None = None
        self._store: S3Store | None = None

    def __enter__(self) -> "S3":
        for name in ("data/apps", "sidecar"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        flags = ["--port", self.host, "--access", KEY, "--secret", SECRET, "--region", REGION, "--keep-alive", "--quiet"]
        command = [
            binary("versitygw"),
            *flags,
            "--access-log",
            self._log,
            "posix",
            "--sidecar",
            self.folder / "sidecar",
            self.folder / "data",
        ]
        self._running = Running("versitygw", command, log=self.folder / "versitygw.log")
        try:
            self._running.until(self._answers, seconds=START_SECONDS)
        except BaseException:
            self._running.kill()
            raise
        self._store = S3Store(
            "apps",
            config={"endpoint": f"http://{self.host}", "region": REGION, "access_key_id": KEY, "secret_access_key": SECRET},
            client_options={"allow_http": True},
        )
        return self

    def __exit__(self, *exc: object) -> None:
        if self._running is not None:
            self._running.kill()

    def put(self, key: str, content: bytes) -> None:
        """Store an object."""
        assert self._store is not None
        obstore.put(self._store, key, content)

    def delete(self, key: str) -> None:
        """Delete an object."""
        assert self._store is not None
        obstore.delete(self._store, key)

    def asked(self) -> list[str]:
        """What others than this peer's own client have asked for since the last time: `GetObject apps/a.yaml 200` and so on."""
        lines = self._log.read_text().splitlines()
        new, self._seen = lines[self._seen :], len(lines)
        return [" ".join(found.groups()) for line in new if "object_store/" not in line and (found := _LINE.search(line))]

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"http://{self.host}/apps", timeout=5).close()
        except urllib.error.HTTPError:
            return True  # it wants a signature
        except OSError:
            return False
        return True
