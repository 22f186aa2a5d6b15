"""What an object goes through before it is stored: identity, pruning, defaults, validation, and what an endpoint may not change.

Objects and their resource in, the object to be stored out; `Refused` for what the real server refuses.
Semantics of k8s.io/apiserver/pkg/registry/rest and https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

import copy
import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from service.apiserver import admission, completion, definitions, ownership, structural
from service.apiserver.refusal import Cause, bad_request, conflict, invalid
from service.apiserver.resources import CRD_KEY, NAMESPACES_KEY, Registry, Resource
from service.apiserver.store import Stored

Object = dict[str, Any]
FIXED_META = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink")


def now_text() -> str:
    """Return the time as metadata has it: RFC 3339 in whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(slots=True, kw_only=True)
class Options:
    """What a write was asked with. `warnings` collects what the answer's Warning headers say."""

    manager: str = "unknown"
    dry_run: bool = False
    force: bool = False
    strict: bool = False
    ignore_unknown: bool = False
    subresource: str = ""
    applied: bool = False
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Which object of which resource a request names."""

    resource: Resource
    namespace: str
    name: str


def expect_kind(resource: Resource, obj: Any) -> None:
    """Refuse a body that is not an object of the resource. Raises Refused 400."""
    if not isinstance(obj, dict):
        raise bad_request("the body of the request is not an object")
    if obj.get("kind") in (None, ""):
        raise bad_request("Object 'Kind' is missing")
    if obj["kind"] != resource.kind or obj.get("apiVersion") != resource.api_version:
        have = f"{obj.get('apiVersion')}, Kind={obj['kind']}"
        raise bad_request(
            f"the object in the body ({have}) does not match the resource of the path ({resource.api_version}, Kind={resource.kind})"
        )
    if not isinstance(obj.get("metadata", {}), dict):
        raise bad_request("metadata is not an object")


def check_version(resource: Resource, row: Stored, meta: Object) -> None:
    """Refuse a write that was made for another version or another object of the name. Raises Refused 409."""
    given = meta.get("resourceVersion")
    if given and given != str(row.version):
        why = "the object has been modified; please apply your changes to the latest version and try again"
        raise conflict(resource.plural, resource.group, row.name, why)
    if meta.get("uid") and meta["uid"] != row.uid:
        why = f"Precondition failed: UID in precondition: {meta['uid']}, UID in object meta: {row.uid}"
        raise conflict(resource.plural, resource.group, row.name, why)


class Intake:
    """The steps, for builtin kinds and those of CRDs."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def nothing(self, resource: Resource) -> Object:
        """Return what a created object is compared with to find what its creator owns."""
        return completion.empty(resource.kind) if resource.builtin else {"metadata": {}}

    def begin(self, resource: Resource, obj: Object) -> Object:
        """Return a new object's copy with a fresh identity and without what only the server sets."""
        new = copy.deepcopy(obj)
        meta = new["metadata"]
        for key in ("managedFields", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"):
            meta.pop(key, None)
        meta["uid"], meta["creationTimestamp"] = str(uuid.uuid4()), now_text()
        if resource.counts_generations:
            meta["generation"] = 1
        if resource.status:
            new.pop("status", None)
            if resource.builtin and (status := completion.first_status(resource.kind)) is not None:
                new["status"] = status
        return new

    def admit(self, resource: Resource, new: Object, old: Object | None, options: Options) -> Object:
        """Prune, default and validate. Raises Refused 400 (strict) and 422."""
        unknown: list[str] = []
        new["metadata"] = structural.drop_nulls(self._registry.builtin.metadata, new["metadata"], builtin=True)
        pruned: Object = structural.prune(resource.node, new, unknown)
        if unknown and options.strict:
            lines = ", ".join(f'unknown field "{path}"' for path in unknown)
            raise bad_request(
                f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: strict decoding error: {lines}'
            )
        if not options.ignore_unknown:
            options.warnings += [f'unknown field "{path}"' for path in unknown]
        new = structural.fill(resource.node, structural.drop_nulls(resource.node, pruned, builtin=resource.builtin))
        causes = admission.check_metadata(resource.kind, new["metadata"], builtin=resource.builtin)
        if resource.builtin:
            new = copy.deepcopy(new)
            if resource.key == CRD_KEY:
                definitions.fill_names(new)
            causes += self._fit_builtin(resource, new, old, options)
        else:
            causes += structural.validate(resource.node, new)
        if options.applied and (mistyped := [cause for cause in causes if cause.reason == "FieldValueTypeInvalid"]):
            raise ownership.untyped_patch(new, ", ".join(f".{cause.field}: {cause.message}" for cause in mistyped))
        if causes:
            raise invalid(resource.kind, resource.group, new["metadata"].get("name", ""), causes)
        return new

    def _fit_builtin(self, resource: Resource, new: Object, old: Object | None, options: Options) -> list[Cause]:
        causes = structural.validate(resource.node, new)
        mistyped = [cause for cause in causes if cause.reason == "FieldValueTypeInvalid"]
        if mistyped and not options.applied:
            what = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
            raise bad_request(f"{what}: json: cannot unmarshal: {'; '.join(cause.message for cause in mistyped)}")
        if causes:
            return causes
        completion.complete(resource.kind, new, old)
        causes = admission.check(resource.kind, new, old)
        if resource.key == CRD_KEY and not causes:
            causes = definitions.check(new, old)
            if not causes:
                definitions.fill_status(new, self._registry, now_text())
        return causes

    def carry(self, resource: Resource, old: Object, obj: Object, options: Options) -> Object:
        """Return the next object: what this endpoint may change from `obj`, the rest from `old`."""
        if options.subresource == "status":
            new = copy.deepcopy(old)
            new.pop("status", None)
            if "status" in obj:
                new["status"] = obj["status"]
        else:
            new = copy.deepcopy(obj)
            if resource.status:
                new.pop("status", None)
                if "status" in old:
                    new["status"] = old["status"]
        meta, before = new["metadata"], old["metadata"]
        for key in FIXED_META:
            meta.pop(key, None)
            if key in before:
                meta[key] = before[key]
        if before.get("deletionTimestamp"):
            added = set(meta.get("finalizers") or ()) - set(before.get("finalizers") or ())
            if added:
                cause = Cause(
                    reason="FieldValueForbidden",
                    field="metadata.finalizers",
                    message=(
                        "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers "
                        f"[]string{{{', '.join(json.dumps(one) for one in sorted(added))}}}"
                    ),
                )
                raise invalid(resource.kind, resource.group, meta["name"], [cause])
        if options.subresource != "finalize" and resource.key == NAMESPACES_KEY:
            new["spec"] = old.get("spec", {})
        return new

    def known(self, resource: Resource, config: Object) -> Object:
        """Return an applied configuration without nulls. Raises Refused 500 for fields that the schema does not have, as upstream."""
        unknown: list[str] = []
        config = structural.prune(resource.node, structural.drop_nulls(resource.node, config), unknown)
        if unknown:
            raise ownership.untyped_patch(config, ", ".join(f".{path}: field not declared in schema" for path in unknown))
        return config
