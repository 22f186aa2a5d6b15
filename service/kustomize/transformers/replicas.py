"""replicas: a count by name. Behaviour: kustomize api v0.21.0 internal/builtins/ReplicaCountTransformer.go."""

from collections.abc import Mapping
from typing import Any

from service.kustomize.errors import BuildError
from service.kustomize.fieldspecs import Specs, slots, split_path
from service.kustomize.layer import Layer, Transformer
from service.kustomize.objects import Objects


def configure(layer: Layer) -> list[Transformer]:
    """The layer's `replicas`."""
    return [setter(entry, layer.tables.replicas) for entry in layer.fields.get("replicas") or ()]


def setter(entry: Mapping[str, Any], specs: Specs) -> Transformer:
    """Return the transformer for one name and count."""
    return Transformer(lambda objects: _transform(objects, entry.get("name") or "", entry.get("count") or 0, specs))


def _transform(objects: Objects, name: str, count: int, specs: Specs) -> None:
    found = False
    for spec in specs:
        for row in objects.matching(lambda known, gvk=spec.gvk: gvk.selects(known.gvk), name):  # type: ignore[misc]  # bound early
            found = True
            if spec.gvk.selects(row.gvk):
                for holder, key in slots(row.body, split_path(spec.path), "scalar" if spec.create else None):
                    if isinstance(holder[key], dict | list):
                        raise BuildError(f"replicas: {spec.path} of {row.id} is no number")
                    holder[key] = count
    if not found:
        kinds = ", ".join(str(spec.gvk) for spec in specs)
        raise BuildError(f"replicas: resource with name {name} does not match a config with the following GVK [{kinds}]")
