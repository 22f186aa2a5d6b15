"""Builtin transformers and generators given as objects, in `transformers`, `generators` and `validators`.

Format: https://kubectl.docs.kubernetes.io/references/kustomize/builtins/. They have no default field specs. Other plugins (exec,
containers, Go) would run foreign code and are refused. Behaviour: kustomize api v0.21.0 internal/plugins and internal/builtins.
"""

import posixpath
from collections.abc import Callable
from typing import Any

from service.kustomize.decode import SELECTOR, Type, boolean, decode, integer, listing, record, scalar, scalars, text
from service.kustomize.errors import BuildError
from service.kustomize.fieldspecs import Specs, split_path
from service.kustomize.files import Folder
from service.kustomize.generators import generate
from service.kustomize.hashing import name_hash
from service.kustomize.kustomization import GENERATOR, IMAGE, METADATA, NOT_CARRIED_OUT, PATCH, REPLACEMENT, REPLICA
from service.kustomize.layer import Transformer
from service.kustomize.objects import Objects, Resource
from service.kustomize.scalars import plain, text_of
from service.kustomize.schema import Schema
from service.kustomize.selectors import Selector
from service.kustomize.tables import SPEC, field_specs
from service.kustomize.transformers import images, labels, names, namespace, patches, replacements, replicas

Config = dict[str, Any]
_SPECS: dict[str, Type] = {"fieldSpecs": listing(SPEC)}
_TARGETS = listing(record({"selector": SELECTOR, "fieldPath": scalar, "filePathPosition": integer}))


def transformer(config: Resource, folder: Folder, schema: Schema) -> Transformer:
    """Return the transformer that an object configures. Raises BuildError."""
    found = _TRANSFORMERS.get(_builtin(config))
    if found is None:
        raise BuildError(f"plugin {config.id} not a transformer" if config.kind in _GENERATORS else f"unable to load builtin {config.gvk}")
    kind, make = found
    fields = _fields(config, kind)
    specs = field_specs(fields.get("fieldSpecs"))
    return make(fields, specs, folder, schema)


def generator(config: Resource, folder: Folder, schema: Schema) -> list[Resource]:
    """Return the objects that a generator makes. Raises BuildError."""
    found = _GENERATORS.get(_builtin(config))
    if found is None:
        raise BuildError(f"plugin {config.id} not a generator" if config.kind in _TRANSFORMERS else f"unable to load builtin {config.gvk}")
    kind, make = found
    return [make(_fields(config, kind), folder, schema)]


def _builtin(config: Resource) -> str:
    if config.api_version != "builtin":
        raise BuildError(f"plugin {config.id} is not builtin: it would run foreign code during a build, which is not done here")
    if config.kind == "HelmChartInflationGenerator":
        raise BuildError(f"HelmChartInflationGenerator: {NOT_CARRIED_OUT['helmCharts']}")
    return config.kind


def _fields(config: Resource, kind: Type) -> Config:
    fields: Config = decode(kind, config.body, config.kind, strict=False)
    return fields


def _namespaced(fields: Config, specs: Specs, _folder: Folder, _schema: Schema) -> Transformer:
    mode = fields.get("setRoleBindingSubjects") or "defaultOnly"
    if mode not in namespace.SUBJECT_MODES:
        raise BuildError(f'invalid value "{mode}" for setRoleBindingSubjects: must be one of {", ".join(namespace.SUBJECT_MODES)}')
    wanted = (fields.get("metadata") or {}).get("namespace") or ""
    if not wanted:
        return _nothing()
    return namespace.transformer(wanted, specs, subjects=mode, unset_only=bool(fields.get("unsetOnly")))


def _nothing() -> Transformer:
    return Transformer(lambda _objects: None)


def _named(field: str, make: Callable[[str, Specs], Transformer]) -> Callable[[Config, Specs, Folder, Schema], Transformer]:
    def configured(fields: Config, specs: Specs, _folder: Folder, _schema: Schema) -> Transformer:
        if fields.get("fieldSpecs") is None:
            raise BuildError("fieldSpecs is not expected to be nil")
        return make(fields.get(field) or "", specs)

    return configured


def _pairs(field: str) -> Callable[[Config, Specs, Folder, Schema], Transformer]:
    return lambda fields, specs, _folder, _schema: labels.setter(fields.get(field) or {}, specs)


def _prefix_suffix(fields: Config, specs: Specs, _folder: Folder, _schema: Schema) -> Transformer:
    if fields.get("fieldSpecs") is None:
        raise BuildError("fieldSpecs is not expected to be nil")
    first, second = names.prefixer(fields.get("prefix") or "", specs), names.suffixer(fields.get("suffix") or "", specs)

    def run(objects: Objects) -> None:
        first.run(objects)
        second.run(objects)

    return Transformer(run)


def _hash(_fields: Config, _specs: Specs, _folder: Folder, _schema: Schema) -> Transformer:
    return Transformer(add_hashes)


def add_hashes(objects: Objects) -> None:
    """Put the content hash behind the names of generated objects."""
    for row in objects.rows:
        if row.needs_hash:
            row.remember()
            row.metadata["name"] = f"{row.name}-{name_hash(row.body)}"
    objects.changed()


def _json_patch(fields: Config, _specs: Specs, folder: Folder, _schema: Schema) -> Transformer:
    return patches.json_patcher({**fields, "patch": fields.get("jsonOp") or ""}, folder)


def _strategic(fields: Config, _specs: Specs, folder: Folder, schema: Schema) -> Transformer:
    return patches.strategic(fields.get("paths") or (), fields.get("patches") or "", folder, schema)


def _value_add(fields: Config, _specs: Specs, folder: Folder, _schema: Schema) -> Transformer:
    value = (fields.get("value") or "").strip() or posixpath.basename(folder.root)
    targets = list(fields.get("targets") or ())
    if fields.get("targetFilePath"):
        file = folder.file(fields["targetFilePath"])
        targets += decode(record({"targets": _TARGETS}), folder.source.value(file), file, strict=False).get("targets") or ()
    if not targets:
        raise BuildError("ValueAddTransformer: must specify at least one target")
    if any(not target.get("fieldPath") or (target.get("filePathPosition") or 0) < 0 for target in targets):
        raise BuildError("ValueAddTransformer: fieldPath cannot be empty, filePathPosition cannot be negative")

    def run(objects: Objects) -> None:
        for target in targets:
            selected = objects.select(Selector.of(target["selector"])) if target.get("selector") is not None else objects.rows
            for row in selected:
                add_value(row, value, target["fieldPath"], target.get("filePathPosition") or 0)
        objects.changed()

    return Transformer(run)


def add_value(row: Resource, value: str, path: str, position: int) -> None:
    """Write a value at a path, or insert it as a part of the file path there (position counts from 1)."""
    if path == "metadata/namespace":
        namespace.set_namespace(row, namespace.only(value))
        return
    *way, last = split_path(path)
    holder: Any = row.body
    for part in way:
        if holder.get(part) is None:
            holder[part] = {}
        holder = holder[part]
        if not isinstance(holder, dict):
            raise BuildError(f"ValueAddTransformer: {path} of {row.id} leads through something that is no map")
    old = holder.get(last)
    if isinstance(old, dict | list):
        raise BuildError(f"ValueAddTransformer: {path} of {row.id} is no text")
    row.shared.write(holder, last, plain(_inserted(text_of(old), position - 1, value) if position > 0 else value, "1.2"))


def _inserted(path: str, index: int, value: str) -> str:
    rooted = path.startswith("/")
    parts = [part for part in path.split("/") if part]
    parts.insert(min(index, len(parts)), value)
    return ("/" if rooted else "") + "/".join(parts)


def _generated(kind: str) -> Callable[[Config, Folder, Schema], Resource]:
    def make(fields: Config, folder: Folder, schema: Schema) -> Resource:
        metadata = fields.get("metadata") or {}
        identity = {field: fields.get(field) or metadata.get(field) or "" for field in ("name", "namespace")}
        return generate(kind, {**fields, **identity}, {}, folder, schema)

    return make


def _service_account(fields: Config, _folder: Folder, schema: Schema) -> Resource:
    if fields.get("cloud") != "gke":
        raise BuildError(f"IAMPolicyGenerator: cloud provider {fields.get('cloud') or ''} not supported yet, gke is")
    cloud = fields.get("serviceAccount") or {}
    account = f"{cloud.get('name') or ''}@{cloud.get('projectId') or ''}.iam.gserviceaccount.com"
    service = fields.get("kubernetesService") or {}
    metadata: dict[str, Any] = {"annotations": {"iam.gke.io/gcp-service-account": account}, "name": service.get("name") or ""}
    if service.get("namespace"):
        metadata["namespace"] = service["namespace"]
    return Resource({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}, schema)


_PAIR = record({"name": text, "namespace": text})
_TRANSFORMERS: dict[str, tuple[Type, Callable[[Config, Specs, Folder, Schema], Transformer]]] = {
    "AnnotationsTransformer": (record({"annotations": scalars, **_SPECS}), _pairs("annotations")),
    "HashTransformer": (record({}), _hash),
    "ImageTagTransformer": (
        record({"imageTag": IMAGE, **_SPECS}),
        lambda fields, specs, _folder, _schema: images.editor([fields.get("imageTag") or {}], specs),
    ),
    "LabelTransformer": (record({"labels": scalars, **_SPECS}), _pairs("labels")),
    "NamespaceTransformer": (record({"metadata": METADATA, "unsetOnly": boolean, "setRoleBindingSubjects": text, **_SPECS}), _namespaced),
    "PatchJson6902Transformer": (record({"target": SELECTOR, "path": text, "jsonOp": text}), _json_patch),
    "PatchStrategicMergeTransformer": (record({"paths": listing(scalar), "patches": scalar}), _strategic),
    "PatchTransformer": (PATCH, lambda fields, _specs, folder, schema: patches.patcher(fields, folder, schema)),
    "PrefixTransformer": (record({"prefix": scalar, **_SPECS}), _named("prefix", names.prefixer)),
    "SuffixTransformer": (record({"suffix": scalar, **_SPECS}), _named("suffix", names.suffixer)),
    "PrefixSuffixTransformer": (record({"prefix": scalar, "suffix": scalar, **_SPECS}), _prefix_suffix),
    "ReplacementTransformer": (
        record({"replacements": listing(record({**REPLACEMENT, "path": text}))}),
        lambda fields, _specs, folder, _schema: replacements.replacer(fields.get("replacements") or (), folder),
    ),
    "ReplicaCountTransformer": (
        record({"replica": REPLICA, **_SPECS}),
        lambda fields, specs, _folder, _schema: replicas.setter(fields.get("replica") or {}, specs),
    ),
    "ValueAddTransformer": (record({"value": scalar, "targets": _TARGETS, "targetFilePath": scalar}), _value_add),
}
_GENERATORS: dict[str, tuple[Type, Callable[[Config, Folder, Schema], Resource]]] = {
    "ConfigMapGenerator": (record({"metadata": METADATA, **GENERATOR}), _generated("ConfigMap")),
    "SecretGenerator": (record({"metadata": METADATA, **GENERATOR, "type": text}), _generated("Secret")),
    "IAMPolicyGenerator": (
        record({"cloud": text, "kubernetesService": _PAIR, "serviceAccount": record({"name": text, "projectId": text})}),
        _service_account,
    ),
}
