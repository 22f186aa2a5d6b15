"""What all kinds share: object keys, metadata, conditions, revisions, and Flux's names for reasons, annotations and labels.

In: nothing. Out: small values that every room uses. The strings are Flux's own, so that its CLI and other tools read our objects:
https://github.com/fluxcd/pkg/tree/main/apis/meta and the `*_types.go` of its controllers.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Literal, NewType

from service.kinds.duration import format_duration as format_duration
from service.kinds.duration import parse_duration as parse_duration
from service.kinds.schema import Facts

Revision = NewType("Revision", str)
Digest = NewType("Digest", str)

NO_REVISION, NO_DIGEST = Revision(""), Digest("")

SOURCE_GROUP = "source.toolkit.fluxcd.io"
EXTENSIONS_GROUP = "source.extensions.fluxcd.io"
KUSTOMIZE_GROUP = "kustomize.toolkit.fluxcd.io"
NOTIFICATION_GROUP = "notification.toolkit.fluxcd.io"

# annotations, labels, finalizers, field managers
REQUESTED_AT = "reconcile.fluxcd.io/requestedAt"
FORCE_AT = "reconcile.fluxcd.io/forceAt"
RESET_AT = "reconcile.fluxcd.io/resetAt"
WATCH_LABEL = "reconcile.fluxcd.io/watch"
FINALIZER = "finalizers.fluxcd.io"
GENERATOR_FINALIZER = "source.extensions.fluxcd.io/finalizer"
GENERATOR = "source.extensions.fluxcd.io/generator"
GENERATOR_RECONCILE = "source.extensions.fluxcd.io/reconcile"
GENERATOR_EVERY = "source.extensions.fluxcd.io/reconcileEvery"
OWNER_NAME = "kustomize.toolkit.fluxcd.io/name"
OWNER_NAMESPACE = "kustomize.toolkit.fluxcd.io/namespace"
RECONCILE = "kustomize.toolkit.fluxcd.io/reconcile"
SSA = "kustomize.toolkit.fluxcd.io/ssa"
FORCE = "kustomize.toolkit.fluxcd.io/force"
PRUNE = "kustomize.toolkit.fluxcd.io/prune"
SUBSTITUTE = "kustomize.toolkit.fluxcd.io/substitute"
DECRYPT = "kustomize.toolkit.fluxcd.io/decrypt"
EVENT_PREFIX = "event.toolkit.fluxcd.io/"
OWN_PREFIX = "kustomize.sluice.dev/"  # ours; Flux passes them over
PRUNE_LIMIT = "kustomize.sluice.dev/prune-limit"
DRIFT = "kustomize.sluice.dev/drift"  # interval, watch or report: on a Kustomization, or on an object that it manages
PRUNE_ALLOWED = "kustomize.sluice.dev/prune-allowed"
SOURCE_MANAGER = "source-controller"
GENERATOR_MANAGER = "source-watcher"
APPLY_MANAGER = "kustomize-controller"
STATUS_MANAGER = "gotk-kustomize-controller"
NOTIFICATION_MANAGER = "notification-controller"

# condition types
READY = "Ready"
RECONCILING = "Reconciling"
STALLED = "Stalled"
HEALTHY = "Healthy"
DELIVERING = "Delivering"  # ours: whether messages reach their target, apart from Ready so that no health check waits for a chat
MUTED = "Muted"  # ours, of an Alert: only while it is so
DRIFTED = "Drifted"  # ours: only while it is so
ARTIFACT_IN_STORAGE = "ArtifactInStorage"
FETCH_FAILED = "FetchFailed"
ARTIFACT_OUTDATED = "ArtifactOutdated"
STORAGE_FAILED = "StorageOperationFailed"
INCLUDE_UNAVAILABLE = "IncludeUnavailable"
SOURCE_VERIFIED = "SourceVerified"

# reasons of every kind
SUCCEEDED = "Succeeded"
FAILED = "Failed"
PROGRESSING = "Progressing"
PROGRESSING_WITH_RETRY = "ProgressingWithRetry"
SUSPENDED = "Suspended"
ACCESS_DENIED = "AccessDenied"
FEATURE_GATE_DISABLED = "FeatureGateDisabled"
INVALID_CEL = "InvalidCELExpression"
VALIDATION_FAILED = "ValidationFailed"
# reasons of sources
NEW_ARTIFACT = "NewArtifact"
NEW_REVISION = "NewRevision"
URL_INVALID = "URLInvalid"
AUTHENTICATION_FAILED = "AuthenticationFailed"
INVALID_STS = "InvalidSTSConfiguration"
VERIFICATION_ERROR = "VerificationError"
GIT_OPERATION_FAILED = "GitOperationFailed"
GIT_OPERATION_SUCCEEDED = "GitOperationSucceeded"
EMPTY_REPOSITORY = "EmptyGitRepository"
ARCHIVE_FAILED = "ArchiveOperationFailed"
STAT_FAILED = "StatOperationFailed"
DIRECTORY_FAILED = "DirectoryCreationFailed"
SOURCE_IGNORE_ERROR = "SourceIgnoreError"
INVALID_PROVIDER = "InvalidProviderConfiguration"
ARTIFACT_UP_TO_DATE = "ArtifactUpToDate"
GC_SUCCEEDED = "GarbageCollectionSucceeded"
NOT_FOUND = "NotFound"
NO_ARTIFACT = "NoArtifact"
INCLUDE_LOOP = "IncludeLoop"  # ours: Flux's two objects wait for each other
COPY_FAILURE = "CopyFailure"
INDEXATION_FAILED = "IndexationFailed"
CHART_REFERENCE_INVALID = "InvalidChartReference"
CHART_PULL_ERROR = "ChartPullError"
CHART_METADATA_ERROR = "MetadataPatchError"
VALUES_FILES_ERROR = "ValuesFilesError"
DEPENDENCY_BUILD_ERROR = "DependencyBuildError"
CHART_PACKAGE_ERROR = "ChartPackageError"
CHART_VERIFICATION_ERROR = "ChartVerificationError"
CHART_PULLED = "ChartPullSucceeded"
CHART_PACKAGED = "ChartPackageSucceeded"
NEW_CHART = "NewChart"
NO_SOURCE_ARTIFACT = "NoSourceArtifact"
SOURCE_UNAVAILABLE = "SourceUnavailable"
UNSUPPORTED_SOURCE = "UnsupportedSourceKind"
SOURCE_FETCH_FAILED = "SourceFetchFailed"
OWNERSHIP_CONFLICT = "OwnershipConflict"
RECONCILIATION_DISABLED = "ReconciliationDisabled"
# reasons of Kustomizations
RECONCILIATION_SUCCEEDED = "ReconciliationSucceeded"
RECONCILIATION_FAILED = "ReconciliationFailed"
ARTIFACT_FAILED = "ArtifactFailed"
BUILD_FAILED = "BuildFailed"
PRUNE_FAILED = "PruneFailed"
PRUNE_BLOCKED = "PruneBlocked"  # ours, in Flux's style
HEALTH_CHECK_FAILED = "HealthCheckFailed"
HEALTH_CHECK_CANCELED = "HealthCheckCanceled"
DEPENDENCY_NOT_READY = "DependencyNotReady"
# reasons of Receivers and Alerts
TOKEN_NOT_FOUND = "TokenNotFound"  # noqa: S105 - a condition reason, not a secret
INVALID_CONFIG = "InvalidConfig"
METADATA_APPEND_FAILED = "MetadataAppendFailed"
NOTIFICATION_FAILED = "NotificationDispatchFailed"

MESSAGE_LIMIT = 32768
_CONDITION_TYPE = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_CANONICAL = re.compile(r"(?:(?P<pointer>.+)@)?(?P<algorithm>sha(?:1|256|384|512)|blake3):(?P<hex>[0-9a-f]+)")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ObjectKey:
    """Names one object of the cluster. The core group is ""; a cluster-scoped object has the namespace ""."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}" if self.namespace else f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """The parts of an object's metadata that sluice reads. `generation` is 0 where the API server has not set one."""

    name: Annotated[str, Facts("Name of the object.", segment=True)]
    namespace: Annotated[str, Facts("Namespace of the object.", segment=True)] = ""
    uid: Annotated[str, Facts("Id of this object in time and space.")] = ""
    generation: Annotated[int, Facts("Number of the wanted state.")] = 0
    resource_version: Annotated[str, Facts("Opaque version of the stored object.")] = ""
    labels: Annotated[Mapping[str, str], Facts("Labels.")] = field(default_factory=dict, hash=False)
    annotations: Annotated[Mapping[str, str], Facts("Annotations.")] = field(default_factory=dict, hash=False)
    finalizers: Annotated[tuple[str, ...], Facts("What must be done before the object goes.")] = ()
    deletion_timestamp: Annotated[datetime | None, Facts("When the deletion was asked for.")] = None
    creation_timestamp: Annotated[datetime | None, Facts("When the object was created.")] = None

    @property
    def requested_at(self) -> str:
        """The token of the last requested reconcile, "" where none was asked for."""
        return self.annotations.get(REQUESTED_AT, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition of a status. https://pkg.go.dev/k8s.io/apimachinery/pkg/apis/meta/v1#Condition"""

    type: Annotated[str, Facts("Type of the condition, such as Ready.", max_length=316, pattern=_CONDITION_TYPE)]
    status: Annotated[Literal["True", "False", "Unknown"], Facts("Whether it holds.")]
    reason: Annotated[str, Facts("Why, in one word.", min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    message: Annotated[str, Facts("Why, in a sentence; may be empty.", max_length=MESSAGE_LIMIT)]
    last_transition_time: Annotated[datetime | None, Facts("When status, reason or message last changed.", always=True)] = None
    observed_generation: Annotated[int, Facts("Generation of the object that this was seen on.", minimum=0)] = 0

    def to_json(self) -> dict[str, object]:
        """Return the condition as the API server takes it; without a time of its own it gets the present one."""
        return {
            "type": self.type,
            "status": self.status,
            "reason": self.reason,
            "message": self.message if len(self.message) <= MESSAGE_LIMIT else self.message[: MESSAGE_LIMIT - 3] + "...",
            "observedGeneration": max(self.observed_generation, 0),
            "lastTransitionTime": format_time(self.last_transition_time or datetime.now(UTC)),
        }


def find_condition(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """Return the condition of that type, or None."""
    return next((each for each in conditions if each.type == kind), None)


def parse_time(text: str) -> datetime:
    """Return the aware UTC time of an RFC 3339 text. Raises ValueError, also where the text has no offset."""
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise ValueError(f"a time without an offset: {text!r}, write it like 2026-01-31T12:00:00Z")
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"a time outside the years 1 to 9999: {text!r}") from error


def format_time(value: datetime) -> str:
    """Return an aware time as Kubernetes writes it: UTC, whole seconds, `Z`."""
    return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def git_revision(commit: str, pointer: str | None = None) -> Revision:
    """Return Flux's revision of a commit: `main@sha1:<hex>`, or `sha1:<hex>` without a named pointer.

    `commit` is 40 (SHA-1) or 64 (SHA-256) lower-case hex digits. Raises ValueError on anything else.
    """
    if _COMMIT.fullmatch(commit) is None:
        raise ValueError(f"not a full commit id: {commit!r}")
    digest = f"sha{1 if len(commit) == 40 else 256}:{commit}"
    return Revision(f"{pointer}@{digest}" if pointer else digest)


def normal_revision(text: str) -> Revision:
    """Return the newest form of a revision: `main/<hex>`, `HEAD/<hex>` and a bare `<hex>` are what older Flux wrote; others stay."""
    if _CANONICAL.fullmatch(text):
        return Revision(text)
    pointer, _, commit = text.rpartition("/")
    if _COMMIT.fullmatch(commit) is None:
        return Revision(text)
    return git_revision(commit, None if pointer == "HEAD" else pointer)


def split_revision(revision: str) -> tuple[str, str]:
    """Return (pointer, hex) of a revision: ("main", "5394cb7...") of `main@sha1:5394cb7...`; the pointer is "" where it has none.

    A revision without a digest, such as a chart version, comes back as (revision, "").
    """
    found = _CANONICAL.fullmatch(normal_revision(revision))
    return (found["pointer"] or "", found["hex"]) if found else (revision, "")
