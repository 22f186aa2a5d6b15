"""A real SOCKS5 proxy on loopback, with a name and a password. In: a folder. Out: its port, and what it was asked for, oldest first."""

import socket
from pathlib import Path

from tests.peers.binaries import binary
from tests.peers.process import Running, free_port

USER, PASSWORD = "ann", "hush:word"


class SocksProxy:
    """Start with `with SocksProxy(folder) as proxy:`."""

    def __init__(self, folder: Path) -> None:
        self.log, self.port = folder / "socks.log", free_port()

    def url(self, scheme: str) -> str:
        """Of the proxy, with its credentials."""
        return f"{scheme}://{USER}:{PASSWORD.replace(':', '%3A')}@127.0.0.1:{self.port}"

    @property
    def asked(self) -> list[str]:
        """`host port`, the host as the proxy was told it."""
        return self.log.read_text().splitlines()

    def __enter__(self) -> "SocksProxy":
        words = {"SOCKS_USER": USER, "SOCKS_PASSWORD": PASSWORD}
        self._running = Running("socks", [binary("socks"), f"127.0.0.1:{self.port}"], log=self.log, env=words)
        self._running.until(self._answers, seconds=10)
        return self

    def __exit__(self, *exc: object) -> None:
        self._running.kill()

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
