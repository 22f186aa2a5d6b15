"""alertmanager: an alert for a failure, ended by the recovery. Flux lets them time out, and raises successes too.

Credentials: none, or `username` and `password`, or `token`, in the Secret, as the proxy before it asks. The address is the API's, such as
`http://alertmanager.monitoring:9093/api/v2/alerts/`. Sent is an alert with Flux's labels (`alertname` = Flux + kind + reason) for a
failure; for a recovery, the alerts that are active for the object are asked for, and exactly those get an end. A label that differs from
the recovery's belongs to another cluster. The format: https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import quote

from providers.answers import JSON, address_of, basic, check, has_pair, json_of, json_request
from providers.card import is_error, plain
from providers.contract import Dialogue, Event, Request, Secret, Target, recovers
from providers.flux_event import timestamp

HOLDS = timedelta(days=3)  # a failure is told once: without an end, Alertmanager would take it for resolved after five minutes
TOLD_APART = frozenset(("summary", "commit_subject", "commit_author", "commit_url", "took", "commit_status"))
CHANGING = frozenset(
    ("alertname", "severity", "reason", "revision", "originRevision", "commit", "change_request", "oci_digest", "app_version")
)
_UNFIT = re.compile(r"[^a-zA-Z0-9_]")
TEXT, LABEL = 8_000, 500


def converse(event: Event, target: Target) -> Dialogue:
    """Raise the alert, or end those of the object. Raises Misconfigured, Rejected, Busy."""
    address, headers = address_of(target), _authorization(target)
    if is_error(event):
        alert = {
            "labels": labels_of(event),
            "annotations": {name: plain(text, TEXT) for name, text in _annotations(event).items() if plain(text, TEXT)},
            "startsAt": timestamp(event),
            "endsAt": (event.timestamp + HOLDS).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        check("Alertmanager", (yield json_request(address, [alert], headers=headers)))
    elif recovers(event.severity, event.reason):
        wanted = labels_of(event)
        filters = "&".join(f"filter={quote(_matcher(name, wanted.get(name, '')), safe='')}" for name in ("kind", "name", "namespace"))
        asked = Request(
            method="GET", url=Secret(f"{address}{'&' if '?' in address else '?'}{filters}"), headers={"Accept": JSON, **headers}, body=b""
        )
        active = json_of("Alertmanager", (yield asked))
        ended = [each for each in map(_alert, active if isinstance(active, list) else []) if each and _is_same(each[0], wanted)]
        if ended:
            body = [{"labels": labels, "startsAt": started, "endsAt": timestamp(event)} for labels, started in ended]
            check("Alertmanager", (yield json_request(address, body, headers=headers)))


def labels_of(event: Event) -> dict[str, str]:
    """Flux's labels. Names are made fit for every version of Alertmanager; what is only told is an annotation."""
    found = {_name(name): plain(text, LABEL) for name, text in sorted(event.metadata.items()) if name not in TOLD_APART}
    found |= {
        "alertname": plain(f"Flux{event.kind}{event.reason.capitalize()}", LABEL),
        "severity": event.severity,
        "reason": plain(event.reason, LABEL),
        "kind": plain(event.kind, LABEL),
        "name": plain(event.name, LABEL),
        "namespace": plain(event.namespace, LABEL),
        "reportingcontroller": plain(event.controller, LABEL),
    }
    return {name: text for name, text in sorted(found.items())[:100] if text}


def _annotations(event: Event) -> dict[str, str]:
    told = {_name(name): text for name, text in event.metadata.items() if name in TOLD_APART and name != "commit_status"}
    title = {"title": event.title} if event.title else {}
    return {"message": event.message or event.reason, **dict(sorted(told.items())), **title}


def _name(name: str) -> str:
    fit = _UNFIT.sub("_", name[:100])
    return fit if fit and not fit[0].isdigit() else f"_{fit}"


def _matcher(name: str, value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{name}="{escaped}"'


def _alert(value: object) -> tuple[dict[str, str], str] | None:
    """The labels of an active alert, and since when it is active."""
    if not isinstance(value, dict) or not isinstance(value.get("labels"), dict) or not isinstance(value.get("startsAt"), str):
        return None
    labels = value["labels"]
    return (labels, value["startsAt"]) if all(isinstance(each, str) for pair in labels.items() for each in pair) else None


def _is_same(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether an alert is one of ours for the same object of the same cluster."""
    ours = labels.get("alertname", "").startswith("Flux") and labels.get("severity") == "error"
    names = (labels.keys() | wanted.keys()) - CHANGING
    return ours and all(labels.get(name) == wanted.get(name) for name in names)


def _authorization(target: Target) -> dict[str, str]:
    if has_pair(target):
        return {"Authorization": basic(target.username, target.password)}
    return {"Authorization": f"Bearer {target.token.reveal()}"} if target.token else {}
