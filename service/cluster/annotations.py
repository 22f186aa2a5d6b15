"""The marks that decide what may happen to an object, as annotation or label, on the manifest or the live object. Pure.

https://fluxcd.io/flux/components/kustomize/kustomizations/#controlling-the-apply-behavior-of-resources
"""

from collections.abc import Mapping, Sequence
from typing import Any

_GROUP = "kustomize.toolkit.fluxcd.io"
OWNER_NAME = f"{_GROUP}/name"
OWNER_NAMESPACE = f"{_GROUP}/namespace"

Mark = tuple[str, str]
DISABLED: Mark = (f"{_GROUP}/reconcile", "disabled")
IGNORE: Mark = (f"{_GROUP}/ssa", "Ignore")
IF_NOT_PRESENT: Mark = (f"{_GROUP}/ssa", "IfNotPresent")
MERGE: Mark = (f"{_GROUP}/ssa", "Merge")
FORCE: Mark = (f"{_GROUP}/force", "enabled")
NO_PRUNE: Mark = (f"{_GROUP}/prune", "disabled")

NEVER_APPLIED: Sequence[Mark] = (DISABLED, IGNORE)
NEVER_PRUNED: Sequence[Mark] = (DISABLED, IGNORE, NO_PRUNE)


def matches(metadata: Mapping[str, Any] | None, *marks: Mark) -> bool:
    """True when an object's metadata (its labels and annotations) has one of the marks; values compare case-insensitively."""
    if not metadata:
        return False
    places = (metadata.get("labels") or {}, metadata.get("annotations") or {})
    return any(str(place.get(key, "")).lower() == value.lower() for place in places for key, value in marks)
