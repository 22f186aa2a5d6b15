"""A smart-HTTP Git server on loopback for the demo and the tests: repositories below a folder, served through `git http-backend`.

https://git-scm.com/docs/git-http-backend. Needs the git binary. Not for anything but loopback: there is no limit on what a client asks.
"""

import asyncio
import hmac
import os
import subprocess
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from ssl import SSLContext

from aiohttp import web

_LONGEST_BODY_BYTES = 512 * 2**20
_LONGEST_SECONDS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class GitServer:
    """`root` holds NAME.git folders; `push` allows git push. With a `password` all requests need it, with `username` or as bearer token."""

    root: Path
    push: bool = False
    username: str = "git"
    password: str = field(default="", repr=False)

    def app(self) -> web.Application:
        """The aiohttp application that answers."""
        app = web.Application(client_max_size=_LONGEST_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self.answer)
        return app

    @asynccontextmanager
    async def serving(self, *, port: int = 0, tls: SSLContext | None = None) -> AsyncIterator[str]:
        """Serve on 127.0.0.1 while the block runs; yields the base URL, without a trailing slash. Port 0 takes a free one."""
        runner = web.AppRunner(self.app(), access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls)
            await site.start()
            port = runner.addresses[0][1]
            yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        finally:
            await runner.cleanup()

    async def answer(self, request: web.Request) -> web.Response:
        """Answer one request of the smart HTTP protocol."""
        if self.password and not self._allowed(request.headers.get("Authorization", "")):
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="git"'}, text="authentication required\n")
        # in a thread, which the loop's end waits for: a subprocess of the loop would outlive a request that is cut off, its pipes open
        out = await asyncio.to_thread(_backend, self._environment(request), await request.read())
        head, _, body = out.partition(b"\r\n\r\n")
        response = web.Response(body=body)
        for line in head.decode("latin-1").split("\r\n"):
            key, _, value = line.partition(": ")
            if key.lower() == "status":
                response.set_status(int(value.split()[0]))
            elif key:
                response.headers[key] = value
        return response

    def _allowed(self, header: str) -> bool:
        kind, _, token = header.partition(" ")
        if kind.lower() == "basic":
            try:
                given = b64decode(token, validate=True)
            except ValueError:
                return False
            return hmac.compare_digest(given, f"{self.username}:{self.password}".encode())
        return kind.lower() == "bearer" and hmac.compare_digest(token.encode(), self.password.encode())

    def _environment(self, request: web.Request) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "GIT_PROJECT_ROOT": str(self.root.resolve()),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_COUNT": "2",
            "GIT_CONFIG_KEY_0": "http.receivepack",
            "GIT_CONFIG_VALUE_0": "true" if self.push else "false",
            "GIT_CONFIG_KEY_1": "safe.directory",
            "GIT_CONFIG_VALUE_1": "*",
            "REQUEST_METHOD": request.method,
            "PATH_INFO": "/" + request.match_info["path"],
            "QUERY_STRING": request.query_string,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": request.headers.get("Content-Length", ""),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
            "REMOTE_USER": self.username,
            "REMOTE_ADDR": "127.0.0.1",
        }


def _backend(environment: dict[str, str], body: bytes) -> bytes:
    return subprocess.run(
        ["git", "http-backend"],
        env=environment,
        input=body,
        stdout=subprocess.PIPE,
        timeout=_LONGEST_SECONDS,
        check=False,
    ).stdout
