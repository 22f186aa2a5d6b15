"""Objects that Kustomizations own, watched as metadata alone: is what we own of an object still as our last write left it?

The API server says so itself: whoever else changes, adds over or removes a field that we applied takes it out of our entry in
`metadata.managedFields`. So a digest of that entry is all that is kept of an object; no spec, and no value of a Secret, is ever read here.
https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any

from service.cluster.annotations import OWNER_NAME, OWNER_NAMESPACE
from service.cluster.client import Cluster
from service.cluster.discovery import Resource
from service.cluster.inventory import ObjectId
from service.cluster.metadatawatch import MetadataWatch
from service.cluster.watch import Change
from service.kinds.meta import APPLY_MANAGER, DRIFT


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """How an object stands: its version, the digest of what we own of it ("" where nothing), and its own word on drift ("" without).

    `around` differs as soon as anybody may have changed the object's spec or metadata, ours or not.
    """

    version: int
    owned: str
    around: str
    mode: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """An object as a watch saw it; `stand` is None where it is gone, or has lost its owner's label."""

    owner: tuple[str, str]
    object: ObjectId
    version: int
    stand: Stand | None


def stand_of(obj: Mapping[str, Any]) -> Stand:
    """How a live object stands, from its metadata."""
    metadata = obj["metadata"]
    entries = [each for each in metadata.get("managedFields") or () if each.get("subresource") != "status"]
    ours = [each for each in entries if _is_ours(each)]
    generation = metadata.get("generation") or metadata.get("resourceVersion")  # kinds without a spec have none
    return Stand(
        version=int(metadata.get("resourceVersion") or 0),
        owned=_digest(ours) if ours else "",
        around=_digest([entries, generation]),
        mode=intern((metadata.get("annotations") or {}).get(DRIFT, "")),
    )


def _digest(value: object) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True, separators=(",", ":")).encode(), digest_size=12).hexdigest()


def _is_ours(entry: Mapping[str, Any]) -> bool:
    return entry.get("manager") == APPLY_MANAGER and entry.get("operation") == "Apply" and not entry.get("subresource")


class ManagedWatch(MetadataWatch):
    """One kind, selected by the owner's label, or one object by its name; each change becomes a Sighting."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        resource: Resource,
        one: tuple[str, str] | None = None,
        on_sight: Callable[[Sighting], None],
        on_forbidden: Callable[[str], None],
    ) -> None:
        super().__init__(cluster, resource=resource, one=one, label_selector=OWNER_NAME, on_change=self._sighted, on_forbidden=on_forbidden)
        self._on_sight = on_sight

    def _slim(self, item: dict[str, Any]) -> dict[str, Any]:
        """What is kept of an object: a few hundred bytes."""
        metadata = item["metadata"]
        labels = metadata.get("labels") or {}
        kept = {"namespace": intern(metadata.get("namespace", "")), "name": metadata["name"], "uid": metadata.get("uid", "")}
        kept["resourceVersion"] = metadata.get("resourceVersion", "")
        owner = (intern(labels.get(OWNER_NAMESPACE, "")), intern(labels.get(OWNER_NAME, "")))
        return {"metadata": kept, "owner": owner, "stand": stand_of(item)}

    def _sighted(self, change: Change) -> None:
        last = change.old if change.type == "DELETED" and change.old is not None else change.object
        metadata = last["metadata"]
        group, kind, version = self.resource.group, self.resource.kind, self.resource.version
        self._on_sight(
            Sighting(
                owner=last["owner"],
                object=ObjectId(metadata["namespace"], metadata["name"], group, kind, version),
                version=int(change.object["metadata"]["resourceVersion"] or 0),
                stand=None if change.type == "DELETED" else change.object["stand"],
            )
        )
