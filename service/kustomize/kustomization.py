"""A kustomization file in, its fields out, decoded strictly, with deprecated forms rewritten.

Format: https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/. Behaviour: kustomize api v0.21.0 types/kustomization.go.
The decoded value is a dict whose keys are the field names as documented; fields that are not given are not in it.
"""

import re
from typing import Any

from service.kustomize.decode import (
    GVK_FIELDS,
    ID_FIELDS,
    SELECTOR,
    Type,
    boolean,
    decode,
    integer,
    listing,
    mapping,
    record,
    scalar,
    text,
    texts,
)
from service.kustomize.errors import BuildError
from service.kustomize.tables import SPEC

NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
KINDS = {"Kustomization": "kustomize.config.k8s.io/v1beta1", "Component": "kustomize.config.k8s.io/v1alpha1"}
NOT_CARRIED_OUT = {
    "helmCharts": "Helm charts are not inflated here; commit the rendered manifests, or use a HelmRelease",
    "helmChartInflationGenerator": "Helm charts are not inflated here; commit the rendered manifests, or use a HelmRelease",
}

OPTIONS = record({"labels": texts, "annotations": texts, "disableNameSuffixHash": boolean, "immutable": boolean})
GENERATOR: dict[str, Type] = {
    "namespace": text,
    "name": text,
    "behavior": text,
    "literals": listing(text),
    "files": listing(text),
    "envs": listing(text),
    "env": text,
    "options": OPTIONS,
}
METADATA = record({"name": scalar, "namespace": scalar, "labels": texts, "annotations": texts})
PATCH_OPTIONS = record({"allowNameChange": boolean, "allowKindChange": boolean})
PATCH = record({"path": text, "patch": text, "target": SELECTOR, "options": PATCH_OPTIONS})
IMAGE = record({"name": scalar, "newName": scalar, "tagSuffix": scalar, "newTag": scalar, "digest": scalar})
REPLICA = record({"name": scalar, "count": integer})
LABEL = record({"pairs": texts, "includeSelectors": boolean, "includeTemplates": boolean, "fields": listing(SPEC)})
FIELD_OPTIONS = record({"delimiter": text, "index": integer, "encoding": text, "create": boolean})
REPLACEMENT: dict[str, Type] = {
    "source": record({**ID_FIELDS, "fieldPath": text, "options": FIELD_OPTIONS}),
    "sourceValue": text,
    "targets": listing(record({"select": SELECTOR, "reject": listing(SELECTOR), "fieldPaths": listing(text), "options": FIELD_OPTIONS})),
}
VAR = record(
    {
        "name": text,
        "objref": record({**GVK_FIELDS, "apiVersion": text, "name": text, "namespace": text}),
        "fieldref": record({"fieldPath": text}),
    }
)
SORT_OPTIONS = record({"order": text, "legacySortOptions": record({"orderFirst": listing(text), "orderLast": listing(text)})})

FIELDS: dict[str, Type] = {
    "apiVersion": text,
    "kind": text,
    "metadata": METADATA,
    "openapi": texts,
    "namePrefix": text,
    "nameSuffix": text,
    "namespace": text,
    "commonLabels": texts,
    "labels": listing(LABEL),
    "commonAnnotations": texts,
    "patchesStrategicMerge": listing(text),
    "patchesJson6902": listing(PATCH),
    "patches": listing(PATCH),
    "images": listing(IMAGE),
    "imageTags": listing(IMAGE),
    "replacements": listing(record({**REPLACEMENT, "path": text})),
    "replicas": listing(REPLICA),
    "vars": listing(VAR),
    "sortOptions": SORT_OPTIONS,
    "resources": listing(text),
    "components": listing(text),
    "crds": listing(text),
    "bases": listing(text),
    "configMapGenerator": listing(record(GENERATOR)),
    "secretGenerator": listing(record({**GENERATOR, "type": text})),
    "helmGlobals": mapping,
    "helmCharts": listing(mapping),
    "helmChartInflationGenerator": listing(mapping),
    "generatorOptions": OPTIONS,
    "configurations": listing(text),
    "generators": listing(text),
    "transformers": listing(text),
    "validators": listing(text),
    "buildMetadata": listing(text),
}
"""Every field of a kustomization and its type."""

DEPRECATED = {
    "bases": "resources",
    "commonLabels": "labels",
    "imageTags": "images",
    "patchesJson6902": "patches",
    "patchesStrategicMerge": "patches",
    "vars": "replacements",
}
"""Deprecated fields and what stands for them now, in the order in which kustomize warns."""

_ROOT = record(FIELDS)


def read_kustomization(content: Any, file: str, source: bytes = b"") -> dict[str, Any]:
    """Return the fields of a parsed kustomization file. Raises BuildError with the line where `source` shows the field."""
    try:
        found: dict[str, Any] = decode(_ROOT, content, "the kustomization")
        return _checked(_rewritten(found))
    except BuildError as error:
        raise BuildError(f"invalid Kustomization: {error.message}", file, error.line or _line(source, error.message)) from error


def deprecations(content: dict[str, Any]) -> list[str]:
    """Return kustomize's words on each deprecated field of a parsed kustomization file, without a newline."""
    given = {key.lower() for key, value in content.items() if value is not None}
    fix = "Run 'kustomize edit fix' to update your Kustomization automatically."
    return [
        f"# Warning: '{old}' is deprecated. Please use '{new}' instead. {'[EXPERIMENTAL] ' if old == 'vars' else ''}{fix}"
        for old, new in DEPRECATED.items()
        if old.lower() in given
    ]


def _rewritten(found: dict[str, Any]) -> dict[str, Any]:
    """Deprecated forms become the current ones."""
    for old, new in (("bases", "resources"), ("imageTags", "images")):
        moved = found.pop(old, None)
        if moved:
            found[new] = [*found.get(new, ()), *moved]
    for kind in ("configMapGenerator", "secretGenerator"):
        for entry in found.get(kind, ()):
            env = entry.pop("env", "")
            if env:
                entry["envs"] = [*entry.get("envs", ()), env]
    return found


def _checked(found: dict[str, Any]) -> dict[str, Any]:
    for field, why in NOT_CARRIED_OUT.items():
        if found.get(field):
            raise BuildError(f"{field}: {why}")
    kind = found.setdefault("kind", "") or "Kustomization"
    found["kind"] = kind
    if not any(value != "" for field, value in found.items() if field not in ("kind", "apiVersion")):
        raise BuildError("kustomization.yaml is empty")
    if kind not in KINDS:
        raise BuildError(f'kind should be Kustomization or Component, but is "{kind}"')
    version = found.get("apiVersion") or KINDS[kind]
    if version != KINDS[kind]:
        raise BuildError(f'apiVersion for {kind} should be {KINDS[kind]}, but is "{version}"')
    return found


def _line(source: bytes, message: str) -> int | None:
    """The first line that holds the field which a message names."""
    found = re.search(r'unknown field "([^"]+)"|(?:\.|^)(\w+)(?:\[\d+\])? must be', message)
    if found is None:
        return None
    field = re.escape((found[1] or found[2]).encode())
    place = re.search(rb"(?m)^[\s-]*[\"']?" + field + rb"[\"']?\s*:|[{,]\s*[\"']?" + field + rb"[\"']?\s*:", source)
    return None if place is None else source.count(b"\n", 0, place.end()) + 1


__all__ = ["DEPRECATED", "FIELDS", "GENERATOR", "NAMES", "NOT_CARRIED_OUT", "REPLACEMENT", "deprecations", "read_kustomization"]
