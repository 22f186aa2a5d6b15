"""What rooms ask beyond their own work: Secrets by name, the labels of an object, where requests for tenants may go."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from service.cluster.client import ApiError, Cluster
from service.cluster.discovery import Discovery, NoSuchKind, object_path
from service.kinds.meta import ObjectKey
from service.outbound import Policy
from service.settings import Settings

READ_TIMEOUT = timedelta(seconds=10)
_SECRETS = "/api/v1/namespaces/{}/secrets/{}"
_CONFIGS = "/api/v1/namespaces/{}/configmaps/{}"
_ACCOUNTS = "/api/v1/namespaces/{}/serviceaccounts/{}"


class Secrets:
    """Reads Secrets one by one, when they are needed: none is kept, none is listed."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def read(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """The decoded data of a Secret, None where there is none. Raises ApiError, ApiAway."""
        try:
            answer = await self._cluster.request("GET", _SECRETS.format(namespace, name), timeout=READ_TIMEOUT)
        except ApiError as error:
            if error.not_found:
                return None
            raise
        return {key: _decoded(value) for key, value in (answer.body.get("data") or {}).items()}

    async def config(self, namespace: str, name: str) -> Mapping[str, str] | None:
        """The data of a ConfigMap, None where there is none. Raises ApiError, ApiAway."""
        try:
            answer = await self._cluster.request("GET", _CONFIGS.format(namespace, name), timeout=READ_TIMEOUT)
        except ApiError as error:
            if error.not_found:
                return None
            raise
        return {str(key): str(value) for key, value in (answer.body.get("data") or {}).items()}

    async def pull_secrets(self, namespace: str, account: str) -> tuple[str, ...] | None:
        """The names of a ServiceAccount's image pull secrets, None where there is no such account. Raises ApiError, ApiAway."""
        try:
            answer = await self._cluster.request("GET", _ACCOUNTS.format(namespace, account), timeout=READ_TIMEOUT)
        except ApiError as error:
            if error.not_found:
                return None
            raise
        return tuple(str(each["name"]) for each in answer.body.get("imagePullSecrets") or () if each.get("name"))


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return b""


def outbound_policy(settings: Settings) -> Policy:
    """Where requests to addresses that objects name may go: this machine counts as private, and our own ports are never reached."""
    ports = (settings.listen, settings.probes, settings.cluster, settings.admin)
    private = not settings.no_private_addresses
    return Policy(private=private, loopback=private or settings.allow_loopback, ports=frozenset(each.port for each in ports))


def git_policy(settings: Settings) -> Policy:
    """The same for Git remotes, which may stand on this machine."""
    return replace(outbound_policy(settings), loopback=True)


async def labels_of(cluster: Cluster, discovery: Discovery, key: ObjectKey, api_version: str) -> Mapping[str, str]:
    """The labels of any object, {} where it is not there. Raises ApiError, ApiAway."""
    try:
        resource = await discovery.resource(api_version, key.kind)
        body = (await cluster.request("GET", object_path(resource, key.namespace, key.name), timeout=READ_TIMEOUT)).body
    except NoSuchKind:
        return {}
    except ApiError as error:
        if error.not_found:
            return {}
        raise
    return body["metadata"].get("labels") or {}
