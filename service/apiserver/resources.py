"""What is served: the builtin kinds (from builtin.json) and those of the installed CustomResourceDefinitions.

builtin.json is derived from a real server's /openapi/v3 and discovery, without descriptions: kinds, types, merge topology.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from service.apiserver.schema import Definitions, Node

CRD_KEY = "apiextensions.k8s.io/customresourcedefinitions"
NAMESPACES_KEY = "/namespaces"
GENERATIONLESS = frozenset(
    (
        "ConfigMap",
        "Secret",
        "Namespace",
        "Service",
        "ServiceAccount",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "Event",
        "Endpoints",
        "Node",
        "ResourceQuota",
        "LimitRange",
        "ControllerRevision",
        "HorizontalPodAutoscaler",
        "Lease",
        "Role",
        "RoleBinding",
        "ClusterRole",
        "ClusterRoleBinding",
        "StorageClass",
        "PodTemplate",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One served version of a kind. `columns` are a CRD's additionalPrinterColumns; `node` the compiled schema of whole objects."""

    group: str
    version: str
    plural: str
    singular: str
    kind: str
    list_kind: str
    namespaced: bool
    short_names: tuple[str, ...]
    categories: tuple[str, ...]
    status: bool
    scale: bool
    node: Node
    stored_version: str
    builtin: bool
    columns: tuple[Mapping[str, Any], ...] = ()
    selectable: frozenset[str] = frozenset()
    raw: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Name of the stored collection: the same for all versions."""
        return f"{self.group}/{self.plural}"

    @property
    def api_version(self) -> str:
        """`v1` or `group/version`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def stored_api_version(self) -> str:
        """apiVersion that objects are stored with."""
        return f"{self.group}/{self.stored_version}" if self.group else self.stored_version

    @property
    def counts_generations(self) -> bool:
        """Whether the kind has metadata.generation."""
        return self.kind not in GENERATIONLESS or not self.builtin


@dataclass(frozen=True, slots=True)
class Builtin:
    """The builtin table: resources, the schemas they refer to, and the schema of metadata."""

    resources: tuple[Resource, ...]
    definitions: Definitions
    raw: Mapping[str, Any]
    metadata: Node


def load_builtin() -> Builtin:
    """Read the table that ships with this room."""
    table = json.loads(resources.files("service.apiserver").joinpath("builtin.json").read_text("utf-8"))
    definitions = Definitions(table["definitions"])
    found = tuple(
        Resource(
            group=kind["group"],
            version=kind["version"],
            plural=kind["plural"],
            singular=kind["singular"],
            kind=kind["kind"],
            list_kind=kind["kind"] + "List",
            namespaced=kind["namespaced"],
            short_names=tuple(kind["short"]),
            categories=tuple(kind["categories"]),
            status=kind["status"],
            scale=kind["scale"],
            node=definitions.node(kind["schema"]),
            stored_version=kind["version"],
            builtin=True,
            raw={"$ref": kind["schema"]},
        )
        for kind in table["kinds"]
    )
    return Builtin(found, definitions, table["definitions"], definitions.node("apis.meta.v1.ObjectMeta"))


_VERSION = re.compile(r"^v(\d+)(?:(alpha|beta)(\d+))?$")


def version_rank(version: str) -> tuple[int, int, int, str]:
    """Return a sort key that puts v2 before v1 before v1beta2 before v1alpha1 before anything else."""
    match = _VERSION.match(version)
    if match is None:
        return (3, 0, 0, version)
    level = {None: 0, "beta": 1, "alpha": 2}[match[2]]
    return (level, -int(match[1]), -int(match[3] or 0), version)


class Registry:
    """Every served (group, version, plural). CRDs come and go; builtin kinds stay."""

    def __init__(self, builtin: Builtin) -> None:
        self.builtin = builtin
        self._served: dict[tuple[str, str, str], Resource] = {(r.group, r.version, r.plural): r for r in builtin.resources}
        self._stored: dict[str, Resource] = {r.key: r for r in builtin.resources}
        self.changes = 0

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """Return a served resource or None."""
        return self._served.get((group, version, plural))

    def stored(self, key: str) -> Resource | None:
        """Return the resource of a stored collection, in its storage version if that is served."""
        return self._stored.get(key)

    def groups(self) -> dict[str, list[str]]:
        """Return each group's versions, the preferred one first."""
        out: dict[str, set[str]] = {}
        for group, version, _ in self._served:
            out.setdefault(group, set()).add(version)
        return {group: sorted(versions, key=version_rank) for group, versions in out.items()}

    def of(self, group: str, version: str) -> list[Resource]:
        """Return the resources of one group version by name."""
        return sorted((r for (g, v, _), r in self._served.items() if g == group and v == version), key=lambda r: r.plural)

    def taken(self, group: str, names: frozenset[str], except_plural: str) -> set[str]:
        """Return which plural, singular or short names of a group other resources use."""
        used: set[str] = set()
        for (found, _, plural), resource in self._served.items():
            if found == group and plural != except_plural:
                used |= {resource.plural, resource.singular, *resource.short_names} & names
        return used

    def replace(self, key: str, served: tuple[Resource, ...]) -> None:
        """Serve exactly these versions of a CRD's kind (none = no longer)."""
        group, plural = key.rsplit("/", 1)
        for old in [name for name in self._served if name[0] == group and name[2] == plural]:
            del self._served[old]
        self._stored.pop(key, None)
        for resource in served:
            self._served[(resource.group, resource.version, resource.plural)] = resource
            if resource.version == resource.stored_version or key not in self._stored:
                self._stored[key] = resource
        self.changes += 1
