"""`sluice alert test PROVIDER`: does a Provider work, and what does it send?

In: the name of a Provider in the cluster, or a manifest with it and its Secrets; an event as Flux posts it, or a made-up one. Out: the
requests with their secrets masked (`--dry-run`), or that the target took the message; 1 and what to do where it did not.
"""

import argparse
import asyncio
import base64
import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from service.cli import letters, mute

GROUP = "notification.toolkit.fluxcd.io"


class _Unusable(Exception):
    """What was given cannot be used; the message says what to give."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the program's parser."""
    parser = subparsers.add_parser("alert", help="alerts: try a Provider, see what became of messages, send them again")
    below = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    test = below.add_parser("test", help="send an event to a Provider, or show what would be sent", description=__doc__)
    test.add_argument("provider", metavar="PROVIDER", help="its name, or NAMESPACE/NAME")
    test.add_argument("-n", "--namespace", default="default", help="its namespace (default: default)")
    test.add_argument("--event", type=Path, metavar="FILE", help="an event in Flux's JSON; a made-up one without it")
    test.add_argument("--alert", metavar="NAME", help="as this Alert, of the same namespace, tells it: its templates and triggers")
    test.add_argument("--severity", choices=("info", "error"), default="info", help="of the made-up event")
    test.add_argument("--dry-run", action="store_true", help="print what would be sent, secrets masked, and send nothing")
    test.add_argument("--manifest", type=Path, metavar="FILE", help="take the Provider and its Secrets out of this YAML, without a cluster")
    test.add_argument("--kubeconfig", type=Path, metavar="FILE", help="the cluster (default: $KUBECONFIG, then ~/.kube/config)")
    test.set_defaults(run=run)
    listed = below.add_parser("types", help="list the types of Providers: ours, and those of installed packages")
    listed.set_defaults(run=types)
    letters.add_parsers(below)
    mute.add_parsers(below)


def types(_args: argparse.Namespace) -> int:
    """List what Providers can send to; 1 where a package's type is left out."""
    from service.alerts.table import load
    from service.kinds.notification import FLUX_PROVIDER_TYPES

    table = load()
    others = {each.name: each for each in table.foreign if not each.problem}
    for name in sorted(table.types):
        whose = others[name].package if name in others else "Flux" if name in FLUX_PROVIDER_TYPES else "sluice"
        print(f"{name:<28} {whose:<24} {table.types[name].wants}")
    left_out = [each for each in table.foreign if each.problem]
    for each in left_out:
        print(f"error: {each.name} of {each.package} is left out: {each.problem}", file=sys.stderr)
    return 1 if left_out else 0


def run(args: argparse.Namespace) -> int:
    """Try the Provider; return the exit status."""
    from service.alerts.trial import TrialFailed
    from service.cluster.access import BadKubeconfig
    from service.cluster.client import ClusterError

    namespace, _, name = args.provider.rpartition("/")
    try:
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            lines = runner.run(_try(args, namespace or args.namespace, name))
    except (TrialFailed, _Unusable, ClusterError, BadKubeconfig) as error:
        print(f"error: Provider/{namespace or args.namespace}/{name}: {error}", file=sys.stderr)
        return 1
    print("\n\n".join(lines))
    return 0


async def _try(args: argparse.Namespace, namespace: str, name: str) -> list[str]:
    from service.alerts.trial import trial
    from service.cluster.client import Cluster
    from service.cluster.discovery import Discovery
    from service.compose.access import Secrets, labels_of
    from service.identities.accounts import Accounts

    event = _event(args, namespace)
    if args.manifest is not None:
        objects = _objects(args.manifest)

        async def read(wanted: str, secret: str) -> Mapping[str, bytes] | None:
            found = objects.get(("Secret", wanted, secret)) or objects.get(("Secret", "", secret))
            return _data(found) if found else None

        provider = objects.get(("Provider", namespace, name)) or objects.get(("Provider", "", name))
        if provider is None:
            raise _Unusable(f"{args.manifest} does not hold it")
        provider = {**provider, "metadata": {**provider["metadata"], "namespace": namespace}}
        if args.alert:
            alert = objects.get(("Alert", namespace, args.alert)) or objects.get(("Alert", "", args.alert))
            if alert is None:
                raise _Unusable(f"{args.manifest} does not hold Alert/{namespace}/{args.alert}")
            alert = {**alert, "metadata": {**alert["metadata"], "namespace": namespace}}

            async def config(wanted: str, name: str) -> Mapping[str, str] | None:
                found = objects.get(("ConfigMap", wanted, name)) or objects.get(("ConfigMap", "", name))
                return (found.get("data") or {}) if found else None

            event = await _as_told(provider, alert, event, config, _no_labels)
        return [] if event is None else await trial(provider, read, event, dry_run=args.dry_run)
    cluster = await Cluster.from_kubeconfig(args.kubeconfig)
    try:
        path = f"/apis/{GROUP}/v1beta3/namespaces/{namespace}/providers/{name}"
        raw = (await cluster.request("GET", path)).body
        if args.alert:
            path = f"/apis/{GROUP}/v1beta3/namespaces/{namespace}/alerts/{args.alert}"
            labels = partial(labels_of, cluster, Discovery(cluster))
            event = await _as_told(raw, (await cluster.request("GET", path)).body, event, Secrets(cluster).config, labels)
        if event is None:
            return []
        return await trial(raw, Secrets(cluster).read, event, dry_run=args.dry_run, accounts=Accounts(cluster))
    finally:
        await cluster.close()


async def _as_told(provider: Any, alert: Any, event: Any, read_config: Any, read_labels: Any) -> Any:
    """The event as the Alert would have it told, None where it would not be; what is to be said about that goes to stderr."""
    from service.alerts.rehearsal import rehearse
    from service.kinds.schema import Invalid

    try:
        found = await rehearse(provider, alert, event, read_config=read_config, read_labels=read_labels)
    except Invalid as error:
        raise _Unusable(f"the Alert cannot be read: {error}") from error
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    return found.event


async def _no_labels(_key: object, _api_version: str) -> Mapping[str, str]:
    return {}


def _event(args: argparse.Namespace, namespace: str) -> Any:
    from service.kinds.event import Event
    from service.kinds.schema import Invalid

    if args.event is None:
        return Event.from_json(_made_up(namespace, failed=args.severity == "error"))
    try:
        return Event.from_json(json.loads(args.event.read_bytes()))
    except (OSError, ValueError, Invalid) as error:
        raise _Unusable(f"{args.event} is not an event in Flux's JSON: {error}") from error


def _made_up(namespace: str, *, failed: bool) -> dict[str, Any]:
    involved = {"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "namespace": namespace, "name": "sluice-test"}
    return {
        "involvedObject": {**involved, "uid": "00000000-0000-4000-8000-000000000000"},
        "severity": "error" if failed else "info",
        "reason": "HealthCheckFailed" if failed else "ReconciliationSucceeded",
        "message": "A test of this Provider by sluice alert test: nothing has happened",
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "metadata": {"kustomize.toolkit.fluxcd.io/revision": "main@sha1:" + "0" * 40},
        "reportingController": "kustomize-controller",
        "reportingInstance": "sluice",
    }


def _objects(path: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    """The objects of a YAML file by kind, namespace and name."""
    try:
        documents = [each for each in yaml.safe_load_all(path.read_bytes()) if isinstance(each, dict)]
        parts = [(each, each["metadata"]) for each in documents]
        return {(str(each["kind"]), str(about.get("namespace", "")), str(about["name"])): each for each, about in parts}
    except (OSError, yaml.YAMLError, KeyError, AttributeError, TypeError) as error:
        raise _Unusable(f"{path} is not a YAML file of Kubernetes objects") from error


def _data(secret: Mapping[str, Any]) -> dict[str, bytes]:
    try:
        found = {name: base64.b64decode(value, validate=True) for name, value in (secret.get("data") or {}).items()}
        return found | {name: value.encode() for name, value in (secret.get("stringData") or {}).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise _Unusable("the Secret's data is not base64: put plain text into stringData") from error
