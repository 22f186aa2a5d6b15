"""GitRepository, of the group source.toolkit.fluxcd.io.

In: the JSON of v1, v1beta2 or v1beta1, through `codec.decode`. Out: the typed object in v1's form.
The format: https://github.com/fluxcd/source-controller/blob/main/docs/spec/v1/gitrepositories.md
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated

from service.kinds.meta import NO_DIGEST, NO_REVISION, SOURCE_GROUP, Condition, Digest, Metadata, ObjectKey, Revision
from service.kinds.schema import GO_DURATION, SHORT_DURATION, Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class GitRef:
    """What to check out. Precedence: commit, name, tag, semver, branch."""

    branch: Annotated[str, Facts("Branch to check out; `master` where the whole ref is empty.")] = ""
    tag: Annotated[str, Facts("Tag to check out, wins over branch.")] = ""
    semver: Annotated[str, Facts("Range of versions; the newest tag inside it is checked out, wins over branch.")] = ""
    name: Annotated[str, Facts("Full name of a reference, such as refs/pull/420/head; wins over tag and branch.")] = ""
    commit: Annotated[str, Facts("Commit id to check out, wins over all others; a branch says where it is expected.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitVerification:
    """Which signatures must be good before a revision counts."""

    mode: Annotated[
        str, Facts("What must be signed; head and HEAD mean the same.", enum=("head", "HEAD", "Tag", "TagAndHEAD"), default="HEAD")
    ] = "HEAD"
    secret_ref: Annotated[str | None, Facts("Secret with the trusted public keys: *.asc for PGP, *.sshpub for SSH.", inside="name")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GitInclude:
    """Another GitRepository whose content is copied into this one's artifact."""

    repository: Annotated[str, Facts("GitRepository of the same namespace whose artifact is included.", inside="name")]
    from_path: Annotated[str, Facts("Path to copy from; the root of that artifact by default.")] = ""
    to_path: Annotated[str, Facts("Path to copy to; the name of that GitRepository by default.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceSelector:
    """Namespaces by their labels."""

    match_labels: Annotated[Mapping[str, str], Facts("Labels that a namespace must carry, all of them.")] = field(
        default_factory=dict, hash=False
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessFrom:
    """Access list of old versions, never enforced by Flux."""

    namespace_selectors: Annotated[tuple[NamespaceSelector, ...], Facts("Namespaces that may refer to this object.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class GitRepositorySpec:
    """The wanted state of a GitRepository. An `interval` of 0 means: never by time, as with Flux."""

    url: Annotated[str, Facts("Address of the repository: http, https or ssh.", pattern=r"^(http|https|ssh)://.*$")]
    interval: Annotated[
        timedelta, Facts("How often the remote is asked for a new revision, give or take some jitter.", pattern=GO_DURATION)
    ]
    timeout: Annotated[timedelta, Facts("Time limit of one Git operation.", pattern=SHORT_DURATION, default="60s")] = timedelta(seconds=60)
    secret_ref: Annotated[
        str | None,
        Facts("Secret with bearerToken, or username and password, and ca.crt for https; identity and known_hosts for ssh.", inside="name"),
    ] = None
    provider: Annotated[
        str,
        Facts(
            "Where credentials come from; generic means secretRef.",
            enum=("generic", "aws", "azure", "github"),
            honours="generic|github|aws|azure",
        ),
    ] = "generic"
    service_account_name: Annotated[str, Facts("ServiceAccount whose workload identity authenticates to aws or azure.")] = ""
    ref: Annotated[GitRef | None, Facts("What to check out; the branch master by default.")] = None
    verify: Annotated[GitVerification | None, Facts("Signatures that must be good before a revision counts.")] = None
    proxy_secret_ref: Annotated[str | None, Facts("Secret with the address and credentials of a proxy.", inside="name")] = None
    ignore: Annotated[
        str | None, Facts("Patterns in the form of .gitignore for what stays out of the artifact; they replace the built-in extras.")
    ] = None
    suspend: Annotated[bool, Facts("Stops the reconciliation of this object.")] = False
    recurse_submodules: Annotated[bool, Facts("Checks out the submodules too.")] = False
    include: Annotated[tuple[GitInclude, ...], Facts("Other GitRepositories whose content is copied into this artifact.")] = ()
    sparse_checkout: Annotated[tuple[str, ...], Facts("The only directories to check out.")] = ()
    git_implementation: Annotated[
        str, Facts("Old versions' choice of a Git library, without effect.", enum=("go-git", "libgit2"), verdict="ignored")
    ] = ""
    access_from: Annotated[
        AccessFrom | None, Facts("Old versions' list of namespaces that may refer to this object, without effect.", verdict="ignored")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """What a source has stored. `url` serves a tar.gz whose digest is `digest`."""

    path: Annotated[str, Facts("Path of the file below the artifact storage.")]
    url: Annotated[str, Facts("Address of the file inside the cluster.")]
    revision: Annotated[Revision, Facts("Where the content comes from, such as main@sha1:5394cb7f.")] = NO_REVISION
    digest: Annotated[
        Digest, Facts("Digest of the file, as algorithm:hex.", pattern=r"^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$")
    ] = NO_DIGEST
    last_update_time: Annotated[datetime | None, Facts("When the file was stored.")] = None
    size: Annotated[int | None, Facts("Bytes of the file.")] = None
    metadata: Annotated[Mapping[str, str], Facts("What the origin says about the content, such as annotations.")] = field(
        default_factory=dict, hash=False
    )
    checksum: Annotated[str, Facts("Old form of digest: bare SHA-256 hex digits.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitRepositoryStatus:
    """The observed state of a GitRepository."""

    observed_generation: Annotated[int, Facts("Generation that the last finished reconcile has seen.")] = -1
    conditions: Annotated[tuple[Condition, ...], Facts("What is known about the object.")] = ()
    artifact: Annotated[Artifact | None, Facts("What the last successful reconcile has stored.")] = None
    included_artifacts: Annotated[tuple[Artifact, ...], Facts("Artifacts that were copied into this one.")] = ()
    last_handled_reconcile_at: Annotated[str, Facts("The last requestedAt annotation that was handled.")] = ""
    observed_ignore: Annotated[str | None, Facts("spec.ignore of the stored artifact.")] = None
    observed_recurse_submodules: Annotated[bool, Facts("spec.recurseSubmodules of the stored artifact.")] = False
    observed_include: Annotated[tuple[GitInclude, ...], Facts("spec.include of the stored artifact.")] = ()
    observed_sparse_checkout: Annotated[tuple[str, ...], Facts("spec.sparseCheckout of the stored artifact.")] = ()
    source_verification_mode: Annotated[str, Facts("Mode of the last signature check.")] = ""
    url: Annotated[str, Facts("Old versions' address of the newest artifact.")] = ""
    content_config_checksum: Annotated[str, Facts("Old versions' digest of the fields that shape the content.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitRepository:
    """A Git repository whose content others build from."""

    metadata: Metadata
    spec: GitRepositorySpec
    status: GitRepositoryStatus = GitRepositoryStatus()
    api_version: str = f"{SOURCE_GROUP}/v1"

    @property
    def key(self) -> ObjectKey:
        """The name of this object in the cluster."""
        return ObjectKey(group=SOURCE_GROUP, kind="GitRepository", namespace=self.metadata.namespace, name=self.metadata.name)
