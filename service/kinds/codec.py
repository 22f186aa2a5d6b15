"""From the API server's JSON to the typed kinds, and what of a spec this version of sluice does not carry out.

In: one object as a dict, from our own CRDs or from Flux's, whose schema may be older, newer or looser than ours: nothing is taken
for granted. Out: the typed object in its newest form with all defaults, or `Invalid` with the path of the offending field. The formats
are named in `source.py`, `kustomize.py` and `notification.py`.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any, Protocol, TypeVar, get_args, get_origin, get_type_hints

from service.kinds.meta import Metadata
from service.kinds.notification import RECEIVER_TYPES, TYPE_ANNOTATION, Provider, Receiver
from service.kinds.schema import Facts, Invalid, is_model, named_properties, unwrap
from service.kinds.shape import Reader, read_mapping, reader, shown
from service.kinds.table import BY_NAME, BY_TYPE, Kind

__all__ = ["Invalid", "decode", "refused_fields"]


class Object(Protocol):
    """A typed object of any kind of the table."""

    def __init__(self, *, metadata: Metadata, spec: Any, status: Any, api_version: str) -> None: ...


T = TypeVar("T", bound=Object)


def decode(cls: type[T], obj: Mapping[str, Any]) -> T:
    """Return the typed form of an object of any served version.

    Unknown fields are passed over here: `refused_fields` names them. Raises Invalid where the object is not one of this kind, or where
    a field has another shape than Flux's CRDs say.
    """
    kind = BY_TYPE[cls]
    parts = _parts(kind)
    version = _api_version(kind, _read("object", read_mapping, obj))
    spec = _read("spec", parts["spec"], obj.get("spec"))
    metadata = _read("metadata", parts["metadata"], obj.get("metadata"))
    if cls is Receiver:
        spec = _typed_receiver(spec, metadata.annotations)
    if cls is Provider:
        spec = replace(spec, type=metadata.annotations.get(TYPE_ANNOTATION) or spec.type)
    return cls(
        metadata=metadata,
        spec=spec,
        status=_newest_status(_read("status", parts["status"], obj.get("status") or {})),
        api_version=version,
    )


def refused_fields(obj: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the spec fields that the object sets and this version of sluice does not carry out, such as `spec.verify`.

    Also named: fields that sluice does not know, values that it does not carry out (`spec.sourceRef.kind`) and fields of list entries
    (`spec.dependsOn[0].someField`). False, "", [] and null are not set. Raises Invalid where the object does not say that it is of a kind
    that sluice serves: no answer would be a safe one.
    """
    group, name = str(obj.get("apiVersion", "")).partition("/")[0], str(obj.get("kind", ""))
    kind = BY_NAME.get((group, name))
    if kind is None:
        raise Invalid("kind", f"{shown(name)} of the group {shown(group)} is not served")
    return tuple(_refused(_hints(kind)["spec"], obj.get("spec"), "spec"))


def _typed_receiver(spec: Any, annotations: Mapping[str, str]) -> Any:
    """Take the type from the annotation where there is one, which wins. Raises Invalid."""
    annotated = annotations.get(TYPE_ANNOTATION, "")
    if annotated and annotated not in RECEIVER_TYPES:
        raise Invalid(f"metadata.annotations[{TYPE_ANNOTATION}]", f"{shown(annotated)} is not one of {', '.join(RECEIVER_TYPES)}")
    spec = replace(spec, type=annotated or spec.type)
    if spec.type == "generic-oidc":
        _check_oidc(spec)
    elif spec.secret_ref is None:
        raise Invalid("spec.secretRef", f"is missing: a Receiver of the type {spec.type} needs a Secret with the key token")
    elif spec.oidc_providers:
        raise Invalid("spec.oidcProviders", "can only be set with the type generic-oidc")
    return spec


def _check_oidc(spec: Any) -> None:
    """The rules of Flux's CRD, which an older one does not have. Raises Invalid."""
    urls = [provider.issuer_url for provider in spec.oidc_providers]
    if not urls:
        raise Invalid("spec.oidcProviders", "is missing: a Receiver of the type generic-oidc must define at least one issuer")
    if len(set(urls)) < len(urls):
        raise Invalid("spec.oidcProviders", "names an issuerURL twice")
    if spec.secret_ref is not None:
        raise Invalid("spec.secretRef", "cannot be set with the type generic-oidc, whose callers show a token of their own")


@cache
def _hints(kind: Kind) -> dict[str, Any]:
    return get_type_hints(kind.type)


@cache
def _parts(kind: Kind) -> dict[str, Reader]:
    return {name: reader(_hints(kind)[name]) for name in ("metadata", "spec", "status")}


def _read(name: str, part: Reader, raw: Any) -> Any:
    try:
        return part(raw)
    except Invalid as error:
        raise error.below(name) from error.__cause__


def _refused(form: Any, value: Any, path: str) -> list[str]:
    """Walk a value along its type; what does not have its shape is left to decode."""
    if get_origin(form) is tuple and isinstance(value, list):
        inner = unwrap(get_args(form)[0])[0]
        return [found for at, each in enumerate(value) for found in _refused(inner, each, f"{path}[{at}]")]
    if not is_model(form) or not isinstance(value, dict):
        return []
    known, found = named_properties(form), []
    for name, each in value.items():
        here = f"{path}.{name}"
        if each is None or each is False or each in ("", []):
            continue
        prop = known.get(name)
        if prop is None or prop.facts.verdict == "refused" or not _carried_out(prop.facts, each):
            found.append(here)
        elif prop.facts.verdict == "honoured":
            found.extend(_refused_inside(prop.facts, each, here) if prop.facts.inside else _refused(prop.type, each, here))
    return found


def _carried_out(facts: Facts, value: Any) -> bool:
    return facts.honours is None or not isinstance(value, str) or re.fullmatch(facts.honours, value, re.DOTALL) is not None


def _refused_inside(facts: Facts, value: Any, path: str) -> list[str]:
    return [f"{path}.{name}" for name in value if name != facts.inside] if isinstance(value, dict) else []


def _api_version(kind: Kind, obj: Mapping[str, Any]) -> str:
    """List items of some servers leave apiVersion and kind out, so only what stands there is checked."""
    version, name = obj.get("apiVersion", kind.api_version), obj.get("kind", kind.kind)
    if version not in [f"{kind.group}/{each}" for each in kind.versions]:
        raise Invalid("apiVersion", f"{shown(version)} is not served, use {kind.api_version}")
    if name != kind.kind:
        raise Invalid("kind", f"{shown(name)} is not {kind.kind}")
    return str(version)


def _newest_status(status: Any) -> Any:
    """Fill what old versions wrote under another name."""
    if getattr(status, "url", "") and hasattr(status, "webhook_path") and not status.webhook_path:
        return replace(status, webhook_path=status.url)
    artifact = getattr(status, "artifact", None)
    if artifact is not None and artifact.checksum and not artifact.digest:
        return replace(status, artifact=replace(artifact, digest=f"sha256:{artifact.checksum}"))
    return status
