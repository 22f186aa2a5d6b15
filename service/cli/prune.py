"""`sluice prune`: what a Kustomization may not delete unasked, and the permission for one revision.

In: the object in the cluster, through a kubeconfig. Out: the list of what would go; an annotation that names the revision. The exit status
is 1 where nothing is blocked, or another revision is.
"""

import argparse
import asyncio
import sys
from typing import Any

KINDS = ("kustomization", "kustomizations", "ks")
_PATH = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/{}/kustomizations/{}"


class _Failed(Exception):
    """What the user is told; the command ends."""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command and what is below it."""
    parser = commands.add_parser("prune", help="deletions that wait for a person: show them, allow them")
    below = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    shown = below.add_parser("show", help="what would be deleted, and why that is not done")
    allowed = below.add_parser("allow", help="let one revision delete what it no longer has")
    for each in (shown, allowed):
        each.add_argument("object", metavar="KIND/NAME", help="such as Kustomization/apps, or ks/apps")
        each.add_argument("-n", "--namespace", default="flux-system", help="its namespace (default: flux-system)")
        each.add_argument("--kubeconfig", default=None, metavar="FILE", help="the cluster (default: $KUBECONFIG, then ~/.kube/config)")
    allowed.add_argument("--revision", required=True, metavar="R", help="the revision as `show` prints it, or 7 digits of its commit")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry out one action; returns the exit status."""
    from service.cluster.client import BadKubeconfig, ClusterError

    try:
        return asyncio.run(_carried_out(args, _name(args.object)))
    except (_Failed, ClusterError, BadKubeconfig) as error:
        print(f"sluice prune: {error}", file=sys.stderr)
        return 1


async def _carried_out(args: argparse.Namespace, name: str) -> int:
    from service.cluster.client import MERGE_PATCH, ApiError, Cluster
    from service.kinds.meta import PRUNE_ALLOWED

    cluster = await Cluster.from_kubeconfig(args.kubeconfig)
    path = _PATH.format(args.namespace, name)
    try:
        try:
            found = (await cluster.request("GET", path)).body
        except ApiError as error:
            if error.not_found:
                raise _Failed(f"Kustomization/{name} is not in namespace {args.namespace}: name it with -n") from error
            raise
        revision, message = _blocked(found, name)
        if args.action == "show":
            print(message)
            return 0
        if not _names(args.revision, revision):
            raise _Failed(f"{args.revision} is not what is blocked; that is {revision}. Look again: sluice prune show {args.object}")
        body = {"metadata": {"annotations": {PRUNE_ALLOWED: revision}}}
        await cluster.request("PATCH", path, query={"fieldManager": "sluice"}, body=body, content_type=MERGE_PATCH)
        print(f"Kustomization/{args.namespace}/{name} may prune at {revision}")
        return 0
    finally:
        await cluster.close()


def _blocked(found: dict[str, Any], name: str) -> tuple[str, str]:
    """The revision whose prune is blocked, and the condition's words. Raises _Failed where none is."""
    status = found.get("status") or {}
    conditions: list[dict[str, Any]] = status.get("conditions") or []
    ready: dict[str, Any] = next((each for each in conditions if each.get("type") == "Ready"), {})
    if ready.get("reason") != "PruneBlocked":
        raise _Failed(f"no prune of Kustomization/{name} is blocked; Ready says {ready.get('reason', 'nothing yet')}")
    return str(status.get("lastAttemptedRevision") or ""), str(ready.get("message") or "")


def _names(given: str, revision: str) -> bool:
    """Whether a revision, or at least seven digits of its commit, is this one."""
    start, _, digits = given.rpartition(":")
    where, _, commit = revision.rpartition(":")
    return given == revision or (len(digits) >= 7 and commit.startswith(digits) and start in ("", where))


def _name(text: str) -> str:
    kind, slash, name = text.partition("/")
    if not slash or not name or kind.lower() not in KINDS:
        raise _Failed(f"{text!r} is no KIND/NAME of a Kustomization: write Kustomization/apps")
    return name
