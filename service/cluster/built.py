"""One built manifest, ready to be sent."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from service.cluster.inventory import ObjectId


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """An object as the build made it. `body` is its JSON and is sent as it is; `digest` names that content.

    `namespace` is "" for cluster-scoped objects. The owner's labels are already in the body; `labels` and `annotations` repeat what the
    body has, so that nobody needs to parse it again.
    """

    api_version: str
    kind: str
    namespace: str
    name: str
    digest: str
    body: bytes = field(repr=False)
    annotations: Mapping[str, str]
    labels: Mapping[str, str]

    @property
    def group(self) -> str:
        """The API group, "" for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def object(self) -> ObjectId:
        """Which object it is."""
        group, _, version = self.api_version.rpartition("/")
        return ObjectId(self.namespace, self.name, group, self.kind, version)

    @property
    def marks(self) -> Mapping[str, Mapping[str, str]]:
        """Labels and annotations where an object's metadata has them."""
        return {"labels": self.labels, "annotations": self.annotations}
