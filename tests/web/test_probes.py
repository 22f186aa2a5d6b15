"""What the kubelet and Prometheus get."""

import aiohttp
from prometheus_client import generate_latest

from service.metrics import Metrics
from service.settings import Address
from service.web.port import Port
from service.web.probes import application


async def test_probes() -> None:
    metrics, missing = Metrics(), {"caches": "GitRepository is not synced"}
    for number in range(400):
        metrics.reconcile_total.labels("Kustomization", f"outcome{number}").inc()
        metrics.reconcile_seconds.observe(0.1, kind="Kustomization", name=f"app{number}", namespace="apps")
    checks = {"state": lambda: "", "caches": lambda: missing["caches"]}
    port = Port("probes", application(checks, metrics.registry), Address(host="127.0.0.1", port=0))
    await port.start()
    port.stop()
    async with aiohttp.ClientSession(f"http://{port.address}") as session:

        async def get(path: str) -> tuple[int, str]:
            async with session.get(path) as answer:
                return answer.status, await answer.text()

        assert await get("/healthz") == (200, "ok\n")
        assert await get("/readyz") == (503, "[-] caches: GitRepository is not synced\nnot ready\n")
        assert (await get("/readyz?verbose"))[1] == "[+] state: ok\n[-] caches: GitRepository is not synced\nnot ready\n"
        missing["caches"] = ""
        assert await get("/readyz") == (200, "ready\n")
        shown = [line for line in (await get("/metrics"))[1].splitlines() if not line.startswith("process_")]
        whole = [line for line in generate_latest(metrics.registry).decode().splitlines() if not line.startswith("process_")]
        assert shown == [line for line in whole if "_created" not in line]
        assert len(shown) > 400, "more than one slice of a family"
        assert (await get("/other"))[0] == 404
        async with session.post("/healthz") as answer:
            assert answer.status == 405
    await port.run()
