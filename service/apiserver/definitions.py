"""CustomResourceDefinitions: checks them, fills their status, and compiles what they serve.

https://kubernetes.io/docs/reference/kubernetes-api/extend-resources/custom-resource-definition-v1/
"""

import copy
import re
from collections.abc import Mapping
from typing import Any

from service.apiserver.refusal import Cause
from service.apiserver.resources import Builtin, Registry, Resource
from service.apiserver.schema import Definitions, Node

Object = dict[str, Any]
_NAME = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")


def fill_names(crd: Object) -> None:
    """Set the names that a CRD may leave out: listKind and singular."""
    names = crd.get("spec", {}).get("names")
    if isinstance(names, dict) and isinstance(names.get("kind"), str):
        names.setdefault("listKind", names["kind"] + "List")
        names.setdefault("singular", names["kind"].lower())
    conversion = crd.get("spec", {}).setdefault("conversion", {})
    conversion.setdefault("strategy", "None")


def check(crd: Mapping[str, Any], old: Mapping[str, Any] | None) -> list[Cause]:
    """Return what keeps a CRD from being served."""
    spec = crd["spec"]
    causes: list[Cause] = []
    plural, group = spec["names"].get("plural", ""), spec.get("group", "")
    if crd["metadata"]["name"] != f"{plural}.{group}":
        shown = crd["metadata"]["name"]
        message = f'Invalid value: "{shown}": must be spec.names.plural+"."+spec.group'
        causes.append(Cause(reason="FieldValueInvalid", field="metadata.name", message=message))
    if not _NAME.match(plural):
        message = f'Invalid value: "{plural}": a lowercase RFC 1035 label'
        causes.append(Cause(reason="FieldValueInvalid", field="spec.names.plural", message=message))
    if spec.get("scope") not in ("Namespaced", "Cluster"):
        message = f'Unsupported value: "{spec.get("scope", "")}": supported values: "Cluster", "Namespaced"'
        causes.append(Cause(reason="FieldValueNotSupported", field="spec.scope", message=message))
    causes += _check_versions(spec["versions"])
    if spec.get("conversion", {}).get("strategy") == "Webhook":
        message = "Forbidden: conversion webhooks are not carried out by this server; use strategy None"
        causes.append(Cause(reason="FieldValueForbidden", field="spec.conversion.strategy", message=message))
    if old is not None:
        for path, before, after in (("scope", old["spec"]["scope"], spec.get("scope")), ("group", old["spec"]["group"], group)):
            if before != after:
                message = f'Invalid value: "{after}": field is immutable'
                causes.append(Cause(reason="FieldValueInvalid", field=f"spec.{path}", message=message))
    return causes


def _check_versions(versions: list[Object]) -> list[Cause]:
    causes: list[Cause] = []
    if sum(bool(version.get("storage")) for version in versions) != 1:
        message = "Invalid value: must have exactly one version marked as storage version"
        causes.append(Cause(reason="FieldValueInvalid", field="spec.versions", message=message))
    for at, version in enumerate(versions):
        schema = version.get("schema", {}).get("openAPIV3Schema")
        if not isinstance(schema, dict):
            field = f"spec.versions[{at}].schema.openAPIV3Schema"
            causes.append(Cause(reason="FieldValueRequired", field=field, message="Required value: schemas are required"))
        elif schema.get("type") != "object":
            field = f"spec.versions[{at}].schema.openAPIV3Schema.type"
            causes.append(Cause(reason="FieldValueInvalid", field=field, message='Invalid value: "": must be object at the root'))
    return causes


def fill_status(crd: Object, registry: Registry, now: str) -> None:
    """Set a CRD's status: whether its names are accepted, Established, its stored versions."""
    spec, names = crd["spec"], crd["spec"]["names"]
    status = crd.setdefault("status", {})
    wanted = frozenset((names["plural"], names["singular"], *names.get("shortNames", ())))
    clash = registry.taken(spec["group"], wanted, names["plural"])
    accepted = not clash
    conditions = {condition["type"]: condition for condition in status.get("conditions", [])}
    _condition(
        conditions,
        now,
        "NamesAccepted",
        accepted,
        "NoConflicts" if accepted else "NameConflict",
        "no conflicts found" if accepted else f"already in use: {', '.join(sorted(clash))}",
    )
    _condition(
        conditions,
        now,
        "Established",
        accepted,
        "InitialNamesAccepted" if accepted else "NotAccepted",
        "the initial names have been accepted" if accepted else "not all names are accepted",
    )
    status["conditions"] = list(conditions.values())
    if accepted:
        status["acceptedNames"] = copy.deepcopy(names)
    status.setdefault("acceptedNames", {"plural": "", "kind": ""})
    storage = next(version["name"] for version in spec["versions"] if version["storage"])
    status["storedVersions"] = list(dict.fromkeys([*status.get("storedVersions", []), storage]))


def _condition(conditions: dict[str, Object], now: str, kind: str, true: bool, reason: str, message: str) -> None:
    word = "True" if true else "False"
    before = conditions.get(kind, {})
    since = before.get("lastTransitionTime", now) if before.get("status") == word else now
    conditions[kind] = {"lastTransitionTime": since, "message": message, "reason": reason, "status": word, "type": kind}


def compiled(crd: Mapping[str, Any], builtin: Builtin) -> tuple[Resource, ...]:
    """Return the resources of a CRD's served versions."""
    spec, names = crd["spec"], crd["spec"]["names"]
    storage = next(version["name"] for version in spec["versions"] if version["storage"])
    out = []
    for version in spec["versions"]:
        if not version["served"]:
            continue
        subresources = version.get("subresources") or {}
        schema = version["schema"]["openAPIV3Schema"]
        out.append(
            Resource(
                group=spec["group"],
                version=version["name"],
                plural=names["plural"],
                singular=names["singular"],
                kind=names["kind"],
                list_kind=names["listKind"],
                namespaced=spec["scope"] == "Namespaced",
                short_names=tuple(names.get("shortNames", ())),
                categories=tuple(names.get("categories", ())),
                status="status" in subresources,
                scale=False,
                node=object_node(schema, builtin),
                stored_version=storage,
                builtin=False,
                columns=tuple(version.get("additionalPrinterColumns", ())),
                selectable=frozenset(one["jsonPath"].lstrip(".") for one in version.get("selectableFields", ())),
                raw=schema,
            )
        )
    return tuple(out)


def object_node(schema: Mapping[str, Any], builtin: Builtin) -> Node:
    """Compile a CRD's schema for whole objects: apiVersion, kind and metadata are added as every kind has them."""
    node = Definitions({}).compile(schema)
    if node.shape == "any":
        node.shape = "map"
    text = Definitions({}).compile({"type": "string"})
    node.fields = {**node.fields, "apiVersion": text, "kind": text, "metadata": builtin.metadata}
    return node
