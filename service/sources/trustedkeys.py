"""Which Secrets with trusted keys a source names, so that a key that is taken away or added is acted on at once: see namedwatches."""

from collections.abc import Mapping
from typing import Any

from service.reconcile.namedwatches import Named, Naming
from service.sources.provenance import PROVENANCE


def key_secrets_of(object_: Mapping[str, Any] | None) -> frozenset[Named]:
    """What `spec.verify` or the annotation for provenance names; nothing for one that is gone, suspended or cannot be read."""
    spec = (object_ or {}).get("spec") or {}
    if object_ is None or spec.get("suspend"):
        return frozenset()
    metadata = object_["metadata"]
    verify = spec.get("verify") or {}
    names = [(verify.get(field) or {}).get("name") for field in ("secretRef", "trustedRootSecretRef")]
    names.append((metadata.get("annotations") or {}).get(PROVENANCE))
    return frozenset(Named("Secret", metadata.get("namespace", ""), str(name)) for name in names if name)


CHANGED = "keys changed"
"""Why an object runs whose Secret is another one than when it was checked last."""
KEYS = Naming(what="trusted keys", of=key_secrets_of, reason="KeysNotWatched", controller="source-controller")
