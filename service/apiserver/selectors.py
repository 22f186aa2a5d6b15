"""labelSelector and fieldSelector: text in, a predicate over stored objects out.

https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#api and .../field-selectors/
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from service.apiserver.refusal import bad_request
from service.apiserver.store import Stored

Labels = Mapping[str, str]
_SET = re.compile(r"^\s*(?P<key>[^\s!=(),]+)\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)\s*$")
_PAIR = re.compile(r"^\s*(?P<key>[^\s!=(),<>]+)\s*(?P<op>==|=|!=)\s*(?P<value>[^\s!=(),]*)\s*$")
_HAS = re.compile(r"^\s*(?P<no>!?)\s*(?P<key>[^\s!=(),]+)\s*$")
_SPLIT = re.compile(r",(?![^(]*\))")
EVENT_FIELDS = frozenset(
    (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    )
)
KIND_FIELDS: Mapping[str, frozenset[str]] = {
    "/events": EVENT_FIELDS,
    "/pods": frozenset(
        ("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "status.phase", "status.podIP")
    ),
    "/secrets": frozenset(("type",)),
    "/namespaces": frozenset(("status.phase",)),
    "/nodes": frozenset(("spec.unschedulable",)),
    "batch/jobs": frozenset(("status.successful",)),
}


def label_selector(text: str) -> Callable[[Labels], bool]:
    """Return a predicate over labels. Raises Refused 400."""
    tests = [_requirement(part) for part in _SPLIT.split(text) if part.strip()]
    return lambda labels: all(test(labels) for test in tests)


def _requirement(part: str) -> Callable[[Labels], bool]:
    if match := _SET.match(part):
        key, values = match["key"], {value.strip() for value in match["values"].split(",")}
        if match["op"] == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if match := _PAIR.match(part):
        key, value = match["key"], match["value"]
        if match["op"] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if match := _HAS.match(part):
        key, wanted = match["key"], not match["no"]
        return lambda labels: (key in labels) is wanted
    raise bad_request(f"unable to parse requirement: {part!r}; write key=value, key!=value, key in (a,b), key notin (a,b), key or !key")


def field_selector(text: str, resource: str, selectable: frozenset[str] = frozenset()) -> Callable[[Stored], bool]:
    """Return a predicate over rows of a resource ("group/plural"). Raises Refused 400 for a field that cannot be selected on."""
    tests: list[Callable[[Stored], bool]] = []
    for part in text.split(","):
        if not part.strip():
            continue
        match = _PAIR.match(part)
        if match is None:
            raise bad_request(f"invalid field selector: {part!r}")
        tests.append(_field_test(match["key"], match["value"], match["op"] != "!=", resource, selectable))
    return lambda row: all(test(row) for test in tests)


def _field_test(path: str, value: str, wanted: bool, resource: str, selectable: frozenset[str]) -> Callable[[Stored], bool]:
    if path == "metadata.name":
        return lambda row: (row.name == value) is wanted
    if path == "metadata.namespace":
        return lambda row: (row.namespace == value) is wanted
    if path not in KIND_FIELDS.get(resource, frozenset()) | selectable:
        raise bad_request(f"field label not supported: {path}")
    keys = ["source", "component"] if path == "source" else path.split(".")
    return lambda row: (_text(row.load(), keys) == value) is wanted


def _text(value: Any, keys: list[str]) -> str:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
