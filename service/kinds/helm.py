"""HelmRepository and HelmChart, of the group source.toolkit.fluxcd.io.

In: the JSON of v1, v1beta2 or v1beta1, through `codec.decode`. Out: the typed object in v1's form.
The formats: https://github.com/fluxcd/source-controller/blob/main/docs/spec/v1/helmrepositories.md and helmcharts.md beside it
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from service.kinds.meta import SOURCE_GROUP, Condition, Metadata, ObjectKey
from service.kinds.oci import OIDCIdentity
from service.kinds.schema import GO_DURATION, SHORT_DURATION, Facts
from service.kinds.source import AccessFrom, Artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class HelmRepositorySpec:
    """The wanted state of a HelmRepository. With the type oci it is only read by charts: nothing is fetched for it alone."""

    url: Annotated[str, Facts("Address of the repository: http, https, or oci with the type oci.", pattern=r"^(http|https|oci)://.*$")]
    interval: Annotated[
        timedelta, Facts("How often the index is asked for, give or take some jitter; 1m by default.", pattern=GO_DURATION)
    ] = timedelta(minutes=1)
    timeout: Annotated[timedelta, Facts("Time limit of one download.", pattern=SHORT_DURATION)] = timedelta(seconds=60)
    type: Annotated[str, Facts("Kind of repository; default has an index.", enum=("default", "oci"))] = ""
    provider: Annotated[
        str,
        Facts(
            "Where the credentials of a registry come from.",
            enum=("generic", "aws", "azure", "gcp"),
            default="generic",
        ),
    ] = "generic"
    secret_ref: Annotated[
        str | None,
        Facts("Secret with username and password, or for the type oci one of type kubernetes.io/dockerconfigjson.", inside="name"),
    ] = None
    cert_secret_ref: Annotated[str | None, Facts("Secret with ca.crt, or with tls.crt and tls.key, or with both.", inside="name")] = None
    pass_credentials: Annotated[bool, Facts("Sends the credentials also to other hosts that the index names charts at.")] = False
    insecure: Annotated[bool, Facts("With the type oci: talks to the registry over plain http.")] = False
    suspend: Annotated[bool, Facts("Stops the reconciliation of this object.")] = False
    access_from: Annotated[
        AccessFrom | None, Facts("List of namespaces that may refer to this object, without effect.", verdict="ignored")
    ] = None

    @property
    def is_oci(self) -> bool:
        """Whether charts are pulled from a registry, without an index."""
        return self.type == "oci"


@dataclass(frozen=True, slots=True, kw_only=True)
class HelmRepositoryStatus:
    """The observed state of a HelmRepository."""

    observed_generation: Annotated[int, Facts("Generation that the last finished reconcile has seen.")] = -1
    conditions: Annotated[tuple[Condition, ...], Facts("What is known about the object.")] = ()
    url: Annotated[str, Facts("Address of the newest index.")] = ""
    artifact: Annotated[Artifact | None, Facts("What the last successful reconcile has stored.")] = None
    last_handled_reconcile_at: Annotated[str, Facts("The last requestedAt annotation that was handled.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HelmRepository:
    """A Helm chart repository that HelmCharts are pulled from."""

    metadata: Metadata
    spec: HelmRepositorySpec
    status: HelmRepositoryStatus = HelmRepositoryStatus()
    api_version: str = f"{SOURCE_GROUP}/v1"

    @property
    def key(self) -> ObjectKey:
        """The name of this object in the cluster."""
        return ObjectKey(group=SOURCE_GROUP, kind="HelmRepository", namespace=self.metadata.namespace, name=self.metadata.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartSourceRef:
    """Where a chart comes from: an object of the same namespace."""

    kind: Annotated[str, Facts("Kind of the source.", enum=("HelmRepository", "GitRepository", "Bucket"))]
    name: Annotated[str, Facts("Name of the source.", segment=True)]
    api_version: Annotated[str, Facts("API version of the source; without effect.", verdict="ignored")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartVerification:
    """Which signature must be good before a chart counts."""

    provider: Annotated[str, Facts("Kind of signature.", enum=("cosign", "notation"), default="cosign")] = "cosign"
    secret_ref: Annotated[
        str | None, Facts("Secret with the trusted public keys (*.pub), or with trustpolicy.json and certificates.", inside="name")
    ] = None
    match_oidc_identity: Annotated[
        tuple[OIDCIdentity, ...], Facts("Who may have signed without a key; any one suffices.", name="matchOIDCIdentity")
    ] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HelmChartSpec:
    """The wanted state of a HelmChart. `version` is for HelmRepositories only."""

    chart: Annotated[str, Facts("Name of the chart in a HelmRepository, or its path in another source.")]
    source_ref: Annotated[ChartSourceRef, Facts("Where the chart comes from.")]
    interval: Annotated[timedelta, Facts("How often the source is looked at, give or take some jitter.", pattern=GO_DURATION)]
    version: Annotated[str, Facts("Version or range of versions; the newest stable one by default.", default="*")] = "*"
    reconcile_strategy: Annotated[
        str,
        Facts(
            "What makes a new artifact: another version of the chart, or another revision of its source.",
            enum=("ChartVersion", "Revision"),
            default="ChartVersion",
        ),
    ] = "ChartVersion"
    values_files: Annotated[
        tuple[str, ...], Facts("Files of values that replace the chart's, later ones win; paths in the chart, or in a source that is none.")
    ] = ()
    values_file: Annotated[str, Facts("Old versions' one file of values, taken before valuesFiles.")] = ""
    ignore_missing_values_files: Annotated[bool, Facts("Passes over files of values that are not there.")] = False
    verify: Annotated[
        ChartVerification | None, Facts("Signatures that must be good before a chart of a HelmRepository of the type oci counts.")
    ] = None
    suspend: Annotated[bool, Facts("Stops the reconciliation of this object.")] = False
    access_from: Annotated[
        AccessFrom | None, Facts("List of namespaces that may refer to this object, without effect.", verdict="ignored")
    ] = None

    @property
    def merged_files(self) -> tuple[str, ...]:
        """The files of values to merge; the chart's own values.yaml alone needs no merging."""
        old = (self.values_file,) if self.values_file else ()
        found = (*old, *(each for each in self.values_files if each != self.values_file))
        return () if len(found) == 1 and found[0].removeprefix("./") == "values.yaml" else found


@dataclass(frozen=True, slots=True, kw_only=True)
class HelmChartStatus:
    """The observed state of a HelmChart."""

    observed_generation: Annotated[int, Facts("Generation that the last finished reconcile has seen.")] = -1
    conditions: Annotated[tuple[Condition, ...], Facts("What is known about the object.")] = ()
    observed_source_artifact_revision: Annotated[str, Facts("Revision of the source that the chart was last looked for in.")] = ""
    observed_chart_name: Annotated[str, Facts("Name of the stored chart, as the chart itself says.")] = ""
    observed_values_files: Annotated[tuple[str, ...], Facts("Files of values that the stored chart was made with.")] = ()
    url: Annotated[str, Facts("Address of the newest chart.")] = ""
    artifact: Annotated[Artifact | None, Facts("What the last successful reconcile has stored.")] = None
    last_handled_reconcile_at: Annotated[str, Facts("The last requestedAt annotation that was handled.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HelmChart:
    """A Helm chart of a repository, or of a folder of another source, packaged."""

    metadata: Metadata
    spec: HelmChartSpec
    status: HelmChartStatus = HelmChartStatus()
    api_version: str = f"{SOURCE_GROUP}/v1"

    @property
    def key(self) -> ObjectKey:
        """The name of this object in the cluster."""
        return ObjectKey(group=SOURCE_GROUP, kind="HelmChart", namespace=self.metadata.namespace, name=self.metadata.name)
