"""The cloud identity of a Provider: a token that the cluster signs for the ServiceAccount of `spec.serviceAccountName`.

In: the Provider's namespace and its ServiceAccount there, which the tenant owns, and the cloud. Out: a token for that cloud's exchange,
good for ten minutes, and the account's annotations. sluice's own identity is never lent, and no metadata service is asked.
https://fluxcd.io/flux/installation/configuration/object-identity/
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Literal

from providers.contract import Identity, Misconfigured, Secret
from providers.identity import audience
from service.alerts.credentials import BadCredentials
from service.cluster.client import ApiError, Cluster

TIMEOUT, VALID = timedelta(seconds=10), timedelta(minutes=10)
_ACCOUNT = "/api/v1/namespaces/{}/serviceaccounts/{}"

ReadIdentity = Callable[[str, str, Literal["aws", "azure", "gcp"]], Awaitable[Identity]]


class Identities:
    """Asks the API server each time: a token ends with its ServiceAccount."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def read(self, namespace: str, name: str, cloud: Literal["aws", "azure", "gcp"]) -> Identity:
        """Return the identity of a ServiceAccount. Raises BadCredentials, ApiError, ApiAway."""
        path = _ACCOUNT.format(namespace, name)
        try:
            account = (await self._cluster.request("GET", path, timeout=TIMEOUT)).body
            annotations = {str(key): str(value) for key, value in (account["metadata"].get("annotations") or {}).items()}
            spec = {"audiences": [audience(cloud, annotations)], "expirationSeconds": int(VALID.total_seconds())}
            body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
            answer = await self._cluster.request("POST", f"{path}/token", body=body, timeout=TIMEOUT)
        except Misconfigured as error:
            raise BadCredentials(f"ServiceAccount/{namespace}/{name}: {error}") from error
        except ApiError as error:
            if error.not_found:
                raise BadCredentials(f"ServiceAccount/{namespace}/{name} does not exist: create it") from error
            raise
        return Identity(token=Secret(str(answer.body["status"]["token"])), annotations=annotations)
