"""The order of the output: as it came (fifo), or kustomize's legacy order by kind.

Format: https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/sortoptions/. Behaviour: kustomize api v0.21.0
internal/builtins/SortOrderTransformer.go.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from service.kustomize.errors import BuildError
from service.kustomize.kindorder import FIRST, LAST
from service.kustomize.objects import Resource


def ordered(rows: Sequence[Resource], options: Mapping[str, Any] | None, default: str) -> list[Resource]:
    """Return the rows in the order that a kustomization's sortOptions ask for, else in the default one: legacy or none."""
    if options is None:
        return by_kind(rows, FIRST, LAST) if default == "legacy" else list(rows)
    order, legacy = options.get("order") or "", options.get("legacySortOptions")
    if order not in ("legacy", "fifo"):
        raise BuildError("the field 'sortOptions.order' must be one of [fifo, legacy]")
    if order == "fifo":
        if legacy is not None:
            raise BuildError("the field 'sortOptions.legacySortOptions' is set but the selected sort order is 'fifo', not 'legacy'")
        return list(rows)
    if legacy is None:
        return by_kind(rows, FIRST, LAST)
    return by_kind(rows, legacy.get("orderFirst") or (), legacy.get("orderLast") or ())


def by_kind(rows: Sequence[Resource], first: Sequence[str], last: Sequence[str]) -> list[Resource]:
    """Return the rows sorted by kind, then by group, version, namespace and name as texts."""
    places = {kind: index - len(first) for index, kind in enumerate(first)}
    places.update({kind: index + 1 for index, kind in enumerate(last)})

    def key(row: Resource) -> tuple[Any, ...]:
        gvk = row.gvk
        kind = f"{gvk.group or '~G'}_{gvk.version or '~V'}_{gvk.kind or '~K'}"
        # core Namespaces are sorted backwards: before those of other groups, though ~G is the last of all texts, newer versions first
        is_core = gvk.kind == "Namespace" and "Namespace" in places and not gvk.group
        backwards = tuple(-ord(letter) for letter in kind) if is_core else ()
        return places.get(gvk.kind, 0), not is_core, backwards, kind, f"{gvk}|{row.namespace or '~X'}|{row.name or '~N'}"

    return sorted(rows, key=key)
