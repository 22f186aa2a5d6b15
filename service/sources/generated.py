"""The ExternalArtifact objects that a generator has made: one written where it is not as it should be, removed where it is not wanted.

In: an artifact's snapshot. Out: the object in the cluster with the tarball that its status names, as Flux's source-watcher writes both.
One that is not of this generator is never touched. https://github.com/fluxcd/source-controller/blob/main/docs/spec/v1/externalartifacts.md
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from service.cluster.client import APPLY_PATCH, MERGE_PATCH, ApiError
from service.cluster.discovery import object_path
from service.kinds import meta
from service.kinds.codec import Invalid, decode
from service.kinds.external import ExternalArtifact
from service.kinds.generator import ArtifactGenerator, InventoryEntry
from service.kinds.meta import ObjectKey
from service.kinds.source import Artifact
from service.reconcile.conditions import condition, merged
from service.reconcile.outcome import Stalled
from service.sources.artifact import folder_of
from service.sources.reconciler import Needs
from service.sources.snapshot import Snapshot
from service.sources.status import artifact_json, replacing

VERSION = f"{meta.SOURCE_GROUP}/v1"
ORIGIN = "org.opencontainers.image.revision"
MANAGED_BY = "app.kubernetes.io/managed-by"
Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An ExternalArtifact as it should be. `origin` is the revision of what it was made from, "" where nobody asked for it."""

    snapshot: Snapshot
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    origin: str = ""


class Generated:
    """Those of all generators."""

    def __init__(self, needs: Needs) -> None:
        self._needs = needs

    def check_owner(self, found: ArtifactGenerator, key: ObjectKey) -> None:
        """Raises Stalled where the object is not this generator's: two must not write one."""
        raw = self._read(key)
        if raw is not None and not is_made_by(raw, found.key):
            why = f"{key} is there and not made by this generator: name another artifact, or delete that object"
            raise Stalled(meta.OWNERSHIP_CONFLICT, why)

    async def write(self, found: ArtifactGenerator, wanted: Wanted) -> InventoryEntry:
        """Bring one object up to date. Raises ApiError, ApiAway, NoSuchKind, SnapshotGone, OSError."""
        key, raw = wanted.snapshot.key, self._read(wanted.snapshot.key)
        artifact = await self._artifact(wanted, raw)
        body = _body(found, wanted)
        if raw is None or not _holds(raw, body):
            query = {"fieldManager": meta.GENERATOR_MANAGER, "force": "true"}
            raw = (await self._request("PATCH", key, None, query=query, body=body, content_type=APPLY_PATCH)).body
        status = _status(raw, artifact)
        if status:
            query = {"fieldManager": meta.GENERATOR_MANAGER}
            await self._request("PATCH", key, "status", query=query, body={"status": status}, content_type=MERGE_PATCH)
        await self._needs.artifacts.collect(key, artifact.path)
        return InventoryEntry(
            kind=key.kind, name=key.name, namespace=key.namespace, digest=artifact.digest, filename=artifact.path.rpartition("/")[2]
        )

    async def remove(self, generator: ObjectKey, key: ObjectKey) -> None:
        """Delete one that the generator has made, with its files. Raises ApiError, ApiAway."""
        raw = self._read(key)
        if raw is not None and is_made_by(raw, generator):
            try:
                await self._request("DELETE", key, None, body={"preconditions": {"uid": raw["metadata"]["uid"]}})
            except ApiError as error:
                if not error.not_found:
                    raise
        self._needs.published.forget(key)
        await self._needs.artifacts.remove(key)

    def artifact_of(self, key: ObjectKey) -> Artifact | None:
        """What the object's status says, None where there is nothing to go by."""
        raw = self._read(key)
        try:
            return decode(ExternalArtifact, raw).status.artifact if raw is not None else None
        except Invalid:
            return None

    def _read(self, key: ObjectKey) -> Raw | None:
        assert self._needs.read is not None
        return self._needs.read(key)

    async def _artifact(self, wanted: Wanted, raw: Raw | None) -> Artifact:
        """The one that is stored already, or a new one."""
        store, snapshot = self._needs.artifacts, wanted.snapshot
        current = self.artifact_of(snapshot.key) if raw is not None else None
        path = f"{folder_of(snapshot.key)}/{snapshot.commit}.tar.gz"
        same = current is not None and (current.path, current.url, current.revision) == (path, store.url(path), snapshot.revision)
        if current is not None and same and await store.intact(current):
            return current
        return replace(await store.store(snapshot), metadata={ORIGIN: wanted.origin} if wanted.origin else {})

    async def _request(self, method: str, key: ObjectKey, subresource: str | None, **more: Any) -> Any:
        resource = await self._needs.discovery.resource(VERSION, key.kind)
        return await self._needs.cluster.request(method, object_path(resource, key.namespace, key.name, subresource), **more)


def is_made_by(raw: Raw, generator: ObjectKey) -> bool:
    """Whether an ExternalArtifact says that it is of this generator."""
    made_from = (raw.get("spec") or {}).get("sourceRef") or {}
    there = (made_from.get("kind"), made_from.get("namespace") or generator.namespace, made_from.get("name"))
    return there == (generator.kind, generator.namespace, generator.name)


def _body(found: ArtifactGenerator, wanted: Wanted) -> dict[str, Any]:
    key = wanted.snapshot.key
    labels = {**wanted.labels, MANAGED_BY: meta.GENERATOR_MANAGER, meta.GENERATOR: found.metadata.uid}
    made_from = {"apiVersion": found.api_version, "kind": found.key.kind, "name": found.key.name, "namespace": found.key.namespace}
    metadata = {"name": key.name, "namespace": key.namespace, "labels": labels}
    if wanted.annotations:
        metadata["annotations"] = dict(wanted.annotations)
    return {"apiVersion": VERSION, "kind": key.kind, "metadata": metadata, "spec": {"sourceRef": made_from}}


def _holds(raw: Raw, body: Raw) -> bool:
    """Whether the object has just the labels, annotations and spec that were applied last and are wanted now."""
    metadata, wanted = raw.get("metadata") or {}, body["metadata"]
    same = all((metadata.get(name) or {}) == (wanted.get(name) or {}) for name in ("labels", "annotations"))
    return same and raw.get("spec") == body["spec"]


def _status(raw: Raw, artifact: Artifact) -> dict[str, Any]:
    """A merge patch; {} where the object says the same."""
    before = raw.get("status") or {}
    found = decode(ExternalArtifact, {**raw, "status": before})
    ready = condition(meta.READY, "True", meta.SUCCEEDED, "Artifact is ready", found.metadata.generation)
    now = merged(found.status.conditions, [ready])
    made = artifact_json(artifact)
    if before.get("artifact") == made and now == found.status.conditions:
        return {}
    return {"artifact": replacing(before.get("artifact"), made), "conditions": [each.to_json() for each in now]}
