"""The fields of a Kustomization's spec that shape its build, as the engine's options: fluxcd/pkg/kustomize `generator`. And those that say
which fields of the objects are left to others, as the applier's rules."""

import json

from service.cluster.ignoring import BadRule, IgnoreRule, parse_pointer
from service.kinds.kustomize import Image, JsonOperation, KustomizationSpec, Selector
from service.kinds.meta import RECONCILIATION_FAILED
from service.kinds.schema import Json
from service.kustomize import selectors
from service.kustomize.build import BuildOptions
from service.reconcile.outcome import Failed


def build_options(spec: KustomizationSpec) -> BuildOptions:
    """Objects in input order, files anywhere in the artifact, a kustomization made where there is none: as Flux builds."""
    common = spec.common_metadata
    return BuildOptions(
        target_namespace=spec.target_namespace or None,
        name_prefix=spec.name_prefix or None,
        name_suffix=spec.name_suffix or None,
        patches=tuple(_patch(each.patch, each.target) for each in spec.patches),
        strategic_patches=tuple(map(json.dumps, spec.patches_strategic_merge)),
        json_patches=tuple(_patch(json.dumps([_operation(one) for one in each.patch]), each.target) for each in spec.patches_json6902),
        images=tuple(_image(each) for each in spec.images),
        components=spec.components,
        ignore_missing_components=spec.ignore_missing_components,
        common_labels=common.labels if common else {},
        common_annotations=common.annotations if common else {},
        build_metadata=spec.build_metadata,
        sort="none",
        load_restrictions="tree",
        generate=True,
    )


def ignore_rules(spec: KustomizationSpec) -> tuple[IgnoreRule, ...]:
    """The rules of `spec.ignore`. Raises Failed for one that cannot be used: before anything is written."""
    rules: list[IgnoreRule] = []
    for at, rule in enumerate(spec.ignore):
        target = rule.target or Selector()
        try:
            made = IgnoreRule(
                pointers=tuple(map(parse_pointer, rule.paths)),
                target=selectors.Selector(
                    group=target.group,
                    version=target.version,
                    kind=target.kind,
                    name=target.name,
                    namespace=target.namespace,
                    labels=target.label_selector,
                    annotations=target.annotation_selector,
                ),
            )
        except BadRule as error:
            raise Failed(RECONCILIATION_FAILED, f"spec.ignore[{at}]: {error}; nothing was applied") from error
        rules.append(made)
    return tuple(rules)


def _operation(one: JsonOperation) -> dict[str, Json]:
    """As Flux hands it on: a value of null is left out, which comes to the same."""
    fields: dict[str, Json] = {"op": one.op, "path": one.path, "from": one.source, "value": one.value}
    return {name: value for name, value in fields.items() if value is not None}


def _patch(text: str, target: Selector | None) -> dict[str, object]:
    if target is None:
        return {"patch": text, "target": None}
    selector = {
        "group": target.group,
        "version": target.version,
        "kind": target.kind,
        "name": target.name,
        "namespace": target.namespace,
        "labelSelector": target.label_selector,
        "annotationSelector": target.annotation_selector,
    }
    return {"patch": text, "target": {key: value for key, value in selector.items() if value}}


def _image(image: Image) -> dict[str, str]:
    named = {"name": image.name, "newName": image.new_name, "newTag": image.new_tag, "digest": image.digest}
    return {key: value for key, value in named.items() if value}
