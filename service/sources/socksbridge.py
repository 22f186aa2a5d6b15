"""Git by way of a SOCKS5 proxy: libgit2 knows proxies of HTTP only, so for the time of a fetch there is one on this machine.

In: the proxy's URL. Out: that of an HTTP proxy on loopback, for whoever knows its word, that takes CONNECT alone and passes bytes on. Names
are judged here before a connection is made, those of `socks5h://` as far as they can be from here. Blocking; in a process of fetches.
https://www.rfc-editor.org/rfc/rfc9110#name-connect
"""

import secrets
import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

from service.outbound import OutboundRefused, Policy, addresses_of, check_told
from service.socks import Socks, socks_of

CONNECT_SECONDS, SILENT_SECONDS = 10.0, 600.0
HEAD_BYTES, CHUNK = 16 * 1024, 256 * 1024
_USER = "sluice"


@contextmanager
def http_proxy(url: str, policy: Policy) -> Iterator[str]:
    """Yield the URL of a proxy of HTTP: the given one, or for one of SOCKS that of the bridge to it."""
    socks = socks_of(url)
    if socks is None:
        yield url
        return
    word = secrets.token_urlsafe(16)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        bridge = _Bridge(socks, policy, b"Basic " + b64encode(f"{_USER}:{word}".encode()))
        Thread(target=bridge.listen, args=(listener,), name="socks bridge", daemon=True).start()
        try:
            yield f"http://{_USER}:{word}@127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # wakes the thread


class _Bridge:
    def __init__(self, socks: Socks, policy: Policy, word: bytes) -> None:
        self._socks, self._policy, self._word = socks, policy, word

    def listen(self, listener: socket.socket) -> None:
        """Until the listener is shut down."""
        with suppress(OSError):
            while True:
                link, _ = listener.accept()
                Thread(target=self._serve, args=(link,), name="socks bridge connection", daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        with link, suppress(OSError):
            link.settimeout(CONNECT_SECONDS)
            target = self._asked(link)
            if target is None:
                return
            try:
                far = self._connected(*target)
            except (OutboundRefused, OSError, UnicodeError):
                link.sendall(b"HTTP/1.1 502 no connection by way of the SOCKS proxy\r\nContent-Length: 0\r\n\r\n")
                return
            with far:
                link.sendall(b"HTTP/1.1 200 connected\r\n\r\n")
                for each in (link, far):
                    each.settimeout(SILENT_SECONDS)
                Thread(target=_pass_on, args=(far, link), name="socks bridge answer", daemon=True).start()
                _pass_on(link, far)

    def _asked(self, link: socket.socket) -> tuple[str, int] | None:
        """Host and port of the first CONNECT that knows the word, None where there is none."""
        while head := _head(link):
            first, *lines = head.split(b"\r\n")
            if not any(name.lower() == b"proxy-authorization" and value.strip() == self._word for name, _, value in _parted(lines)):
                link.sendall(b'HTTP/1.1 407 who is it\r\nProxy-Authenticate: Basic realm="sluice"\r\nContent-Length: 0\r\n\r\n')
                continue
            method, where, *_ = [*first.split(b" "), b""]
            host, _, port = where.decode("ascii", "replace").rpartition(":")
            if method != b"CONNECT" or not host or not port.isdecimal():
                link.sendall(b"HTTP/1.1 405 only CONNECT\r\nContent-Length: 0\r\n\r\n")
                return None
            return host.strip("[]"), int(port)
        return None

    def _connected(self, host: str, port: int) -> socket.socket:
        """Raises OutboundRefused, OSError, UnicodeError."""
        from python_socks import ProxyError, ProxyType
        from python_socks.sync import Proxy

        socks = self._socks
        if socks.resolves:
            check_told(host, port, self._policy)
        else:
            host = addresses_of(host, port, self._policy)[0]
        at = addresses_of(socks.host, socks.port, self._policy)[0]
        way = Proxy(ProxyType.SOCKS5, at, socks.port, socks.username, socks.password, rdns=True)
        try:
            link: socket.socket = way.connect(host, port, timeout=CONNECT_SECONDS)
        except ProxyError as error:
            raise ConnectionError("the SOCKS proxy made no connection") from error
        return link


def _head(link: socket.socket) -> bytes:
    """The head of a request, b"" at the end of the connection, or where it is too long."""
    head = b""
    while not head.endswith(b"\r\n\r\n") and len(head) < HEAD_BYTES and (more := link.recv(1)):
        head += more
    return head if head.endswith(b"\r\n\r\n") else b""


def _parted(lines: list[bytes]) -> Iterator[tuple[bytes, bytes, bytes]]:
    return (line.partition(b":") for line in lines)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    """Until one of them ends."""
    with suppress(OSError):
        while more := source.recv(CHUNK):
            target.sendall(more)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
