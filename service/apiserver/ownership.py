"""Who owns which field: managedFields entries in and out, server-side apply and the bookkeeping of every other write.

Behaviour of sigs.k8s.io/structured-merge-diff v6 merge/update.go and of k8s.io/apimachinery/pkg/util/managedfields (1.36).
https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from service.apiserver.fieldset import FieldSet, decode, readable
from service.apiserver.refusal import Cause, Refused, field_conflicts, invalid
from service.apiserver.schema import Node
from service.apiserver.typed import Untyped, difference, field_set, merge, remove, with_named

Object = dict[str, Any]

MOST_UPDATERS = 10  # fieldmanager's cap: older update entries are merged into one called ancient-changes
_UNOWNED = decode(
    {
        "f:apiVersion": {},
        "f:kind": {},
        "f:metadata": {
            ".": {},
            **{
                f"f:{name}": {}
                for name in ("name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields", "resourceVersion")
            },
        },
    }
)
_STATUS_ONLY = FieldSet({"f:status"})


class Writer(NamedTuple):
    """Identity of an entry: appliers are one entry whatever version they use, updaters one a version."""

    manager: str
    operation: Literal["Apply", "Update"]
    api_version: str
    subresource: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """One entry's fields, the version that they are written in, and when they last changed (RFC 3339, as stored)."""

    fields: FieldSet
    api_version: str
    time: str | None


Owners = dict[Writer, Owned]


def read_owners(obj: Mapping[str, Any]) -> Owners:
    """Return the owners of an object. Entries that cannot be read are dropped, as upstream does."""
    owners: Owners = {}
    for entry in obj.get("metadata", {}).get("managedFields") or ():
        try:
            operation: Literal["Apply", "Update"] = "Apply" if entry["operation"] == "Apply" else "Update"
            version = entry["apiVersion"]
            writer = Writer(entry.get("manager", ""), operation, "" if operation == "Apply" else version, entry.get("subresource", ""))
            fields = _decoded(json.dumps(entry.get("fieldsV1") or {}, separators=(",", ":")))
            owners[writer] = Owned(fields=fields, api_version=version, time=entry.get("time"))
        except (KeyError, TypeError, AttributeError, ValueError):
            continue
    return owners


@lru_cache(maxsize=4096)
def _decoded(text: str) -> FieldSet:
    return decode(json.loads(text))


def write_owners(owners: Owners) -> list[dict[str, Any]]:
    """Return the managedFields entries, in the order of the real server: operation, time, manager."""
    order = sorted(
        owners.items(), key=lambda item: (item[0].operation, item[1].time or "", item[0].manager, item[1].api_version, item[0][3])
    )
    out = []
    for writer, owned in order:
        entry: dict[str, Any] = {"apiVersion": owned.api_version, "fieldsType": "FieldsV1", "fieldsV1": owned.fields.encode()}
        entry |= {"manager": writer.manager, "operation": writer.operation}
        if writer.subresource:
            entry["subresource"] = writer.subresource
        if owned.time:
            entry["time"] = owned.time
        out.append(entry)
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """Who writes, in which version and subresource, at what time (RFC 3339, whole seconds)."""

    manager: str
    api_version: str
    subresource: str
    now: str
    has_status: bool

    def counts(self, fields: FieldSet) -> FieldSet:
        """Return the part of a field set that this write may own: never identity fields, never the other side of the status line."""
        fields = fields - _UNOWNED
        if self.subresource == "status":
            return fields.only(_STATUS_ONLY)
        return fields.without(_STATUS_ONLY) if self.has_status else fields


def _settle(node: Node, old: Object, new: Object, owners: Owners, writer: Writer) -> list[tuple[Writer, FieldSet]]:
    """Take from all other owners what this change takes; return what was theirs and was changed (the conflicts)."""
    changed = difference(node, old, new)
    touched = changed.modified | changed.added
    conflicts = []
    for other in list(owners):
        if other == writer:
            continue
        mine = owners[other].fields
        if clash := mine & touched:
            conflicts.append((other, clash))
        left = mine - touched - changed.removed if clash or changed.removed else mine
        if left:
            owners[other] = replace(owners[other], fields=left)
        else:
            del owners[other]
    return conflicts


def record_update(node: Node, old: Object, new: Object, owners: Owners, write: Write) -> Owners:
    """Return the owners after a create, update or patch: the writer owns what it added or changed.

    `owners` are those that stand in the object before the write; `old` and `new` are without managedFields.
    """
    owners = dict(owners)
    try:
        changed = difference(node, old, new)
    except Untyped:
        return owners  # upstream keeps the write and gives up tracking when an object has duplicate or missing keys
    writer = Writer(write.manager, "Update", write.api_version, write.subresource)
    before = owners.get(writer)
    touched = write.counts(changed.modified | changed.added)
    _settle(node, old, new, owners, writer)
    kept = (before.fields - changed.removed) if before else FieldSet()
    now_mine = kept | touched
    if not now_mine:
        owners.pop(writer, None)
    elif before is None or now_mine != before.fields:
        owners[writer] = Owned(fields=now_mine, api_version=write.api_version, time=write.now)
    return _capped(owners)


def _capped(owners: Owners) -> Owners:
    updaters = [writer for writer in owners if writer.operation == "Update" and not writer.subresource]
    if len(updaters) <= MOST_UPDATERS:
        return owners
    updaters.sort(key=lambda writer: (owners[writer].time or "", writer.manager))
    by_version: dict[str, list[Writer]] = {}
    for writer in updaters[: len(updaters) - MOST_UPDATERS + 1]:
        by_version.setdefault(writer.api_version, []).append(writer)
    for version, writers in by_version.items():
        fields, time = FieldSet(), None
        for writer in writers:
            old = owners.pop(writer)
            fields, time = fields | old.fields, old.time
        owners[Writer("ancient-changes", "Update", version, "")] = Owned(fields=fields, api_version=version, time=time)
    return owners


def apply(node: Node, live: Object, config: Object, owners: Owners, *, write: Write, force: bool) -> tuple[Object, Owners]:
    """Server-side apply `config` (without managedFields) onto `live`; return the new object and its owners.

    Raises Refused 409 with one cause a field that others own and this would change, unless `force`; Refused 400 when a list by keys
    has an item without its keys.
    """
    owners = dict(owners)
    writer = Writer(write.manager, "Apply", "", write.subresource)
    last = owners.get(writer)
    try:
        twins: list[str] = []
        mine = write.counts(field_set(node, config, twins))
        if twins:
            raise Untyped(twins[0])
        owners[writer] = Owned(fields=mine, api_version=write.api_version, time=write.now)
        new: Object = merge(node, live, config)
        if last is not None and (last.fields - mine):
            new = _prune(node, new, owners, last.fields)
        conflicts = _settle(node, live, new, owners, writer)
    except Untyped as error:
        if error.missing:
            cause = Cause(reason="FieldValueRequired", field=error.missing, message="Required value")
            raise invalid(config["kind"], write.api_version.rpartition("/")[0], config["metadata"].get("name", ""), [cause]) from error
        raise untyped_patch(config, str(error)) from error
    if conflicts and not force:
        raise field_conflicts([(_who(other, version), readable(path)) for other, version, path in _flat(conflicts)])
    if not mine:
        del owners[writer]
    elif new == live:  # upstream stamps an applier only when the object changes: who joins as an owner has no time
        owners[writer] = replace(owners[writer], time=last.time if last else None)
    return new, owners


def untyped_patch(config: Object, why: str) -> Refused:
    """Return the refusal of a configuration that does not fit the schema's merge topology: 500 without a reason, as upstream."""
    meta, version = config.get("metadata", {}), config["apiVersion"]
    version = version if "/" in version else f"/{version}"
    where = f"{meta.get('namespace', '')}/{meta.get('name', '')}; {version}, Kind={config['kind']}"
    return Refused(500, "", f"failed to create typed patch object ({where}): {why}")


def _flat(conflicts: Sequence[tuple[Writer, FieldSet]]) -> list[tuple[Writer, str, tuple[str, ...]]]:
    ordered = sorted(conflicts, key=lambda item: item[0])
    return [(writer, writer.api_version, path) for writer, fields in ordered for path in fields.paths()]


def _who(writer: Writer, version: str) -> str:
    name = json.dumps(writer.manager)
    if writer.subresource:
        name += f" with subresource {json.dumps(writer.subresource)}"
    return f"{name} using {version}" if writer.operation == "Update" else name


def _prune(node: Node, merged: Object, owners: Owners, last: FieldSet) -> Object:
    """Drop what this applier stated last time, states no more, and nobody else owns (update.go, prune and the two add-backs)."""
    managed = FieldSet()
    for owned in owners.values():
        managed = managed | owned.fields
    last = with_named(node, last)
    managed = with_named(node, managed)
    everything = with_named(node, field_set(node, merged))
    pruned = remove(node, merged, last) or {}
    owned_or_left = with_named(node, field_set(node, pruned)) | managed
    pruned = remove(node, merged, everything - owned_or_left) or {}
    left = with_named(node, field_set(node, pruned))
    out: Object = remove(node, merged, (everything - left) & last) or {}
    return out
