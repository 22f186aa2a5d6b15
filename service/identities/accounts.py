"""A ServiceAccount that an object names, and a token that the cluster signs for it.

In: the object's namespace and its ServiceAccount there, which the tenant owns, and the cloud. Out: a token for that cloud's exchange,
good for ten minutes, and the account's annotations. sluice's own identity is never lent, and no metadata service is asked.
https://fluxcd.io/flux/installation/configuration/object-identity/
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from providers.contract import Identity, Misconfigured, Secret
from providers.identity import audience
from service.cluster.client import ApiError, Cluster

TIMEOUT, VALID = timedelta(seconds=10), timedelta(minutes=10)
_ACCOUNT = "/api/v1/namespaces/{}/serviceaccounts/{}"

Cloud = Literal["aws", "azure", "gcp"]


class BadAccount(Exception):
    """The ServiceAccount cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A ServiceAccount as it is now. One that was made again has another uid."""

    namespace: str
    name: str
    uid: str
    annotations: Mapping[str, str]

    def __str__(self) -> str:
        return f"ServiceAccount/{self.namespace}/{self.name}"


class Accounts:
    """Asks the API server each time: what an account may do ends with it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def find(self, namespace: str, name: str) -> Account:
        """Return a ServiceAccount. Raises BadAccount where there is none, ApiError, ApiAway."""
        try:
            metadata = (await self._cluster.request("GET", _ACCOUNT.format(namespace, name), timeout=TIMEOUT)).body["metadata"]
        except ApiError as error:
            raise _told(error, namespace, name) from error
        annotations = {str(key): str(value) for key, value in (metadata.get("annotations") or {}).items()}
        return Account(namespace=namespace, name=name, uid=str(metadata.get("uid", "")), annotations=annotations)

    async def sign(self, account: Account, cloud: Cloud) -> Identity:
        """Return the identity of a ServiceAccount for one cloud. Raises BadAccount, ApiError, ApiAway."""
        path = f"{_ACCOUNT.format(account.namespace, account.name)}/token"
        try:
            spec = {"audiences": [audience(cloud, account.annotations)], "expirationSeconds": int(VALID.total_seconds())}
            body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
            answer = await self._cluster.request("POST", path, body=body, timeout=TIMEOUT)
        except Misconfigured as error:
            raise BadAccount(f"{account}: {error}") from error
        except ApiError as error:
            raise _told(error, account.namespace, account.name) from error
        return Identity(token=Secret(str(answer.body["status"]["token"])), annotations=account.annotations)

    async def read(self, namespace: str, name: str, cloud: Cloud) -> Identity:
        """Both. Raises BadAccount, ApiError, ApiAway."""
        return await self.sign(await self.find(namespace, name), cloud)


def _told(error: ApiError, namespace: str, name: str) -> Exception:
    """What a person can mend belongs to the object's status."""
    if error.not_found:
        return BadAccount(f"ServiceAccount/{namespace}/{name} does not exist: create it")
    if error.status == 403:
        return BadAccount(f"ServiceAccount/{namespace}/{name}: sluice has no right to use it (chart: workloadIdentity): {error}")
    return error
