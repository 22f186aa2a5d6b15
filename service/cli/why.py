"""`sluice why KIND/NAME`: one answer for one object, from the delivery that triggered it to the Pod that blocks it.

In: the admin port of a running service; where that is away, the cluster alone through a kubeconfig. Out: a tree of lines, or JSON.
The exit status is 0 for an object that is ready, 1 for one that is not, 2 where nothing can be said.
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from service.cli.asking import AskingFailed, Away, add_address, asked

TIMEOUT_SECONDS = 40.0


class _Failed(Exception):
    """What the user is told; the command ends."""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command and its flags."""
    parser = commands.add_parser("why", help="why an object is as it is: one answer, from the delivery to the Pod that blocks")
    parser.add_argument("object", metavar="KIND/[NAMESPACE/]NAME", help="such as ks/shop, gitrepo/fleet, Deployment/apps/web")
    parser.add_argument("-n", "--namespace", default="", help="its namespace (default: flux-system)")
    parser.add_argument("-o", "--output", choices=("tree", "json"), default="tree", help="how it is printed (default: tree)")
    add_address(parser)
    parser.add_argument("--kubeconfig", type=Path, metavar="FILE", help="where the service is away (default: $KUBECONFIG, ~/.kube/config)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ask, print, and return the exit status."""
    try:
        kind, namespace, name = _wanted(args)
        try:
            path = "/".join(quote(part, safe="") for part in (kind, namespace, name))
            answer = asked(args, f"/why/{path}", timeout=TIMEOUT_SECONDS)
        except Away as away:
            print(f"sluice why: {away}; this is what the cluster alone says", file=sys.stderr)
            answer = _from_cluster(args, kind, namespace, name)
    except (_Failed, AskingFailed) as error:
        print(f"sluice why: {error}", file=sys.stderr)
        return 2
    if args.output == "json":
        print(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        from service.cli.whytree import lines

        print("\n".join(lines(answer)))
    return 0 if answer["state"].get("ready") == "True" else 1


def _wanted(args: argparse.Namespace) -> tuple[str, str, str]:
    parts = args.object.split("/")
    if len(parts) not in (2, 3) or not all(parts):
        raise _Failed(f"{args.object}: name an object as KIND/NAME, or KIND/NAMESPACE/NAME")
    if len(parts) == 3:
        return parts[0], parts[1], parts[2]
    return parts[0], args.namespace or "flux-system", parts[1]


def _from_cluster(args: argparse.Namespace, kind: str, namespace: str, name: str) -> dict[str, Any]:
    from service.cluster.access import BadKubeconfig
    from service.cluster.client import Cluster, ClusterError
    from service.compose.why.evidence import FromCluster
    from service.compose.why.explain import Unknown, explain

    async def ask() -> dict[str, Any]:
        cluster = await Cluster.from_kubeconfig(args.kubeconfig)
        try:
            return await explain(FromCluster(cluster), kind, namespace, name)
        finally:
            await cluster.close()
            await asyncio.sleep(0.02)  # closed connections end in the loop's next rounds

    try:
        return asyncio.run(ask())
    except (Unknown, ClusterError, BadKubeconfig) as error:
        raise _Failed(str(error)) from error
