"""/healthz, /readyz and /metrics, for the kubelet and Prometheus.

In: checks that return "" or what is missing. Out: plain text, 503 with the reasons while something is. /healthz says that the loop runs.
https://kubernetes.io/docs/reference/using-api/health-checks/
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from itertools import islice

from aiohttp import web
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

SLICE = 250
Check = Callable[[], str]
_CHECKS = web.AppKey("checks", dict[str, Check])
_REGISTRY = web.AppKey("registry", CollectorRegistry)


def application(checks: Mapping[str, Check], registry: CollectorRegistry) -> web.Application:
    """Return the application; `checks` are called on each /readyz, in their order."""
    app = web.Application()
    app[_CHECKS], app[_REGISTRY] = dict(checks), registry
    app.router.add_get("/healthz", _healthz)
    app.router.add_get("/readyz", _readyz)
    app.router.add_get("/metrics", _metrics)
    return app


async def _healthz(request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _readyz(request: web.Request) -> web.Response:
    """200 when every check is empty; with `?verbose` each check has its line."""
    results = {name: check() for name, check in request.app[_CHECKS].items()}
    missing = {name: problem for name, problem in results.items() if problem}
    shown = results if "verbose" in request.query else missing
    lines = [f"[-] {name}: {problem}" if problem else f"[+] {name}: ok" for name, problem in shown.items()]
    lines.append("not ready" if missing else "ready")
    return web.Response(status=503 if missing else 200, text="\n".join(lines) + "\n", headers={"Cache-Control": "no-store"})


async def _metrics(request: web.Request) -> web.StreamResponse:
    """In slices of a family, so that many series do not hold the loop."""
    response = web.StreamResponse(headers={"Content-Type": CONTENT_TYPE_LATEST})
    await response.prepare(request)
    if request.method != "HEAD":
        for family in request.app[_REGISTRY].collect():
            for text in _slices(family):
                await response.write(text)
                await asyncio.sleep(0)
    await response.write_eof()
    return response


def _slices(family: Metric) -> Iterator[bytes]:
    """The exposition of a family, some series at a time; without the times of their creation, which no Flux controller has."""
    samples = (each for each in family.samples if not each.name.endswith("_created"))
    head = True
    while (some := list(islice(samples, SLICE))) or head:
        part = Metric(family.name, family.documentation, family.type)
        part.samples = some
        text = generate_latest(_Single(part))
        if not head:
            text = b"".join(line for line in text.splitlines(keepends=True) if not line.startswith(b"# "))
        head = False
        yield text


class _Single(CollectorRegistry):
    """One family in the form of a registry, which is what the exposition takes."""

    def __init__(self, family: Metric) -> None:
        super().__init__(auto_describe=False)
        self._family = family

    def collect(self) -> Iterator[Metric]:
        yield self._family
