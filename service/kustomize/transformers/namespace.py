"""namespace: set on all that is not certainly cluster-scoped, Namespaces renamed, subjects named default moved.

Behaviour: kustomize api v0.21.0 filters/namespace/namespace.go.
"""

from collections import Counter
from typing import Any

from service.kustomize.errors import BuildError
from service.kustomize.fieldspecs import Specs, matching, slots
from service.kustomize.layer import Layer, Transformer
from service.kustomize.objects import Objects, Resource
from service.kustomize.scalars import text_of

BINDINGS = ("RoleBinding", "ClusterRoleBinding")
SUBJECT_MODES = ("defaultOnly", "allServiceAccounts", "none")


def configure(layer: Layer) -> list[Transformer]:
    """The layer's `namespace`."""
    namespace = layer.fields.get("namespace")
    return [transformer(namespace, layer.tables.namespace)] if namespace else []


def transformer(namespace: str, specs: Specs, *, subjects: str = "defaultOnly", unset_only: bool = False) -> Transformer:
    """Return the transformer that sets a namespace."""
    return Transformer(lambda objects: _transform(objects, _Setter(namespace, specs, subjects, unset_only)))


class _Setter:
    def __init__(self, namespace: str, specs: Specs, subjects: str, unset_only: bool) -> None:
        self.namespace = namespace
        self.specs = tuple(spec for spec in specs if spec.path != "metadata/namespace")
        self.subjects = subjects
        self.unset_only = unset_only

    def put(self, holder: dict[str, Any], key: str) -> None:
        """Set one field, unless only unset ones are meant."""
        value = holder.get(key)
        if isinstance(value, dict | list):
            raise BuildError("namespace field specs must target scalar nodes")
        if not (self.unset_only and text_of(value)):
            holder[key] = self.namespace


def _transform(objects: Objects, setter: _Setter) -> None:
    for row in objects.rows:
        row.remember()
        set_namespace(row, setter)
    objects.changed()
    taken = Counter(row.id.key for row in objects.rows)
    double = next((row for row in objects.rows if taken[row.id.key] > 1), None)
    if double is not None:
        raise BuildError(f"namespace transformation produces ID conflict: {double.id}")


def set_namespace(row: Resource, setter: _Setter) -> None:
    """Set the namespace in one object, where its kind holds it."""
    gvk, specs = row.gvk, setter.specs
    if not row.is_cluster_scoped:
        setter.put(row.metadata, "namespace")
    if gvk.kind in BINDINGS:
        specs = tuple(spec for spec in specs if not (spec.path == "subjects/namespace" and spec.gvk.kind in BINDINGS))
        _set_subjects(row.body.get("subjects"), setter)
    for path, create in matching(specs, gvk):
        if path == ("metadata", "name") and row.api_version != "v1":
            continue
        for holder, key in slots(row.body, path, "scalar" if create else None):
            setter.put(holder, key)


def _set_subjects(subjects: Any, setter: _Setter) -> None:
    """Only subjects named default (of any kind), or all service accounts; the others follow through name references."""
    if subjects is None or setter.subjects == "none":
        return
    if not isinstance(subjects, list):
        raise BuildError("setting namespace on (cluster)role binding subjects: wrong node kind: expected a list")
    field, wanted = ("kind", "ServiceAccount") if setter.subjects == "allServiceAccounts" else ("name", "default")
    for subject in subjects:
        if isinstance(subject, dict) and text_of(subject.get(field)) == wanted:
            setter.put(subject, "namespace")


def only(namespace: str) -> _Setter:
    """Return a setter without field specs, for ValueAddTransformer."""
    return _Setter(namespace, (), "defaultOnly", False)
