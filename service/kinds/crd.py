"""The CustomResourceDefinitions of KINDS, made from the typed kinds.

In: the dataclasses and their Facts. Out: the definitions as dicts and as YAML. There is no conversion webhook, so the API server prunes
what the stored version does not know: all versions have the union of the fields, require only what all require, and the codec checks
the rest.
The format: https://kubernetes.io/docs/reference/kubernetes-api/extend-resources/custom-resource-definition-v1/
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, get_args, get_origin, get_type_hints

import yaml

from service.kinds.meta import SUBSTITUTE
from service.kinds.schema import SCALARS, Facts, is_model, plain, properties_of, unwrap
from service.kinds.table import KINDS as KINDS
from service.kinds.table import Kind as Kind

_HEADER = "# Made from the typed kinds by `sluice crds`. Change service/kinds and run that again.\n"
_READY = '.status.conditions[?(@.type=="Ready")]'
_COLUMNS = (
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {"name": "Ready", "type": "string", "jsonPath": f"{_READY}.status"},
    {"name": "Status", "type": "string", "jsonPath": f"{_READY}.message"},
)
_URL_COLUMN = {"name": "URL", "type": "string", "jsonPath": ".spec.url"}
_CHART_COLUMNS = (
    {"name": "Chart", "type": "string", "jsonPath": ".spec.chart"},
    {"name": "Version", "type": "string", "jsonPath": ".spec.version"},
    {"name": "Source Kind", "type": "string", "jsonPath": ".spec.sourceRef.kind"},
    {"name": "Source Name", "type": "string", "jsonPath": ".spec.sourceRef.name"},
)
_MORE_COLUMNS = {**dict.fromkeys(("GitRepository", "OCIRepository", "HelmRepository"), (_URL_COLUMN,)), "HelmChart": _CHART_COLUMNS}


def definition(kind: Kind) -> dict[str, Any]:
    """Return the CustomResourceDefinition of a kind, ready to be sent to an API server."""
    names: dict[str, Any] = {
        "kind": kind.kind,
        "listKind": f"{kind.kind}List",
        "plural": kind.plural,
        "singular": kind.kind.lower(),
        "categories": list(kind.categories),
    }
    if kind.short_names:
        names["shortNames"] = list(kind.short_names)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{kind.group}", "annotations": {SUBSTITUTE: "disabled"}},
        "spec": {
            "group": kind.group,
            "names": names,
            "scope": "Namespaced",
            "versions": [_version(kind, version) for version in kind.versions],
        },
    }


def file_name(kind: Kind) -> str:
    """Return the name of the file that holds a definition, as Flux names its own."""
    return f"{kind.group}_{kind.plural}.yaml"


def render(kind: Kind) -> str:
    """Return the YAML text of a definition, with a line that says where it comes from."""
    return _HEADER + yaml.safe_dump(definition(kind), sort_keys=False, width=120)


def _version(kind: Kind, version: str) -> dict[str, Any]:
    made: dict[str, Any] = {"name": version, "served": True, "storage": version == kind.storage}
    if version != kind.versions[0]:
        made["deprecated"] = True
        made["deprecationWarning"] = f"{version} {kind.kind} is deprecated, upgrade to {kind.versions[0]}"
    columns = (*_MORE_COLUMNS.get(kind.kind, ()), *_COLUMNS)
    made["additionalPrinterColumns"] = [dict(each) for each in columns]
    made["subresources"] = {"status": {}}
    made["schema"] = {"openAPIV3Schema": _root(kind)}
    return made


def _root(kind: Kind) -> dict[str, Any]:
    hints = get_type_hints(kind.type)
    status = _model(hints["status"])
    if kind.fresh_status:
        status["default"] = {"observedGeneration": -1}
    return {
        "description": _first_line(kind.type),
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string", "description": "Version of the schema that this object is written in."},
            "kind": {"type": "string", "description": "Kind of this object."},
            "metadata": {"type": "object"},
            "spec": _model(hints["spec"]),
            "status": status,
        },
    }


def _model(cls: type) -> dict[str, Any]:
    made: dict[str, Any] = {"description": _first_line(cls), "type": "object", "properties": {}}
    for prop in sorted(properties_of(cls), key=lambda each: each.name):
        made["properties"][prop.name] = _property(prop.type, prop.facts)
    required = sorted(prop.name for prop in properties_of(cls) if prop.required)
    return {**made, "required": required} if required else made


def _property(form: Any, facts: Facts) -> dict[str, Any]:
    made = _form(form)
    if facts.inside is not None:
        made["description"] = "Name of the object." if facts.inside == "name" else facts.description
        made = {"type": "object", "properties": {facts.inside: made}, "required": [facts.inside]}
    return {**made, "description": facts.description, **_limits(facts)}


def _limits(facts: Facts) -> dict[str, Any]:
    limits = {
        "enum": list(facts.enum) or None,
        "pattern": facts.pattern,
        "minLength": facts.min_length,
        "maxLength": facts.max_length,
        "minItems": facts.min_items,
        "minimum": facts.minimum,
        "default": facts.default,
    }
    return {name: value for name, value in limits.items() if value is not None}


def _form(form: Any) -> dict[str, Any]:
    form, origin = plain(form), get_origin(form)
    if is_model(form):
        return _model(form)
    if origin is tuple:
        inner, facts = unwrap(get_args(form)[0])
        return {"type": "array", "items": _property(inner, facts) if facts else _form(inner)}
    if origin is Literal:
        return {"type": "string", "enum": list(get_args(form))}
    if origin is Mapping:
        free = get_args(form)[1] is Any
        return (
            {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
            if free
            else {"type": "object", "additionalProperties": {"type": "string"}}
        )
    if form is Any:
        return {"x-kubernetes-preserve-unknown-fields": True}
    made = {"type": SCALARS[form]}
    if form is datetime:
        made["format"] = "date-time"
    if form is int:
        made["format"] = "int64"
    return made


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").partition("\n")[0]
