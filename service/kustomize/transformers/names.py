"""namePrefix and nameSuffix. Behaviour: kustomize api v0.21.0 internal/builtins/PrefixTransformer.go and SuffixTransformer.go."""

from collections.abc import Callable

from service.kustomize.errors import BuildError
from service.kustomize.fieldspecs import Gvk, Specs, slots, split_path
from service.kustomize.layer import Layer, Transformer
from service.kustomize.objects import Objects, Resource
from service.kustomize.scalars import plain, text_of

SKIPPED = (Gvk(kind="CustomResourceDefinition"), Gvk(group="apiregistration.k8s.io", kind="APIService"), Gvk(kind="Namespace"))
_NAME = "metadata/name"


def configure_prefix(layer: Layer) -> list[Transformer]:
    """The layer's `namePrefix`."""
    prefix = layer.fields.get("namePrefix")
    return [prefixer(prefix, layer.tables.name_prefix)] if prefix else []


def configure_suffix(layer: Layer) -> list[Transformer]:
    """The layer's `nameSuffix`."""
    suffix = layer.fields.get("nameSuffix")
    return [suffixer(suffix, layer.tables.name_suffix)] if suffix else []


def prefixer(prefix: str, specs: Specs) -> Transformer:
    """Return the transformer that puts a prefix before names."""

    def note(row: Resource) -> None:
        row.prefixes.append(prefix)

    return Transformer(lambda objects: _transform(objects, specs, lambda text: prefix + text, note if prefix else None))


def suffixer(suffix: str, specs: Specs) -> Transformer:
    """Return the transformer that puts a suffix behind names."""

    def note(row: Resource) -> None:
        row.suffixes.append(suffix)

    return Transformer(lambda objects: _transform(objects, specs, lambda text: text + suffix, note if suffix else None))


def _transform(objects: Objects, specs: Specs, change: Callable[[str], str], note: Callable[[Resource], None] | None) -> None:
    paths = [(spec, split_path(spec.path)) for spec in specs]
    for row in objects.rows:
        gvk = row.original_id.gvk
        if any(skipped.selects(gvk) for skipped in SKIPPED):
            continue
        for spec, path in paths:
            if not spec.gvk.selects(gvk):
                continue
            if spec.path == _NAME and note is not None:
                note(row)
                row.remember()
            if not spec.gvk.selects(row.gvk):
                continue
            for holder, key in slots(row.body, path, "scalar" if spec.create else None):
                if isinstance(holder[key], dict | list):
                    raise BuildError(f"considering field '{spec.path}' of object {row.id}: wrong node kind: expected a text")
                old = holder[key]
                holder[key] = change(old) if isinstance(old, str) else plain(change(text_of(old)), "1.2")
    objects.changed()
