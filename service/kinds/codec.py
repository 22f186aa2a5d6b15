"""From the API server's JSON to the typed kinds, and what of a spec this version of sluice does not carry out.

In: one object as a dict, from our own CRDs or from Flux's, whose schema may be older, newer or looser than ours: nothing is taken
for granted. Out: the typed object in its newest form with all defaults, or `Invalid` with the path of the offending field. The formats
are named in `source.py`, `kustomize.py` and `notification.py`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from service.kinds.kustomize import Kustomization, fold_old_patches
from service.kinds.meta import Metadata, Revision, normal_revision, parse_duration, parse_time
from service.kinds.notification import Alert, Provider, Receiver
from service.kinds.schema import Facts, Invalid, is_model, named_properties, plain, properties_of, unwrap
from service.kinds.source import GitRepository
from service.kinds.table import BY_NAME, BY_TYPE, Kind

__all__ = ["Invalid", "decode", "refused_fields"]

T = TypeVar("T", GitRepository, Kustomization, Receiver, Alert, Provider)
_NO_FACTS = Facts("")
_SHOWN = 80


def decode(cls: type[T], obj: Mapping[str, Any]) -> T:
    """Return the typed form of an object of any served version.

    Unknown fields are passed over here: `refused_fields` names them. Raises Invalid where the object is not one of this kind, or where
    a field has another shape than Flux's CRDs say.
    """
    _mapping(obj, "object")
    hints = get_type_hints(cls)
    raw = _mapping(obj.get("spec"), "spec")
    spec = _model(hints["spec"], raw, "spec")
    if cls is Kustomization:
        spec = fold_old_patches(spec, raw)
    if cls is Receiver and spec.secret_ref is None and spec.type != "generic-oidc":
        raise Invalid("spec.secretRef", f"is missing: a Receiver of the type {spec.type} needs a Secret with the key token")
    return cls(
        metadata=_metadata(_mapping(obj.get("metadata"), "metadata")),
        spec=spec,
        status=_newest_status(_model(hints["status"], _mapping(obj.get("status") or {}, "status"), "status")),
        api_version=_api_version(BY_TYPE[cls], obj),
    )


def refused_fields(obj: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the spec fields that the object sets and this version of sluice does not carry out, such as `spec.verify`.

    Also named: fields that sluice does not know, values that it does not carry out (`spec.sourceRef.kind`) and fields of list entries
    (`spec.dependsOn[0].readyExpr`). False, "", [] and null are not set. Raises Invalid where the object does not say that it is of a kind
    that sluice serves: no answer would be a safe one.
    """
    group, name = str(obj.get("apiVersion", "")).partition("/")[0], str(obj.get("kind", ""))
    kind = BY_NAME.get((group, name))
    if kind is None:
        raise Invalid("kind", f"{_shown(name)} of the group {_shown(group)} is not served")
    return tuple(_refused(get_type_hints(kind.type)["spec"], obj.get("spec"), "spec"))


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
        raise Invalid("apiVersion", f"{_shown(version)} is not served, use {kind.api_version}")
    if name != kind.kind:
        raise Invalid("kind", f"{_shown(name)} is not {kind.kind}")
    return str(version)


def _metadata(raw: Mapping[str, Any]) -> Metadata:
    def text(name: str) -> str:
        value: str = _string(raw[name], f"metadata.{name}") if raw.get(name) is not None else ""
        return value

    def time(name: str) -> datetime | None:
        return _time(raw[name], f"metadata.{name}") if raw.get(name) is not None else None

    finalizers = _list(raw.get("finalizers") or [], "metadata.finalizers")
    return Metadata(
        name=_segment(text("name"), "metadata.name"),
        namespace=_segment(namespace, "metadata.namespace") if (namespace := text("namespace")) else "",
        uid=text("uid"),
        generation=_integer(raw.get("generation") or 0, "metadata.generation"),
        resource_version=text("resourceVersion"),
        labels=_strings(raw.get("labels") or {}, "metadata.labels"),
        annotations=_strings(raw.get("annotations") or {}, "metadata.annotations"),
        finalizers=tuple(_string(each, f"metadata.finalizers[{at}]") for at, each in enumerate(finalizers)),
        deletion_timestamp=time("deletionTimestamp"),
        creation_timestamp=time("creationTimestamp"),
    )


def _newest_status(status: Any) -> Any:
    """Fill what old versions wrote under another name."""
    if getattr(status, "url", "") and hasattr(status, "webhook_path") and not status.webhook_path:
        return replace(status, webhook_path=status.url)
    artifact = getattr(status, "artifact", None)
    if artifact is not None and artifact.checksum and not artifact.digest:
        return replace(status, artifact=replace(artifact, digest=f"sha256:{artifact.checksum}"))
    return status


def _model(cls: Any, raw: Any, path: str) -> Any:
    raw = _mapping(raw, path)
    values = {}
    for prop in properties_of(cls):
        value, here = raw.get(prop.name), f"{path}.{prop.name}"
        if value is not None and prop.facts.inside is not None:
            value, here = _mapping(value, here).get(prop.facts.inside), f"{here}.{prop.facts.inside}"
            if value is None:
                raise Invalid(here, "is missing")
        if value == "" and not prop.required and prop.facts.inside is None and plain(prop.type) is str:
            continue  # Go reads no difference between an empty text and none
        if value is not None:
            values[prop.attribute] = _value(prop.type, value, here, prop.facts)
        elif prop.required and not prop.optional:
            raise Invalid(here, "is missing")
        elif prop.required:
            values[prop.attribute] = None
    return cls(**values)


def _value(form: Any, raw: Any, path: str, facts: Facts = _NO_FACTS) -> Any:
    form, origin = plain_revision(form), get_origin(form)
    if is_model(form):
        return _model(form, raw, path)
    if origin is tuple:
        inner, inner_facts = unwrap(get_args(form)[0])
        return tuple(_value(inner, each, f"{path}[{at}]", inner_facts or _NO_FACTS) for at, each in enumerate(_list(raw, path)))
    if origin is Literal:
        return _one_of(get_args(form), _string(raw, path), path)
    if origin is not None:  # Mapping[str, X] is the only other generic form
        return _strings(raw, path) if get_args(form)[1] is str else _mapping(raw, path)
    if form is Any:
        return raw
    value = _SCALARS[form](raw, path)
    return _checked(value, path, facts) if form is str else value


def plain_revision(form: Any) -> Any:
    """Revisions keep their own type, since old forms of them are read too; other NewTypes are what they stand for."""
    return form if form is Revision else plain(form)


def _checked(value: str, path: str, facts: Facts) -> str:
    if facts.enum and facts.honours is None:  # other values of such a field are refused, newer ones of Flux too
        _one_of(facts.enum, value, path)
    if facts.pattern is not None and re.search(facts.pattern, value) is None:
        raise Invalid(path, f"{_shown(value)} does not match {facts.pattern}")
    if facts.max_length is not None and len(value) > facts.max_length:
        raise Invalid(path, f"has {len(value)} characters, at most {facts.max_length} are allowed")
    return _segment(value, path) if facts.segment or facts.inside == "name" else value


def _segment(value: str, path: str) -> str:
    """Names end up in the paths of requests, where an empty one or one with a slash would ask for something else."""
    if not value:
        raise Invalid(path, "is missing")
    if value in (".", "..") or "/" in value or "%" in value:
        raise Invalid(path, f"{_shown(value)} is not a name")
    return value


def _one_of(allowed: tuple[str, ...], value: str, path: str) -> str:
    if value not in allowed:
        raise Invalid(path, f"{_shown(value)} is not one of {', '.join(allowed)}")
    return value


def _mapping(raw: Any, path: str) -> Mapping[str, Any]:
    if raw is None:
        raise Invalid(path, "is missing")
    if not isinstance(raw, Mapping) or not all(isinstance(each, str) for each in raw):
        raise Invalid(path, "must be an object")
    return raw


def _list(raw: Any, path: str) -> list[Any]:
    if not isinstance(raw, list):
        raise Invalid(path, "must be a list")
    return raw


def _strings(raw: Any, path: str) -> dict[str, str]:
    return {name: _string(value, f"{path}.{name}") for name, value in _mapping(raw, path).items()}


def _string(raw: Any, path: str) -> str:
    if not isinstance(raw, str):
        raise Invalid(path, "must be a string; put it in quotes" if isinstance(raw, bool | int | float) else "must be a string")
    return raw


def _boolean(raw: Any, path: str) -> bool:
    if not isinstance(raw, bool):
        raise Invalid(path, "must be true or false")
    return raw


def _integer(raw: Any, path: str) -> int:
    if not isinstance(raw, int) or isinstance(raw, bool):
        raise Invalid(path, "must be a whole number")
    return raw


def _duration(raw: Any, path: str) -> timedelta:
    try:
        value = parse_duration(_string(raw, path))
    except ValueError as error:
        raise Invalid(path, str(error)) from error
    if value < timedelta(0):
        raise Invalid(path, f"{_shown(raw)} is negative")
    return value


def _time(raw: Any, path: str) -> datetime:
    try:
        return parse_time(_string(raw, path))
    except ValueError as error:
        raise Invalid(path, f"{_shown(raw)} is not a time, write it like 2026-01-31T12:00:00Z") from error


def _shown(value: Any) -> str:
    return repr(value)[:_SHOWN]


_SCALARS: dict[Any, Callable[[Any, str], Any]] = {
    str: _string,
    bool: _boolean,
    int: _integer,
    timedelta: _duration,
    datetime: _time,
    Revision: lambda raw, path: normal_revision(_string(raw, path)),
}
