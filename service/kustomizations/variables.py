"""What `spec.postBuild` substitutes: the object in, the values out, with a token that says which ConfigMaps and Secrets they came from.

Each source is read once a run, with sluice's own rights and in the object's own namespace, as Flux reads it. The token (uid and
resourceVersion of each) is part of a run's basis: while it stands, a push may move the object without a run. No value is kept.
https://fluxcd.io/flux/components/kustomize/kustomizations/#post-build-variable-substitution
"""

import base64
import binascii
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from service.cluster.client import ApiError, Cluster
from service.kinds.kustomize import Kustomization, SubstituteFrom
from service.kinds.meta import BUILD_FAILED
from service.kustomizations.postbuild import Substitution
from service.reconcile.namedwatches import RESOURCES, Named, Naming
from service.reconcile.outcome import Failed

READ_TIMEOUT = timedelta(seconds=10)
FRESH = timedelta(seconds=1)
_PLURALS = {"ConfigMap": "configmaps", "Secret": "secrets"}
_MASK_FROM = 4  # shorter values stand in every text by chance


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What a run substitutes with. `secret` are the values that must not be told."""

    substitution: Substitution | None = None
    token: str = ""
    secret: frozenset[str] = field(default=frozenset(), repr=False)

    def masked(self, text: str) -> str:
        """The text without the Secrets' values, as an API server may quote them in its answer."""
        for value in sorted(self.secret, key=len, reverse=True):
            text = text.replace(value, "*****")
        return text


class Variables:
    """Reads the sources of variables. `strict`: a variable that is not set and has no default fails the build."""

    def __init__(self, cluster: Cluster, *, strict: bool = False) -> None:
        self._cluster = cluster
        self._strict = strict
        self._tokens: dict[str, tuple[float, str, str]] = {}

    async def load(self, found: Kustomization) -> Loaded:
        """Raises Failed (BuildFailed) where a source that is not optional is missing or may not be read, ApiAway."""
        spec = found.spec.post_build
        if spec is None:
            return Loaded()
        values: dict[str, str] = {}
        tokens: list[str] = []
        secret: set[str] = set()
        for source in spec.substitute_from:
            body = await self._source(found, source)
            tokens.append(_token(source, body))
            if body is None:
                continue
            data = {key: _text(source, value).replace("\n", "") for key, value in (body.get("data") or {}).items()}
            values |= data
            if source.kind == "Secret":
                secret |= {value for value in data.values() if len(value) >= _MASK_FROM}
        values |= {key: value.replace("\n", "") for key, value in spec.substitute.items()}
        always = spec.substitute_strategy == "Always"
        return Loaded(
            substitution=Substitution(values=values, strict=self._strict, always=always),
            token=self._joined(tokens),
            secret=frozenset(secret),
        )

    async def token(self, found: Kustomization, *, revision: str) -> str:
        """The token that `load` would give. Asks for metadata only, once a moment for each source and revision.

        Raises ApiError, ApiAway."""
        spec = found.spec.post_build
        if spec is None:
            return ""
        return self._joined([await self._seen(found, source, revision) for source in spec.substitute_from])

    def changed(self) -> None:
        """A source has changed: nothing that was seen before counts."""
        self._tokens.clear()

    def _joined(self, tokens: Iterable[str]) -> str:
        return " ".join(["strict" if self._strict else "loose", *tokens])

    async def _seen(self, found: Kustomization, source: SubstituteFrom, revision: str) -> str:
        path, now = _path(found, source), time.monotonic()
        at, of_revision, token = self._tokens.get(path, (0.0, "", ""))
        if token and of_revision == revision and now - at < FRESH.total_seconds():
            return token
        try:
            token = _token(source, (await self._cluster.metadata(path, timeout=READ_TIMEOUT)).body)
        except ApiError as error:
            if not error.not_found:
                raise
            token = _token(source, None)
        self._tokens[path] = (now, revision, token)
        return token

    async def _source(self, found: Kustomization, source: SubstituteFrom) -> Mapping[str, Any] | None:
        try:
            return (await self._cluster.request("GET", _path(found, source), timeout=READ_TIMEOUT)).body
        except ApiError as error:
            if error.not_found and source.optional:
                return None
            raise Failed(BUILD_FAILED, f"post build failed: substitute from '{source.kind}/{source.name}' error: {error}") from error


def sources_of(object_: Mapping[str, Any] | None) -> frozenset[Named]:
    """What a Kustomization as it came from the API substitutes from; nothing for one that is gone, suspended or cannot be read."""
    spec = (object_ or {}).get("spec") or {}
    named = (spec.get("postBuild") or {}).get("substituteFrom") or ()
    if object_ is None or spec.get("suspend"):
        return frozenset()
    space = object_["metadata"].get("namespace", "")
    return frozenset(Named(str(each.get("kind")), space, str(each.get("name"))) for each in named if each.get("kind") in RESOURCES)


SUBSTITUTED = Naming(what="variables", of=sources_of, reason="VariablesNotWatched", controller="kustomize-controller")


def users_of(objects: Iterable[Mapping[str, Any]], source: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    """The Kustomizations that substitute from a ConfigMap or Secret."""
    space, name = source["metadata"].get("namespace"), source["metadata"]["name"]
    return [each for each in objects if each["metadata"].get("namespace") == space and _uses(each, kind, name)]


def _uses(object_: Mapping[str, Any], kind: str, name: str) -> bool:
    sources = ((object_.get("spec") or {}).get("postBuild") or {}).get("substituteFrom") or ()
    return any(each.get("kind") == kind and each.get("name") == name for each in sources)


def _path(found: Kustomization, source: SubstituteFrom) -> str:
    return f"/api/v1/namespaces/{quote(found.metadata.namespace, safe='')}/{_PLURALS[source.kind]}/{quote(source.name, safe='')}"


def _token(source: SubstituteFrom, body: Mapping[str, Any] | None) -> str:
    if body is None:
        return f"{source.kind}/{source.name}=-"
    metadata = body["metadata"]
    return f"{source.kind}/{source.name}={metadata.get('uid')}@{metadata.get('resourceVersion')}"


def _text(source: SubstituteFrom, value: str) -> str:
    read: Callable[[str], str] = _decoded if source.kind == "Secret" else str
    return read(value)


def _decoded(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode(errors="replace")
    except (binascii.Error, ValueError):
        return ""
