"""What Flux would refuse, do otherwise or pass over if it took over again: one object in, findings out. Pure.

Measured against the CRDs and controllers of Flux 2.8 and 2.9. https://fluxcd.io/flux/components/
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from service.kinds.meta import PRUNE_BLOCKED, READY
from service.kinds.notification import FLUX_RECEIVER_TYPES, OWN_PROVIDER_TYPES, TYPE_ANNOTATION

OUR_DOMAIN = ".sluice.dev/"
Verb = Literal["refuses", "would delete", "does otherwise", "passes over"]
ORDER: tuple[Verb, ...] = ("would delete", "refuses", "does otherwise", "passes over")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing: Flux `verb` `what` of `object` (KIND/NS/NAME); `then`: what to do, "" where nothing needs to be."""

    object: str
    verb: Verb
    what: str
    then: str = ""

    def __str__(self) -> str:
        return f"{self.object}: Flux {self.verb} {self.what}" + (f"; {self.then}" if self.then else "")


def findings(object_: Mapping[str, Any], kind: str) -> tuple[Finding, ...]:
    """What there is to know of an object before Flux has it, the gravest first."""
    metadata = object_.get("metadata") or {}
    name = "/".join(filter(None, (kind, metadata.get("namespace"), metadata.get("name"))))
    spec = object_.get("spec") or {}
    made = [*_marks(name, metadata), *_OF_KIND.get(kind, _nothing)(name, object_, spec)]
    return tuple(sorted(made, key=lambda each: ORDER.index(each.verb)))


def of_definition(definition: Mapping[str, Any], newest: str) -> tuple[Finding, ...]:
    """What of a CustomResourceDefinition stands in the way of Flux's own, which serves the newest version alone."""
    name = f"CustomResourceDefinition/{definition['metadata']['name']}"
    stored = (definition.get("status") or {}).get("storedVersions") or ()
    old = [version for version in stored if version != newest]
    if not old:
        return ()
    then = "write each of its objects once (`flux migrate` does), then take these out of status.storedVersions"
    return (Finding(object=name, verb="refuses", what=f"to be installed while objects may be stored as {', '.join(old)}", then=then),)


def _marks(name: str, metadata: Mapping[str, Any]) -> Iterator[Finding]:
    for place in ("annotations", "labels"):
        for key in sorted(metadata.get(place) or {}):
            if OUR_DOMAIN in key and key != TYPE_ANNOTATION:
                yield Finding(object=name, verb="passes over", what=f"the {place.removesuffix('s')} {key}")


def _kustomization(name: str, object_: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterable[Finding]:
    status = object_.get("status") or {}
    ready: Mapping[str, Any] = next((each for each in status.get("conditions") or () if each.get("type") == READY), {})
    if ready.get("reason") == PRUNE_BLOCKED and spec.get("prune") and not spec.get("suspend"):
        count = len(str(ready.get("message", "")).splitlines()) - 1
        then = "put the files back, allow the prune, or suspend it"
        yield Finding(object=name, verb="would delete", what=f"what a blocked prune keeps ({count} or more objects)", then=then)
    if (spec.get("postBuild") or {}).get("substituteWith"):
        yield Finding(object=name, verb="refuses", what="the field spec.postBuild.substituteWith", then="use substitute")


def _receiver(name: str, object_: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterable[Finding]:
    told = ((object_.get("metadata") or {}).get("annotations") or {}).get(TYPE_ANNOTATION)
    kind = str(spec.get("type", ""))
    if kind not in FLUX_RECEIVER_TYPES:
        then = f"no type of Flux's understands {kind}; delete it, or name generic-hmac or generic"
        yield Finding(object=name, verb="refuses", what=f"the type {kind}", then=then)
    elif told and told != kind:
        yield Finding(
            object=name, verb="does otherwise", what=f"than {told}: it takes spec.type, {kind}", then="its senders may be refused"
        )


def _provider(name: str, object_: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterable[Finding]:
    told = ((object_.get("metadata") or {}).get("annotations") or {}).get(TYPE_ANNOTATION)
    kind = str(spec.get("type", ""))
    if kind in OWN_PROVIDER_TYPES:
        yield Finding(object=name, verb="refuses", what=f"the type {kind}", then="delete it, or send through generic")
    elif told and told != kind:
        yield Finding(object=name, verb="does otherwise", what=f"than {told}: it sends as spec.type, {kind}")


def _nothing(name: str, object_: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterable[Finding]:
    return ()


_OF_KIND = {"Kustomization": _kustomization, "Receiver": _receiver, "Provider": _provider}
