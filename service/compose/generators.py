"""Which ArtifactGenerators run when something moves: a source that they are made from, or an ExternalArtifact that is theirs."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from service.cluster.watch import Change
from service.kinds.codec import Invalid, decode
from service.kinds.generator import ArtifactGenerator
from service.kinds.meta import GENERATOR, SOURCE_GROUP, ObjectKey
from service.reconcile.queue import CHANGE, Trigger
from service.sources.generator import generator_of
from service.sources.published import Published
from service.sources.tarball import MISSED

Add = Callable[..., None]
"""Queue.add."""
Raw = Mapping[str, Any]


class Generators:
    """`objects` are all ArtifactGenerators as the API server holds them, `artifacts` all ExternalArtifacts; `runs`: generators are
    reconciled in this process."""

    def __init__(
        self,
        *,
        objects: Mapping[tuple[str, str], Raw],
        artifacts: Mapping[tuple[str, str], Raw],
        published: Published,
        add: Add,
        runs: bool,
    ) -> None:
        self._artifacts = artifacts
        self._published = published
        self._objects = objects
        self._add = add
        self._runs = runs
        self._sources: dict[ObjectKey, tuple[ObjectKey, ...]] = {}
        self._consumers: dict[ObjectKey, set[ObjectKey]] = defaultdict(set)

    def seen(self, key: ObjectKey, object_: Raw | None) -> None:
        """A generator appeared, changed, or (None) is gone."""
        for source in self._sources.pop(key, ()):
            self._consumers[source].discard(key)
            if not self._consumers[source]:
                del self._consumers[source]
        if object_ is None:
            return
        try:
            self._sources[key] = tuple(decode(ArtifactGenerator, object_).source_keys.values())
        except Invalid:
            return
        for source in self._sources[key]:
            self._consumers[source].add(key)

    def moved(self, source: ObjectKey, triggers: Iterable[Trigger]) -> None:
        """A source has something new: its generators look, each with the traces of what caused it."""
        if not self._runs:
            return
        traces = dict.fromkeys(trigger.trace for trigger in triggers) or {"": None}
        for key in sorted(self._consumers.get(source, ())):
            for trace in traces:
                self._add(key, trigger=Trigger(reason="source", trace=trace), priority=CHANGE)

    def chart_changed(self, change: Change) -> None:
        """A HelmChart: its archive is not published, so its status is the news."""
        if _artifact(change.object) != _artifact(change.old or {}):
            self.moved(_key(change.object, "HelmChart"), ())

    def artifact_changed(self, change: Change) -> None:
        """An ExternalArtifact of one of ours was deleted or written by somebody else: it is made again."""
        generator = generator_of(change.object) if self.made_here(change.object) else None
        if generator is None or change.old is None:
            return
        snapshot = self._published.get(_key(change.object, "ExternalArtifact"))
        if change.type == "DELETED" or snapshot is None or (_artifact(change.object) or {}).get("revision") != snapshot.revision:
            self._add(generator, trigger=Trigger(reason="artifact"), priority=CHANGE)

    def missed(self, artifact: ObjectKey) -> bool:
        """A consumer misses objects of an ExternalArtifact; returns whether it is of a generator of ours, which then makes it anew."""
        raw = self._artifacts.get((artifact.namespace, artifact.name)) if artifact.kind == "ExternalArtifact" else None
        generator = generator_of(raw) if raw is not None and self.made_here(raw) else None
        if generator is not None:
            self._add(generator, trigger=Trigger(reason=MISSED), priority=CHANGE)
        return generator is not None

    def made_here(self, artifact: Raw) -> bool:
        """Whether an ExternalArtifact is of a generator that is there and runs in this process."""
        generator = generator_of(artifact) if self._runs else None
        raw = self._objects.get((generator.namespace, generator.name)) if generator is not None else None
        labels = (artifact.get("metadata") or {}).get("labels") or {}
        return raw is not None and raw["metadata"].get("uid") == labels.get(GENERATOR)


def _artifact(raw: Raw) -> Any:
    return (raw.get("status") or {}).get("artifact")


def _key(raw: Raw, kind: str) -> ObjectKey:
    metadata = raw["metadata"]
    return ObjectKey(group=SOURCE_GROUP, kind=kind, namespace=metadata.get("namespace", ""), name=metadata["name"])
