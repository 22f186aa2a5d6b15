"""Which changes of an object ask for a reconcile: its spec, a requested one, our own annotations, its deletion. Status writes do not,
but where the status is all there is: an ExternalArtifact is written by others.
"""

from collections.abc import Mapping
from typing import Any

from service.kinds.meta import REQUESTED_AT

OWN_DOMAIN = ".sluice.dev"  # of annotations that stand for what Flux's CRDs have no field for


def asks_for_run(new: Mapping[str, Any], old: Mapping[str, Any] | None) -> bool:
    """Whether what the reconciler acts on differs. `old` is None for an object that appeared."""
    return old is None or _relevant(new) != _relevant(old)


def _relevant(object_: Mapping[str, Any]) -> tuple[object, ...]:
    metadata = object_.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    asked = {name: value for name, value in annotations.items() if name == REQUESTED_AT or name.partition("/")[0].endswith(OWN_DOMAIN)}
    made = (object_.get("status") or {}).get("artifact") if object_.get("kind") == "ExternalArtifact" else None
    return metadata.get("uid"), metadata.get("generation"), metadata.get("deletionTimestamp"), asked, made
