"""ArtifactGenerator, of the group source.extensions.fluxcd.io: ExternalArtifacts put together from parts of sources.

In: the JSON of v1beta1, through `codec.decode`. Out: the typed object.
The format: https://github.com/fluxcd/source-watcher/blob/main/docs/spec/v1beta1/artifactgenerators.md
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from service.kinds.kustomize import CommonMetadata
from service.kinds.meta import EXTENSIONS_GROUP, SOURCE_GROUP, Condition, Metadata, ObjectKey
from service.kinds.schema import Facts, Json

_ALIAS = r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?"
_STEP = r"([^/]{0,1}|[^./][^/]|[.][^./]|[^/]{3,})"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReference:
    """A source that artifacts are made from."""

    alias: Annotated[str, Facts("Name by which copies refer to it.", pattern=f"^{_ALIAS}$", max_length=63)]
    kind: Annotated[str, Facts("Kind of the source.", enum=("Bucket", "GitRepository", "OCIRepository", "HelmChart", "ExternalArtifact"))]
    name: Annotated[str, Facts("Name of the source.", pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=253)]
    namespace: Annotated[
        str, Facts("Namespace of the source, the generator's own by default.", pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)
    ] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOperation:
    """What is copied where."""

    source: Annotated[
        str, Facts("`@alias/path`, where the path may be a pattern.", name="from", pattern=f"^@({_ALIAS})/(.*)$", max_length=1024)
    ]
    to: Annotated[
        str, Facts("`@artifact/path`; with a slash at its end a directory.", pattern=f"^@artifact/{_STEP}(/{_STEP})*$", max_length=1024)
    ]
    exclude: Annotated[tuple[str, ...], Facts("Patterns of what is not copied.")] = ()
    strategy: Annotated[
        str, Facts("Later files replace earlier ones, YAML is merged, or tarballs are extracted.", enum=("Overwrite", "Merge", "Extract"))
    ] = ""
    optional: Annotated[bool, Facts("Whether there may be nothing to copy.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputArtifact:
    """One ExternalArtifact that is made."""

    name: Annotated[str, Facts("Name of the ExternalArtifact; may hold captures of pathPattern, such as {app}.", max_length=1024)]
    copy: Annotated[tuple[CopyOperation, ...], Facts("Copies, carried out in this order.", min_items=1)]
    namespace: Annotated[str, Facts("Namespace of the ExternalArtifact.", verdict="refused", max_length=1024)] = ""
    inputs_from: Annotated[str, Facts("YAML file that is shown in the ExternalArtifact's status.", verdict="refused", max_length=1024)] = ""
    revision: Annotated[
        str,
        Facts("`@alias`: the artifact has the source's revision; that of its content by default.", pattern=f"^@({_ALIAS})$", max_length=64),
    ] = ""
    origin_revision: Annotated[
        str, Facts("`@alias`: the source's revision is put into the artifact's metadata.", pattern=f"^@({_ALIAS})$", max_length=64)
    ] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactGeneratorSpec:
    """What is made, of what."""

    sources: Annotated[tuple[SourceReference, ...], Facts("Sources that artifacts are made from.", min_items=1)]
    output_artifacts: Annotated[tuple[OutputArtifact, ...], Facts("ExternalArtifacts that are made.", name="artifacts", min_items=1)]
    path_pattern: Annotated[
        str,
        Facts("`@alias/apps/{app}`: the artifacts are made for each directory that fits.", pattern=f"^@({_ALIAS})/(.*)$", max_length=1024),
    ] = ""
    common_metadata: Annotated[CommonMetadata | None, Facts("Labels and annotations for what is made.")] = None
    service_account_name: Annotated[str, Facts("ServiceAccount whose rights decide where is written.", verdict="refused")] = ""
    managed_namespaces: Annotated[Json, Facts("Namespaces that are made for the artifacts.", verdict="refused")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryEntry:
    """One object that was made."""

    name: Annotated[str, Facts("Name of the object.")]
    digest: Annotated[str, Facts("Digest of the artifact.")]
    kind: Annotated[str, Facts("Kind of the object.", enum=("ExternalArtifact", "Namespace"))] = ""
    namespace: Annotated[str, Facts("Namespace of the object.")] = ""
    filename: Annotated[str, Facts("Name of the artifact's file.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactGeneratorStatus:
    """The observed state of an ArtifactGenerator."""

    conditions: Annotated[tuple[Condition, ...], Facts("What is known about the object.")] = ()
    inventory: Annotated[tuple[InventoryEntry, ...], Facts("What was made.")] = ()
    observed_sources_digest: Annotated[str, Facts("Hash of the sources that the artifacts were made from.")] = ""
    last_handled_reconcile_at: Annotated[str, Facts("The last requestedAt annotation that was handled.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactGenerator:
    """Puts ExternalArtifacts together from parts of sources."""

    metadata: Metadata
    spec: ArtifactGeneratorSpec
    status: ArtifactGeneratorStatus = ArtifactGeneratorStatus()
    api_version: str = f"{EXTENSIONS_GROUP}/v1beta1"

    @property
    def key(self) -> ObjectKey:
        """The name of this object in the cluster."""
        return ObjectKey(group=EXTENSIONS_GROUP, kind="ArtifactGenerator", namespace=self.metadata.namespace, name=self.metadata.name)

    @property
    def source_keys(self) -> Mapping[str, ObjectKey]:
        """The sources by their aliases."""
        return {
            each.alias: ObjectKey(group=SOURCE_GROUP, kind=each.kind, namespace=each.namespace or self.metadata.namespace, name=each.name)
            for each in self.spec.sources
        }
