"""OCIRepository, of the group source.toolkit.fluxcd.io.

In: the JSON of v1 or v1beta2, through `codec.decode`. Out: the typed object in v1's form.
The format: https://github.com/fluxcd/source-controller/blob/main/docs/spec/v1/ocirepositories.md
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from service.kinds.meta import SOURCE_GROUP, Condition, Metadata, ObjectKey
from service.kinds.schema import GO_DURATION, SHORT_DURATION, Facts
from service.kinds.source import Artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class OCIRef:
    """Which artifact of the repository. Precedence: digest, semver, tag."""

    digest: Annotated[str, Facts("Digest of the manifest, as sha256:<hex>; wins over the others.")] = ""
    semver: Annotated[str, Facts("Range of versions; the newest tag inside it is taken.")] = ""
    semver_filter: Annotated[str, Facts("Regular expression of the tags among which semver looks.")] = ""
    tag: Annotated[str, Facts("Tag to pull, `latest` by default.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSelector:
    """Which layer of the artifact is taken, and how."""

    media_type: Annotated[str, Facts("Media type of the layer, the first that matches; the first layer by default.")] = ""
    operation: Annotated[
        str, Facts("What is done with the layer: its files are extracted, or it is stored as it is.", enum=("extract", "copy"))
    ] = "extract"


@dataclass(frozen=True, slots=True, kw_only=True)
class OIDCIdentity:
    """Who may have signed without a key: regular expressions of the certificate's issuer and subject."""

    issuer: Annotated[str, Facts("Regular expression of the issuer.")]
    subject: Annotated[str, Facts("Regular expression of the subject.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class OCIVerification:
    """Which signature must be good before an artifact counts."""

    provider: Annotated[str, Facts("Kind of signature.", enum=("cosign", "notation"), default="cosign")] = "cosign"
    secret_ref: Annotated[
        str | None, Facts("Secret with the trusted public keys (*.pub), or with trustpolicy.json and certificates.", inside="name")
    ] = None
    match_oidc_identity: Annotated[
        tuple[OIDCIdentity, ...], Facts("Who may have signed without a key; any one suffices.", name="matchOIDCIdentity")
    ] = ()
    trusted_root_secret_ref: Annotated[str | None, Facts("Secret with another trusted_root.json than Sigstore's.", inside="name")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OCIRepositorySpec:
    """The wanted state of an OCIRepository."""

    url: Annotated[str, Facts("Address of the repository, without a tag.", pattern=r"^oci://.*$")]
    interval: Annotated[
        timedelta, Facts("How often the registry is asked for a new digest, give or take some jitter.", pattern=GO_DURATION)
    ]
    timeout: Annotated[timedelta, Facts("Time limit of one pull.", pattern=SHORT_DURATION, default="60s")] = timedelta(seconds=60)
    ref: Annotated[OCIRef | None, Facts("What to pull; the tag latest by default.")] = None
    layer_selector: Annotated[LayerSelector | None, Facts("Which layer; the first one, extracted, by default.")] = None
    provider: Annotated[str, Facts("Where credentials come from.", enum=("generic", "aws", "azure", "gcp"), default="generic")] = "generic"
    secret_ref: Annotated[str | None, Facts("Secret of type kubernetes.io/dockerconfigjson.", inside="name")] = None
    service_account_name: Annotated[str, Facts("ServiceAccount whose image pull secrets, or whose cloud identity, authenticate.")] = ""
    cert_secret_ref: Annotated[str | None, Facts("Secret with ca.crt, or with tls.crt and tls.key, or with both.", inside="name")] = None
    proxy_secret_ref: Annotated[str | None, Facts("Secret with the address and credentials of a proxy.", inside="name")] = None
    verify: Annotated[OCIVerification | None, Facts("Signatures that must be good before an artifact counts.")] = None
    ignore: Annotated[str | None, Facts("Patterns in the form of .gitignore for what stays out of the artifact.")] = None
    insecure: Annotated[bool, Facts("Talks to the registry over plain http.")] = False
    suspend: Annotated[bool, Facts("Stops the reconciliation of this object.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OCIRepositoryStatus:
    """The observed state of an OCIRepository."""

    observed_generation: Annotated[int, Facts("Generation that the last finished reconcile has seen.")] = -1
    conditions: Annotated[tuple[Condition, ...], Facts("What is known about the object.")] = ()
    artifact: Annotated[Artifact | None, Facts("What the last successful reconcile has stored.")] = None
    url: Annotated[str, Facts("Address of the newest artifact.")] = ""
    last_handled_reconcile_at: Annotated[str, Facts("The last requestedAt annotation that was handled.")] = ""
    observed_ignore: Annotated[str | None, Facts("spec.ignore of the stored artifact.")] = None
    observed_layer_selector: Annotated[LayerSelector | None, Facts("spec.layerSelector of the stored artifact.")] = None
    content_config_checksum: Annotated[str, Facts("Old versions' digest of the fields that shape the content.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OCIRepository:
    """An OCI repository whose artifacts others build from."""

    metadata: Metadata
    spec: OCIRepositorySpec
    status: OCIRepositoryStatus = OCIRepositoryStatus()
    api_version: str = f"{SOURCE_GROUP}/v1"

    @property
    def key(self) -> ObjectKey:
        """The name of this object in the cluster."""
        return ObjectKey(group=SOURCE_GROUP, kind="OCIRepository", namespace=self.metadata.namespace, name=self.metadata.name)
