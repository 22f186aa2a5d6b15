"""The inventory of a Kustomization: which objects it applied, as entries `{id: ns_name_group_Kind, v: version}`; parsed, written, compared.

The format is cli-utils' ObjMetadata (https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/object/objmetadata.go): `_` separates,
which no Kubernetes name contains; the `:` that names of RBAC kinds may have is written as `__`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

_RBAC = "rbac.authorization.k8s.io"
_RBAC_KINDS = frozenset({"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"})


class BadEntry(ValueError):
    """An inventory entry that cannot be read; the message shows it."""


@dataclass(frozen=True, slots=True, order=True)
class ObjectId:
    """One object. `version` does not count for equality: the same object may be known under several versions of its group."""

    namespace: str
    name: str
    group: str
    kind: str
    version: str = field(default="", compare=False)

    @property
    def api_version(self) -> str:
        """As in a manifest."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def id(self) -> str:
        """The entry's id, as Flux writes it."""
        rbac = self.group == _RBAC and self.kind in _RBAC_KINDS
        name = self.name.replace(":", "__") if rbac else self.name
        return f"{self.namespace}_{name}_{self.group}_{self.kind}"

    def __str__(self) -> str:
        """As in Flux's messages: KIND/NS/NAME, or KIND/NAME without a namespace."""
        return f"{self.kind}/{self.namespace}/{self.name}" if self.namespace else f"{self.kind}/{self.name}"


def parse(id: str, version: str = "") -> ObjectId:
    """Read an entry. Raises BadEntry."""
    namespace, found, rest = id.partition("_")
    rest, found_kind, kind = rest.rpartition("_")
    name, found_group, group = rest.rpartition("_")
    name = name.replace("__", ":")
    if not (found and found_kind and found_group and name and kind) or "_" in name:
        raise BadEntry(f"inventory entry {id!r} is not of the form namespace_name_group_Kind")
    return ObjectId(namespace, name, group, kind, version)


def stale(old: Iterable[ObjectId], new: Iterable[ObjectId]) -> tuple[ObjectId, ...]:
    """What was applied before and is not any more, in the order of `old`."""
    kept = set(new)
    return tuple(entry for entry in dict.fromkeys(old) if entry not in kept)
