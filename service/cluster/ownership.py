"""Whose fields are whose: what must be patched on a live object before our server-side apply owns what it should. Pure.

Fields that kubectl (client-side or server-side), `before-first-apply` or an old Update-based kustomize-controller manage go over to our
Apply entry, so that fields which git no longer has vanish. https://github.com/fluxcd/pkg/blob/main/ssa/patch.go,
https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

from collections.abc import Mapping, Sequence
from typing import Any

from service.cluster.annotations import MERGE, matches

_PREFIXES = (("kubectl", "Apply"), ("kubectl", "Update"), ("before-first-apply", "Update"))
_ANNOTATIONS = ("kubectl.kubernetes.io/last-applied-configuration", "kustomize.toolkit.fluxcd.io/checksum", "fluxcd.io/sync-checksum")
_LABELS = ("fluxcd.io/sync-gc-mark",)

Operation = dict[str, Any]
Fields = dict[str, Any]


def takeover(
    live: Mapping[str, Any], wanted: Mapping[str, Mapping[str, str]], *, manager: str, also: Sequence[str] = ()
) -> list[Operation]:
    """The JSON patch that makes `manager` the owner; [] when nothing is to be taken over.

    `wanted` has the labels and annotations of the manifest (`kustomize.toolkit.fluxcd.io/ssa: Merge` there, or on the live object, leaves
    others their fields); `also` are what more managers' names begin with whose fields are taken. The patch fails with a conflict if the
    object changed meanwhile.
    """
    if matches(wanted, MERGE) or matches(live["metadata"], MERGE):
        return []
    metadata = live["metadata"]
    patch = _removals("annotations", metadata.get("annotations") or {}, _ANNOTATIONS)
    patch += _removals("labels", metadata.get("labels") or {}, _LABELS)
    entries = merged(metadata.get("managedFields") or [], manager=manager, also=also)
    if entries is not None:
        patch.append({"op": "replace", "path": "/metadata/managedFields", "value": entries})
    if patch:
        patch.append({"op": "replace", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]})
    return patch


def merged(entries: Sequence[Mapping[str, Any]], *, manager: str, also: Sequence[str] = ()) -> list[dict[str, Any]] | None:
    """managedFields with the fields of those we replace in our own Apply entry; None when there is nothing to take."""
    taken = [entry for entry in entries if _is_taken(entry, manager, also)]
    if not taken:
        return None
    own = next((entry for entry in entries if _is_own(entry, manager)), None)
    first = dict(own if own is not None else {**taken[0], "manager": manager, "operation": "Apply"})
    fields: Fields = first.get("fieldsV1") or {}
    for entry in taken if own is not None else taken[1:]:
        fields = union(fields, entry.get("fieldsV1") or {})
    first["fieldsV1"] = fields
    others = [dict(entry) for entry in entries if entry not in taken and entry is not own]
    return [*others, first]


def union(one: Mapping[str, Any], two: Mapping[str, Any]) -> Fields:
    """Two FieldsV1 sets in one: https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management."""
    result = dict(one)
    for key, inside in two.items():
        result[key] = union(result.get(key) or {}, inside or {})
    return result


def _is_own(entry: Mapping[str, Any], manager: str) -> bool:
    return entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource")


def _is_taken(entry: Mapping[str, Any], manager: str, also: Sequence[str]) -> bool:
    if entry.get("subresource") or _is_own(entry, manager):
        return False
    name, operation = str(entry.get("manager", "")), entry.get("operation")
    if any(name.startswith(prefix) and operation == wanted for prefix, wanted in _PREFIXES):
        return True
    return (name.startswith(manager) and operation == "Update") or name.startswith(tuple(also))


def _removals(place: str, there: Mapping[str, str], names: Sequence[str]) -> list[Operation]:
    return [{"op": "remove", "path": f"/metadata/{place}/{name.replace('~', '~0').replace('/', '~1')}"} for name in names if name in there]
