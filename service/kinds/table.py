"""KINDS: the one table of the kinds that this version of sluice serves.

In: the typed kinds. Out: what discovery, watches, the codec and the CRDs need to know about each.
"""

from dataclasses import dataclass
from typing import Any

from service.kinds.bucket import Bucket
from service.kinds.external import ExternalArtifact
from service.kinds.generator import ArtifactGenerator
from service.kinds.helm import HelmChart, HelmRepository
from service.kinds.kustomize import Kustomization
from service.kinds.meta import EXTENSIONS_GROUP, KUSTOMIZE_GROUP, NOTIFICATION_GROUP, SOURCE_GROUP
from service.kinds.notification import Alert, Provider, Receiver
from service.kinds.oci import OCIRepository
from service.kinds.source import GitRepository


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind. `versions` are those that are served, the newest first; `storage` is the one that the API server keeps."""

    group: str
    kind: str
    plural: str
    versions: tuple[str, ...]
    storage: str
    short_names: tuple[str, ...]
    categories: tuple[str, ...]
    type: type[Any]
    fresh_status: bool

    @property
    def api_version(self) -> str:
        """The newest apiVersion."""
        return f"{self.group}/{self.versions[0]}"


_STATIC = ("v1beta3", "v1beta2", "v1beta1")
_GROWN = ("v1", "v1beta2", "v1beta1")

KINDS: tuple[Kind, ...] = (
    Kind(
        group=SOURCE_GROUP, kind="GitRepository", plural="gitrepositories", versions=_GROWN, storage="v1", short_names=("gitrepo",),
        categories=("all", "fluxcd", "fluxcd-sources"), type=GitRepository, fresh_status=True,
    ),
    Kind(
        group=SOURCE_GROUP, kind="OCIRepository", plural="ocirepositories", versions=("v1", "v1beta2"), storage="v1",
        short_names=("ocirepo",), categories=("all", "fluxcd", "fluxcd-sources"), type=OCIRepository, fresh_status=True,
    ),
    Kind(
        group=SOURCE_GROUP, kind="Bucket", plural="buckets", versions=_GROWN, storage="v1", short_names=(),
        categories=("all", "fluxcd", "fluxcd-sources"), type=Bucket, fresh_status=True,
    ),
    Kind(
        group=SOURCE_GROUP, kind="ExternalArtifact", plural="externalartifacts", versions=("v1",), storage="v1", short_names=("ea",),
        categories=("all", "fluxcd", "fluxcd-sources"), type=ExternalArtifact, fresh_status=False,
    ),
    Kind(
        group=SOURCE_GROUP, kind="HelmRepository", plural="helmrepositories", versions=_GROWN, storage="v1", short_names=("helmrepo",),
        categories=("all", "fluxcd", "fluxcd-sources"), type=HelmRepository, fresh_status=True,
    ),
    Kind(
        group=SOURCE_GROUP, kind="HelmChart", plural="helmcharts", versions=_GROWN, storage="v1", short_names=("hc",),
        categories=("all", "fluxcd", "fluxcd-sources"), type=HelmChart, fresh_status=True,
    ),
    Kind(
        group=EXTENSIONS_GROUP, kind="ArtifactGenerator", plural="artifactgenerators", versions=("v1beta1",), storage="v1beta1",
        short_names=("ag",), categories=("all", "fluxcd", "fluxcd-sources"), type=ArtifactGenerator, fresh_status=False,
    ),
    Kind(
        group=KUSTOMIZE_GROUP, kind="Kustomization", plural="kustomizations", versions=_GROWN, storage="v1", short_names=("ks",),
        categories=("all", "fluxcd", "fluxcd-appliers"), type=Kustomization, fresh_status=True,
    ),
    Kind(
        group=NOTIFICATION_GROUP, kind="Receiver", plural="receivers", versions=_GROWN, storage="v1", short_names=(),
        categories=("all", "fluxcd", "fluxcd-notifications"), type=Receiver, fresh_status=True,
    ),
    Kind(
        group=NOTIFICATION_GROUP, kind="Alert", plural="alerts", versions=_STATIC, storage="v1beta3", short_names=(),
        categories=("all", "fluxcd", "fluxcd-notifications"), type=Alert, fresh_status=False,
    ),
    Kind(
        group=NOTIFICATION_GROUP, kind="Provider", plural="providers", versions=_STATIC, storage="v1beta3", short_names=(),
        categories=("all", "fluxcd", "fluxcd-notifications"), type=Provider, fresh_status=False,
    ),
)  # fmt: skip

SOURCES = tuple(each.kind for each in KINDS if each.group == SOURCE_GROUP)
BY_TYPE = {each.type: each for each in KINDS}
BY_NAME = {(each.group, each.kind): each for each in KINDS}
