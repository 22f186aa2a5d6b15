"""replacements: the value of one object's field copied into fields of others.

Format: https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/replacements/. Behaviour: kustomize api v0.21.0
filters/replacement. A text keeps the type of the field that it is written into.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from service.kustomize.decode import decode, listing, record
from service.kustomize.errors import BuildError
from service.kustomize.fieldspecs import Gvk
from service.kustomize.files import Folder
from service.kustomize.kustomization import REPLACEMENT
from service.kustomize.layer import Layer, Transformer
from service.kustomize.objects import Id, Objects, Resource
from service.kustomize.scalars import Loose, text_of
from service.kustomize.selectors import Selector, anchored, selects
from service.kustomize.transformers.fieldpath import Create, Place, lookup, places, retyped, smart_split
from service.kustomize.transformers.nested import set_in_text
from service.kustomize.yamlread import copied

DEFAULT_PATH = "metadata.name"
_ONE = record(REPLACEMENT)
_MANY = listing(_ONE)


def configure(layer: Layer) -> list[Transformer]:
    """The layer's `replacements`."""
    entries = layer.fields.get("replacements") or ()
    return [replacer(entries, layer.folder)] if entries else []


def replacer(entries: Sequence[Mapping[str, Any]], folder: Folder) -> Transformer:
    """Return the transformer for inline entries and files of them. Raises BuildError."""
    rules: list[Mapping[str, Any]] = []
    for entry in entries:
        path = entry.get("path")
        if not path:
            rules.append(entry)
            continue
        if entry.get("source") or entry.get("targets"):
            raise BuildError("replacements: cannot specify both path and inline replacement")
        file = folder.file(path)
        content = folder.source.value(file)
        if not isinstance(content, dict | list):
            raise BuildError("unsupported replacement type encountered within replacement path", file)
        found = decode(_MANY if isinstance(content, list) else _ONE, content, "the replacement", strict=False)
        rules += found if isinstance(found, list) else [found]
    return Transformer(lambda objects: _transform(objects, rules))


def _transform(objects: Objects, rules: Sequence[Mapping[str, Any]]) -> None:
    for rule in rules:
        if ("sourceValue" not in rule and rule.get("source") is None) or rule.get("targets") is None:
            raise BuildError("replacements must specify a source and at least one target")
        value = _value(objects, rule)
        for target in rule["targets"]:
            _replace_in(objects, value, target)
        objects.changed()


def _value(objects: Objects, rule: Mapping[str, Any]) -> Any:
    source = rule.get("source")
    if "sourceValue" in rule:
        if source is not None:
            raise BuildError("replacements: value and resource selectors are mutually exclusive")
        return _Plain(rule["sourceValue"])
    assert source is not None
    row = _source(objects, source)
    path = source.get("fieldPath") or DEFAULT_PATH
    value = lookup(row.body, smart_split(path))
    if value in (None, {}, []):
        raise BuildError(f"fieldPath `{path}` is missing for replacement source {row.id}")
    options = source.get("options") or {}
    if not options.get("delimiter"):
        return value
    if isinstance(value, dict | list):
        raise BuildError("replacements: delimiter option can only be used with scalar nodes")
    parts, index = text_of(value).split(options["delimiter"]), options.get("index") or 0
    if not 0 <= index < len(parts):
        raise BuildError(f"replacements: options.index {index} is out of bounds for value {text_of(value)}")
    return parts[index]


class _Plain(str):
    """A text without a type: what it becomes in a new field depends on how it reads."""


def _source(objects: Objects, source: Mapping[str, Any]) -> Resource:
    wanted = Gvk(*(source.get(part) or "" for part in ("group", "version", "kind")))
    name, namespace = source.get("name") or "", source.get("namespace") or ""

    def fits(known: Id) -> bool:
        return (
            (not name or name == known.name)
            and (not namespace or (namespace or "default") == (known.namespace or "default"))
            and wanted.selects(known.gvk)
        )

    rows = objects.named(name) if name else objects.rows
    found = [row for row in rows if row.body and any(fits(known) for known in (row.id, *row.former_ids()))]
    if len(found) == 1:
        return found[0]
    shown = f"{wanted}/{name or '[noName]'}.{namespace or '[noNs]'}"
    raise BuildError(f"replacements: {'multiple matches for selector' if found else 'nothing selected by'} {shown}")


def _replace_in(objects: Objects, value: Any, target: Mapping[str, Any]) -> None:
    if target.get("select") is None:
        raise BuildError("replacements: target must specify resources to select")
    select = Selector.of(target["select"])
    rejects = [Selector.of(reject) for reject in target.get("reject") or ()]
    for row in objects.rows:
        if row.body and _is_target(row, select, rejects):
            for path in target.get("fieldPaths") or [DEFAULT_PATH]:
                _write(row, value, path, target.get("options") or {})


def _is_target(row: Resource, select: Selector, rejects: Sequence[Selector]) -> bool:
    labels, annotations = row.texts("labels"), row.texts("annotations")
    if not (selects(select.annotations, annotations) and selects(select.labels, labels)):
        return False
    ids = (row.id, *row.former_ids())
    for reject in rejects:
        by_text = bool(reject.labels or reject.annotations)
        if by_text and selects(reject.annotations, annotations) and selects(reject.labels, labels):
            return False
        if reject.has_identity and any(_fits(reject, known) for known in ids):
            return False
    return any(_fits(select, known) for known in ids)


def _fits(selector: Selector, known: Id) -> bool:
    return selector.matches_gvk(known.gvk) and anchored(selector.name, known.name) and anchored(selector.namespace, known.namespace)


def _write(row: Resource, value: Any, path: str, options: Mapping[str, Any]) -> None:
    parts = smart_split(path)
    create: Create = None
    if options.get("create"):
        create = "map" if isinstance(value, dict) else "list" if isinstance(value, list) else "scalar"
    if set_in_text(row.body, parts, value, create):
        return
    try:
        row.loose = row.loose or create is not None
        found = places(row.body, parts, create)
    except BuildError as error:
        raise BuildError(f"{_not_found(path, create)} {row.id}: {error.message}") from error
    if not found:
        raise BuildError(f"{_not_found(path, create)} {row.id}")
    for place in found:
        _set(row, place, value, options)


def _not_found(path: str, create: str | None) -> str:
    return f'unable to find {"or create " if create else ""}field "{path}" in replacement target'


def _set(row: Resource, place: Place, value: Any, options: Mapping[str, Any]) -> None:
    old = place.value
    is_scalar = not isinstance(old, dict | list)
    delimiter = options.get("delimiter")
    if delimiter:
        if not is_scalar:
            raise BuildError("replacements: delimiter option can only be used with scalar nodes")
        value = _spliced(text_of(old), delimiter, options.get("index") or 0, text_of(value))
    if not is_scalar or place.is_new:
        place.put(copied(value) if isinstance(value, dict | list) else Loose(text_of(value)) if place.is_new else value)
    else:  # of a map or list nothing is left on a scalar field, as upstream
        changed = retyped(old, text_of(value))
        if isinstance(place.holder, dict):
            row.shared.write(place.holder, place.key, changed)
        else:
            place.put(changed)


def _spliced(text: str, delimiter: str, index: int, value: str) -> str:
    parts = text.split(delimiter)
    if index < 0:
        parts.insert(0, value)
    elif index >= len(parts):
        parts.append(value)
    else:
        parts[index] = value
    return delimiter.join(parts)
