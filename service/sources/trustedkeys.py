"""Which Secrets with trusted keys a source names, so that a key that is taken away or added is acted on at once: see namedwatches."""

from collections.abc import Mapping
from typing import Any

from service.reconcile.namedwatches import Named, Naming


def key_secrets_of(object_: Mapping[str, Any] | None) -> frozenset[Named]:
    """What `spec.verify` of a source of any kind names; nothing for one that is gone, suspended or cannot be read."""
    spec = (object_ or {}).get("spec") or {}
    name = ((spec.get("verify") or {}).get("secretRef") or {}).get("name")
    if object_ is None or spec.get("suspend") or not name:
        return frozenset()
    return frozenset({Named("Secret", object_["metadata"].get("namespace", ""), str(name))})


KEYS = Naming(what="trusted keys", of=key_secrets_of, reason="KeysNotWatched", controller="source-controller")
