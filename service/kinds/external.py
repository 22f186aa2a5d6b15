"""ExternalArtifact, of the group source.toolkit.fluxcd.io: an artifact that somebody else has made and serves.

In: the JSON of v1, through `codec.decode`. Out: the typed object.
The format: https://github.com/fluxcd/source-controller/blob/main/docs/spec/v1/externalartifacts.md
"""

from dataclasses import dataclass
from typing import Annotated

from service.kinds.meta import SOURCE_GROUP, Condition, Metadata, ObjectKey
from service.kinds.schema import Facts
from service.kinds.source import Artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeFrom:
    """The object that the artifact is made from, for people."""

    kind: Annotated[str, Facts("Kind of the object.")]
    name: Annotated[str, Facts("Name of the object.")]
    api_version: Annotated[str, Facts("API version of the object.")] = ""
    namespace: Annotated[str, Facts("Namespace of the object.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalArtifactSpec:
    """Nothing that is wanted: the status is what counts."""

    source_ref: Annotated[MadeFrom | None, Facts("What the artifact is made from.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalArtifactStatus:
    """What its maker says."""

    conditions: Annotated[tuple[Condition, ...], Facts("What is known about the object.")] = ()
    artifact: Annotated[Artifact | None, Facts("The newest artifact.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalArtifact:
    """An artifact that a third party has made, for others to build from."""

    metadata: Metadata
    spec: ExternalArtifactSpec = ExternalArtifactSpec()
    status: ExternalArtifactStatus = ExternalArtifactStatus()
    api_version: str = f"{SOURCE_GROUP}/v1"

    @property
    def key(self) -> ObjectKey:
        """The name of this object in the cluster."""
        return ObjectKey(group=SOURCE_GROUP, kind="ExternalArtifact", namespace=self.metadata.namespace, name=self.metadata.name)
