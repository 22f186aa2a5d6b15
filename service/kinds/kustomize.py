"""Kustomization, of the group kustomize.toolkit.fluxcd.io.

In: the JSON of v1, v1beta2 or v1beta1, through `codec.decode`. Out: the typed object, with the old versions'
patchesStrategicMerge and patchesJson6902 as they are: kustomize has a place of their own in its order for each.
The format: https://github.com/fluxcd/kustomize-controller/blob/main/docs/spec/v1/kustomizations.md
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Literal

from service.kinds.meta import KUSTOMIZE_GROUP, NO_REVISION, SOURCE_GROUP, Condition, Digest, Metadata, ObjectKey, Revision
from service.kinds.schema import GO_DURATION, Facts, Json

SHORTEST_TIMEOUT = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRef:
    """Names the source; without a namespace it is the Kustomization's."""

    kind: Annotated[
        str,
        Facts(
            "Kind of the source.",
            enum=("OCIRepository", "GitRepository", "Bucket", "ExternalArtifact"),
            honours="GitRepository|OCIRepository|Bucket|ExternalArtifact",
        ),
    ]
    name: Annotated[str, Facts("Name of the source.", segment=True)]
    namespace: Annotated[str | None, Facts("Namespace of the source; the Kustomization's by default.", segment=True)] = None
    api_version: Annotated[str, Facts("API version of the source, without effect.", verdict="ignored")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DependsOn:
    """Names a Kustomization that must be ready first."""

    name: Annotated[str, Facts("Name of the Kustomization.", segment=True)]
    namespace: Annotated[str | None, Facts("Namespace of the Kustomization; this one's by default.", segment=True)] = None
    ready_expr: Annotated[str, Facts("CEL expression that replaces the built-in check of readiness.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRef:
    """Names any object of the cluster; without an apiVersion it is one of apps/v1, as Flux reads it."""

    kind: Annotated[str, Facts("Kind of the object.")]
    name: Annotated[str, Facts("Name of the object.", segment=True)]
    namespace: Annotated[str | None, Facts("Namespace of the object; the Kustomization's by default.", segment=True)] = None
    api_version: Annotated[str, Facts("API version of the object.")] = "apps/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonMetadata:
    """Labels and annotations that every object gets."""

    labels: Annotated[Mapping[str, str], Facts("Labels for every object, they win over its own.")] = field(default_factory=dict, hash=False)
    annotations: Annotated[Mapping[str, str], Facts("Annotations for every object, they win over its own.")] = field(
        default_factory=dict, hash=False
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Which objects a patch is for: all conditions must hold, an empty one always holds."""

    group: Annotated[str, Facts("API group of the objects.")] = ""
    version: Annotated[str, Facts("Version inside the API group.")] = ""
    kind: Annotated[str, Facts("Kind of the objects.")] = ""
    name: Annotated[str, Facts("Regular expression of their names.")] = ""
    namespace: Annotated[str, Facts("Regular expression of their namespaces.")] = ""
    label_selector: Annotated[str, Facts("Selector of their labels.")] = ""
    annotation_selector: Annotated[str, Facts("Selector of their annotations.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """A strategic merge patch or a list of JSON6902 operations, as YAML text."""

    patch: Annotated[str, Facts("The patch as YAML text: an object, or a list of JSON6902 operations.")]
    target: Annotated[Selector | None, Facts("Which objects the patch is for.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonOperation:
    """One JSON6902 operation. https://datatracker.ietf.org/doc/html/rfc6902#section-4"""

    op: Annotated[str, Facts("What to do.", enum=("test", "remove", "add", "replace", "move", "copy"))]
    path: Annotated[str, Facts("JSON pointer of the place.")]
    source: Annotated[str | None, Facts("JSON pointer that move and copy take from.", name="from")] = None
    value: Annotated[Json, Facts("The value that add, replace and test need.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonPatch:
    """Operations and the objects that they are for."""

    patch: Annotated[tuple[JsonOperation, ...], Facts("The operations, in order.")]
    target: Annotated[Selector, Facts("Which objects the patch is for.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """How an image is renamed."""

    name: Annotated[str, Facts("Image name without tag.")]
    new_name: Annotated[str, Facts("Name that takes its place.")] = ""
    new_tag: Annotated[str, Facts("Tag that takes the old one's place.")] = ""
    digest: Annotated[str, Facts("Digest that takes the old tag's place, wins over newTag.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretKeyRef:
    """Names a Secret and a key in it."""

    name: Annotated[str, Facts("Name of the Secret.")]
    key: Annotated[str, Facts("Key in the Secret; value by default, then value.yaml.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeConfig:
    """Where the credentials of another cluster are."""

    secret_ref: Annotated[SecretKeyRef | None, Facts("Secret that holds a kubeconfig.")] = None
    config_map_ref: Annotated[str | None, Facts("ConfigMap that says how to log in with a cloud identity.", inside="name")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubstituteFrom:
    """Names a ConfigMap or Secret with variables."""

    kind: Annotated[str, Facts("Kind of the object with the values.", enum=("Secret", "ConfigMap"))]
    name: Annotated[str, Facts("Name of the object with the values, in the same namespace.", min_length=1, max_length=253)]
    optional: Annotated[bool, Facts("Whether the object may be missing.", default=False)] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PostBuild:
    """Substitution of variables in the built manifests."""

    substitute: Annotated[Mapping[str, str], Facts("Variables and their values.")] = field(default_factory=dict, hash=False)
    substitute_from: Annotated[tuple[SubstituteFrom, ...], Facts("ConfigMaps and Secrets with variables.")] = ()
    substitute_with: Annotated[
        str, Facts("The one variable to substitute. Without effect, as with Flux, which has no such field.", verdict="ignored")
    ] = ""
    substitute_strategy: Annotated[
        str, Facts("Whether to substitute where no variable is given at all.", enum=("WithVariables", "Always"))
    ] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decryption:
    """How encrypted manifests are read."""

    provider: Annotated[str, Facts("The engine that decrypts.", enum=("sops",))]
    secret_ref: Annotated[str | None, Facts("Secret with the private keys.", inside="name")] = None
    service_account_name: Annotated[str, Facts("ServiceAccount that authenticates to a cloud's key service.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheckExpr:
    """CEL expressions that say how objects of a kind are doing."""

    api_version: Annotated[str, Facts("API version of the objects.")]
    current: Annotated[str, Facts("CEL expression, true when the object is ready.")]
    kind: Annotated[str, Facts("Kind of the objects; without it the whole group.")] = ""
    in_progress: Annotated[str, Facts("CEL expression, true while the object is on its way.")] = ""
    failed: Annotated[str, Facts("CEL expression, true when the object has failed.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IgnoreRule:
    """Fields that are left to others."""

    paths: Annotated[tuple[str, ...], Facts("JSON pointers of the fields.")]
    target: Annotated[Selector | None, Facts("Which objects the rule is for; all by default.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KustomizationSpec:
    """The wanted state of a Kustomization. An `interval` of 0 means: never by time, as with Flux."""

    interval: Annotated[timedelta, Facts("How often drift is looked for, give or take some jitter.", pattern=GO_DURATION)]
    prune: Annotated[bool, Facts("Whether objects that left the source are deleted from the cluster.")]
    source_ref: Annotated[SourceRef, Facts("The source that is built.")]
    path: Annotated[str, Facts("Folder inside the source; its root by default.")] = ""
    retry_interval: Annotated[
        timedelta | None, Facts("How long after a failure to try again; interval by default.", pattern=GO_DURATION)
    ] = None
    timeout: Annotated[
        timedelta | None, Facts("Time limit of apply, deletion and health checks; interval by default.", pattern=GO_DURATION)
    ] = None
    suspend: Annotated[bool, Facts("Stops the reconciliation of this object.")] = False
    target_namespace: Annotated[str, Facts("Namespace that all objects are put into.", min_length=1, max_length=63)] = ""
    depends_on: Annotated[tuple[DependsOn, ...], Facts("Kustomizations that must be ready first.")] = ()
    wait: Annotated[bool, Facts("Waits until every applied object is healthy; healthChecks are ignored then.")] = False
    health_checks: Annotated[tuple[ObjectRef, ...], Facts("Objects that must be healthy.")] = ()
    force: Annotated[bool, Facts("Recreates objects whose immutable fields change.", default=False)] = False
    deletion_policy: Annotated[
        str,
        Facts(
            "What becomes of the objects when the Kustomization is deleted; MirrorPrune does what prune says.",
            enum=("MirrorPrune", "Delete", "WaitForTermination", "Orphan"),
            honours="MirrorPrune|Delete|WaitForTermination|Orphan",
        ),
    ] = "MirrorPrune"
    name_prefix: Annotated[str, Facts("Put before the names of all objects.", min_length=1, max_length=200)] = ""
    name_suffix: Annotated[str, Facts("Put behind the names of all objects.", min_length=1, max_length=200)] = ""
    common_metadata: Annotated[CommonMetadata | None, Facts("Labels and annotations for every object.")] = None
    components: Annotated[tuple[str, ...], Facts("Relative paths of kustomize components to add.")] = ()
    ignore_missing_components: Annotated[bool, Facts("Leaves out components whose path is not in the source.")] = False
    patches: Annotated[tuple[Patch, ...], Facts("Patches, after those of the kustomization.yaml.")] = ()
    images: Annotated[tuple[Image, ...], Facts("Images to rename, or to give another tag or digest.")] = ()
    patches_strategic_merge: Annotated[tuple[Mapping[str, Json], ...], Facts("Old versions' strategic merge patches, as objects.")] = ()
    patches_json6902: Annotated[tuple[JsonPatch, ...], Facts("Old versions' JSON6902 patches, as objects.", name="patchesJson6902")] = ()
    validation: Annotated[
        str, Facts("Old versions' choice of validation, without effect.", enum=("none", "client", "server"), verdict="ignored")
    ] = ""
    kube_config: Annotated[KubeConfig | None, Facts("Applies to another cluster.", verdict="refused")] = None
    service_account_name: Annotated[str, Facts("Applies as this ServiceAccount of the same namespace.")] = ""
    decryption: Annotated[Decryption | None, Facts("Decrypts manifests before they are applied.", verdict="refused")] = None
    post_build: Annotated[PostBuild | None, Facts("Substitutes variables in the built manifests.")] = None
    health_check_exprs: Annotated[
        tuple[HealthCheckExpr, ...], Facts("CEL expressions for the health of custom resources.", verdict="refused")
    ] = ()
    build_metadata: Annotated[
        tuple[Annotated[str, Facts("An option of kustomize.", enum=("originAnnotations", "transformerAnnotations"))], ...],
        Facts("Annotations that say where an object comes from."),
    ] = ()
    ignore: Annotated[tuple[IgnoreRule, ...], Facts("Fields that are left out of drift and apply.")] = ()

    @property
    def effective_timeout(self) -> timedelta:
        """Flux's limit: `timeout`, else interval less 30 s; never under 30 s."""
        return max(self.timeout if self.timeout is not None else self.interval - SHORTEST_TIMEOUT, SHORTEST_TIMEOUT)

    @property
    def effective_retry_interval(self) -> timedelta:
        """How long after a failure to try again."""
        return self.retry_interval if self.retry_interval is not None else self.interval

    @property
    def on_deletion(self) -> Literal["delete", "orphan"]:
        """What becomes of the objects when the Kustomization is deleted (a suspended one orphans them in any case)."""
        if self.deletion_policy == "MirrorPrune":
            return "delete" if self.prune else "orphan"
        return "delete" if self.deletion_policy in ("Delete", "WaitForTermination") else "orphan"


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryEntry:
    """One applied object."""

    id: Annotated[str, Facts("The object, as namespace_name_group_kind.")]
    v: Annotated[str, Facts("Version of its API.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """Reconciles with the same content and the same outcome."""

    digest: Annotated[Digest, Facts("Digest of the built manifests.")]
    first_reconciled: Annotated[datetime | None, Facts("When this content was first reconciled.")]
    last_reconciled: Annotated[datetime | None, Facts("When this content was last reconciled.")]
    last_reconciled_duration: Annotated[timedelta, Facts("How long the last reconcile took.")]
    last_reconciled_status: Annotated[str, Facts("Reason with which the last reconcile ended.")]
    total_reconciliations: Annotated[int, Facts("How many reconciles there were.")]
    metadata: Annotated[Mapping[str, str], Facts("What else is known, such as the revision.")] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotEntry:
    """Old versions' record of what was applied to one namespace."""

    namespace: Annotated[str, Facts("The namespace.")] = ""
    kinds: Annotated[Mapping[str, str], Facts("Kinds that were applied, by API version.")] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Old versions' record of what was applied."""

    checksum: Annotated[str, Facts("Checksum of the manifests.")] = ""
    entries: Annotated[tuple[SnapshotEntry, ...], Facts("What was applied, by namespace.")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KustomizationStatus:
    """The observed state of a Kustomization. `inventory` is None until something was applied."""

    observed_generation: Annotated[int, Facts("Generation that the last successful reconcile has seen.")] = -1
    conditions: Annotated[tuple[Condition, ...], Facts("What is known about the object.")] = ()
    last_applied_revision: Annotated[Revision, Facts("Revision that was applied last with success.")] = NO_REVISION
    last_applied_origin_revision: Annotated[str, Facts("Where the content of that revision comes from.")] = ""
    last_attempted_revision: Annotated[Revision, Facts("Revision of the last attempt.")] = NO_REVISION
    last_handled_reconcile_at: Annotated[str, Facts("The last requestedAt annotation that was handled.")] = ""
    inventory: Annotated[tuple[InventoryEntry, ...] | None, Facts("The objects that were applied.", inside="entries")] = None
    history: Annotated[tuple[HistoryEntry, ...], Facts("The last attempts, newest first.")] = ()
    snapshot: Annotated[Snapshot | None, Facts("Old versions' record of what was applied.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kustomization:
    """A folder of a source that is built and applied."""

    metadata: Metadata
    spec: KustomizationSpec
    status: KustomizationStatus = KustomizationStatus()
    api_version: str = f"{KUSTOMIZE_GROUP}/v1"

    @property
    def key(self) -> ObjectKey:
        """The name of this object in the cluster."""
        return ObjectKey(group=KUSTOMIZE_GROUP, kind="Kustomization", namespace=self.metadata.namespace, name=self.metadata.name)

    @property
    def source_key(self) -> ObjectKey:
        """The name of the source in the cluster."""
        ref = self.spec.source_ref
        return ObjectKey(group=SOURCE_GROUP, kind=ref.kind, namespace=ref.namespace or self.metadata.namespace, name=ref.name)

    @property
    def dependency_keys(self) -> tuple[ObjectKey, ...]:
        """The names of the Kustomizations that must be ready first."""
        return tuple(
            ObjectKey(group=KUSTOMIZE_GROUP, kind="Kustomization", namespace=each.namespace or self.metadata.namespace, name=each.name)
            for each in self.spec.depends_on
        )
