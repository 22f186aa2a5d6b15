"""The life of an object: create, read, list, update, patch, apply, delete. Plain JSON in and out; `Refused` for all that fails.

Semantics of k8s.io/apiserver/pkg/registry/generic/registry/store.go and
https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

import random
from typing import Any

from service.apiserver import ownership
from service.apiserver.intake import Intake, Options, Target, check_version, expect_kind, now_text
from service.apiserver.patches import json_patch, merge_patch, strategic_patch
from service.apiserver.refusal import (
    Cause,
    Refused,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    not_found,
)
from service.apiserver.resources import CRD_KEY, NAMESPACES_KEY, Registry, Resource
from service.apiserver.store import Store, Stored, serialise

Object = dict[str, Any]
FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
LASTING = frozenset(("default", "kube-system", "kube-public", "kube-node-lease"))


class Objects:
    """All writes. Between reading the stored object and queueing its successor nothing is awaited, so no two writes interleave."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self.store, self.registry, self._intake = store, registry, Intake(registry)

    def find(self, target: Target) -> Stored:
        """Return the stored row. Raises Refused 404."""
        row = self.store.get(target.resource.key, target.namespace, target.name)
        if row is None:
            raise not_found(target.resource.plural, target.resource.group, target.name)
        return row

    def read(self, target: Target) -> bytes:
        """Return an object's JSON in the asked version. Raises Refused 404."""
        return body_in(self.find(target).body, target.resource)

    def in_version(self, obj: Object, resource: Resource) -> Object:
        """Return the object under the resource's version: only apiVersion changes."""
        obj["apiVersion"] = resource.api_version
        return obj

    async def create(self, target: Target, obj: Object, options: Options) -> bytes:
        """Store a new object. Raises Refused 400, 403, 404, 409, 422."""
        resource = target.resource
        expect_kind(resource, obj)
        meta = obj["metadata"] = dict(obj.get("metadata") or {})
        if not meta.get("name") and meta.get("generateName"):
            tail = "".join(random.choices("bcdfghjklmnpqrstvwxz2456789", k=5))  # noqa: S311 - a name, no secret
            meta["name"] = meta["generateName"][:58] + tail
        target = self._place(target, meta)
        if meta.pop("resourceVersion", None):
            raise bad_request("resourceVersion should not be set on objects to be created")
        self._check_namespace(target)
        if self.store.get(resource.key, target.namespace, target.name) is not None:
            raise already_exists(resource.plural, resource.group, target.name)
        new = self._intake.begin(resource, obj)
        new = self._intake.admit(resource, new, None, options)
        new_owners = ownership.record_update(
            resource.node, self._intake.nothing(resource), _bare(new), ownership.read_owners(obj), self._write(resource, options)
        )
        return await self._finish(resource, new, None, owners=new_owners, options=options)

    def _place(self, target: Target, meta: Object) -> Target:
        resource = target.resource
        if target.name and meta.get("name") not in (None, "", target.name):
            raise bad_request(f"the name of the object ({meta['name']}) does not match the name on the URL ({target.name})")
        if resource.namespaced:
            if meta.get("namespace") not in (None, "", target.namespace):
                raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
            meta["namespace"] = target.namespace
        elif meta.pop("namespace", None):
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        meta["name"] = meta.get("name") or target.name
        if not meta["name"]:
            cause = Cause(reason="FieldValueRequired", field="metadata.name", message="Required value: name or generateName is required")
            raise invalid(resource.kind, resource.group, "", [cause])
        return Target(resource=resource, namespace=target.namespace, name=meta["name"])

    def _check_namespace(self, target: Target) -> None:
        if not target.resource.namespaced:
            return
        namespace = self.store.get(NAMESPACES_KEY, "", target.namespace)
        if namespace is None:
            raise not_found("namespaces", "", target.namespace)
        if namespace.load()["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {target.namespace} because it is being terminated"
            refused = forbidden(target.resource.plural, target.resource.group, target.name, why)
            refused.details["causes"] = [{"reason": "NamespaceTerminating", "message": why, "field": "metadata.namespace"}]
            raise refused

    def _write(self, resource: Resource, options: Options) -> ownership.Write:
        return ownership.Write(
            manager=options.manager,
            api_version=resource.api_version,
            subresource=options.subresource,
            now=now_text(),
            has_status=resource.status,
        )

    async def update(self, target: Target, obj: Object, options: Options) -> bytes:
        """Replace an object. Raises Refused 404, 409, 422."""
        expect_kind(target.resource, obj)
        meta = obj["metadata"] = dict(obj.get("metadata") or {})
        self._place(target, meta)
        row = self.find(target)
        if not meta.get("resourceVersion") and not target.resource.builtin:
            cause = Cause(
                reason="FieldValueInvalid", field="metadata.resourceVersion", message="Invalid value: 0: must be specified for an update"
            )
            raise invalid(target.resource.kind, target.resource.group, target.name, [cause])
        return await self._replace(target, row, obj, options)

    async def _replace(self, target: Target, row: Stored, obj: Object, options: Options) -> bytes:
        resource = target.resource
        old = self.in_version(row.load(), resource)
        check_version(resource, row, obj["metadata"])
        new = self._intake.carry(resource, old, obj, options)
        new = self._intake.admit(resource, new, old, options)
        given = obj["metadata"].get("managedFields")
        owners = {} if given == [{}] or given == [] else ownership.read_owners(obj if given else old)
        owners = ownership.record_update(resource.node, _bare(old), _bare(new), owners, self._write(resource, options))
        return await self._finish(resource, new, old, owners=owners, options=options)

    async def patch(self, target: Target, patch: Any, media: str, options: Options) -> bytes:
        """Patch an object; `media` is the patch's content type. Raises Refused 400, 404, 409, 415, 422."""
        resource = target.resource
        row = self.find(target)
        old = self.in_version(row.load(), resource)
        if media == "application/merge-patch+json":
            new = merge_patch(old, patch)
        elif media == "application/json-patch+json":
            new = json_patch(old, patch)
        elif resource.builtin:
            new = strategic_patch(resource.node, old, patch)
        else:
            raise Refused(
                415,
                "UnsupportedMediaType",
                "strategic merge patch is not supported for custom resources; send a merge patch "
                "(application/merge-patch+json) or server-side apply",
            )
        if not isinstance(new, dict) or not isinstance(new.get("metadata"), dict):
            raise bad_request("the patch does not leave an object with metadata")
        expect_kind(resource, new)
        if new["metadata"].get("name") != target.name or new["metadata"].get("uid", row.uid) != row.uid:
            raise bad_request("metadata.name and metadata.uid may not be changed by a patch")
        return await self._replace(target, row, new, options)

    async def apply(self, target: Target, config: Object, options: Options) -> tuple[bytes, bool]:
        """Server-side apply; returns the object and whether it is new. Raises Refused 400, 403, 404, 409, 422."""
        resource = target.resource
        expect_kind(resource, config)
        meta = config["metadata"] = dict(config.get("metadata") or {})
        if meta.get("managedFields"):
            raise bad_request("metadata.managedFields must be nil")
        meta.pop("creationTimestamp", None)
        options.applied = True
        config = self._intake.known(resource, config)
        meta = config["metadata"]
        self._place(target, meta)
        write = self._write(resource, options)
        row = self.store.get(resource.key, target.namespace, target.name)
        if row is None:
            return await self._apply_new(target, config, write, options), True
        old = self.in_version(row.load(), resource)
        check_version(resource, row, meta)
        bare, owners = _bare(old), ownership.read_owners(old)
        wanted = {**config, "metadata": {key: value for key, value in meta.items() if key not in ("uid", "resourceVersion")}}
        new, after = ownership.apply(resource.node, bare, wanted, owners, write=write, force=options.force)
        if new == bare and after == owners:
            return body_in(row.body, resource), False
        new = self._intake.carry(resource, old, new, options)
        new = self._intake.admit(resource, new, old, options)
        return await self._finish(resource, new, old, owners=after, options=options), False

    async def _apply_new(self, target: Target, config: Object, write: ownership.Write, options: Options) -> bytes:
        resource = target.resource
        if options.subresource:
            raise not_found(resource.plural, resource.group, target.name)
        if config["metadata"].get("uid"):
            raise conflict(
                resource.plural,
                resource.group,
                target.name,
                f"uid mismatch: the provided object specified uid {config['metadata']['uid']}, and no existing object was found",
            )
        if config["metadata"].pop("resourceVersion", None):
            raise not_found(resource.plural, resource.group, target.name)
        self._check_namespace(target)
        empty: Object = {"apiVersion": config["apiVersion"], "kind": config["kind"], "metadata": {"name": target.name}}
        new, owners = ownership.apply(resource.node, empty, config, {}, write=write, force=options.force)
        new = self._intake.admit(resource, self._intake.begin(resource, new), None, options)
        return await self._finish(resource, new, None, owners=owners, options=options)

    async def _finish(self, resource: Resource, new: Object, old: Object | None, *, owners: ownership.Owners, options: Options) -> bytes:
        """Count the generation, write the owners and store; a write that changes nothing is not stored."""
        if old is not None and resource.counts_generations and _matter(new) != _matter(old) and options.subresource != "status":
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        entries = ownership.write_owners(owners)
        if entries:
            new["metadata"]["managedFields"] = entries
        else:
            new["metadata"].pop("managedFields", None)
        if old is not None:
            new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
            if _timeless(new) == _timeless(old):
                return serialise(old)
        if options.dry_run:
            return serialise(new)
        meta = new["metadata"]
        new["apiVersion"] = resource.stored_api_version
        row = self.store.get(resource.key, meta.get("namespace", ""), meta["name"])
        if row is not None and meta.get("deletionTimestamp") and not _held(resource, new):
            return body_in((await self.store.delete(row, new)).body, resource)
        return body_in((await self.store.put(resource.key, new)).body, resource)

    async def delete(self, target: Target, options: Options, body: Object) -> tuple[bytes, bool]:
        """Delete an object, or mark it while finalizers hold it; returns its last form and whether it is gone. Raises Refused 404, 409."""
        resource = target.resource
        row = self.find(target)
        obj = row.load()
        meta = obj["metadata"]
        wanted = body.get("preconditions") or {}
        for key, have in (("uid", row.uid), ("resourceVersion", str(row.version))):
            if wanted.get(key) and wanted[key] != have:
                word = {"uid": "UID"}.get(key, "ResourceVersion")
                raise conflict(
                    resource.plural,
                    resource.group,
                    target.name,
                    f"the {word} in the precondition ({wanted[key]}) does not match the "
                    f"{word} in record ({have}). The object might have been deleted and then recreated",
                )
        if resource.key == NAMESPACES_KEY and target.name in LASTING:
            raise forbidden("namespaces", "", target.name, "this namespace may not be deleted")
        self._hold(resource, obj, body)
        held = _held(resource, obj)
        if not held:
            return (row.body if options.dry_run else body_in((await self.store.delete(row)).body, resource)), True
        if not meta.get("deletionTimestamp"):
            meta["deletionTimestamp"], meta["deletionGracePeriodSeconds"] = now_text(), 0
            if "generation" in meta:
                meta["generation"] += 1
            if resource.key == NAMESPACES_KEY:
                obj.setdefault("status", {})["phase"] = "Terminating"
        if options.dry_run:
            return serialise(self.in_version(obj, resource)), False
        if obj != row.load():
            row = await self.store.put(resource.key, obj)
        return body_in(row.body, resource), False

    def _hold(self, resource: Resource, obj: Object, body: Object) -> None:
        """Add the finalizer of the asked propagation, and the one that lets a CRD's objects go first."""
        meta = obj["metadata"]
        policy = body.get("propagationPolicy") or ("Orphan" if body.get("orphanDependents") else None)
        finalizers = [name for name in meta.get("finalizers") or () if policy is None or name not in (FOREGROUND, ORPHAN)]
        if policy in ("Foreground", "Orphan"):
            finalizers.append(FOREGROUND if policy == "Foreground" else ORPHAN)
        cleanup = "customresourcecleanup.apiextensions.k8s.io"
        if resource.key == CRD_KEY and cleanup not in finalizers and not meta.get("deletionTimestamp"):
            finalizers.append(cleanup)
        if finalizers:
            meta["finalizers"] = finalizers
        else:
            meta.pop("finalizers", None)


def body_in(body: bytes, resource: Resource) -> bytes:
    """Return a stored object's JSON under the version of the resource."""
    head = b'{"apiVersion":"' + resource.stored_api_version.encode() + b'",'
    if resource.stored_api_version == resource.api_version or not body.startswith(head):
        return body
    return b'{"apiVersion":"' + resource.api_version.encode() + b'",' + body[len(head) :]


def _held(resource: Resource, obj: Object) -> bool:
    """Return whether finalizers keep a deleted object."""
    return bool(obj["metadata"].get("finalizers")) or (resource.key == NAMESPACES_KEY and bool(obj.get("spec", {}).get("finalizers")))


def _bare(obj: Object) -> Object:
    """Return the object without managedFields, sharing the rest."""
    return {**obj, "metadata": {key: value for key, value in obj["metadata"].items() if key != "managedFields"}}


def _matter(obj: Object) -> Object:
    """Return what a generation counts: everything but metadata and status."""
    return {key: value for key, value in obj.items() if key not in ("metadata", "status", "apiVersion", "kind")}


def _timeless(obj: Object) -> Object:
    """Return the object with the times of managedFields left out: they alone are no change."""
    fields = [{key: value for key, value in entry.items() if key != "time"} for entry in obj["metadata"].get("managedFields", ())]
    return {**obj, "metadata": {**obj["metadata"], "managedFields": fields}}
