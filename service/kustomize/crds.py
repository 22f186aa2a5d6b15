"""`crds`: OpenAPI definitions by type name, whose x-kubernetes-* marks teach transformers the fields of custom resources.

A CustomResourceDefinition manifest is not this format. Behaviour: kustomize api v0.21.0 internal/accumulator/loadconfigfromcrds.go.
"""

from typing import Any

from service.kustomize.errors import BuildError
from service.kustomize.fieldspecs import FieldSpec, Gvk
from service.kustomize.tables import EMPTY, Tables

_ANNOTATION, _SELECTOR, _IDENTITY = "x-kubernetes-annotation", "x-kubernetes-label-selector", "x-kubernetes-identity"
_VERSION, _KIND, _KEY = "x-kubernetes-object-ref-api-version", "x-kubernetes-object-ref-kind", "x-kubernetes-object-ref-name-key"
_MAX_DEPTH = 50


def read_crds(content: Any, file: str) -> Tables:
    """Return the field specs of a parsed file. Raises BuildError."""
    if not isinstance(content, dict) or not all(isinstance(definition, dict) for definition in content.values()):
        raise BuildError("unable to parse open API definition: a map of definitions by type name is expected, not a CRD", file)
    tables = EMPTY
    for name, definition in content.items():
        if {"kind", "apiVersion", "metadata"} <= _properties(definition).keys():
            for found in _walk(content, name, Gvk(kind=name.rpartition(".")[2]), (), 0):
                tables = tables.merged(found)
    return tables


def _properties(definition: Any) -> dict[str, Any]:
    schema = definition.get("Schema", definition.get("schema")) if isinstance(definition, dict) else None
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return properties if isinstance(properties, dict) else {}


def _walk(content: dict[str, Any], name: str, gvk: Gvk, path: tuple[str, ...], depth: int) -> list[Tables]:
    if depth > _MAX_DEPTH:
        raise BuildError(f"crds: the definition of {name} contains itself")
    found: list[Tables] = []
    for field, value in _properties(content.get(name)).items():
        if not isinstance(value, dict):
            continue
        here = (*path, field)
        specs = (FieldSpec("/".join(here), False, gvk),)
        if isinstance(value.get(_ANNOTATION), str):
            found.append(Tables(common_annotations=specs))
        if isinstance(value.get(_SELECTOR), str):
            found.append(Tables(common_labels=specs))
        if isinstance(value.get(_IDENTITY), str):
            found.append(Tables(name_prefix=specs))
        version, kind = value.get(_VERSION), value.get(_KIND)
        if isinstance(version, str) and isinstance(kind, str):
            key = value.get(_KEY)
            referrer = FieldSpec("/".join((*here, key if isinstance(key, str) else "name")), False, gvk)
            found.append(Tables(name_reference=((Gvk(version=version, kind=kind), (referrer,)),)))
        if isinstance(value.get("$ref"), str):
            found += _walk(content, value["$ref"], gvk, here, depth + 1)
    return found
