"""The field specs of one kustomization: the defaults, what its `configurations` and `crds` add, and what its bases brought.

In: files of a kustomization's `configurations` (https://github.com/kubernetes-sigs/kustomize/tree/master/examples/transformerconfigs).
Behaviour: kustomize api v0.21.0 internal/plugins/builtinconfig.
"""

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

from service.kustomize import defaults
from service.kustomize.decode import GVK_FIELDS, boolean, decode, listing, record, text
from service.kustomize.fieldspecs import FieldSpec, Gvk, Specs, extended, gvk_order, merged

Referrals = tuple[tuple[Gvk, Specs], ...]
"""Rows of (kind that is referred to, fields that refer to it)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Field specs by what they are for."""

    name_prefix: Specs = ()
    name_suffix: Specs = ()
    namespace: Specs = ()
    common_labels: Specs = ()
    labels: Specs = ()
    template_labels: Specs = ()
    common_annotations: Specs = ()
    name_reference: Referrals = ()
    var_reference: Specs = ()
    images: Specs = ()
    replicas: Specs = ()

    def merged(self, other: "Tables") -> "Tables":
        """Return both, sorted by kind. Raises BuildError where they give one field with other `create`.

        Upstream merges one by one into what is there, so a spec for all kinds, which stands behind those for one kind, is lost where a
        configuration has the same path for a kind.
        """
        if other is self or other is EMPTY:
            return self
        if self is EMPTY and other is DEFAULT:
            return other
        both: dict[str, Any] = {}
        for field in fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            if mine is not theirs and theirs:
                both[field.name] = _referrals(mine, theirs) if field.name == "name_reference" else _specs(mine, theirs)
        return replace(self, **both) if both else self


@lru_cache(maxsize=256)
def _specs(mine: Specs, theirs: Specs) -> Specs:
    return tuple(sorted(merged(mine, theirs), key=lambda spec: gvk_order(spec.gvk)))


def _referrals(mine: Referrals, theirs: Referrals) -> Referrals:
    rows = dict(mine)
    for target, referrers in theirs:
        rows[target] = extended(rows[target], referrers) if target in rows else referrers
    return tuple(sorted(rows.items(), key=lambda row: gvk_order(row[0])))


EMPTY = Tables()
DEFAULT = Tables(
    name_prefix=defaults.NAME_PREFIX,
    name_suffix=defaults.NAME_SUFFIX,
    namespace=defaults.NAMESPACE,
    common_labels=defaults.COMMON_LABELS,
    template_labels=defaults.TEMPLATE_LABELS,
    common_annotations=defaults.COMMON_ANNOTATIONS,
    name_reference=_referrals((), defaults.NAME_REFERENCE),
    var_reference=defaults.VAR_REFERENCE,
    images=defaults.IMAGES,
    replicas=defaults.REPLICAS,
)

SPEC = record({**GVK_FIELDS, "path": text, "create": boolean})
_SPECS = {
    "namePrefix": "name_prefix",
    "nameSuffix": "name_suffix",
    "namespace": "namespace",
    "commonLabels": "common_labels",
    "labels": "labels",
    "templateLabels": "template_labels",
    "commonAnnotations": "common_annotations",
    "varReference": "var_reference",
    "images": "images",
    "replicas": "replicas",
}
_FILE = record({**dict.fromkeys(_SPECS, listing(SPEC)), "nameReference": listing(record({**GVK_FIELDS, "fieldSpecs": listing(SPEC)}))})


def read_tables(content: Any) -> Tables:
    """Return what a `configurations` file gives; `content` is the parsed file. Raises BuildError."""
    found = decode(_FILE, content if content is not None else {}, "configuration")
    tables: dict[str, Any] = {name: field_specs(found.get(key)) for key, name in _SPECS.items() if found.get(key)}
    tables["name_reference"] = tuple((gvk_of(row), field_specs(row.get("fieldSpecs"))) for row in found.get("nameReference") or ())
    return Tables(**tables)


def gvk_of(row: dict[str, Any]) -> Gvk:
    """Return the kind that a decoded row is for."""
    return Gvk(row.get("group") or "", row.get("version") or "", row.get("kind") or "")


def field_specs(rows: Any) -> Specs:
    """Return the specs of decoded rows."""
    return tuple(FieldSpec(row.get("path") or "", bool(row.get("create")), gvk_of(row)) for row in rows or ())
