"""buildMetadata: where an object came from and what changed it, as annotations.

Format: https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/buildmetadata/. Behaviour: kustomize api v0.21.0
resource/origin.go.
"""

import posixpath
from dataclasses import dataclass
from typing import Any

from service.kustomize.objects import Objects, Resource
from service.kustomize.scalars import text_of
from service.kustomize.yamlwrite import dump_node

ORIGIN, TRANSFORMATIONS = "config.kubernetes.io/origin", "alpha.config.kubernetes.io/transformations"
MANAGED_BY, MANAGER = "app.kubernetes.io/managed-by", "kustomize-v5.8.0"


@dataclass(frozen=True, slots=True)
class Origin:
    """A path, seen from the built folder."""

    path: str = ""

    def at(self, path: str) -> "Origin":
        """Return the origin of something in this folder."""
        joined = posixpath.normpath(posixpath.join(self.path, path)) if self.path or path else ""
        return Origin("" if joined == "." else joined)

    def of_file(self) -> dict[str, Any]:
        """Return what the annotation of an object from a file says."""
        return {"path": self.path}

    def of_field(self, file: str, plugin: str) -> dict[str, Any]:
        """Return what the annotation says of a builtin that a field of the kustomization file stands for."""
        return {"configuredIn": self.at(file).path, "configuredBy": {"apiVersion": "builtin", "kind": plugin}}


def of_plugin(config: Resource) -> dict[str, Any]:
    """Return what the annotation says of a plugin that was configured by an object."""
    by = {"apiVersion": config.api_version, "kind": config.kind, "name": config.name, "namespace": config.namespace}
    found = {"configuredIn": text_of((config.origin or {}).get("path")), "configuredBy": {key: value for key, value in by.items() if value}}
    return {key: value for key, value in found.items() if value}


def note_transformation(objects: Objects, origin: dict[str, Any]) -> None:
    """Note a transformer on all objects; one that has no origin yet was made by it."""
    for row in objects.rows:
        row.shared.leave_map(row.metadata.get("annotations"))  # upstream writes the annotations anew
        if row.origin is None:
            row.origin = origin
        else:
            row.history.append(origin)


def finish(row: Resource, asked: frozenset[str]) -> None:
    """Write the annotations that were asked for, take away those that were not; annotations become texts, an empty map goes."""
    annotations = row.texts("annotations")
    for name, field, value in (("originAnnotations", ORIGIN, row.origin), ("transformerAnnotations", TRANSFORMATIONS, row.history)):
        if name not in asked:
            annotations.pop(field, None)
        elif value:
            annotations[field] = dump_node(value)
    row.set_texts("annotations", annotations)
    if "managedByLabel" in asked:
        labels = row.metadata.get("labels")
        row.metadata["labels"] = {**(labels if isinstance(labels, dict) else {}), MANAGED_BY: MANAGER}
