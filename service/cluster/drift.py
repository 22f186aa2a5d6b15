"""Two states of one object in, whether an apply would change it out. Pure.

As fluxcd/pkg/ssa compares a dry run's answer with the live object, but exactly where Flux overlooks a label or annotation that git dropped.
"""

from collections.abc import Mapping
from typing import Any

_META = ("labels", "annotations", "finalizers", "ownerReferences")
_APART = frozenset({"metadata", "status"})


def same(live: Mapping[str, Any], tried: Mapping[str, Any]) -> bool:
    """True when labels, annotations, finalizers, owners and all but metadata and status are equal."""
    old, new = live.get("metadata") or {}, tried.get("metadata") or {}
    if any((old.get(key) or None) != (new.get(key) or None) for key in _META):
        return False
    return {key: live[key] for key in live if key not in _APART} == {key: tried[key] for key in tried if key not in _APART}
