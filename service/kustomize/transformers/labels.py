"""labels, commonLabels and commonAnnotations.

Behaviour: kustomize api v0.21.0 filters/labels, filters/annotations, internal/target/kusttarget_configplugin.go.
"""

from collections.abc import Mapping
from typing import Any

from service.kustomize.errors import BuildError
from service.kustomize.fieldspecs import FieldSpec, Slot, Specs, extended, matching, slots
from service.kustomize.layer import Layer, Transformer
from service.kustomize.objects import Objects, Resource
from service.kustomize.scalars import reads_as_text
from service.kustomize.tables import Tables, field_specs

_METADATA = (FieldSpec("metadata/labels", True),)


def configure_labels(layer: Layer) -> list[Transformer]:
    """The layer's `labels` in order, then its `commonLabels`."""
    common: Mapping[str, str] = layer.fields.get("commonLabels") or {}
    entries = layer.fields.get("labels") or ()
    if not common and not entries:
        return []
    made = [setter(entry.get("pairs") or {}, _specs(entry, layer.tables)) for entry in entries]
    return [*made, setter(common, layer.tables.common_labels)]


def configure_annotations(layer: Layer) -> list[Transformer]:
    """The layer's `commonAnnotations`."""
    pairs = layer.fields.get("commonAnnotations")
    return [setter(pairs, layer.tables.common_annotations)] if pairs else []


def _specs(entry: Mapping[str, Any], tables: Tables) -> Specs:
    """Its own fields, those of `labels` in configurations, then selectors and templates as asked; metadata always."""
    specs = extended(field_specs(entry.get("fields")), tables.labels)
    if entry.get("includeSelectors"):
        return extended(specs, tables.common_labels)
    if entry.get("includeTemplates"):
        specs = extended(specs, tables.template_labels)
    return extended(specs, _METADATA)


def setter(pairs: Mapping[str, str], specs: Specs) -> Transformer:
    """Return the transformer that writes pairs into the maps of the specs."""
    return Transformer(lambda objects: _transform(objects, dict(sorted(pairs.items())), specs))


def _transform(objects: Objects, pairs: dict[str, str], specs: Specs) -> None:
    if not pairs:
        return
    for row in objects.rows:
        added: dict[str, list[Slot]] = {key: [] for key in pairs}
        for path, create in matching(specs, row.gvk):
            for holder, key in slots(row.body, path, "map" if create else None):
                target = holder[key]
                if isinstance(target, dict):
                    _write(row, target, pairs, added)
                elif target is not None:
                    raise BuildError(f"considering field '{'/'.join(path)}' of object {row.id}: wrong node kind: expected a map")
        for places in added.values():
            row.shared.join(places)


def _write(row: Resource, target: dict[str, Any], pairs: Mapping[str, str], added: dict[str, list[Slot]]) -> None:
    for name, value in pairs.items():
        if name in target:
            row.shared.write(target, name, value)
            continue
        if not reads_as_text(name):
            raise BuildError(f"json: unsupported type: {name!r} as a new key in {row.id} reads as no text; name it otherwise")
        target[name] = value
        added[name].append((target, name))
