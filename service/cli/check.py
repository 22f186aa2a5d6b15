"""`sluice check --rollback`: what Flux would refuse, do otherwise or pass over if it took over again.

In: the objects of the cluster, through a kubeconfig; nothing is written. Out: a line for each finding, the gravest first. The exit status
is 0 where there is none, 1 where there are some, 2 where the cluster could not be read.
"""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from service.cluster.client import Cluster
    from service.kinds.rollback import Finding

_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{}.{}"
_PAGE = 500


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = commands.add_parser("check", help="whether Flux could take over again as it is", description=__doc__)
    parser.add_argument("--rollback", action="store_true", required=True, help="list what Flux would refuse, do otherwise or pass over")
    parser.add_argument("--kubeconfig", default=None, metavar="FILE", help="the cluster (default: $KUBECONFIG, then ~/.kube/config)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Look, print, and return the exit status."""
    from service.cluster.client import BadKubeconfig, ClusterError
    from service.kinds.rollback import ORDER

    try:
        found = asyncio.run(_looked(args.kubeconfig))
    except (ClusterError, BadKubeconfig) as error:
        print(f"sluice check: {error}", file=sys.stderr)
        return 2
    for each in sorted(found, key=lambda each: (ORDER.index(each.verb), each.object)):
        print(each)
    print(f"{len(found)} findings" if found else "nothing stands in the way: Flux finds all of it as its own", file=sys.stderr)
    return 1 if found else 0


async def _looked(kubeconfig: str | None) -> list["Finding"]:
    from service.cluster.client import ApiError, Cluster
    from service.kinds.rollback import findings, of_definition
    from service.kinds.table import KINDS

    cluster = await Cluster.from_kubeconfig(kubeconfig)
    try:
        found: list[Finding] = []
        managed: set[tuple[str, str]] = set()
        for kind in KINDS:
            try:
                definition = (await cluster.request("GET", _DEFINITIONS.format(kind.plural, kind.group))).body
            except ApiError as error:
                if error.not_found:
                    continue
                raise
            found += of_definition(definition, kind.versions[0])
            async for object_ in _all(cluster, f"/apis/{kind.group}/{kind.versions[0]}/{kind.plural}"):
                found += findings(object_, kind.kind)
                managed |= _kinds_of(object_)
        return found + [each async for each in _marked(cluster, managed)]
    finally:
        await cluster.close()


async def _all(cluster: "Cluster", path: str) -> AsyncIterator[dict[str, Any]]:
    query = {"limit": str(_PAGE)}
    while True:
        body = (await cluster.request("GET", path, query=query)).body
        for item in body.get("items") or ():
            yield item
        if not (more := (body.get("metadata") or {}).get("continue")):
            return
        query["continue"] = more


def _kinds_of(object_: dict[str, Any]) -> set[tuple[str, str]]:
    """apiVersion and kind of what an inventory names."""
    from service.cluster.inventory import BadEntry, parse

    kinds: set[tuple[str, str]] = set()
    for entry in ((object_.get("status") or {}).get("inventory") or {}).get("entries") or ():
        try:
            found = parse(entry["id"], entry["v"])
        except (BadEntry, KeyError):
            continue
        kinds.add((found.api_version, found.kind))
    return kinds


async def _marked(cluster: "Cluster", kinds: Iterable[tuple[str, str]]) -> AsyncIterator["Finding"]:
    """What our own annotations say on managed objects, by their metadata alone."""
    from service.cluster.client import ApiError
    from service.cluster.discovery import Discovery, NoSuchKind, collection_path
    from service.kinds.rollback import findings
    from service.kinds.table import KINDS

    discovery, ours = Discovery(cluster), {(kind.api_version, kind.kind) for kind in KINDS}
    for api_version, kind in sorted(set(kinds) - ours):
        try:
            path = collection_path(await discovery.resource(api_version, kind), None)
            more = ""
            while True:
                body = (await cluster.list_metadata(path, limit=_PAGE, after=more)).body
                for item in body.get("items") or ():
                    for each in findings({"metadata": item["metadata"]}, kind):
                        yield each
                if not (more := (body.get("metadata") or {}).get("continue") or ""):
                    break
        except (ApiError, NoSuchKind) as error:
            print(f"sluice check: {kind} not looked at: {error}", file=sys.stderr)
