"""patches, patchesStrategicMerge and patchesJson6902: what a patch is, whom it is for, and its application.

Format: https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/patches/. Behaviour: kustomize api v0.21.0
internal/builtins/Patch*Transformer.go and resource.go.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from service.kustomize.errors import BuildError
from service.kustomize.files import Folder
from service.kustomize.layer import Layer, Transformer
from service.kustomize.nulls import drop, quote, text_at
from service.kustomize.objects import Objects, Resource, expand_lists
from service.kustomize.scalars import text_of
from service.kustomize.schema import Schema
from service.kustomize.selectors import Selector
from service.kustomize.transformers.jsonpatch import Operation, apply_operations, decode_operations
from service.kustomize.transformers.strategic import MISSING, Merge
from service.kustomize.yamlread import copied, read_objects, read_value


def configure(layer: Layer) -> list[Transformer]:
    """The layer's `patches`."""
    return [patcher(entry, layer.folder, layer.schema) for entry in layer.fields.get("patches") or ()]


def configure_strategic(layer: Layer) -> list[Transformer]:
    """The layer's `patchesStrategicMerge`: texts that parse as objects, else paths."""
    entries = layer.fields.get("patchesStrategicMerge") or ()
    return [strategic(entries, "", layer.folder, layer.schema)] if entries else []


def configure_json(layer: Layer) -> list[Transformer]:
    """The layer's `patchesJson6902`."""
    return [json_patcher(entry, layer.folder) for entry in layer.fields.get("patchesJson6902") or ()]


def patcher(entry: Mapping[str, Any], folder: Folder, schema: Schema) -> Transformer:
    """Return the transformer of one entry of `patches`. Raises BuildError."""
    text, path = (entry.get("patch") or "").strip(), entry.get("path") or ""
    if bool(text) == bool(path):
        raise BuildError("patches: " + ("patch and path can't be set at the same time" if text else "must specify one of patch and path"))
    file = folder.file(path) if path else None
    data = folder.read(path) if path else text.encode("utf-8", "surrogatepass")
    merges, operations = _read(data, file, folder, schema)
    target = Selector.of(entry["target"]) if entry.get("target") is not None else None
    options = entry.get("options") or {}
    allowed = (bool(options.get("allowNameChange")), bool(options.get("allowKindChange")))
    shown = file or f"[patch: {text[:60]!r}]"
    if not merges:
        return Transformer(lambda objects: _apply_json(objects, operations, target, shown))
    if target is None:
        return Transformer(lambda objects: _apply_by_id(objects, merges, allowed))
    if len(merges) > 1:
        raise BuildError("Multiple Strategic-Merge Patches in one `patches` entry is not allowed to set `patches.target` field", file)
    return Transformer(lambda objects: apply_to(objects, objects.select(target), merges[0], allowed))


def _read(data: bytes, file: str | None, folder: Folder, schema: Schema) -> tuple[list[Resource], list[Operation] | None]:
    """A patch is a strategic merge if it reads as objects, else a JSON6902 patch."""
    try:
        documents = read_objects(data, file) if file is None else folder.source.documents(file)
        return expand_lists(documents, schema, file), _empty_or_operations(data, documents)
    except BuildError as not_objects:
        try:
            return [], read_operations(data, file)
        except BuildError as error:
            raise BuildError(f"unable to parse SM or JSON patch: {not_objects.message}", file, not_objects.line) from error


def _empty_or_operations(data: bytes, documents: Sequence[Any]) -> list[Operation] | None:
    """What a patch without an object says: operations, nothing where it is empty, None where it is something else (`{}`)."""
    if documents:
        return [] if data.strip() == b"[]" else None
    return read_operations(data, None) if data.strip() else []


def read_operations(data: bytes, file: str | None) -> list[Operation]:
    """Return a JSON6902 patch: JSON if it begins with [, else YAML 1.1. Raises BuildError."""
    if data.startswith(b"["):
        try:
            value = json.loads(data, parse_float=_number, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise BuildError(f"unable to parse JSON patch: {error}", file) from error
    else:
        value = read_value(data, file)
    operations = decode_operations(value)
    if operations is None:
        raise BuildError("a JSON6902 patch is a list of operations", file)
    return operations


def _number(text: str) -> int | float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{text} is out of range")
    return int(value) if value == int(value) and abs(value) < 1e21 else value


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def _apply_json(objects: Objects, operations: list[Operation] | None, target: Selector | None, shown: str) -> None:
    if target is None:
        raise BuildError(f"must specify a target for JSON patch {shown}")
    for row in objects.select(target):
        if operations is None:
            raise BuildError(f"patch {shown} is neither an object nor a list of JSON6902 operations")
        row.remember()
        edit(row, operations)
    objects.changed()


def edit(row: Resource, operations: list[Operation]) -> None:
    """Apply a JSON6902 patch. Raises BuildError that names the object."""
    row.settle(as_text=False)
    if row.is_marked:  # kustomize's notes stand in annotations while it works, so the map is there
        metadata = row.metadata
        if not isinstance(metadata.get("annotations"), dict):
            metadata["annotations"] = {}
    try:
        apply_operations(row.body, operations)
    except BuildError as error:
        raise BuildError(f"patch of {row.id}: {error.message}") from error
    row.shared.leave_all()
    row.set_texts("annotations", row.texts("annotations"))


def json_patcher(entry: Mapping[str, Any], folder: Folder) -> Transformer:
    """Return the transformer of one entry of `patchesJson6902`. Raises BuildError."""
    target = entry.get("target") or {}
    if not target.get("name"):
        raise BuildError("patchesJson6902: must specify the target name")
    text, path = entry.get("patch") or "", entry.get("path") or ""
    if bool(text) == bool(path):
        raise BuildError("patchesJson6902: must specify a file path or a patch" + (", not both" if text else ""))
    operations = read_operations(folder.read(path) if path else text.encode("utf-8", "surrogatepass"), folder.file(path) if path else None)
    if not operations:
        raise BuildError("patchesJson6902: patch appears to be empty")
    selector = Selector.of(target)

    def run(objects: Objects) -> None:
        for row in objects.select(selector):
            edit(row, operations)
        objects.changed()

    return Transformer(run)


def strategic(entries: Sequence[str], inline: str, folder: Folder, schema: Schema) -> Transformer:
    """Return the transformer of `patchesStrategicMerge`. Raises BuildError."""
    patches: list[Resource] = []
    for entry in entries:
        try:
            patches += expand_lists(read_objects(entry.encode("utf-8", "surrogatepass"), None), schema, None)
        except BuildError:
            file = folder.file(entry)
            patches += expand_lists(folder.source.documents(file), schema, file)
    if inline:
        patches += expand_lists(read_objects(inline.encode("utf-8", "surrogatepass"), None), schema, None)
    if not patches:
        raise BuildError("patchesStrategicMerge: patch appears to be empty")

    def run(objects: Objects) -> None:
        for patch in patches:
            apply_to(objects, [_only_target(objects, patch)], patch, (False, False))

    return Transformer(run)


def _only_target(objects: Objects, patch: Resource) -> Resource:
    wanted = patch.id
    found = objects.with_id(wanted)
    if len(found) != 1:
        what = f"{'multiple' if found else 'no'} matches for Id {wanted}; failed to find unique target for patch {wanted}"
        raise BuildError(f'no resource matches strategic merge patch "{wanted}": {what}')
    return found[0]


def _apply_by_id(objects: Objects, patches: Sequence[Resource], allowed: tuple[bool, bool]) -> None:
    for patch in patches:
        merge_into(_only_target(objects, patch), copied(patch.body), allowed)
        objects.changed()


def apply_to(objects: Objects, selected: Sequence[Resource], patch: Resource, allowed: tuple[bool, bool]) -> None:
    """Apply a strategic merge patch to all selected objects, whatever its own identity. Raises BuildError on a clash of ids."""
    for row in selected:
        body = copied(patch.body)
        _identify(body, patch, row)
        nameless = not row.api_version
        merge_into(row, body, allowed)
        if nameless and row.body:
            row.body["apiVersion"] = None
    if selected:
        objects.replace([row for row in objects.rows if row.body])


def _identify(body: dict[str, Any], patch: Resource, row: Resource) -> None:
    """kustomize writes the patch's metadata anew as texts: a null label becomes the text null."""
    metadata = body.get("metadata")
    if isinstance(metadata, dict):
        for field in ("labels", "annotations"):
            values = metadata.pop(field, None)
            if isinstance(values, dict) and values:
                metadata[field] = {
                    key: text_at(patch.nulls, ("metadata", field, key)) if value is None else text_of(value)
                    for key, value in values.items()
                }
    body["apiVersion"] = row.api_version or None
    body["kind"] = patch.kind


def merge_into(row: Resource, patch: dict[str, Any], allowed: tuple[bool, bool]) -> None:
    """Merge a patch into an object; name, kind and namespace survive unless they may change. Raises BuildError that names the object."""
    row.settle(as_text=True)
    if row.nulls:
        drop(row.body, row.nulls, row.schema.shape(row.api_version, row.kind))
        quote(row.body, row.nulls)  # now, since elements are about to move
        row.nulls = ()
    name, namespace, kind = row.name, row.namespace, row.kind
    if any(allowed):
        row.remember()
    try:
        merged = Merge(row.schema, row.shared).walk(row.body, patch, None)
    except BuildError as error:
        raise BuildError(f"patch of {row.id}: {error.message}") from error
    row.body = {} if merged is MISSING else merged
    if not row.body:
        return
    if not allowed[1]:
        row.body["kind"] = kind
    if not allowed[0] and row.name != name:
        row.metadata["name"] = name
    row.metadata.pop("namespace", None)
    if namespace:
        row.metadata["namespace"] = namespace
