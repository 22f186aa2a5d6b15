"""`sluice alert mute ALERT` and `unmute`: an Alert says nothing for a while, on somebody's word and for a reason.

In: the Alert's name, how long, by whom and why. Out: its annotation. What comes meanwhile is held and told as one message at the end.
"""

import argparse
import asyncio
import getpass
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from service.kinds.duration import parse_duration

GROUP = "notification.toolkit.fluxcd.io"


def add_parsers(below: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add both commands below `alert`."""
    mute = below.add_parser("mute", help="hold back what an Alert would send, until an end", description=__doc__)
    _common(mute)
    mute.add_argument("--for", dest="length", required=True, metavar="DURATION", help="how long, such as 2h30m; at most 720h")
    mute.add_argument("--reason", required=True, help="why; shown to everybody who asks")
    mute.add_argument("--by", default=_user(), help="on whose word (default: you)")
    mute.set_defaults(run=run, action="mute")
    unmute = below.add_parser("unmute", help="end a mute; what was held is told")
    _common(unmute)
    unmute.set_defaults(run=run, action="unmute")


def run(args: argparse.Namespace) -> int:
    """Set or remove the annotation; return the exit status."""
    from service.cluster.access import BadKubeconfig
    from service.cluster.client import ClusterError

    namespace, _, name = args.alert.rpartition("/")
    where = f"Alert/{namespace or args.namespace}/{name}"
    try:
        value, words = _value(args)
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            runner.run(_annotate(args.kubeconfig, namespace or args.namespace, name, value))
    except (ClusterError, BadKubeconfig, ValueError) as error:
        print(f"error: {where}: {error}", file=sys.stderr)
        return 1
    print(f"{where}: {words}")
    return 0


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("alert", metavar="ALERT", help="its name, or NAMESPACE/NAME")
    parser.add_argument("-n", "--namespace", default="default", help="its namespace (default: default)")
    parser.add_argument("--kubeconfig", type=Path, metavar="FILE", help="the cluster (default: $KUBECONFIG, then ~/.kube/config)")


def _value(args: argparse.Namespace) -> tuple[str | None, str]:
    """The annotation, None to remove it, and what is said. Raises ValueError."""
    from service.alerts.mutes import MUTE, Mute, mute_of

    if args.action == "unmute":
        return None, "no longer muted"
    length, now = parse_duration(args.length), datetime.now(UTC).replace(microsecond=0)
    if length <= timedelta(0):
        raise ValueError("--for must be longer than nothing")
    mute = Mute(until=now + length, by=args.by, reason=args.reason)
    mute_of({MUTE: mute.to_text()}, now)
    return mute.to_text(), mute.words()


async def _annotate(kubeconfig: Path | None, namespace: str, name: str, value: str | None) -> None:
    from service.alerts.mutes import MUTE
    from service.cluster.client import Cluster

    cluster = await Cluster.from_kubeconfig(kubeconfig)
    body: dict[str, Any] = {"metadata": {"annotations": {MUTE: value}}}
    try:
        path = f"/apis/{GROUP}/v1beta3/namespaces/{namespace}/alerts/{name}"
        await cluster.request("PATCH", path, body=body, content_type="application/merge-patch+json")
    finally:
        await cluster.close()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
