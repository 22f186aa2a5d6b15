"""Tree and folder in, objects out: what `kustomize build` does, in process (https://kubectl.docs.kubernetes.io/references/kustomize/)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from service.kustomize import variables
from service.kustomize.accumulate import Accumulated, Target, choose_schema, kustomization_file, load
from service.kustomize.cache import ParseCache
from service.kustomize.errors import BuildError
from service.kustomize.files import Folder, Source
from service.kustomize.generate import generated, with_additions
from service.kustomize.nulls import quote
from service.kustomize.objects import Objects, Resource
from service.kustomize.origins import Origin, finish
from service.kustomize.plugins import add_hashes
from service.kustomize.references import fix_references
from service.kustomize.remote import Remote
from service.kustomize.scalars import settle
from service.kustomize.schema import Schema
from service.kustomize.sorting import ordered
from service.kustomize.trace import Place, Trace
from service.kustomize.tree import Recording, Tree

__all__ = ["Build", "BuildError", "BuildOptions", "ParseCache", "build", "with_metadata"]

LOCAL_CONFIG = "config.kubernetes.io/local-config"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """How to build. The fields from `target_namespace` to `ignore_missing_components` are those of a Flux Kustomization's spec, put into
    the kustomization of the built folder as Flux does: the first three replace its fields, images are merged by name, patches and
    components are appended; commonMetadata is set on the finished objects."""

    target_namespace: str | None = None
    name_prefix: str | None = None
    name_suffix: str | None = None
    patches: tuple[Mapping[str, Any], ...] = ()
    """{patch: text, target: {group, version, kind, name, namespace, labelSelector, annotationSelector} or None}"""
    strategic_patches: tuple[str, ...] = ()
    """Old versions' patchesStrategicMerge, each an object's text."""
    json_patches: tuple[Mapping[str, Any], ...] = ()
    """Old versions' patchesJson6902, each as in `patches`."""
    images: tuple[Mapping[str, str], ...] = ()
    """{name, newName, newTag, digest}"""
    components: tuple[str, ...] = ()
    ignore_missing_components: bool = False
    common_labels: Mapping[str, str] = field(default_factory=dict)
    common_annotations: Mapping[str, str] = field(default_factory=dict)
    build_metadata: tuple[str, ...] = ()
    sort: Literal["legacy", "none"] = "none"
    load_restrictions: Literal["root_only", "tree"] = "tree"
    schema: Literal["replace", "add"] = "add"
    """What `openapi.path` does: replaces the built-in schema (kustomize's command), adds to it (Flux)."""
    generate: bool = False
    """Make a kustomization of all YAML files below when the folder has none (Flux's rules)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """The objects in build order, plain JSON values that nobody may mutate, and what was read: token by key, see `tree.Recording`.

    `warnings` are kustomize's words on deprecated fields, one line each, in the order in which the kustomizations were read.
    """

    objects: tuple[dict[str, Any], ...]
    reads: Mapping[str, str]
    warnings: tuple[str, ...] = ()


def build(
    tree: Tree,
    path: str,
    *,
    options: BuildOptions = BuildOptions(),
    cache: ParseCache | None = None,
    trace: Trace | None = None,
    remote: Remote | None = None,
) -> Build:
    """Build the folder `path` ("" is the root) of the tree. Deterministic, and pure where nothing is remote. Raises BuildError.

    `trace` notes what is done; `remote` fetches what is outside of the tree, without it that is an error.
    """
    recording = tree if isinstance(tree, Recording) else Recording(tree)
    source = Source(tree=recording, cache=cache, restricted=options.load_restrictions == "root_only", trace=trace, remote=remote)
    try:
        objects = _attempted(source, path, options)
    except BuildError as error:
        error.warnings = tuple(source.warnings)
        raise
    return Build(objects=objects, reads=recording.reads, warnings=tuple(source.warnings))


def _attempted(source: Source, path: str, options: BuildOptions) -> tuple[dict[str, Any], ...]:
    try:
        return _built(source, path, options)
    except RecursionError as error:
        raise BuildError("nested too deep") from error
    except FileNotFoundError as error:
        raise BuildError("no such file or directory", str(error.args[0]) if error.args else None) from error


def _built(source: Source, path: str, options: BuildOptions) -> tuple[dict[str, Any], ...]:
    folder = Folder.top(source, path)
    if options.generate and kustomization_file(folder) is None:
        fields, file = generated(folder), folder.at("kustomization.yaml")
        empty = not fields["resources"]
    else:
        (fields, file), empty = load(folder), False
    fields = with_additions(fields, folder, options)
    if empty and not fields.get("components"):
        return ()
    schema = Schema(replace=options.schema == "replace")
    choose_schema(schema, folder, fields, root=True)
    asked = frozenset(fields.get("buildMetadata") or ())
    target = Target(folder, fields, file, schema=schema, origin=Origin() if asked else None)
    result = target.accumulate(Accumulated())
    try:
        rows = _finished(result, fields, options, _steps(source.trace, file))
    except BuildError as error:
        raise BuildError(error.message, error.file or file, error.line) from error
    for row in rows:
        quote(row.body, row.nulls)
        finish(row, asked)
    return tuple(with_metadata(row.body, options) for row in rows)


Do = Callable[[str, Objects, Callable[[], None]], None]


def _steps(trace: Trace | None, file: str) -> Do:
    """Return what runs a named step of the end, watched where the build is traced."""
    if trace is None:
        return lambda _name, _objects, action: action()
    return lambda name, objects, action: trace.run(objects, Place(file=file, by=name), action)


def _finished(result: Accumulated, fields: Mapping[str, Any], options: BuildOptions, do: Do) -> list[Resource]:
    """What is done once, for the built folder only."""
    objects = result.objects
    for row in objects.rows:
        if result.variables and row.loose:  # resolving vars makes texts of labels and annotations
            for holder in (row.metadata.get("labels"), row.metadata.get("annotations")):
                settle(holder, as_text=True)
        row.settle(as_text=False)
    do("hash suffix", objects, lambda: add_hashes(objects))
    do("name references", objects, lambda: fix_references(objects, result.tables.name_reference))
    do("vars", objects, lambda: variables.resolve(objects, result.variables, result.tables.var_reference))
    for row in objects.rows:
        if not row.kind or not (row.name or row.kind.endswith("List")):
            raise BuildError(f"missing {'metadata.name' if row.kind else 'kind'} in object {row.id} once it is transformed")
    objects.replace(objects.rows)  # two objects may have got one id
    rows = [row for row in objects.rows if row.texts("annotations").get(LOCAL_CONFIG, "false") == "false"]
    return ordered(rows, fields.get("sortOptions"), options.sort)


def with_metadata(body: dict[str, Any], options: BuildOptions) -> dict[str, Any]:
    """commonMetadata of a Flux Kustomization: top-level metadata only, over what is there."""
    for field_name, values in (("labels", options.common_labels), ("annotations", options.common_annotations)):
        if values:
            metadata = body.setdefault("metadata", {})
            old = metadata.get(field_name)
            metadata[field_name] = {**(old if isinstance(old, dict) else {}), **values}
    return body
