"""Object keys as one column: `group/Kind/namespace/name`; group and namespace may be empty, and no part can hold a slash in Kubernetes."""

from service.kinds.meta import ObjectKey


def to_stored(key: ObjectKey) -> str:
    """The key as text. Raises ValueError for a part with a slash, which no object of a cluster has."""
    parts = (key.group, key.kind, key.namespace, key.name)
    if any("/" in part for part in parts):
        raise ValueError(f"not the key of an object: {key}")
    return "/".join(parts)


def from_stored(text: str) -> ObjectKey:
    """The key of what `to_stored` gave."""
    group, kind, namespace, name = text.split("/")
    return ObjectKey(group=group, kind=kind, namespace=namespace, name=name)
