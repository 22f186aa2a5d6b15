"""The embedded API server as an own process: `python -m service.apiserver DIR [--port N] [--simulate-workloads]`."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from service.apiserver.server import ApiServer
from service.apiserver.unsupported import UNSUPPORTED


async def _serve(folder: Path, port: int, simulate_workloads: bool) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, stop.set)
    server = await ApiServer.start(folder, port=port, simulate_workloads=simulate_workloads)
    sys.stdout.write(f"export KUBECONFIG={server.kubeconfig}\n")
    sys.stdout.flush()
    await stop.wait()
    await server.stop()


def main() -> int:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m service.apiserver", description="A small part of the Kubernetes API on 127.0.0.1.")
    parser.add_argument("folder", metavar="DIR", type=Path, nargs="?", help="state, token and kubeconfig live here")
    parser.add_argument("--port", type=int, default=0, help="0 = any free port (default)")
    parser.add_argument(
        "--simulate-workloads", action="store_true", help="make Deployments and the like ready; their status says 'simulated'"
    )
    parser.add_argument("--unsupported", action="store_true", help="print what is not emulated and end")
    given = parser.parse_args()
    if given.unsupported:
        sys.stdout.write("".join(f"- {line}\n" for line in UNSUPPORTED))
        return 0
    if given.folder is None:
        parser.error("DIR is missing: name a folder for the state")
    asyncio.run(_serve(given.folder, given.port, given.simulate_workloads))
    return 0


if __name__ == "__main__":
    sys.exit(main())
